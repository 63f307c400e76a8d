"""Predictions for lists against ridge regressions that are solved anew without the user."""

import listed
import numpy as np
import pytest
from scipy import sparse

from mbjax.features import candidates, lists, regression

PENALTY = 1.5


def refitted(train, user, history, target, item, leave):
    """The prediction for a history [K, I] of a regression that has never seen a user, by ``numpy.linalg.solve``."""
    stay = np.arange(next(iter(train.values())).shape[0]) != user
    x = np.concatenate([m.toarray()[stay].astype(float) for m in train.values()], axis=1)
    number = history.shape[1]
    y = x[:, target * number + item]
    own = [k * number + item for k in range(len(train)) if leave == "all" or k == target]
    rest = np.delete(x, own, axis=1)
    weights = np.linalg.solve(rest.T @ rest + PENALTY * np.eye(rest.shape[1]), rest.T @ y)
    return np.delete(history.ravel(), own) @ weights


def predicted(train, of, target):
    fitted = regression.fit(train, PENALTY)
    rows = regression.rows(of, fitted, 0, len(of.user))
    now, g = regression.products_at(rows, fitted, of.row, of.item)
    history = np.stack([of.of(m) for m in of.history.values()])
    return regression.predictions(now, g, rows.diagonal[of.row], fitted.gram[of.item], history, target), history


def expected(train, of, target, leave):
    histories = np.stack([m.toarray() for m in of.history.values()], axis=1)
    return [refitted(train, of.user[r], histories[r], target, i, leave) for r, i in zip(of.row, of.item, strict=True)]


@pytest.mark.parametrize("target", [0, 2])
def test_predictions_are_those_of_a_fit_without_the_user(train, of, target):
    found, history = predicted(train, of, target)
    np.testing.assert_allclose(found.kept, expected(train, of, target, "own"), atol=1e-4)
    np.testing.assert_allclose(found.left, expected(train, of, target, "all"), atol=1e-4)
    assert found.gain.shape == history.shape


def test_gains_are_those_of_the_regression_without_the_user(train, of):
    """w . X_a, with w = (X x)^T P of the users without him, less the item's own entry."""
    found, history = predicted(train, of, 1)
    for place, (row, item) in enumerate(zip(of.row, of.item, strict=True)):
        stay = np.arange(12) != of.user[row]
        x = [m.toarray()[stay].astype(float) for m in train.values()]
        p = np.linalg.inv(sum(m @ m.T for m in x) + PENALTY * np.eye(11))
        mine = [m.toarray()[row] for m in of.history.values()]
        w = sum(m @ h for m, h in zip(x, mine, strict=True)) @ p
        wanted = [w @ m[:, item] - h[item] for m, h in zip(x, mine, strict=True)]
        np.testing.assert_allclose(found.gain[:, place], wanted, atol=1e-4)
        np.testing.assert_array_equal(history[:, place], [h[item] for h in mine])


@pytest.mark.parametrize("chunk", [regression.CHUNK, 3])
@pytest.mark.parametrize("dense", [0.0, 0.4, 1e6], ids=["dense", "by items", "sparse"])
def test_products_of_some_candidates_are_those_of_all_items(train, of, chunk, dense, monkeypatch):
    """Also of an item that nobody has, and however what was taken out is multiplied."""
    lone = {b: m.tolil() for b, m in train.items()}
    lone["view"][:, 4] = 0
    lone = {b: m.tocsr() for b, m in lone.items()}
    fitted = regression.fit(lone, PENALTY)
    row, item = np.array([0, 0, 2, 1, 2]), np.array([4, 1, 7, 4, 0])
    bare = listed.everything(candidates.histories(lone, of.user))  # nothing is taken out
    for some in (of, bare):
        rows = regression.rows(some, fitted, 1, 4)
        assert (rows.without is None) == (some is bare)
        whole = regression.products(rows, fitted)
        monkeypatch.setattr(regression, "CHUNK", chunk)
        monkeypatch.setattr(regression, "DENSE", dense)
        few = regression.products_at(regression.rows(some, fitted, 1, 4), fitted, row, item)
        for one, other in zip(few, whole, strict=True):
            np.testing.assert_allclose(one, other[:, row, item], atol=1e-5)
        for largest, number in ((10**8, 8), (3 * 12 + 5, 3), (0, 0)):  # of all eight items, of three, of none
            monkeypatch.setattr(regression, "LARGEST", largest)
            shared = regression.spread(fitted, "buy", list(lone))
            assert shared.products.shape == (number, 12)
            again = regression.products_at(regression.rows(some, fitted, 1, 4, shared), fitted, row, item)
            np.testing.assert_allclose(again, few, atol=1e-5)
        inverse = np.asarray(fitted.inverse, np.float64)
        for place, user in enumerate(some.user[1:4]):
            x = [m.toarray().astype(float) for m in lone.values()]
            taken = [m.toarray()[1 + place] for m in some.removed.values()]
            z = np.eye(12)[user] - sum(m @ d for m, d in zip(x, taken, strict=True)) @ inverse
            w = z - z[user] / inverse[user, user] * inverse[user]
            np.testing.assert_allclose(whole.without[:, place], [w @ m for m in x], atol=1e-4)


def test_strangers_and_users_of_the_fit_are_ranked_in_one_block(train, of):
    """The same histories, once of people whom nobody knows: the fit then has the others' pairs and the namesakes'."""
    alone = candidates.strangers(of.history)
    number = len(of.user)
    both = lists.Lists(
        np.concatenate([of.user, alone.user]),
        *(
            {b: sparse.csr_array(sparse.vstack([m[b], n[b]], format="csr")) for b in m}
            for m, n in ((of.history, alone.history), (of.removed, alone.removed))
        ),
        np.arange(2 * number + 1) * 8,
        np.tile(of.item, 2),
    )
    found, _ = predicted(train, both, 2)
    np.testing.assert_allclose(found.kept[: of.item.size], expected(train, of, 2, "own"), atol=1e-4)
    np.testing.assert_allclose(found.left, expected(train, both, 2, "all"), atol=1e-4)  # user -1 leaves nobody out


def test_a_column_of_one_user_says_nothing_of_him():
    """Item 1 was bought by user 0 alone: without him nothing leads to it, and that is finite."""
    train = {"buy": sparse.csr_array(np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1]], np.uint8))}
    taken = {"buy": lists.ones(np.array([0]), np.array([1]), (1, 3))}
    of = candidates.histories(train, np.array([0]), taken)
    of = lists.Lists(of.user, of.history, of.removed, np.array([0, 3]), np.arange(3, dtype=np.int32))
    found, _ = predicted(train, of, 0)
    assert abs(found.kept[1]) < 1e-5 and found.kept[2] > 0.1
