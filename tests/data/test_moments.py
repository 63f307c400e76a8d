"""Events of pairs: joined, aligned with matrices, of some users alone."""

import numpy as np
from scipy import sparse

from mbjax.data import moments


def made(*events):
    """Of (user, item, second), 10 items."""
    user, item, second = np.asarray(events, np.int64).reshape(-1, 3).T
    return moments.of(user * 10 + item, second)


def test_events_of_a_pair_stand_together_in_order_of_time():
    found = made((1, 4, 30), (0, 2, 7), (1, 4, 10), (1, 4, 10))
    assert found.keys.tolist() == [2, 14]
    assert found.ptr.tolist() == [0, 1, 4]
    assert found.seconds.tolist() == [7, 10, 10, 30]


def test_parts_become_one():
    both = moments.joined([made((1, 4, 30), (0, 2, 7)), made((1, 4, 10), (3, 3, 5)), made()])
    whole = made((1, 4, 30), (0, 2, 7), (1, 4, 10), (3, 3, 5))
    assert all((a == b).all() for a, b in zip(both, whole, strict=True))
    assert moments.end([made(), both]) == 30 and moments.begin([both, made()]) == 5
    assert moments.end([made()]) == 0 and moments.begin([]) == np.inf


def test_what_two_records_have_both_happened_once():
    """A view at the same second twice is two views in the record that says so."""
    first = made((0, 2, 7), (1, 4, 10), (1, 4, 10), (1, 4, 30))
    second = made((1, 4, 10), (1, 4, 40), (3, 3, 5), (0, 2, 7))
    whole = made((0, 2, 7), (1, 4, 10), (1, 4, 10), (1, 4, 30), (1, 4, 40), (3, 3, 5))
    for both in (moments.either(first, second), moments.either(second, first), moments.either(whole, whole)):
        assert all((a == b).all() for a, b in zip(both, whole, strict=True))
    assert all((a == b).all() for a, b in zip(moments.either(made(), first), first, strict=True))
    assert moments.either(made(), made()).keys.size == 0


def test_stored_entries_get_their_events_and_unknown_ones_the_end():
    matrix = sparse.csr_array(([1, 1, 1], ([0, 1, 1], [2, 4, 5])), shape=(2, 10))
    events = moments.aligned(made((1, 4, 30), (0, 2, 7), (1, 4, 10), (1, 9, 1)), matrix, 99.0)
    assert events.ptr.tolist() == [0, 1, 3, 4]
    assert events.seconds.tolist() == [7, 10, 30, 99]
    nothing = moments.aligned(made(), matrix, 99.0)
    assert nothing.ptr.tolist() == [0, 1, 2, 3] and nothing.seconds.tolist() == [99, 99, 99]


def test_some_users_alone_are_numbered_anew():
    found = moments.rows(made((0, 1, 5), (2, 3, 6), (2, 3, 8), (4, 0, 7)), np.array([4, 2]), 10)
    assert found.keys.tolist() == [0, 13]
    assert found.ptr.tolist() == [0, 1, 3] and found.seconds.tolist() == [7, 6, 8]
