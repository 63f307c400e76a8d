"""The new items that are searched, against scores that are worked out densely; and what is never among them."""

import numpy as np
import pytest
from scipy import sparse

from mbjax.features import candidates, lists, regression, retrieval

USERS, ITEMS, PENALTY, MOST = 30, 40, 3.0, 4


@pytest.fixture
def train():
    rng = np.random.default_rng(5)
    return {
        b: sparse.csr_array((rng.random((USERS, ITEMS)) < p).astype(np.uint8)) for b, p in (("view", 0.2), ("buy", 0.1))
    }


def dense_scores(train, histories, user, target):
    """The regression without the user whose coefficients k are those of all, and neighbors by cosines of all."""
    x = [m.toarray().astype(float) for m in train.values()]
    p = np.linalg.inv(sum(m @ m.T for m in x) + PENALTY * np.eye(USERS))
    stay = np.arange(USERS) != user
    without = [m[stay] for m in x]
    inverse = np.linalg.inv(sum(m @ m.T for m in without) + PENALTY * np.eye(USERS - 1))
    w = sum(m @ h for m, h in zip(without, histories, strict=True)) @ inverse
    products = np.stack([w @ m for m in without])
    left, near = products[target].copy(), np.zeros(ITEMS)
    for item in range(ITEMS):
        columns = np.stack([m[:, item] for m in x])
        gram = columns @ p @ columns.T
        left[item] += np.linalg.solve(np.eye(len(x)) - gram, gram[:, target]) @ products[:, item]
        for k, (m, h) in enumerate(zip(x, histories, strict=True)):
            for other in np.flatnonzero(h):
                if other != item:
                    shared = m[:, other] @ x[target][:, item]
                    cosine = shared / (np.sqrt(m[:, other].sum() * x[target][:, item].sum()) + retrieval.SHRINKAGE)
                    near[item] += cosine * (1 if k == target else retrieval.OTHERS)
    return left, near


def test_the_best_of_each_search_are_found(train):
    users = np.array([0, 9, 21])
    row, column = lists.pairs(sparse.csr_array(train["buy"][users]))
    taken = {"buy": lists.ones(row[::2], column[::2], (3, ITEMS))}
    of = candidates.histories(train, users, taken)
    fitted = regression.fit(train, PENALTY)
    (found,) = retrieval.find(fitted, of, [retrieval.retriever(train, fitted, "buy")], MOST)
    new, familiar = found["new"].lists, found["familiar"].lists
    popular = np.argsort(-train["buy"].toarray().sum(axis=0, dtype=np.int64), kind="stable")[: MOST // 4]
    for place, user in enumerate(users):
        histories = [m.toarray()[place] for m in of.history.values()]
        met = np.flatnonzero(sum(histories))
        wanted = set(popular.tolist())
        for scores in dense_scores(train, histories, user, 1):
            scores[met] = -np.inf
            wanted |= set(np.argsort(-scores)[:MOST].tolist())
        assert set(new.item[new.row == place].tolist()) == wanted - set(met.tolist())
        known = (histories[0] > 0) & (histories[1] == 0)
        assert familiar.item[familiar.row == place].tolist() == np.flatnonzero(known).tolist()


def test_blocks_and_all_behaviors_at_once_change_nothing(train, monkeypatch):
    fitted = regression.fit(train, PENALTY)
    searches = [retrieval.retriever(train, fitted, b) for b in train]
    of = candidates.histories(train, np.arange(USERS))
    whole = retrieval.find(fitted, of, searches, MOST)
    monkeypatch.setattr(regression, "BLOCK", 7)
    for search, once in zip(searches, whole, strict=True):
        (alone,) = retrieval.find(fitted, of, [search], MOST)
        for part in retrieval.PARTS:
            np.testing.assert_array_equal(alone[part].lists.ptr, once[part].lists.ptr)
            np.testing.assert_array_equal(alone[part].lists.item, once[part].lists.item)
            np.testing.assert_allclose(alone[part].predicted.left, once[part].predicted.left, atol=1e-5)


def test_where_all_is_asked_for_all_that_is_new_is_found(train):
    fitted = regression.fit(train, PENALTY)
    of = candidates.histories(train, np.arange(USERS))
    (found,) = retrieval.find(fitted, of, [retrieval.retriever(train, fitted, "buy")], ITEMS)
    met = train["view"].toarray() + train["buy"].toarray() > 0
    np.testing.assert_array_equal(np.diff(found["new"].lists.ptr), (~met).sum(axis=1))


def test_the_best_columns_of_each_row(monkeypatch):
    scores = np.array([[1.0, 5, 3, 4], [9, 0, -np.inf, 2], [0, 0, 0, 8]])

    def sets(most):
        row, column = retrieval.best(scores, most)
        return [set(column[row == place].tolist()) for place in range(len(scores))]

    assert sets(2)[:2] == [{1, 3}, {0, 3}] and len(sets(2)[2]) == 2 and 3 in sets(2)[2]
    assert sets(9) == [{0, 1, 2, 3}, {0, 1, 3}, {0, 1, 2, 3}]
    many = np.random.default_rng(0).normal(size=(5, 203))
    many[3, 10:] = -np.inf
    for group in (1, 4, 16, 64):
        monkeypatch.setattr(retrieval, "GROUP", group)
        row, column = retrieval.best(many, 12)
        for place, line in enumerate(many):
            wanted = [i for i in np.argsort(-line)[:12] if line[i] > -np.inf]
            assert sorted(column[row == place].tolist()) == sorted(wanted)


def test_only_the_nearest_items_speak(train, monkeypatch):
    """In tiles too: of each item the three largest cosines, itself left out."""
    monkeypatch.setattr(retrieval, "NEAREST", 3)
    monkeypatch.setattr(retrieval, "TILE", 7)
    near = retrieval.retriever(train, regression.fit(train, PENALTY), "buy").near["view"]
    view, buy = (train[b].toarray().astype(float) for b in ("view", "buy"))
    cosine = view.T @ buy / (np.sqrt(np.outer(view.sum(axis=0), buy.sum(axis=0))) + retrieval.SHRINKAGE)
    np.fill_diagonal(cosine, 0)
    for wanted, found in zip(cosine, near.toarray(), strict=True):
        wanted = np.sort(wanted)[-3:]
        np.testing.assert_allclose(np.sort(found[found > 0]), wanted[wanted > 0], rtol=1e-6)
    assert near.has_sorted_indices
