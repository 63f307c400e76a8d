"""A user's own log: cleaning, minimum counts, splits and presets."""

from __future__ import annotations

import re
import warnings

import numpy as np
import oracle
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mbjax
from mbjax import config, data, errors
from mbjax.data import coding, dataset, log


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
        "log: 8 rows (5 used), 3 users (2 used), 2 items; 1 row of other behaviors left out (share 1); "
        "1 repeated row left out; require_target_train=true dropped 1 row of 1 user",
    )
    assert [(d.what, d.field, d.ids.ids.tolist()) for d in found.dropped] == [
        ("user", "data.log.require_target_train", ["eve"])
    ]
    ready = dataset.prepare(found)
    assert (ready.valid_rule, ready.mask_valid) == ("random_one", True)


def test_times_that_do_not_tell_the_last_row_are_said(tmp_path):
    """Of days, say: bob bought twice on day 5, and what stands later in the file is taken for his last."""
    rows = [
        ("bob", "tie", "buy", 5),
        ("ann", "hat", "buy", 3),
        ("bob", "hat", "buy", 5),
        ("ann", "tie", "buy", 4),
        ("ann", "hat", "view", 4),
        ("eve", "hat", "buy", 5),
    ]
    found = read(tmp_path, rows)
    assert raw_pairs(found, "test") == {("bob", "hat", "buy"), ("ann", "tie", "buy")}
    assert found.notes[1] == (
        "log: 1 of 2 users with a test pair have two rows of 'buy' at the time of the last; what stands later in the "
        "file is the test pair"
    )
    assert not any("time of the last" in note for note in read(tmp_path, rows, time=None).notes)  # rows are in order
    rows[0] = ("bob", "tie", "buy", 4)
    assert not any("time of the last" in note for note in read(tmp_path, rows).notes)


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
    found = read(tmp_path, rows, preset="bvae")
    assert raw_pairs(found, "train") == {(f"u{t % 2}", t, "buy" if t % 3 else "view") for t in range(8)}
    assert raw_pairs(found, "test") == {("u0", 99, "buy")}
    assert raw_pairs(found, "valid") == set()  # the user "new" has no training target
    assert found.users.ids.tolist() == ["u0", "u1"]
    assert "require_target_train=true dropped 1 row of 1 user" in found.notes[0]
    assert found.notes[1] == "log: cut before 8 and before 9: 80.0% / 10.0% / 10.0% of the rows"


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


def test_how_is_counted_where_nothing_is_counted_for_is_said(tmp_path):
    rows = [("ann", "hat", "buy", 1), ("ann", "tie", "buy", 2), ("ann", "tie", "view", 1)]
    for least, times in ((0, 1), (1, 0)):
        found = read(tmp_path, rows, min_count_on="union", min_item_count=least)
        assert sum("min_count_on=union is not used" in note for note in found.notes) == times


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 3}, r"no row is left to split. .* min_count=3 dropped 3 rows of 2 users and 2 items"),
        ({"split": "time_80_10_10"}, "3 of 3 rows have the time 1, .* Choose --data.log.split=leave_one_out"),
        ({"behaviors": ("buy", "view"), "split": "leave_one_out"}, None),
        (
            {"behaviors": ("view", "buy"), "split": "time_80_10_10", "time": "late"},
            "no user has a training pair of .*'buy'",
        ),
    ],
)
def test_a_log_of_which_nothing_is_left_says_why(tmp_path, options, message):
    rows = [("a", 1, "buy", 1), ("a", 2, "buy", 1), ("b", 2, "view", 1)]
    if options.pop("time", None):
        rows = [("a", k, "view", k) for k in range(9)] + [("a", 1, "buy", 10)]
    if message is None:
        assert read(tmp_path, rows, **options).users.ids.tolist() == ["b"]
        return
    with pytest.raises(errors.DataError, match=f"nothing is left to train on: {message}"):
        read(tmp_path, rows, **options)


def test_an_empty_log(tmp_path):
    (tmp_path / "empty.csv").write_text("user,item,behavior,time\n")
    with pytest.raises(errors.DataError, match="empty.csv: holds a header and no rows"):
        log.read(tmp_path / "empty.csv", data.LogOptions(behaviors=("buy",)))


def test_whom_the_log_lost_is_said_and_kept(tmp_path):
    rows = [(f"u{k:02d}", i, b, i) for k in range(12) for i in range(4) for b in ("view", "buy")]
    rows += [(f"w{k:03d}", i, "view", i) for k in range(200) for i in range(6)]
    rows += [("u00", k, "Buy", k) for k in range(50)] + [("only", 1, "Buy", 1)]
    found = read(tmp_path, rows)
    assert found.notes == (
        "log: 1,347 rows (96 used), 213 users (12 used), 50 items (4 used); 51 rows of other behaviors left out "
        "(Buy 51, much like 'buy'), all of 1 user and 44 items; require_target_train=true dropped 1,200 rows of "
        "200 users and 2 items",
    )
    ready = dataset.prepare(found)
    assert [(d.what, d.field, len(d.ids)) for d in ready.dropped] == [
        ("user", "data.log.behaviors", 1),
        ("item", "data.log.behaviors", 44),
        ("user", "data.log.require_target_train", 200),
        ("item", "data.log.require_target_train", 2),
    ]
    with pytest.raises(errors.DataError) as caught:
        ready.user_index(["u01", "w001"])
    assert str(caught.value) == (
        "user 'w001' is in the log, but was dropped by data.log.require_target_train=true (no training pair of 'buy'). "
        "Train with another data.log.require_target_train to keep such users."
    )
    with pytest.raises(
        errors.DataError, match="item '30' is in the log, but was dropped by data.log.behaviors=view,buy "
    ):
        ready.item_index([3, 30])
    with pytest.raises(errors.DataError, match="user 'w999' is not in the data set. The nearest of its 12 ids"):
        ready.user_index(["w999"])
    assert ready.user_index(["u11", "u00"]).tolist() == [11, 0]


def coarse_days():
    """Three days: the rows at 80 % and at 90 % of the log are of one day."""
    drawn = np.random.default_rng(3)
    kinds, users, items = drawn.random(1000) < 0.4, drawn.integers(0, 20, 1000), drawn.integers(0, 40, 1000)
    return [
        (f"u{users[k]}", f"i{items[k]}", ("view", "buy")[int(kinds[k])], f"2024-03-0{1 + k % 3}") for k in range(1000)
    ]


def no_purchase_in_the_window():
    return [
        (f"u{k % 8}", f"i{(k * 7) % 23}", "buy" if k % 5 == 0 and not 150 <= k < 185 else "view", k) for k in range(200)
    ]


def test_a_time_split_without_a_window_stops_and_names_the_day(tmp_path):
    found = read(tmp_path, coarse_days(), split="time_80_10_10")
    shares = r"\d+\.\d% / 0\.0% / \d+\.\d% of the rows \(rows of one time are not divided\)"
    assert re.fullmatch(f"log: cut before 2024-03-03 and before 2024-03-03: {shares}", found.notes[1])
    with pytest.raises(errors.ConfigError) as caught:
        dataset.prepare(found)
    assert str(caught.value) == (
        "shop: no validation pairs: the rows at 80 % and at 90 % of the log have the same time 2024-03-03. Choose "
        "--data.valid=random_one or none."
    )
    drawn = dataset.prepare(found, data.Options(valid="random_one"))
    assert drawn.valid_rule == "random_one" and drawn.valid["buy"].nnz == 20
    assert "valid.buy: one training pair of each of 20 users, drawn with data.seed=0" in drawn.notes


def test_a_window_without_the_target_is_validated_on_all_the_same(tmp_path):
    found = read(tmp_path, no_purchase_in_the_window(), split="time_80_10_10")
    ready = dataset.prepare(found)
    held = found.pairs("valid", "view")
    assert ready.valid_rule == "file" and list(ready.valid) == ["view"] and ready.valid["view"].nnz == len(held) > 0
    assert f"valid: no pairs of the target 'buy', only view ({len(held)})" in ready.notes
    unused = dataset.prepare(found, data.Options(valid="none"))
    assert f"valid: {len(held)} validation pairs of shop are not used (data.valid=none)" in unused.notes


def test_why_nothing_can_be_tested_is_kept(tmp_path):
    once = dataset.prepare(read(tmp_path, [("a", "x", "buy", 1), ("b", "y", "buy", 2), ("b", "x", "view", 2)]))
    assert once.empty["test"].startswith(
        "no user has two pairs of 'buy', of which data.log.split=leave_one_out tests the"
    )
    assert once.empty["test"].endswith("Choose --data.log.split=time_80_10_10")
    assert once.empty["valid"].startswith("no user has two training pairs of 'buy', of which data.valid=random_one")
    rows = [("old", k, "buy", k) for k in range(16)] + [("new", k, "buy", k) for k in range(16, 20)]
    later = read(tmp_path, rows, split="time_80_10_10", behaviors=("buy",))
    assert later.empty["test"].startswith("the 2 rows from 18 on are of users without a training pair of 'buy'")
    assert later.empty["valid"].startswith("the 2 rows from 16 to before 18 are of users without")
    with pytest.raises(errors.ConfigError, match="shop: no validation pairs: the 2 rows from 16 to before 18"):
        dataset.prepare(later)
    assert dataset.prepare(read(tmp_path, [("a", k, "buy", k) for k in range(4)], behaviors=("buy",))).empty == {}


@pytest.mark.parametrize("model", ["bvae", "popularity"])
def test_a_run_that_cannot_be_tested_names_cause_and_remedy(tmp_path, model):
    path = written(tmp_path, [("a", "x", "buy", 1), ("b", "y", "buy", 2), ("a", "y", "view", 1), ("b", "x", "view", 1)])
    settings = mbjax.load_config(model, path, overrides={"log.behaviors": "view,buy"})
    with pytest.raises(errors.ConfigError) as caught:
        mbjax.train_run(settings, tmp_path / "run")
    assert str(caught.value) == (
        "split 'test' of data set 'shop' holds no pairs: no user has two pairs of 'buy', of which "
        "data.log.split=leave_one_out tests the last. Choose --data.log.split=time_80_10_10."
    )


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        ("random_one", "no user has two training pairs of 'buy', of which data.valid=random_one holds one out. Choose"),
        ("none", "data.valid=none holds none out. Choose another data.valid, or --protocol=paper."),
    ],
)
def test_a_run_that_cannot_be_validated_names_cause_and_remedy(tmp_path, valid, message):
    path = written(tmp_path, [(u, i, "buy", i) for u in "ab" for i in range(2)])
    settings = mbjax.load_config("bvae", path, overrides={"log.behaviors": "buy", "data.valid": valid})
    with pytest.raises(
        errors.ConfigError, match="selects the epoch on validation pairs, and there are none: "
    ) as caught:
        mbjax.train_run(settings, tmp_path / "run")
    assert message in str(caught.value)


def test_a_preset_and_a_field_that_says_otherwise(tmp_path):
    rows = [("a", k, "buy", k) for k in range(20)]
    with pytest.raises(
        errors.ConfigError, match="deduplicate=false: data.log.preset=bvae sets deduplicate=true. Leave"
    ):
        read(tmp_path, rows, preset="bvae", deduplicate=False)
    with pytest.raises(errors.ConfigError, match="split=leave_one_out: data.log.preset=bvae sets split=time_80_10_10"):
        log.resolve(config.LogConfig(preset="bvae", split="leave_one_out"))
    assert log.resolve(config.LogConfig(preset="bvae", deduplicate=True)).split == "time_80_10_10"
    for preset, least in (("bvae_ub", 10), ("bvae_jd", 20)):
        resolved = log.resolve(data.LogOptions(preset=preset))
        assert (resolved.min_item_count, resolved.min_user_count, resolved.min_count_on) == (least, 5, "target")


IDS = st.sampled_from(["a", "b", "c", "d", "e"])
OPTIONS = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["leave_one_out", "time_80_10_10"]),
        "deduplicate": st.booleans(),
        "min_count": st.sampled_from([0, 0, 1, 2, 3]),
        "min_user_count": st.sampled_from([None, None, 0, 1, 2]),
        "min_item_count": st.sampled_from([None, None, 0, 1, 2]),
        "min_count_on": st.sampled_from(["target", "union"]),
        "min_count_iterative": st.booleans(),
        "require_target_train": st.booleans(),
    }
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(IDS, st.integers(0, 9), st.sampled_from(["view", "buy", "buy", "Buy"]), st.integers(0, 30)),
        min_size=1,
        max_size=70,
    ),
    options=OPTIONS,
)
def test_against_an_oracle_in_plain_python(tmp_path, rows, options):
    rows = [*rows, ("z", 99, "buy", 5), ("z", 99, "view", 5)]
    want = oracle.split_log(rows, ("view", "buy"), **options)
    try:
        found = read(tmp_path, rows, **options)
    except errors.DataError as error:
        assert not want["train"] and "nothing is left to train on: " in str(error)
        return
    assert {split: raw_pairs(found, split) for split in ("train", "valid", "test")} == {
        split: want[split] for split in ("train", "valid", "test")
    }
    assert found.users.ids.tolist() == want["users"] and found.items.ids.tolist() == want["items"]
    step = {"data.log.behaviors": "behaviors", "data.log.require_target_train": "require_target_train"}
    assert {(d.what, step.get(d.field, "min_count")): d.ids.ids.tolist() for d in found.dropped} == want["dropped"]
    assert set(found.empty) == {
        split
        for split in ("valid", "test")
        if not want[split] and (split == "test" or options["split"] != "leave_one_out")
    }
    if options["split"] == "time_80_10_10":
        total = want["windows"].total()
        shares = " / ".join(f"{want['windows'][split] / total:.1%}" for split in ("train", "valid", "test"))
        assert shares in found.notes[1]
        # Never a draw that nobody asked for: the pairs of the window, or an error.
        has_valid = any(want["valid"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.DataWarning)  # there may be no view left
            try:
                assert dataset.prepare(found).valid_rule == "file" and has_valid
            except errors.ConfigError as error:
                assert "no validation pairs" in str(error) or "has no training pairs" in str(error)


def test_a_repeated_pair_that_is_not_dropped_is_not_tested(tmp_path):
    rows = [("a", 1, "buy", 1), ("a", 2, "buy", 2), ("a", 1, "buy", 3)]
    ready = dataset.prepare(read(tmp_path, rows, behaviors=("buy",), deduplicate=False))
    assert ready.test == {} and "test.buy: 1 of 1 pairs are also in train.buy and were dropped from test" in ready.notes


TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
WIDE = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=100, deadline=None)
@given(
    column=st.one_of(
        st.lists(TEXTS, max_size=20).map(lambda v: pl.Series(v, dtype=pl.String)),
        st.lists(TEXTS, max_size=20).map(lambda v: pl.Series(v, dtype=pl.String).cast(coding.texts())),
        st.lists(st.integers(-5, 40), max_size=20).map(lambda v: pl.Series(v, dtype=pl.Int64)),
        st.lists(WIDE, max_size=20).map(lambda v: pl.Series(v, dtype=pl.Int64)),
        st.lists(st.integers(2**64 - 9, 2**64 - 1), max_size=20).map(lambda v: pl.Series(v, dtype=pl.UInt64)),
        st.lists(st.dates(), max_size=20).map(lambda v: pl.Series(v, dtype=pl.Date)),
        st.lists(st.binary(max_size=2), max_size=20).map(lambda v: pl.Series(v, dtype=pl.Binary)),
    )
)
def test_codes_are_places_among_the_sorted_values(column):
    values = sorted(set(column.to_list()))
    codes, distinct = coding.coded(column)
    assert codes.dtype == np.int32 and codes.tolist() == [values.index(v) for v in column.to_list()]
    assert distinct.to_list() == values
    assert distinct.dtype == (pl.String if coding.is_texts(column) else column.dtype)


def test_what_is_coded_while_it_is_read_is_what_is_read_as_a_whole(tmp_path):
    """Parts of a folder, whose texts have a dictionary, beside the same rows in a text file."""
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "user": [f"u{k}" for k in rng.integers(0, 40, 900)],
            "item": [f"i{k}" for k in rng.integers(0, 60, 900)],
            "behavior": np.array(["view", "cart", "buy", "stray"])[rng.integers(0, 4, 900)],
            "time": rng.integers(0, 10**6, 900),
        }
    )
    (tmp_path / "log").mkdir()
    for part, start in enumerate(range(0, 900, 300)):
        rows[start : start + 300].write_parquet(tmp_path / "log" / f"part-{part}.parquet")
    rows.write_csv(tmp_path / "log.csv")
    layout = data.LogOptions(behaviors=("view", "cart", "buy"), min_user_count=2)
    coded, whole = (log.read(tmp_path / name, layout, "log") for name in ("log", "log.csv"))
    assert coded.users.series.dtype == coded.items.series.dtype == pl.String
    assert coded.users == whole.users and coded.items == whole.items and coded.notes == whole.notes
    assert [d.ids for d in coded.dropped] == [d.ids for d in whole.dropped] and coded.dropped
    for split, by_behavior in whole.keys.items():
        for behavior, keys in by_behavior.items():
            np.testing.assert_array_equal(coded.keys[split][behavior], keys)


@pytest.mark.parametrize(("field", "value"), [("user", ""), ("item", "  "), ("behavior", None)])
def test_an_empty_text_of_a_part_is_found_by_its_row(tmp_path, field, value):
    rows = {"user": ["a", "b", "c"], "item": ["x", "y", "z"], "behavior": ["buy"] * 3, "time": [1, 2, 3]}
    rows[field][1] = value
    pl.DataFrame(rows).write_parquet(tmp_path / "part-0.parquet")
    with pytest.raises(errors.DataError, match=f"row 2: column '{field}' is empty"):
        log.read(tmp_path, data.LogOptions(behaviors=("buy",)))


def test_a_category_of_the_users_own_stays_one(tmp_path):
    rows = {"user": ["b", "a", "b"], "item": ["x", "y", "z"], "behavior": ["buy"] * 3, "time": [1, 2, 3]}
    pl.DataFrame(rows).cast({"user": pl.Categorical}).write_parquet(tmp_path / "log.parquet")
    found = log.read(tmp_path / "log.parquet", data.LogOptions(behaviors=("buy",), require_target_train=False))
    assert isinstance(found.users.series.dtype, pl.Categorical) and sorted(found.users.series.to_list()) == ["a", "b"]
    assert not coding.is_texts(found.users.series)
