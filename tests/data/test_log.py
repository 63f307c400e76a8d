"""A user's own log: cleaning, minimum counts, splits and presets."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import data, errors
from mbjax.data import dataset, log


def written(folder, rows, name="shop.csv"):
    path = folder / name
    pl.DataFrame(rows, schema=["user", "item", "behavior", "time"], orient="row").write_csv(path)
    return path


def read(folder, rows, **layout):
    return log.read(written(folder, rows), data.LogOptions(**{"behaviors": ("view", "buy"), **layout}))


def raw_pairs(found, split):
    """(user, item, behavior) of a split in raw ids."""
    return {
        (found.users.ids[u], found.items.ids[i], b) for b in found.behaviors for u, i in found.pairs(split, b).tolist()
    }


def test_leave_one_out_by_hand(tmp_path):
    rows = [
        ("bob", "hat", "buy", 5),  # bob's last target
        ("ann", "hat", "view", 1),
        ("bob", "tie", "buy", 2),
        ("bob", "hat", "view", 9),
        ("ann", "hat", "buy", 3),  # ann's only target stays in training
        ("bob", "tie", "buy", 8),  # a repetition: the first, at 2, is kept
        ("eve", "tie", "view", 4),  # eve has no target
        ("ann", "tie", "share", 4),
    ]
    found = read(tmp_path, rows)
    assert (
        found.name == "shop"
        and found.users.ids.tolist() == ["ann", "bob"]
        and found.items.ids.tolist() == ["hat", "tie"]
    )
    assert raw_pairs(found, "test") == {("bob", "hat", "buy")}
    assert raw_pairs(found, "train") == {
        ("ann", "hat", "view"),
        ("ann", "hat", "buy"),
        ("bob", "tie", "buy"),
        ("bob", "hat", "view"),
    }
    assert found.notes == (
        "log: 8 rows",
        "log: 1 rows of other behaviors left out (share)",
        "log: 1 repeated interactions dropped, the first of each kept",
        "log: require_target_train dropped 1 users, 0 items, 1 rows",
    )
    ready = dataset.prepare(found)
    assert (ready.valid_rule, ready.mask_valid) == ("random_one", True)


def test_users_without_training_target_may_stay(tmp_path):
    rows = [("ann", "hat", "buy", 1), ("eve", "tie", "view", 4)]
    assert len(read(tmp_path, rows).users) == 1
    found = read(tmp_path, rows, require_target_train=False)
    assert found.users.ids.tolist() == ["ann", "eve"] and found.pairs("train", "view").tolist() == [[1, 1]]


def test_the_bvae_recipe_by_hand(tmp_path):
    # Ten distinct interactions at times 0 .. 9: 8 train, 1 valid, 1 test. The repetition at 20 comes after them and is
    # dropped before the cut, else it would move the cut.
    rows = [(f"u{t % 2}", t, "buy" if t % 3 else "view", t) for t in range(8)]
    rows += [("new", 1, "buy", 8), ("u0", 99, "buy", 9), ("u1", 1, "buy", 20)]
    found = read(tmp_path, rows, preset="bvae", split="leave_one_out", deduplicate=False, require_target_train=False)
    assert raw_pairs(found, "train") == {(f"u{t % 2}", t, "buy" if t % 3 else "view") for t in range(8)}
    assert raw_pairs(found, "test") == {("u0", 99, "buy")}
    assert raw_pairs(found, "valid") == set()  # the user "new" has no training target
    assert found.users.ids.tolist() == ["u0", "u1"]
    assert "log: require_target_train dropped 1 users, 0 items, 1 rows" in found.notes


def test_a_time_cut_is_validated_on_its_own_files(tmp_path):
    rows = [("a", i, "buy", i) for i in range(20)]
    ready = dataset.prepare(read(tmp_path, rows, split="time_80_10_10", behaviors=("buy",)))
    assert (ready.valid_rule, ready.mask_valid) == ("file", False)
    assert [m["buy"].indices.tolist() for m in (ready.valid, ready.test)] == [[16, 17], [18, 19]]


def counted(rows, **layout):
    user, item, behavior = np.array(rows).T
    return log.minimum_counts(user, item, behavior, data.LogOptions(**layout), target=1).tolist()


def test_minimum_counts_by_hand():
    # user, item, behavior (1 is the target)
    rows = [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 2, 1), (2, 2, 0), (0, 2, 0)]
    # Target pairs: users 2, 2, 2; items 3, 2, 1. Item 2 goes; then user 2 has one pair left.
    assert counted(rows, min_count=2, min_count_iterative=False) == [True] * 5 + [False, False, False]
    assert counted(rows, min_count=2) == [True] * 4 + [False] * 4
    # The union also has the pair (0, 2), so item 2 has two; (2, 2) counts once though it has two behaviors.
    assert counted(rows, min_count=2, min_count_on="union") == [True] * 8
    assert counted(rows, min_count=3, min_count_on="union", min_count_iterative=False) == [True] + [False] * 7
    assert counted(rows, min_count=0) == [True] * 8


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=60),
    least=st.integers(1, 4),
    on=st.sampled_from(["target", "union"]),
)
def test_minimum_counts_leave_a_core(rows, least, on):
    user, item, behavior = np.array(rows).T
    kept = np.array(counted(rows, min_count=least, min_count_on=on))
    left = {(u, i) for (u, i, b), k in zip(rows, kept, strict=True) if k and (on == "union" or b == 1)}
    for own, at in ((user, 0), (item, 1)):
        assert all(sum(pair[at] == code for pair in left) >= least for code in own[kept])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"behaviors": None}, r"must give the funnel order, the target last. The log has buy \(2\), view \(1\)"),
        ({"behaviors": ("vew", "buy")}, "unknown behavior .* 'vew'. Did you mean 'view'"),
        ({"behaviors": ("buy", "buy")}, "data.log.behaviors=buy,buy names a behavior twice"),
        ({"preset": "bvea"}, "unknown log preset 'bvea'. Did you mean 'bvae'"),
        ({"split": "time"}, "unknown data.log.split 'time'. Did you mean 'time_80_10_10'"),
        ({"min_count_on": "all"}, "unknown data.log.min_count_on 'all'"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        read(tmp_path, [(1, 1, "buy", 1), (1, 2, "buy", 2), (1, 1, "view", 3)], **options)


def test_a_log_of_which_nothing_is_left(tmp_path):
    with pytest.raises(
        errors.DataError, match="nothing is left to train on .*min_count dropped 1 users, 2 items, 2 rows"
    ):
        read(tmp_path, [(1, 1, "buy", 1), (1, 2, "buy", 2)], behaviors=("buy",), min_count=3)
    with pytest.raises(errors.DataError, match="nothing is left to train on"):
        read(tmp_path, [(1, 1, "buy", 1)] * 3, behaviors=("buy",), split="time_80_10_10")
    (tmp_path / "empty.csv").write_text("user,item,behavior,time\n")
    with pytest.raises(errors.DataError, match="empty.csv: holds a header and no rows"):
        log.read(tmp_path / "empty.csv", data.LogOptions(behaviors=("buy",)))


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 9), st.sampled_from(["view", "buy"]), st.integers(0, 30)
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, split=st.sampled_from(["leave_one_out", "time_80_10_10"]), deduplicate=st.booleans())
def test_splits_of_a_log(tmp_path, rows, split, deduplicate):
    rows = [*rows, ("a", 0, "buy", 0), ("a", 0, "view", 0)]
    try:
        found = read(tmp_path, rows, split=split, deduplicate=deduplicate)
    except errors.DataError as error:
        assert "nothing is left" in str(error)
        return
    first, last = {}, {}
    for user, item, behavior, time in sorted(rows, key=lambda row: row[3]):
        first.setdefault((user, item, behavior), time)
        last[user, item, behavior] = time
    parts = [raw_pairs(found, s) for s in ("train", "valid", "test")]
    assert set().union(*parts) <= set(first)
    buyers = {u for u, _, b in parts[0] if b == "buy"}
    assert all(u in buyers for part in parts for u, _, _ in part)
    if deduplicate:
        assert sum(map(len, parts)) == len(set().union(*parts))
    if split == "time_80_10_10":
        times = [[first[key] for key in part] for part in parts]
        if deduplicate:
            for earlier, later in ((0, 1), (1, 2), (0, 2)):
                assert not times[earlier] or not times[later] or max(times[earlier]) < min(times[later])
    else:
        assert not parts[1] and all(b == "buy" for _, _, b in parts[2])
        assert len({u for u, _, _ in parts[2]}) == len(parts[2])
        for user, item, _ in parts[2]:
            held = last[user, item, "buy"]
            assert all(
                (first if deduplicate else last)[key] <= held for key in parts[0] if key[0] == user and key[2] == "buy"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)  # there may be no view left
        ready = dataset.prepare(found)
    for behavior in ready.info.behaviors:
        matrices = [of[behavior].toarray() for of in (ready.train, ready.valid, ready.test) if behavior in of]
        assert (sum(m.astype(int) for m in matrices) <= 1).all()


def test_a_repeated_pair_that_is_not_dropped_is_not_tested(tmp_path):
    rows = [("a", 1, "buy", 1), ("a", 2, "buy", 2), ("a", 1, "buy", 3)]
    ready = dataset.prepare(read(tmp_path, rows, behaviors=("buy",), deduplicate=False))
    assert ready.test == {} and "test.buy: 1 of 1 pairs are also in train.buy and were dropped from test" in ready.notes
