"""What a log says of when its pairs happened, and what of it is of the future."""

import numpy as np
import polars as pl
import pytest

from mbjax import data, errors
from mbjax.data import log, times


def read(tmp_path, rows, **options):
    path = tmp_path / "log.csv"
    lines = [f"{user},{item},{behavior},{time}" for user, item, behavior, time in rows]
    path.write_text("\n".join(["user,item,behavior,time", *lines]) + "\n")
    return log.read(path, data.LogOptions(behaviors=("view", "buy"), **options))


def shown(source, split, behavior):
    """{(user, item): [seconds, ...]} by raw ids."""
    of = source.events[split][behavior]
    found = {}
    for place, key in enumerate(of.keys):
        user, item = divmod(int(key), source.num_items)
        seconds = of.seconds[of.ptr[place] : of.ptr[place + 1]].tolist()
        found[source.users.raw(user), source.items.raw(item)] = seconds
    return found


ROWS = [
    ("a", "x", "view", 10),
    ("a", "x", "view", 20),
    ("a", "x", "buy", 30),
    ("a", "y", "view", 40),
    ("a", "y", "buy", 50),
    ("a", "x", "view", 60),
    ("a", "z", "view", 70),
    ("b", "x", "buy", 15),
    ("b", "x", "buy", 80),
]


def test_repeated_rows_count_up_to_the_tested_pair(tmp_path):
    found = read(tmp_path, ROWS)
    assert found.pairs("test", "buy").tolist() == [[0, 1]]
    # a's last view of x is later than the purchase that is tested; her first view of z is known to training anyway.
    assert shown(found, "train", "view") == {("a", "x"): [10, 20], ("a", "y"): [40], ("a", "z"): [70]}
    assert shown(found, "train", "buy") == {("a", "x"): [30], ("b", "x"): [15, 80]}
    prepared = data.dataset.prepare(found)
    assert prepared.info.times and not prepared.info.later


def test_parts_know_what_happened_in_them(tmp_path):
    """80 % of the eight rows that are no repetition lie before 60: all after that is unknown to training."""
    rows = [(u, i, "buy", t) for u, i, t in [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 4), ("a", "z", 5)]]
    rows += [("a", "x", "view", 6), ("a", "y", "view", 7), ("a", "z", "view", 8)]
    rows += [("a", "x", "view", 60), ("b", "z", "buy", 70), ("a", "x", "view", 75), ("b", "x", "view", 80)]
    found = read(tmp_path, rows, split="time_80_10_10")
    assert found.pairs("valid", "buy").tolist() == [[1, 2]] and found.pairs("test", "view").tolist() == [[1, 0]]
    assert shown(found, "train", "view") == {("a", "x"): [6, 60], ("a", "y"): [7], ("a", "z"): [8]}
    assert shown(found, "valid", "view") == {("a", "x"): [75]}
    assert shown(found, "valid", "buy") == {("b", "z"): [70]}
    prepared = data.dataset.prepare(found)
    assert prepared.info.later and set(prepared.events) == {"train", "valid"}
    again = data.dataset.prepare(found, data.Options(valid="into_train"))
    assert again.info.later and again.events["train"]["view"].seconds.tolist() == [6, 60, 75, 7, 8]
    # Pairs that are drawn out of training happened whenever they did.
    assert not data.dataset.prepare(found, data.Options(valid="random_one")).info.later
    assert not prepared.without_times().events and not prepared.without_times().info.times


def test_cuts_in_time_are_those_of_all_rows(tmp_path):
    """Also of a user who is left out, since he buys nothing before the cut."""
    rows = [("a", "x", "buy", 1), ("a", "y", "buy", 2), ("b", "x", "buy", 3), ("b", "y", "buy", 4)]
    rows += [("a", "x", "view", 5), ("a", "y", "view", 6), ("b", "x", "view", 7), ("b", "y", "view", 8)]
    rows += [("out", "x", "view", 60), ("a", "x", "view", 65), ("a", "z", "buy", 70), ("b", "z", "buy", 80)]
    found = read(tmp_path, rows, split="time_80_10_10", require_target_train=True)
    assert "out" not in found.users.raw(range(found.num_users)).tolist()
    assert shown(found, "train", "view")["a", "x"] == [5]


def test_times_change_no_fingerprint_and_are_no_events_without_a_column(tmp_path):
    found = read(tmp_path, ROWS)
    bare = read(tmp_path, ROWS, time=None)
    assert not bare.events and not data.dataset.prepare(bare).info.times
    assert found.fingerprint() == read(tmp_path, [(*row[:3], row[3] + 10**9) for row in ROWS]).fingerprint()
    assert not read(tmp_path, [(*row[:3], 5) for row in ROWS]).events  # all at once says nothing


@pytest.mark.parametrize(
    ("values", "unit", "wanted"),
    [
        ([1_600_000_000, 1_600_000_060], None, 60.0),
        ([1_600_000_000_000, 1_600_000_060_000], None, 60.0),
        ([1_600_000_000_000_000, 1_600_000_060_000_000], None, 60.0),
        ([0, 60], None, 60.0),
        ([20231231, 20240101], None, 86_400.0),
        ([20240228, 20240301], None, 172_800.0),
        ([20231231, 20240132], None, 8_901.0),  # no day has that number
        ([20231231235959, 20240101000000], None, 1.0),
        ([202312312359, 202401010000], None, 60.0),
        ([2023123123, 2024010100], None, 3600.0),
        ([1_900_000_000, 1_900_000_099], None, 99.0),  # no dates: seconds of 2030
        ([20231231, 20240101], "s", 8_870.0),
        ([3, 5], "d", 172_800.0),
        ([0.5, 1.5], "h", 3600.0),
    ],
)
def test_numbers_are_seconds_or_what_makes_them_dates(values, unit, wanted):
    assert np.diff(times.seconds(pl.Series(values), unit)).tolist() == [wanted]


@pytest.mark.parametrize(
    ("values", "unit", "said"),
    [
        ([20231231, 20240101], None, "times such as 20231231 are days (year, month, day)"),
        ([20231231235959], None, "times such as 20231231235959 are dates with a time, here 2023-12-31 23:59:59"),
        ([2023123123], None, "times such as 2023123123 are hours of a day (year, month, day, hour)"),
        ([3, 4, 60], None, "times such as 3 are no dates of our time and taken for seconds"),
        ([3.5, 4.0], None, "times such as 3.5 are no dates"),
        ([3, 4, 60], "d", None),
        ([1_600_000_000, 1_600_000_060], None, None),
        ([1_600_000_000_000, 1_600_000_060_000], None, None),
    ],
)
def test_numbers_that_may_be_something_else_are_said(values, unit, said):
    found = times.note(pl.Series(values), unit)
    assert found is None if said is None else found.startswith(said)


def test_a_log_says_how_it_reads_its_times_where_seconds_count(tmp_path):
    rows = [(f"u{n % 4}", f"i{n}", "buy" if n % 3 else "view", n) for n in range(40)]
    days = [(*row[:3], 20240101 + n // 2) for n, row in enumerate(rows)]
    for given, said in ((rows, "taken for seconds"), (days, "are days")):
        notes = read(tmp_path, given, split="time_80_10_10").notes
        assert sum(said in note for note in notes) == 1
        assert not any(said in note for note in read(tmp_path, given).notes)  # only their order counts


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [(["2024-05-31", "2024-06-01"], 86_400.0), (["2024-05-31T10:00:00.5Z", "2024-05-31T10:00:01Z"], 0.5)],
)
def test_moments_are_seconds(texts, wanted):
    column = times.read(pl.Series(texts), "column 'time'", lambda row, text: ValueError(text))
    assert np.diff(times.seconds(column)).tolist() == [wanted]


def test_texts_that_are_kept_once_are_texts():
    """A column of dates as pandas writes a category to Parquet."""
    column = pl.Series(["2024-05-31", "2024-06-01", "2024-05-31"], dtype=pl.Categorical)
    found = times.read(column, "column 'time'", lambda row, text: ValueError(text))
    assert np.diff(times.seconds(found)).tolist() == [86_400.0, -86_400.0]


def test_an_unknown_unit_is_named(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"data\.log\.time_unit 'sec'"):
        read(tmp_path, ROWS, time_unit="sec")
