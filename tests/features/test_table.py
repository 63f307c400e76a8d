"""Columns of candidates: counts of the other users, ranks in a list, names in order, nothing of what was taken out."""

import listed
import numpy as np
import pytest
from scipy import sparse

from mbjax.features import candidates, comparing, lists, regression, similarity, table

NAMES = ("view", "cart", "buy")


def made(train, of, target="buy", familiar=True):
    fitted = regression.fit(train, 1.5)
    rows = regression.rows(of, fitted, 0, len(of.user))
    now, g = regression.products_at(rows, fitted, of.row, of.item)
    history = np.stack([of.of(m) for m in of.history.values()])
    place = list(train).index(target)
    predicted = regression.predictions(now, g, rows.diagonal[of.row], fitted.gram[of.item], history, place)
    (near,) = similarity.aggregate(train, [comparing.Asked(of, [target], how=comparing.How(alike=True))])
    return table.table(table.Source(train, table.counts(train), target), of, predicted, near, familiar=familiar)


@pytest.mark.parametrize("familiar", [True, False])
@pytest.mark.parametrize("target", ["view", "buy"])
def test_names_are_those_of_the_columns(train, of, target, familiar):
    columns = made(train, of, target, familiar)
    assert list(columns) == table.names(NAMES, target, familiar=familiar)
    for name, column in columns.items():
        assert column.dtype == np.float32 and column.shape == of.item.shape and np.isfinite(column).all(), name
        assert np.abs(column).max() < 1000, name  # half precision holds it


def test_counts_are_those_of_the_other_users_and_of_what_is_left(train, of):
    columns = made(train, of)
    dense = {b: m.toarray().astype(float) for b, m in train.items()}
    kept = {b: m.toarray() for b, m in of.history.items()}
    for place, (row, item) in enumerate(zip(of.row, of.item, strict=True)):
        others = {b: np.delete(m, of.user[row], axis=0) for b, m in dense.items()}
        wanted = {"touch_view": kept["view"][row, item], "touch_cart": kept["cart"][row, item]}
        for b in NAMES:
            wanted[f"count_item_{b}"] = np.log1p(others[b][:, item].sum())
            wanted[f"count_user_{b}"] = np.log1p(kept[b][row].sum())
        both = others["view"] * others["buy"]
        rate = both.sum() / others["view"].sum()
        wanted["count_rate_item_view_buy"] = np.log(
            (both[:, item].sum() + table.PRIOR * rate) / (others["view"][:, item].sum() + table.PRIOR)
        )
        shared = (kept["view"][row] * kept["buy"][row]).sum()
        wanted["count_rate_user_buy_view"] = shared / (kept["buy"][row].sum() + 1)
        wanted["count_rate_item_buy_per_cart"] = np.log(
            (others["buy"][:, item].sum() + 1) / (others["cart"][:, item].sum() + 5)
        )
        ways = [b for b in ("view", "cart") if kept[b][row, item]]
        if ways:  # of those who met the item in these ways, who bought it; likewise of the user's own items
            met, mine = (
                np.prod([of_all[b] for b in ways], axis=0) for of_all in (others, {b: m[row] for b, m in kept.items()})
            )
            bought = met * others["buy"]
            rate = bought.sum() / met.sum()
            wanted["count_rate_item_touched"] = np.log((bought[:, item].sum() + 10 * rate) / (met[:, item].sum() + 10))
            bought = (mine * kept["buy"][row]).sum()
            wanted["count_rate_user_touched"] = np.log((bought + 2 * rate) / (mine.sum() + 2))
        found = {name: columns[name][place] for name in wanted}
        assert found == pytest.approx(wanted, abs=1e-5), (row, item)


@pytest.mark.parametrize("familiar", [True, False])
@pytest.mark.parametrize("target", ["view", "buy"])
def test_a_known_user_is_ranked_as_by_statistics_without_him(train, target, familiar):
    """With pairs that they do not hold of him, and without some that they do, beside a stranger."""
    rng = np.random.default_rng(5)
    known = np.array([2, -1, 7, 2])
    pairs = {b: sparse.csr_array((rng.random((4, 8)) < 0.5).astype(np.uint8)) for b in NAMES}
    found = made(train, listed.everything(candidates.passive(pairs, train, known)), target, familiar)
    for line, user in enumerate(known):
        others = {b: sparse.csr_array(m * (np.arange(12) != user)[:, None].astype(np.uint8)) for b, m in train.items()}
        alone = candidates.strangers({b: sparse.csr_array(m[[line]]) for b, m in pairs.items()})
        wanted = made(others, listed.everything(alone), target, familiar)
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name][8 * line : 8 * line + 8], values, atol=5e-3, err_msg=name)


def test_who_is_known_with_nothing_new_is_the_user_that_he_is(train):
    users = np.array([0, 5, 9])
    pairs = {b: sparse.csr_array(m[users]) for b, m in train.items()}
    of = candidates.passive(pairs, train, users)
    assert not any(m.nnz for part in (of.added, of.removed) for m in part.values())
    found, wanted = (made(train, listed.everything(one)) for one in (of, candidates.histories(train, users)))
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


def test_ranks_and_standard_scores_are_those_of_a_list(train, of):
    columns = made(train, of)
    for name in ("ease_kept", "near_sum_view_buy", "count_item_buy"):
        x, rank = (columns[key].reshape(len(of.user), -1) for key in (name, f"rank_{name}"))
        for values, found in zip(x, rank, strict=True):
            better = (values[:, None] > values).sum(axis=0)
            np.testing.assert_allclose(np.expm1(found), better, atol=1e-4)
        z = columns[f"rank_z_{name}"].reshape(x.shape)
        spread = np.maximum(x.std(axis=1, keepdims=True), 1e-3)
        np.testing.assert_allclose(z, (x - x.mean(axis=1, keepdims=True)) / spread, atol=2e-3)


@pytest.mark.parametrize("familiar", [True, False])
def test_no_number_knows_what_was_taken_out(train, familiar):
    """Whether a pair was there and taken out, or was never there, is the same in every column."""
    users = np.array([2, 7])
    taken = {b: sparse.csr_array(m[users].astype(np.float32)) for b, m in train.items() if b == "buy"}
    first = made(train, listed.everything(candidates.histories(train, users, taken)), familiar=familiar)
    # One user at a time: the other one's purchases do count.
    for place, user in enumerate(users):
        bare = {b: m.toarray() for b, m in train.items()}
        bare["buy"][user] = 0
        bare = {b: sparse.csr_array(m) for b, m in bare.items()}
        second = made(bare, listed.everything(candidates.histories(bare, np.array([user]))), familiar=familiar)
        for name, column in second.items():
            np.testing.assert_allclose(first[name].reshape(2, -1)[place], column, atol=2e-3, err_msg=name)


def test_a_user_without_anything_left_has_numbers(train):
    everything = {b: sparse.csr_array(m[np.array([3])].astype(np.float32)) for b, m in train.items()}
    of = listed.everything(candidates.histories(train, np.array([3]), everything))
    assert all(not m.nnz for m in of.history.values())
    columns = made(train, of)
    assert all(np.isfinite(column).all() for column in columns.values())
    assert np.abs(columns["ease_kept"]).max() < 1e-3  # nothing known, nothing predicted


def test_familiar_items_are_met_by_another_behavior_and_not_by_the_target(train, of):
    found = candidates.familiar(of, "buy").toarray()
    view, cart, buy = (of.history[b].toarray() for b in NAMES)
    np.testing.assert_array_equal(found, ((view + cart > 0) & (buy == 0)).astype(float))
    np.testing.assert_array_equal(candidates.met(of).toarray(), (view + cart + buy > 0).astype(float))
    # What was taken out of buy alone and is still viewed is familiar again.
    taken = {"buy": lists.ones(*lists.pairs(of.removed["buy"]), of.removed["buy"].shape)}
    again = candidates.histories(train, of.user, taken)
    viewed = again.history["view"].toarray() * taken["buy"].toarray()
    assert viewed.sum() and (candidates.familiar(again, "buy").toarray() >= viewed).all()
