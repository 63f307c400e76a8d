"""Columns of logs: formats, types of ids and times, and the line of everything that is wrong."""

from __future__ import annotations

import csv
import datetime
import gzip
import io

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import data, errors
from mbjax.data import columns

HEADER = "user,item,behavior,time\n"


def read(folder, text, name="log.csv", **layout):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return columns.read(path, data.LogOptions(**layout))


def test_columns_are_named_and_others_ignored(tmp_path):
    text = "when;what;who;which;note\n3;buy;ann;7;\n1;view;bob;8;hm\n"
    names = {"user": "who", "item": "which", "behavior": "what", "time": "when"}
    found = read(tmp_path, text, separator=";", **names)
    assert found.to_dict(as_series=False) == {
        "user": ["ann", "bob"],
        "item": [7, 8],
        "behavior": ["buy", "view"],
        "time": [3, 1],
    }


@pytest.mark.parametrize("form", ["csv", "tsv", "inter", "parquet", "csv.gz", "by option"])
def test_every_format_says_the_same(tmp_path, form):
    rows = {"user": ["a", "b"], "item": [7, 8], "behavior": ["view", "buy"], "time": [1.5, 2.0]}
    path = tmp_path / f"log.{'dat' if form == 'by option' else form}"
    if form == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        separator = "," if "csv" in form else "\t"
        header = ["user:token", "item:token", "behavior:token", "time:float"] if form == "inter" else list(rows)
        text = "".join(separator.join(map(str, line)) + "\n" for line in [header, *zip(*rows.values(), strict=True)])
        path.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    found = columns.read(path, data.LogOptions(format="tsv" if form == "by option" else None))
    assert found.to_dict(as_series=False) == rows


def test_quotes_bom_crlf_and_blank_lines(tmp_path):
    text = '\ufeffuser,item,behavior,time\r\n"a,""b""",1,view,1\r\n\r\n"c\nd",2,buy,2'
    found = read(tmp_path, text)
    assert found["user"].to_list() == ['a,"b"', "c\nd"] and found["item"].to_list() == [1, 2]


def test_a_log_without_times_or_behaviors(tmp_path):
    found = read(tmp_path, "user,item\n5,6\n3,4\n", time=None, behavior=None, behaviors=("buy",))
    assert found["time"].to_list() == [0, 1] and found["behavior"].to_list() == ["buy", "buy"]
    with pytest.raises(errors.ConfigError, match="data.log.behaviors must name the one behavior"):
        read(tmp_path, "user,item\n5,6\n", time=None, behavior=None)


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (["7", "12"], [7, 12]),
        (["007", "12"], ["007", "12"]),
        (["-3", "9223372036854775807"], [-3, 2**63 - 1]),
        (["1", "9223372036854775808"], ["1", "9223372036854775808"]),
        (["1.0", "2"], ["1.0", "2"]),
        ([" 7", "8"], [" 7", "8"]),
        (["a", "ä"], ["a", "ä"]),
    ],
)
def test_text_becomes_integers_only_if_nothing_is_lost(tmp_path, raw, ids):
    found = read(tmp_path, HEADER + "".join(f"{i},{i},buy,1\n" for i in raw))
    assert found["user"].to_list() == found["item"].to_list() == ids


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["10", "-3"], [10e-6, -3e-6]),
        (["0.5", "1e3"], [0.5e-6, 1e-3]),
        (["1970-01-02", "1970-01-01"], [86400, 0]),
        (["1970-01-01 00:01:00", "1970-01-01T00:00:01"], [60, 1]),
        (["1970-01-01T00:00:00.25Z", "1970-01-01T01:00:00+01:00"], [0.25, 0]),
    ],
)
def test_times_are_numbers_or_iso_dates(tmp_path, times, seconds):
    found = read(tmp_path, HEADER + "".join(f"1,1,buy,{t}\n" for t in times))
    assert [t / 1e6 for t in found["time"].to_list()] == seconds


def test_typed_columns_of_parquet(tmp_path):
    day = datetime.datetime(1970, 1, 1, 0, 0, 1)
    frame = pl.DataFrame(
        {
            "user": pl.Series([2**64 - 1, 1], dtype=pl.UInt64),
            "item": pl.Series(["b", "a"], dtype=pl.Categorical),
            "behavior": pl.Series([1, 4], dtype=pl.Int8),
            "time": [day, day],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    found = columns.read(tmp_path / "log.parquet", data.LogOptions())
    assert found.to_dict(as_series=False) == {
        "user": [2**64 - 1, 1],
        "item": ["b", "a"],
        "behavior": ["1", "4"],
        "time": [10**6, 10**6],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a,1,buy,1\n\na,1,buy\n", "line 4: 3 columns, the header has 4"),
        (HEADER + "a,1,buy,1\n\na,1,buy,1,9\n", "line 4: 5 columns, the header has 4"),
        (HEADER + "a,1,buy,1\n,1,buy,1\n", "line 3: column 'user' is empty"),
        (HEADER + 'a,1,buy,1\n\na,"",buy,1\n', "line 4: column 'item' is empty"),
        (HEADER + "a,1,buy,1\na,1,buy,soon\n", "line 3: column 'time' is 'soon', expected a number or a date"),
        (HEADER + "a,1,buy,inf\n", "line 2: column 'time' is 'inf'"),
        (HEADER + "a,1,buy,2024-05-31\na,1,buy,2024-02-31\n", "line 3: column 'time' is '2024-02-31'"),
        (HEADER + "a,1,buy,01/02/2024\n", "line 2: column 'time' is '01/02/2024'"),
        (HEADER + 'a,1,buy,1\n"b,1,buy,1\nc,1,buy,1\n', "line 3: unexpected end of data"),
        (HEADER + '"a\nb",1,buy,1\nc,1,buy,x\n', "line 4: column 'time' is 'x'"),
        (HEADER.encode() + b"a,1,buy,1\n\xe4,1,buy,1\n", "line 3: not UTF-8 (byte 0xe4)"),
        ("", "is empty; expected a header"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(errors.DataError) as caught:
        read(tmp_path, text)
    assert "log.csv" in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "usr"}, r"unknown column \(data.log.user\) of log.csv 'usr'. Did you mean 'user'"),
        ({"format": "cvs"}, "unknown log format 'cvs'. Did you mean 'csv'"),
        ({"separator": ";;"}, "data.log.separator=';;' must be one character"),
        ({"name": "log.txt"}, "suffix '.txt' tells no format. Set data.log.format"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        read(tmp_path, HEADER + "a,1,buy,1\n", **options)


def test_rows_of_parquet_are_named(tmp_path):
    frame = pl.DataFrame({"user": [1, None], "item": [1, 1], "behavior": ["buy", "buy"], "time": [1, 2]})
    frame.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(errors.DataError, match="row 2: column 'user' is empty"):
        columns.read(tmp_path / "log.parquet", data.LogOptions())
    frame.with_columns(user=pl.Series([[1], [2]])).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(errors.DataError, match="column 'user' has type List"):
        columns.read(tmp_path / "log.parquet", data.LogOptions())
    with pytest.raises(errors.DataError, match="log.parquet: cannot be read as Parquet"):
        read(tmp_path, b"PAR1 no more", "log.parquet")


def test_a_truncated_gzip_is_an_error(tmp_path):
    with pytest.raises(errors.DataError, match="log.csv.gz: the gzip stream is cut off"):
        read(tmp_path, gzip.compress(HEADER.encode())[:-6], "log.csv.gz")


IDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=6),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(IDS, IDS, st.integers(-(10**12), 10**12)), min_size=1, max_size=10))
def test_ids_of_any_text_come_back(tmp_path, rows):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["user", "item", "time"], *rows])
    found = read(tmp_path, out.getvalue(), behavior=None, behaviors=("buy",))
    assert [(str(u), str(i), t) for u, i, t in found.select("user", "item", "time").iter_rows()] == rows
