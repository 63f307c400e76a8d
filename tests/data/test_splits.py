"""Validation rules and log splits: disjoint, nothing lost, no look into the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import errors
from mbjax.data import content, splits

SETTINGS = settings(max_examples=40, deadline=None)
NUM_ITEMS = 7
KEYS = st.lists(st.integers(0, 6 * NUM_ITEMS - 1), max_size=40).map(lambda k: np.unique(np.array(k, np.int64)))


def by_behavior(*behaviors):
    return st.fixed_dictionaries({b: KEYS for b in behaviors})


@SETTINGS
@given(keys=KEYS, seed=st.integers(0, 99))
def test_random_one_holds_out_one_pair_of_users_with_two(keys, seed):
    drawn = splits.random_one(keys, NUM_ITEMS, seed)
    assert np.isin(drawn, keys).all()
    users, counts = np.unique(keys // NUM_ITEMS, return_counts=True)
    np.testing.assert_array_equal(drawn // NUM_ITEMS, users[counts >= 2])
    left = np.setdiff1d(keys, drawn)
    np.testing.assert_array_equal(np.unique(left // NUM_ITEMS), users)  # no user loses its last training target
    np.testing.assert_array_equal(drawn, splits.random_one(keys, NUM_ITEMS, seed))


def test_random_one_draws_every_pair_of_a_user():
    keys = np.arange(3, dtype=np.int64)  # user 0, items 0, 1, 2
    assert {int(splits.random_one(keys, NUM_ITEMS, seed)[0]) for seed in range(30)} == {0, 1, 2}


@SETTINGS
@given(
    train=by_behavior("view", "buy"),
    valid=by_behavior("view", "buy"),
    test=by_behavior("view", "buy"),
    inside=by_behavior("view", "buy"),
    rule=st.sampled_from(["file", "file_inside_train", "random_one", "none", "into_train"]),
)
def test_splits_are_disjoint_under_every_rule(train, valid, test, inside, rule):
    original = {b: k.copy() for b, k in train.items()}
    valid, test, notes = splits.separate(train, valid, test)
    assert all("dropped" in note for note in notes)
    try:
        rest, held, _ = splits.hold_out(rule, train, valid, inside, target="buy", num_items=NUM_ITEMS, seed=3)
    except errors.ConfigError:
        needed = {"file": valid, "file_inside_train": inside}[rule]
        assert not any(k.size for k in needed.values())
        return
    for behavior in ("view", "buy"):
        parts = [rest[behavior], held.get(behavior, np.empty(0, int)), test[behavior]]
        joined = np.concatenate(parts)
        assert np.unique(joined).size == joined.size
        np.testing.assert_array_equal(train[behavior], original[behavior])  # arguments are left alone
        if rule == "into_train":
            np.testing.assert_array_equal(rest[behavior], np.sort(np.concatenate([train[behavior], valid[behavior]])))
        elif rule in ("file_inside_train", "random_one"):
            kept = np.sort(np.concatenate(parts[:2]))
            np.testing.assert_array_equal(kept, train[behavior])
        else:
            np.testing.assert_array_equal(rest[behavior], train[behavior])
    assert rule not in ("none", "into_train") or held == {}


def test_known_pairs_are_dropped_counted_and_named():
    train, valid, test = {"buy": np.array([1, 2])}, {"buy": np.array([2, 3, 4])}, {"buy": np.array([1, 2, 4])}
    valid, test, notes = splits.separate(train, valid, test)
    assert valid["buy"].tolist() == [3] and test["buy"].tolist() == [4]
    assert notes == [
        "test.buy: 2 of 3 pairs are also in train.buy and were dropped from test",
        "valid.buy: 1 of 3 pairs are also in train.buy and were dropped from valid",
        "valid.buy: 1 of 2 pairs are also in test.buy and were dropped from valid",
    ]


def test_inside_pairs_that_are_not_in_training_are_left_out_and_named():
    train, inside = {"buy": np.array([1, 2, 3])}, {"buy": np.array([2, 9])}
    rest, held, notes = splits.hold_out("file_inside_train", train, {}, inside, target="buy", num_items=10, seed=0)
    assert rest["buy"].tolist() == [1, 3] and held["buy"].tolist() == [2]
    assert notes == ["valid_inside_train.buy: 1 of 2 pairs are not in train.buy and were left out"]


@pytest.mark.parametrize("rule", ["file", "file_inside_train"])
def test_a_rule_without_pairs_names_the_way_out(rule):
    with pytest.raises(errors.ConfigError, match=f"data.valid={rule} needs .* Choose data.valid=random_one"):
        splits.hold_out(rule, {"buy": np.array([1])}, {}, {}, target="buy", num_items=10, seed=0)


def test_an_unknown_rule_is_named():
    with pytest.raises(errors.ConfigError, match="Did you mean 'random_one'"):
        splits.hold_out("random1", {"buy": np.array([1])}, {}, {}, target="buy", num_items=10, seed=0)


def test_leave_one_out_takes_the_last_target_row():
    user = np.array([0, 1, 0, 0, 1, 2, 0])
    target = np.array([1, 1, 1, 0, 0, 0, 1], bool)
    assert np.flatnonzero(splits.leave_one_out(user, target)).tolist() == [6]  # user 1 has one target row only


@SETTINGS
@given(rows=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30))
def test_leave_one_out_keeps_a_training_target(rows):
    user = np.array([u for u, _ in rows], np.int64)
    target = np.array([t for _, t in rows], bool)
    chosen = splits.leave_one_out(user, target)
    assert not (chosen & ~target).any()
    for u in range(5):
        own = np.flatnonzero((user == u) & target)
        assert np.flatnonzero(chosen & (user == u)).tolist() == (own[-1:].tolist() if own.size >= 2 else [])


def test_time_cut_at_80_and_90_percent():
    time = np.array([9, 3, 0, 1, 2, 4, 5, 6, 7, 8])
    assert splits.time_cut(time).tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_time_cut_never_divides_one_moment():
    assert splits.time_cut(np.array([0] * 7 + [5] * 3)).tolist() == [0] * 7 + [2] * 3
    assert splits.time_cut(np.array([5, 5, 5])).tolist() == [2, 2, 2]
    assert splits.time_cut(np.array([])).tolist() == []


@SETTINGS
@given(time=st.lists(st.integers(-20, 20) | st.floats(-20, 20), min_size=1, max_size=60))
def test_time_cut_is_monotone(time):
    time = np.array(time)
    part = splits.time_cut(time)
    order = np.argsort(time, kind="stable")
    assert (np.diff(part[order].astype(int)) >= 0).all()
    assert np.unique(np.stack([time, part]), axis=1).shape[1] == np.unique(time).size  # one moment, one split
    assert (part == 0).sum() <= 0.8 * time.size + 1e-6
    if np.unique(time).size == time.size:
        assert (part == 0).sum() == int(0.8 * time.size + 1e-9)
        assert (part == 2).sum() == time.size - min(int(0.9 * time.size + 1e-9), time.size - 1)


def test_keys_are_pairs():
    assert content.pairs_of(np.array([0, 8, 20]), NUM_ITEMS).tolist() == [[0, 0], [1, 1], [2, 6]]


@SETTINGS
@given(train=by_behavior("view", "cart", "buy"), seed=st.integers(0, 99), share=st.floats(0.05, 1.0))
def test_subsample_keeps_a_share_of_the_named_behaviors(train, seed, share):
    kept, notes = splits.subsample(train, {"view": share}, target="buy", seed=seed)
    assert kept["cart"] is train["cart"] and kept["buy"] is train["buy"]
    assert np.isin(kept["view"], train["view"]).all() and (np.diff(kept["view"]) > 0).all()
    size = train["view"].size
    assert kept["view"].size == min(size, max(1, round(share * size)))
    assert notes == [f"train.view: {kept['view'].size} of {size} pairs are used (data.subsample)"]
    # A smaller share keeps a part of it, and what else is drawn changes nothing.
    less, _ = splits.subsample(train, {"cart": 0.5, "view": share / 2}, target="buy", seed=seed)
    assert np.isin(less["view"], kept["view"]).all()


def test_subsample_is_drawn_by_seed_and_behavior():
    keys = np.arange(1000, dtype=np.int64)
    train = {"view": keys, "cart": keys, "buy": keys}

    def drawn(seed):
        return splits.subsample(train, {"view": 0.5, "cart": 0.5}, target="buy", seed=seed)[0]

    first, second = drawn(0), drawn(1)
    np.testing.assert_array_equal(drawn(0)["view"], first["view"])
    for one, other in ((first["view"], second["view"]), (first["view"], first["cart"])):
        assert 200 < np.isin(one, other).sum() < 300  # as independent halves: 250, standard deviation 8
    assert abs(first["view"].mean() - keys.mean()) < 40  # of 500 drawn: standard deviation 9


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"buy": 0.5}, "data.subsample=buy=0.5: 'buy' is the target, whose pairs are all used"),
        ({"veiw": 0.5}, "unknown behavior in data.subsample 'veiw'. Did you mean 'view'"),
        ({"view": 0.0}, "data.subsample=view=0.0: a share is above 0 and at most 1"),
        ({"view": 50}, "data.subsample=view=50: a share is above 0"),
    ],
)
def test_a_subsample_that_does_not_fit_is_refused(shares, message):
    train = {"view": np.arange(4), "buy": np.arange(4)}
    with pytest.raises(errors.ConfigError, match=message):
        splits.subsample(train, shares, target="buy", seed=0)


def test_validation_pairs_leave_all_behaviors():
    train = {"view": np.array([1, 2, 3]), "cart": np.array([7]), "buy": np.array([4])}
    valid = {"buy": np.array([2, 7, 9]), "view": np.array([8])}
    rest, notes = splits.leave_everywhere(train, valid)
    assert {name: keys.tolist() for name, keys in rest.items()} == {"view": [1, 3], "cart": [], "buy": [4]}
    assert [note.partition(" validation")[0] for note in notes] == ["train.view: 1", "train.cart: 1"]
    rest, notes = splits.leave_everywhere(train, {})
    assert not notes and all(rest[name].tolist() == keys.tolist() for name, keys in train.items())
