"""The cache of logs: the same data set with and without it, whatever log and options, and what is another entry."""

from __future__ import annotations

import dataclasses
import datetime
import multiprocessing
import os
import warnings

import numpy as np
import polars as pl
import pytest

from mbjax import data, errors
from mbjax.data import __main__ as program
from mbjax.data import binary, content, log, log_cache, moments, vocabulary

LAYOUT = {"behaviors": ("view", "buy")}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A cache of its own, for logs of any size and age."""
    monkeypatch.setenv(log_cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(log_cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(log_cache, "_YOUNG", -1e9)
    return tmp_path / "cache"


def table(seed=0, ids=str, time=int):
    drawn = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user": [ids(n) for n in drawn.integers(0, 12, 300).tolist()],
            "item": [ids(n) for n in drawn.integers(0, 30, 300).tolist()],
            "behavior": drawn.choice(["view", "buy", "share"], 300, p=[0.6, 0.3, 0.1]).tolist(),
            "time": [time(n) for n in drawn.integers(0, 10**6, 300).tolist()],
        }
    )


def written(folder, name="shop.csv", **how):
    path = folder / name
    getattr(table(**how), "write_parquet" if name.endswith("parquet") else "write_csv")(path)
    return path


def plain(value):
    """A value of any kind as one that can be compared, with the types of arrays and columns."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, vocabulary.Vocabulary):
        return str(value.series.dtype), value.series.to_list()
    if hasattr(value, "indptr"):
        return value.shape, *(plain(part) for part in (value.indptr, value.indices, value.data))
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.tobytes()
    if hasattr(value, "items"):
        return [(name, plain(part)) for name, part in value.items()]
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def load(path, cache=True, **layout):
    """The data set, and the notes that are warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", errors.DataWarning)
        choice = data.Options(valid="random_one", cache=cache, log=data.LogOptions(**{**LAYOUT, **layout}))
        ready = data.load(path, choice)
    return plain(ready), [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("form", "layout"),
    [
        ({}, {}),
        ({}, {"split": "time_80_10_10", "require_target_train": False}),
        ({}, {"min_count": 4, "min_count_on": "union", "deduplicate": False}),
        ({}, {"behaviors": ("share", "view", "buy"), "time": None}),
        ({"time": lambda n: n + 0.25}, {}),
        ({"name": "a.parquet", "ids": int, "time": lambda n: -n}, {"preset": "bvae"}),
        (
            {"name": "a.parquet", "ids": lambda n: datetime.date(2020, 1, 1) + datetime.timedelta(n), "time": float},
            {"min_item_count": 3},
        ),
        ({"name": "a.parquet", "ids": lambda n: f"é{n}".encode()}, {"split": "time_80_10_10"}),
    ],
)
def test_a_log_is_the_same_from_the_cache(tmp_path, monkeypatch, capsys, form, layout):
    path = written(tmp_path, **form)
    wanted = load(path, cache=False, **layout)
    assert capsys.readouterr().err == "" and not (tmp_path / "cache").exists()
    assert load(path, **layout) == wanted
    assert capsys.readouterr().err.startswith(f"{path.name}: kept for the next start (0.0 MiB in {tmp_path}")
    monkeypatch.setattr(log, "read", None)
    assert load(path, **layout) == wanted
    assert capsys.readouterr().err.startswith(f"{path.name}: read from the cache of 20")


def test_warnings_of_a_cached_log_are_given_again(tmp_path):
    path = tmp_path / "shop.csv"
    frame = table().filter(pl.col("behavior") != "view")
    late = pl.DataFrame({"user": ["0"], "item": ["0"], "behavior": ["view"], "time": [10**7]})
    pl.concat([frame, late]).write_csv(path)
    found = [load(path, split="time_80_10_10") for _ in range(2)]
    assert found[0] == found[1] and "behavior 'view' has no training pairs" in found[0][1][0]


def test_another_file_or_option_is_another_entry(tmp_path, place, capsys):
    path = written(tmp_path)
    first = load(path)
    state = path.stat()
    text = path.read_text()
    path.write_text(text.replace("share", "shape"))  # of the same size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = load(path)
    assert first != second and "shape" in str(second)
    moved = path.rename(tmp_path / "other.csv")
    assert load(moved)[0]["info"][0] == "other"
    load(moved, min_count=1)
    load(moved, min_count=2)
    assert len(list(place.iterdir())) == 5
    capsys.readouterr()
    load(moved, min_count=2, behaviors=["view", "buy"])
    assert "read from the cache" in capsys.readouterr().err


def test_a_folder_of_parts_is_kept_too(tmp_path, place):
    (tmp_path / "parts").mkdir()
    for part in range(2):
        written(tmp_path / "parts", f"part-{part}.csv", seed=part)
    assert load(tmp_path / "parts") == load(tmp_path / "parts") and len(list(place.iterdir())) == 1
    written(tmp_path / "parts", "part-2.csv", seed=2)
    load(tmp_path / "parts")
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize("harm", [lambda raw: b"", lambda raw: raw[:-9], lambda raw: raw[:50] + b"\x07" + raw[51:]])
def test_a_damaged_entry_is_made_anew(tmp_path, place, capsys, harm):
    path = written(tmp_path)
    wanted = load(path)
    (entry,) = place.iterdir()
    entry.write_bytes(harm(entry.read_bytes()))
    capsys.readouterr()
    assert load(path) == wanted
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"shop.csv: what is kept of it cannot be used, so that it is read anew ({entry})"
    assert second.startswith("shop.csv: kept for the next start")
    assert load(path) == wanted and "read from the cache" in capsys.readouterr().err


def test_what_was_not_used_for_longest_makes_room(tmp_path, place, monkeypatch, capsys):
    path = written(tmp_path)
    for least in range(3):
        load(path, min_count=least)
        newest = max(place.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
        os.utime(newest, (1000 + least, 2000))
    load(path, min_count=0)  # used again
    size = max(entry.stat().st_size for entry in place.iterdir())
    monkeypatch.setattr(log_cache, "MAX_BYTES", 3 * size + 3)
    (place / ".1-2.tmp").write_bytes(b"half")
    os.utime(place / ".1-2.tmp", (0, 0))
    load(path, min_count=3)
    capsys.readouterr()
    for least, is_kept in ((3, True), (2, True), (0, True), (1, False)):
        load(path, min_count=least)
        assert ("read from" in capsys.readouterr().err) == is_kept, least
    assert len(list(place.iterdir())) == 3
    monkeypatch.setattr(log_cache, "MAX_BYTES", 10)
    load(path, deduplicate=False)
    assert "is not kept for the next start (more than 0.0 MiB)" in capsys.readouterr().err


def test_what_is_not_kept(tmp_path, place, monkeypatch, capsys):
    path = written(tmp_path)
    monkeypatch.setenv(log_cache.VARIABLE, "none")
    load(path)
    monkeypatch.setenv(log_cache.VARIABLE, str(place))
    for name, value in (("LEAST_BYTES", 10**6), ("_YOUNG", 60.0)):
        with monkeypatch.context() as patch:
            patch.setattr(log_cache, name, value)
            load(path)
    assert capsys.readouterr().err == "" and not place.exists()
    place.write_text("in the way")
    load(path)
    assert "shop.csv: is not kept for the next start (a file or folder stands in the way" in capsys.readouterr().err


def test_a_log_that_changes_while_it_is_read_is_not_kept(tmp_path, place, monkeypatch):
    path = written(tmp_path)
    read = log.read

    def slow(*given):
        found = read(*given)
        path.write_text(path.read_text() + "9,9,buy,9\n")
        return found

    monkeypatch.setattr(log, "read", slow)
    load(path)
    assert not place.exists()


def test_the_cache_is_emptied(tmp_path, place, capsys):
    load(written(tmp_path))
    load(written(tmp_path, "other.csv"))
    capsys.readouterr()
    assert program.main(["--clear-cache"]) == 0
    assert capsys.readouterr().out == f"2 logs removed from the cache (0.0 MiB in {place})\n"
    assert program.main(["--clear-cache"]) == 0 and capsys.readouterr().out.startswith("0 logs removed")
    for words in (["--clear-cache", "jd"], ["--clear-cache", "--json"], ["--clear-cache", "--data.seed=1"]):
        assert program.main(words) == 2
        assert "error: --clear-cache goes with nothing else; leave out" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_several_processes_at_once(tmp_path, place):
    path = written(tmp_path)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_many, [(str(path), str(place), least) for least in (0, 0, 2)])
    assert found[0] == found[1] != found[2] and len(list(place.iterdir())) == 2


def _many(path, place, least):
    os.environ[log_cache.VARIABLE] = place
    log_cache.LEAST_BYTES, log_cache._YOUNG = 0, -1e9
    made = {str(load(path, min_count=least)[0]) for _ in range(20)}
    return made.pop() if len(made) == 1 else None


def test_content_of_any_numbers_is_the_same(tmp_path):
    seconds = np.array([-0.0, 0.0, 3.0, 2.0**40, 0.1])
    keys = {"train": {"a": np.array([0, 2**40, 2**62]), "b": np.zeros(0, np.int64)}}
    for chosen in (seconds, seconds[1:4], seconds[1:3], seconds[:0]):
        source = content.Content(
            "ünï",
            2**31 - 1,
            2**31 - 1,
            ("a", "b"),
            keys,
            vocabulary.Vocabulary(["x", "\0"]),
            vocabulary.Vocabulary([2**63]),
            events={"train": {"a": moments.Moments(np.arange(3), np.array([0, 1, 300]), chosen)}},
            hold_out={"a": np.array([7])},
            lost_valid_file=True,
        )
        binary.write(source, tmp_path / "x")
        assert plain(binary.read(tmp_path / "x")) == plain(source)
