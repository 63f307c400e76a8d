"""Prepared folders: written and read back, checked against their meta.json."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import data, errors
from mbjax.data import __main__ as program
from mbjax.data import content, moments, prepared, times, vocabulary

META = {"name": "toy", "n_users": 3, "n_items": 4, "behaviors": ["buy", "view"], "target": "buy"}


def folder_of(parent, meta=META, **files):
    folder = parent / "toy"
    folder.mkdir()
    (folder / "meta.json").write_text(meta if isinstance(meta, str) else json.dumps(meta))
    for name, text in ({"train__view": "0\t1\n1\t0\n", "train__buy": "2\t3\n"} | files).items():
        (folder / f"{name.replace('__', '.')}.tsv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_target_is_last_whatever_the_order_in_meta(tmp_path):
    found = prepared.read(folder_of(tmp_path, test__buy="0\t0\n"))
    assert found.behaviors == ("view", "buy") and found.name == "toy"
    assert found.pairs("train", "view").tolist() == [[0, 1], [1, 0]]
    assert found.pairs("test", "buy").tolist() == [[0, 0]] and found.pairs("valid", "buy").shape == (0, 2)


def test_files_of_other_names_are_left_alone(tmp_path):
    folder = folder_of(tmp_path, train_time__view="0\t1\t99\n", mbcgcn_holdout__view="x")
    (folder / "README").write_text("hello")
    assert set(prepared.read(folder).keys) == {"train"}


def test_files_need_not_be_gzipped(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "train.buy.tsv.gz").unlink()
    (folder / "train.buy.tsv").write_text("1\t1\n")
    assert prepared.read(folder).pairs("train", "buy").tolist() == [[1, 1]]
    (folder / "train.buy.tsv.gz").write_bytes(gzip.compress(b"1\t1\n"))
    with pytest.raises(errors.DataError, match=r"both train.buy.tsv and train.buy.tsv.gz"):
        prepared.read(folder)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{", "meta.json: not JSON"),
        ("[]", "field 'n_users' is missing"),
        ({k: v for k, v in META.items() if k != "target"}, "field 'target' is missing or no str"),
        (META | {"n_items": "4"}, "field 'n_items' is missing or no int"),
        (META | {"n_users": 0}, "n_users=0, n_items=4 must be 1 to 2147483647"),
        (META | {"target": "pay"}, "must be distinct and hold the target 'pay'"),
        (META | {"behaviors": ["buy", "buy"]}, "must be distinct"),
        (META | {"n_items": 3}, r"train.buy.tsv.gz, line 1: item 3 is out of range; ids go from 0 to 2"),
        (META | {"counts": {"train": {"buy": {"pairs": 2}}}}, r"train.buy.tsv.gz: has 1 pairs, meta.json says 2"),
        (META | {"counts": {"test": {"buy": {"pairs": 2}}}}, r"test.buy.tsv.gz is missing; meta.json counts its pairs"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, meta, message):
    with pytest.raises(errors.DataError, match=message):
        prepared.read(folder_of(tmp_path, meta))


def test_names_of_behaviors_that_no_file_can_have(tmp_path):
    behaviors = ("page view", "a.tsv", "50% off", "buy/now")
    pairs = {"train": {b: [[0, k], [1, k]] for k, b in enumerate(behaviors)}}
    source = content.build("odd", 2, 4, behaviors, pairs)
    prepared.write(source, tmp_path / "odd")
    found = prepared.read(tmp_path / "odd")
    assert found.behaviors == behaviors and found.fingerprint() == source.fingerprint()


def test_a_folder_without_training_files(tmp_path):
    folder = folder_of(tmp_path)
    for path in folder.glob("train*"):
        path.unlink()
    with pytest.raises(errors.DataError, match="holds no train.BEHAVIOR.tsv.gz"):
        prepared.read(folder)


def test_raw_ids_of_another_number(tmp_path):
    folder = folder_of(tmp_path)
    vocabulary.Vocabulary(["a", "b"]).to_parquet(folder / "users.parquet")
    with pytest.raises(errors.DataError, match=r"users.parquet: holds 2 raw ids, meta.json says 3"):
        prepared.read(folder)


PAIR_LISTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=12)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.fixed_dictionaries(
        {s: st.fixed_dictionaries({"view": PAIR_LISTS, "buy": PAIR_LISTS}) for s in content.SPLITS}
    ),
    users=st.lists(st.integers(-99, 99), min_size=3, max_size=3, unique=True),
    items=st.lists(st.text(max_size=5), min_size=4, max_size=4, unique=True),
)
def test_content_comes_back_as_written(tmp_path_factory, pairs, users, items):
    folder = tmp_path_factory.mktemp("prepared") / "toy"
    users, items = vocabulary.Vocabulary(users), vocabulary.Vocabulary(items)
    before = content.build("toy", 3, 4, ("view", "buy"), pairs, users=users, items=items)
    prepared.write(before, folder)
    after = prepared.read(folder)
    assert after.fingerprint() == before.fingerprint()
    assert (after.users, after.items, after.behaviors) == (users, items, before.behaviors)
    for split, of in before.keys.items():
        for behavior, keys in of.items():
            np.testing.assert_array_equal(after.keys[split][behavior], keys)
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize(
    ("numbers", "unit", "written"),
    [([5, 5, 9], "s", "s"), ([-1500, 0, 1_700_000_000_123], "ms", "ms"), ([7, 8, 1_700_000_000_000_001], "us", "us")],
)
def test_times_come_back_as_they_were(tmp_path, numbers, unit, written):
    """Events of a user that the log has, too, are the same ones: whoever compares them wants equal numbers."""
    seconds = np.array(numbers) * times.UNITS[unit]
    events = {"train": {"buy": moments.of(np.array([0, 0, 5]), seconds)}}
    pairs = {"train": {"buy": [[0, 0], [1, 1]]}}
    prepared.write(content.build("toy", 3, 4, ("buy",), pairs, events=events), tmp_path / "toy")
    found = prepared.read(tmp_path / "toy").events["train"]["buy"]
    np.testing.assert_array_equal(found.seconds, seconds)
    np.testing.assert_array_equal(found.keys, [0, 5])
    meta = json.loads((tmp_path / "toy" / "meta.json").read_text())
    assert meta["times"] == {"unit": written, "from": min(numbers[0], 0)}


def test_why_a_split_has_no_pairs_is_kept(tmp_path):
    """A choice that a log leaves to its user is not made by writing it as a folder."""
    source = content.build(
        "toy", 3, 4, ("buy",), {"train": {"buy": [[0, 0], [0, 1]]}, "valid": {"buy": []}}, empty={"valid": "no day"}
    )
    prepared.write(source, tmp_path / "toy")
    for found in (source, prepared.read(tmp_path / "toy")):
        with pytest.raises(errors.ConfigError, match="toy: no validation pairs: no day"):
            data.dataset.prepare(found)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    source = content.build("toy", 3, 4, ("buy",), {"train": {"buy": [[0, 1]]}})
    for name in ("a", "b"):
        prepared.write(source, tmp_path / name)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second and set(first) == {"meta.json", "train.buy.tsv.gz"}


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["jd", "retail_rocket", "taobao", "ub_no_click"])
def test_real_folders_have_the_counts_of_their_meta(real_data, name):
    folder = real_data(name)
    meta = json.loads((folder / "meta.json").read_text())
    found = prepared.read(folder)
    assert (found.num_users, found.num_items) == (meta["n_users"], meta["n_items"])
    assert list(found.behaviors) == meta["behaviors"] and found.notes == ()
    for split, of in meta["counts"].items():
        for behavior, count in of.items():
            pairs = found.pairs(split, behavior)
            sizes = [len(pairs), *(np.unique(column).size for column in pairs.T)]
            assert sizes == [count["pairs"], count["users"], count["items"]], (split, behavior)
    ready = data.load(folder, data.Options(behaviors=found.behaviors, valid="none"))
    for behavior in found.behaviors:
        assert ready.train[behavior].nnz == meta["counts"]["train"][behavior]["pairs"]
        assert behavior not in ready.test or ready.test[behavior].nnz == meta["counts"]["test"][behavior]["pairs"]
    assert not any(
        "were dropped from" in note for note in ready.notes
    )  # no held-out pair is known from its own behavior's training


def test_a_list_of_training_pairs_is_read_where_it_is_asked_for(tmp_path):
    folder = folder_of(tmp_path, train_time__view="0\t1\t99\n", mbcgcn_holdout__view="1\t0\n", train__cart="1\t1\n")
    whole = prepared.read(folder)
    assert whole.hold_out == {}
    found = prepared.read(folder, hold_out="mbcgcn_holdout")
    assert {b: keys.tolist() for b, keys in found.hold_out.items()} == {"view": [4]}
    assert found.pairs("train", "view").tolist() == [[0, 1], [1, 0]]  # left to ``prepare``
    assert found.fingerprint() == whole.fingerprint()
    with pytest.raises(errors.ConfigError, match=r"unknown list of data.hold_out 'holdout'.*mbcgcn_holdout"):
        prepared.read(folder, hold_out="holdout")
    with pytest.raises(errors.ConfigError, match="unknown list of data.hold_out 'train'"):
        prepared.read(folder, hold_out="train")


@pytest.mark.realdata
def test_the_list_of_mbcgcn_leaves_its_own_counts(real_data):
    meta = json.loads((real_data("taobao") / "meta.json").read_text())
    found = data.load(real_data("taobao"), data.Options(valid="none", hold_out="mbcgcn_holdout"))
    # One view and one cart of each of the 15,449 users; buys are all there.
    assert {b: m.nnz for b, m in found.train.items()} == {"view": 858_505, "cart": 180_027, "buy": 92_180}
    for behavior in ("view", "cart"):
        assert found.train[behavior].nnz == meta["counts"]["train"][behavior]["pairs"] - meta["n_users"]


@pytest.mark.parametrize("split", ["leave_one_out", "time_80_10_10"])
def test_a_folder_written_of_a_log_is_the_log(tmp_path, monkeypatch, capsys, split):
    monkeypatch.chdir(tmp_path)
    drawn = np.random.default_rng(4)
    rows = [
        f"u{drawn.integers(9)},{drawn.integers(20)},{('view', 'buy')[n % 3 == 0]},{drawn.integers(-(10**6), 10**6)}"
        for n in range(300)
    ]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,behavior,time", *rows]) + "\n")
    fields = ["--log.behaviors=view,buy", f"--log.split={split}"]
    assert program.main(["log.csv", *fields, "--write=shop"]) == 0
    captured = capsys.readouterr()
    of_log = data.load("log.csv", data.Options(log=data.LogOptions(behaviors=("view", "buy"), split=split)))
    found = data.load(tmp_path / "shop")
    assert captured.err == "" and captured.out.startswith("log: 300 rows (")
    assert captured.out.endswith(f" pairs of 9 users; fingerprint {found.fingerprint[:12]})\n")
    same = ("info", "fingerprint", "users", "items", "valid_rule", "mask_valid", "repeated")
    for field in same:
        assert getattr(found, field) == getattr(of_log, field), field
    for part in ("train", "valid", "test", "unused"):
        before, after = getattr(of_log, part), getattr(found, part)
        assert before.keys() == after.keys() and all((before[b] != after[b]).nnz == 0 for b in before)
    first = min(of.seconds.min() for by in of_log.events.values() for of in by.values())
    assert first < 0 and found.events.keys() == of_log.events.keys()
    for part, by_behavior in of_log.events.items():
        for behavior, of in by_behavior.items():
            after = found.events[part][behavior]
            np.testing.assert_array_equal(after.keys, of.keys)
            np.testing.assert_array_equal(after.ptr, of.ptr)
            np.testing.assert_array_equal(after.seconds, of.seconds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--write=full"], "full: stands there already and is not empty. Choose another name"),
        (["--write=full/x"], "full/x: stands there already and is not empty"),
        (["--write=new", "--json"], "prints no tables; leave out --json"),
        (["--write=new", "--valid=none"], "leave out --valid"),
    ],
)
def test_where_no_folder_is_written(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    assert program.main(["demo", *words]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "new").exists()
