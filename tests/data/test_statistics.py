"""Counts, patterns and leaks: worked by hand on a small set, and against the prepared folders' own measurements."""

from __future__ import annotations

import importlib.util
import json
import warnings

import numpy as np
import pytest
import usual
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import data, errors, experiment
from mbjax.data import __main__ as program
from mbjax.data import options, statistics

# 4 users, 5 items. User 3 has no view; item 4 is bought in test only.
PAIRS = {
    "train": {
        "view": [(0, 0), (0, 1), (0, 2), (1, 0), (2, 3)],
        "cart": [(0, 1), (3, 2)],
        "buy": [(0, 1), (1, 1), (3, 2)],
    },
    "valid": {"buy": [(1, 0)]},
    "test": {"cart": [(2, 3)], "buy": [(0, 2), (2, 3), (3, 4)]},
}


@pytest.fixture
def small():
    return data.assemble("small", 4, 5, ("view", "cart", "buy"), PAIRS)


def test_counts_by_hand(small):
    rows = {(row.split, row.behavior): row for row in statistics.counts(small)}
    assert list(rows) == [
        ("train", "view"),
        ("train", "cart"),
        ("train", "buy"),
        ("train", "(any)"),
        ("valid", "buy"),
        ("test", "cart"),
        ("test", "buy"),
        ("test", "(any)"),
    ]
    view = rows["train", "view"]
    assert (view.pairs, view.users, view.items) == (5, 3, 4)
    assert view.density == 5 / 20
    assert view.mean_per_user == pytest.approx(5 / 3)
    assert view.per_user == (1, 1, 1, 3, 3, 3)  # lengths 1, 1, 3
    union = rows["train", "(any)"]
    assert (union.pairs, union.users, union.items) == (7, 4, 4)
    assert (rows["test", "(any)"].pairs, rows["test", "(any)"].users) == (3, 3)


def test_patterns_by_hand(small):
    # train: (0,0) 100, (0,1) 111, (0,2) 100, (1,0) 100, (1,1) 001, (2,3) 100, (3,2) 011
    assert statistics.patterns(small) == {"001": 1, "011": 1, "100": 4, "111": 1}
    # with the held-out pairs (0,2) and (1,0) become 101, (2,3) becomes 111, (3,4) is new
    expected = {"001": 2, "011": 1, "100": 1, "101": 2, "111": 2}
    assert statistics.patterns(small, ("train", "valid", "test")) == expected
    assert statistics.patterns(small, ("valid",)) == {"001": 1}


def test_leaks_by_hand(small):
    rows = {(row.split, row.behavior): row for row in statistics.leaks(small)}
    assert list(rows) == [("valid", "buy"), ("test", "cart"), ("test", "buy")]
    assert rows["valid", "buy"].under == {"view": 1, "cart": 0}
    cart = rows["test", "cart"]
    assert (cart.under, cart.new_items, cart.unseen_items, cart.new_users) == ({"view": 1, "buy": 0}, 1, 0, 1)
    buy = rows["test", "buy"]
    assert (buy.pairs, buy.under, buy.visited) == (3, {"view": 2, "cart": 0}, 2)
    assert buy.shares == {"view": pytest.approx(2 / 3), "cart": 0.0} and buy.visited_share == pytest.approx(2 / 3)
    assert (buy.new_items, buy.unseen_items, buy.new_users) == (2, 1, 1)


def test_repeats_by_hand():
    """Pairs of the files that stand in training too are no held-out pairs, but they are counted."""
    pairs = PAIRS | {"test": {"buy": [(0, 1), (0, 2), (2, 3), (3, 2)], "cart": [(0, 1)]}}
    found = data.assemble("small", 4, 5, ("view", "cart", "buy"), pairs)
    assert found.repeated == {"valid": {}, "test": {"cart": 1, "buy": 2}}
    rows = {(row.split, row.behavior): row for row in statistics.leaks(found)}
    assert set(rows) == {("valid", "buy"), ("test", "buy")}  # of carts nothing is left
    assert (rows["test", "buy"].pairs, rows["test", "buy"].repeats, rows["test", "buy"].repeat_share) == (2, 2, 0.5)
    assert (rows["valid", "buy"].repeats, rows["valid", "buy"].repeat_share) == (0, 0.0)
    # Where the files' validation pairs are not used, they repeat nothing.
    pairs |= {"valid": {"buy": [(0, 1), (1, 0)]}}
    for rule, repeated in (("file", {"buy": 1}), ("random_one", {}), ("none", {})):
        made = data.assemble("small", 4, 5, ("view", "cart", "buy"), pairs, choice=options.Options(valid=rule))
        assert made.repeated["valid"] == repeated


def test_one_behavior_has_nothing_to_leak_from():
    pairs = {"train": {"buy": [(0, 0), (1, 1)]}, "test": {"buy": [(0, 1)]}}
    only = data.assemble("only", 2, 2, ("buy",), pairs, choice=options.Options(valid="none"))
    (row,) = statistics.leaks(only)
    assert (row.under, row.visited, row.visited_share, row.new_items) == ({}, 0, 0.0, 0)
    assert statistics.patterns(only) == {"1": 2}
    assert [row.behavior for row in statistics.counts(only)] == ["buy", "buy"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(("train", "test")), st.integers(0, 2), st.integers(0, 3), st.integers(0, 4)),
        max_size=60,
    )
)
def test_agrees_with_sets(rows):
    """Patterns and leaks, against Python sets of pairs."""
    names = ("a", "b", "c")
    sets = {split: {b: set() for b in names} for split in ("train", "test")}
    for split, k, user, item in [*rows, *(("train", k, 3, 4) for k in range(3))]:
        sets[split][names[k]].add((user, item))
    for b in names:
        sets["test"][b] -= sets["train"][b]
    pairs = {split: {b: sorted(found) for b, found in of.items()} for split, of in sets.items()}
    made = data.assemble("drawn", 4, 5, names, pairs, choice=options.Options(valid="none"))
    everything = set().union(*sets["train"].values())
    digits = ["".join(str(int(pair in sets["train"][b])) for b in names) for pair in everything]
    assert statistics.patterns(made) == {d: digits.count(d) for d in sorted(set(digits))}
    assert sum(statistics.patterns(made).values()) == len(everything)
    for row in statistics.leaks(made):
        held = sets["test"][row.behavior]
        others = {b: sets["train"][b] for b in names if b != row.behavior}
        assert row.under == {b: len(held & found) for b, found in others.items()}
        assert row.visited == len(held & set().union(*others.values()))
        assert row.new_items == sum(item not in {i for _, i in sets["train"][row.behavior]} for _, item in held)


def test_describe_carries_the_data_sets_facts(small):
    found = statistics.describe(small)
    assert (found.name, found.num_users, found.num_items, found.target) == ("small", 4, 5, "buy")
    assert (found.fingerprint, found.valid_rule, found.notes) == (small.fingerprint, small.valid_rule, small.notes)
    assert set(found.patterns) == {"train", "all"}


@pytest.fixture
def folder(tmp_path, small):
    """The small set as a prepared folder."""
    counts = {s: {b: {"pairs": len(rows)} for b, rows in of.items()} for s, of in PAIRS.items()}
    meta = {"name": "small", "n_users": 4, "n_items": 5, "behaviors": ["view", "cart", "buy"], "target": "buy"}
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "meta.json").write_text(json.dumps(meta | {"counts": counts}))
    for split, of in PAIRS.items():
        for behavior, rows in of.items():
            text = "".join(f"{user}\t{item}\n" for user, item in rows)
            (tmp_path / "small" / f"{split}.{behavior}.tsv").write_text(text)
    return tmp_path / "small"


def test_program_prints_tables(folder, capsys, small):
    assert program.main([str(folder), "--no-anchors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    out = "\n".join(lines)
    for text in ("small: 4 users x 5 items, target buy", small.fingerprint, "view+cart+buy", "66.7%", "train.(any)"):
        assert text in out
    assert ["test.buy", "3", "66.7%", "33.3%", "0.0%"] in [line.split() for line in lines]
    assert any(line.startswith("test.buy: 67% of what is held out was met before, by view.") for line in lines)
    assert "without learning" not in out
    assert max(len(line) for line in lines if not line.endswith(".")) <= 80  # sentences end in a point


@pytest.mark.exhaustive
def test_program_prints_what_needs_no_learning(folder, capsys, small):
    """On validation pairs, unless test pairs are asked for: the same numbers as from Python."""
    seen = {}
    for words, split in (([], "valid"), (["--split=test"], "test")):
        expected = dict(experiment.without_learning(small, split, 5))
        assert program.main([str(folder), "--json", *words]) == 0
        found = json.loads(capsys.readouterr().out)["anchors"]
        assert (found["split"], found["k"], found["missing"]) == (split, 5, "")
        assert found["tables"] == json.loads(json.dumps(expected))
        seen[split] = found["tables"]["own_items"]
    assert list(seen["valid"]) == ["buy"] and list(seen["test"]) == ["cart", "buy"]
    assert program.main([str(folder)]) == 0
    out = capsys.readouterr().out
    table = out[out.index("Lists without learning, on validation pairs (test pairs are for the model that") :]
    # User 1 viewed item 0, which he bought: it is the only one that he met otherwise.
    assert "own_items, conversion 1.0000 1.0000" in table
    assert "buy: a model has to be ahead of own_items (NDCG@5 1.0000)." in table


def test_program_says_where_there_is_nothing_to_measure(folder, capsys):
    assert program.main([str(folder), "--valid=none"]) == 0
    out = capsys.readouterr().out
    assert "There are none: data.valid=none holds none out. Choose another data.valid (--split=test measures" in out
    assert program.main([str(folder), "--valid=none", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["anchors"]
    assert found["tables"] == {} and found["missing"].startswith("There are none: data.valid=none")


def test_the_split_is_that_of_training(folder, capsys):
    """What the file of a data set says of its split holds here as well."""
    folder.rename(folder.parent / "retail_rocket")
    for words, visited in (([], 0), (["--valid_leaves=same_behavior"], 1)):
        argv = ["retail_rocket", f"--data-dir={folder.parent}", "--valid=file", "--no-anchors", "--json", *words]
        assert program.main(argv) == 0
        rows = json.loads(capsys.readouterr().out)["leaks"]
        assert [row["visited"] for row in rows if row["split"] == "valid"] == [visited]


def test_program_prints_json(folder, capsys):
    argv = ["small", "--json", f"--data-dir={folder.parent}", "--valid=none", "--no-anchors"]
    assert program.main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["anchors"] is None
    assert found["valid_rule"] == "none" and found["patterns"]["train"]["100"] == 4
    assert [row["shares"]["view"] for row in found["leaks"] if row["behavior"] == "buy"] == [pytest.approx(2 / 3)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["taoboa"], "Did you mean 'taobao'?"),
        (["demo", "--vaild=none"], "Did you mean '--data.valid'?"),
        (["demo", "--valid=nonee"], "data.valid=nonee"),
        (["demo", "--valid"], "needs a value"),
        (["demo", "jd"], "unexpected 'jd'"),
        (["demo", "--behaviors=veiw,buy"], "Did you mean 'view'?"),
        (["demo", "--split=tset"], "Did you mean 'test'?"),
        ([], "DATASET"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(argv, message, capsys):
    assert program.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_value_that_does_not_fit_is_said_in_plain_words(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("user,item\n")
    assert program.main([str(tmp_path / "x.csv"), "--log.separator=::"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(r"error: data.log.separator=::: must be one character, \t for a tab.")


def measured(folder):
    """The folder as a data set without validation, its meta.json, and the module stats.py that lies beside it."""
    script = folder.parent / "stats.py"
    if not script.is_file():
        pytest.skip(f"no stats.py in {folder.parent}")
    spec = importlib.util.spec_from_file_location("stats", script)
    stats = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stats)
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    pairs = {s: {b: stats.load(folder / f"{s}.{b}.tsv.gz") for b in of} for s, of in meta["counts"].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)
        return data.load(folder, options.Options(valid="file" if "valid" in pairs else "none")), meta, pairs, stats


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", usual.cases(["jd", "taobao", "retail_rocket", "ub_no_click"], {"jd", "retail_rocket"}.__contains__)
)
def test_real_data_is_as_measured(real_data, name):
    dataset, meta, pairs, stats = measured(real_data(name))
    found = statistics.describe(dataset)
    for row in found.counts:
        if row.behavior != statistics.UNION:
            published = meta["counts"][row.split][row.behavior]
            assert (row.pairs, row.users, row.items) == tuple(published[key] for key in ("pairs", "users", "items"))
    meta = meta | {"behaviors": list(found.behaviors)}  # without those that have no training pairs
    for label, splits in (("train", ["train"]), ("all", list(pairs))):
        expected, _ = stats.patterns(meta, pairs, splits)
        assert found.patterns[label] == expected
    (row,) = [row for row in found.leaks if (row.split, row.behavior) == ("test", found.target)]
    facts = meta["measured"]
    assert row.under == {b: facts["test_target_pairs_also_in"][f"train.{b}"] for b in row.under}
    assert row.new_items == facts["test_target_pairs_with_item_unseen_in_train_target"]
    assert row.new_users == facts["test_target_users_without_train_target"]
    if name in ("taobao", "retail_rocket"):  # elsewhere the measurement includes behaviors that are left out here
        assert row.unseen_items == facts["test_target_pairs_with_item_unseen_in_any_train"]


@pytest.mark.realdata
def test_taobao_leaks_its_test_pairs(real_data):
    found = statistics.leaks(data.load(real_data("taobao"), options.Options(valid="file_inside_train")))
    test = found[-1]
    assert (test.split, test.pairs, test.under) == ("test", 15_449, {"view": 12_650, "cart": 3_381})
    assert (test.visited, test.pairs - test.visited) == (13_163, 2_286)


def test_histogram_counts_every_pair_once():
    made = data.assemble("wide", 3, 4, ("a", "b"), {"train": {"a": np.argwhere(np.ones((3, 4))), "b": [(2, 3)]}})
    assert sum(statistics.patterns(made).values()) == 12
