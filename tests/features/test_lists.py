"""Ragged lists and set operations on sparse matrices, against sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mbjax.features import lists

ROWS, COLUMNS = 4, 6
pair_sets = st.sets(st.tuples(st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)))


def matrix(pairs) -> sparse.csr_array:
    row, column = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return lists.ones(row, column, (ROWS, COLUMNS))


def stored(found: sparse.csr_array) -> list[tuple[int, int]]:
    row, column = lists.pairs(found)
    assert set(found.data.tolist()) <= {1.0}
    return list(zip(row.tolist(), column.tolist(), strict=True))


@given(pair_sets, pair_sets, pair_sets)
def test_operations_are_those_of_sets(first, second, third):
    a, b = matrix(first), matrix(second)
    assert stored(a) == sorted(first)
    assert stored(lists.without(a, b)) == sorted(first - second)
    assert stored(lists.union([a, b, matrix(third)], a.shape)) == sorted(first | second | third)
    row, column = (x.ravel() for x in np.indices(a.shape))
    np.testing.assert_array_equal(lists.has(a, row, column).reshape(a.shape), a.toarray())


def test_a_place_named_twice_is_one_entry():
    found = lists.ones(np.array([1, 0, 1]), np.array([2, 3, 2]), (ROWS, COLUMNS))
    assert stored(found) == [(0, 3), (1, 2)]
    assert stored(lists.union([], (ROWS, COLUMNS))) == []


@pytest.mark.parametrize("keep", [[0, 2], [1], [0, 1, 2]])
def test_some_lists_keep_their_candidates_and_histories(keep):
    history = {"view": lists.ones(np.array([0, 1, 2]), np.array([4, 5, 1]), (3, COLUMNS))}
    removed = {"view": lists.ones(np.array([2]), np.array([0]), (3, COLUMNS))}
    candidates = [[0, 3], [], [1, 2, 5]]
    ptr = np.array([0, 2, 2, 5])
    of = lists.Lists(np.array([3, 4, 8], np.int32), history, removed, ptr, np.array([0, 3, 1, 2, 5], np.int32))
    np.testing.assert_array_equal(of.row, [0, 0, 2, 2, 2])
    np.testing.assert_array_equal(of.of(history["view"]), [0, 0, 1, 0, 0])
    some = of.only(np.array(keep))
    assert some.user.tolist() == [[3, 4, 8][k] for k in keep]
    assert [some.item[a:b].tolist() for a, b in zip(some.ptr[:-1], some.ptr[1:], strict=True)] == [
        candidates[k] for k in keep
    ]
    for name in ("history", "removed"):
        whole = getattr(of, name)["view"].toarray()
        np.testing.assert_array_equal(getattr(some, name)["view"].toarray(), whole[keep])
