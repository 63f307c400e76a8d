"""Columns of logs: formats, types of ids and times, and the line of everything that is wrong."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import lzma
import os
import threading
import zipfile

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import data, errors
from mbjax.data import columns, loading, log, prepared, tables

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
        ([" 7", "8"], [7, 8]),  # blanks around what is not quoted are no part of it
        (['" 7"', "8"], [" 7", "8"]),
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
        (["1970-01-01 00:00:05 UTC", "1970-01-01 02:00:00 GMT"], [5, 7200]),  # eCommerce logs
        (["1970-01-01 02", "1970-01-02 00"], [7200, 86400]),  # the hour alone, as in the log of Tianchi's mobile users
        (["1970-01-01 02 UTC", "1970-01-01 02:30 -0330"], [7200, 21600]),
        (["1970-01-01T00:00:00.000001001", "1970-01-01T00:00:00.000001"], [1001e-6, 1000e-6]),  # nanoseconds
        (["99999999999999999999", "1"], [99999999999999.999999, 1e-6]),
    ],
)
def test_times_are_numbers_or_iso_dates(tmp_path, times, seconds):
    found = read(tmp_path, HEADER + "".join(f"1,1,buy,{t}\n" for t in times))
    assert [t / 1e6 for t in found["time"].to_physical().to_list()] == seconds


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
        "time": [day, day],
    }
    assert (found["user"].dtype, found["item"].dtype) == (pl.UInt64, pl.Categorical)


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
        (
            HEADER + "a,1,buy,2024-05-31\na,1,buy,2024-05-31 10:00 UTC\n",
            "line 3: column 'time' is '2024-05-31 10:00 UTC', which has a time zone, unlike the first row",
        ),
        (
            HEADER + "a,1,buy,1\na,1,buy,2\na,1,buy,2024-05-31\n",
            "line 4: column 'time' is '2024-05-31', a date, and in the first row a number",
        ),
        (
            HEADER + "a,1,buy,2024-05-31\na,1,buy,1700000000\n",
            "line 3: column 'time' is '1700000000', a number, and in the first row a date",
        ),
        (HEADER + "a,1,buy,soon\na,1,buy,1\na,1,buy,2024-05-31\n", "line 2: column 'time' is 'soon', expected"),
        (HEADER + "a,1,buy,1\n  ,1,buy,1\n", "line 3: column 'user' is empty"),
        (HEADER + 'a,1,buy,1\n"  ",1,buy,1\n', "line 3: column 'user' is empty"),
        (
            HEADER + 'a,1,buy,1\nu0,12" vinyl,buy,3\nb,1,view,2\n' * 2,
            """line 3: '12" vinyl' holds a quote and is not in quotes """
            """itself. Write "12"" vinyl". Or, if the file does not quote: data.log.quote=none.""",
        ),
        ("\ufeffuser,item,behavior,time\n".encode("utf-16-le"), "is UTF-16, expected UTF-8"),
        (b"PAR1\x15\x04\x15", "is a Parquet file, expected text. Name it .parquet, or give data.log.format=parquet."),
        (HEADER.encode("utf-16"), "is UTF-16, expected UTF-8"),
        (HEADER.replace("\n", "\r") + "a,1,buy,1\r", "its lines end as on an old Mac (CR)"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "is packed by zstd, which is not read. Unpack it first: zstd -d FILE."),
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
    assert "row_offset" not in str(caught.value)  # numbers that only the parser understands


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "when"}, r"unknown column \(data.log.time\) of log.csv 'when'"),
        ({"user": "usr"}, r"unknown column \(data.log.user\) of log.csv 'usr'. Did you mean 'user'"),
        ({"format": "cvs"}, "unknown log format 'cvs'. Did you mean 'csv'"),
        ({"separator": ";;"}, "data.log.separator=';;' must be one character"),
        ({"name": "log.txt"}, "suffix '.txt' tells no format. Set data.log.format"),
        ({"name": "63"}, "its name tells no format. Set data.log.format"),
        ({"quote": ","}, "data.log.quote=',' must be one character other than the separator"),
        (
            {"columns": ("user", "item", "time")},
            "names 3 columns, and line 1 of .*log.csv has 4: user,item,behavior,time",
        ),
        ({"columns": ("user", "item", "behavior", "time")}, "holds these names already. Leave data.log.columns out"),
        (
            {"name": "log.parquet", "columns": ("user",)},
            "data.log.columns is of text files, and log.parquet is Parquet",
        ),
        ({"name": "log.parquet", "quote": None}, "data.log.quote is of text files, and log.parquet is Parquet"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        read(tmp_path, HEADER + "a,1,buy,1\n", **options)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("time", "log.csv has no column 'time': .*times by data.log.time, or give data.log.time=none, .*order of time"),
        ("behavior", "no column 'behavior': .*behaviors by data.log.behavior, or give data.log.behavior=none, with"),
    ],
)
def test_columns_that_may_lack_say_so(tmp_path, column, message):
    names = [name for name in ("user", "item", "behavior", "time") if name != column]
    text = f"{','.join(names)}\n1,2,3\n"
    with pytest.raises(errors.ConfigError, match=message):
        read(tmp_path, text)
    # As the message says; where the behavior has no column, it has to be named.
    found = columns.read(tmp_path / "log.csv", data.LogOptions(**{column: None}, behaviors=("buy",)))
    row = {"user": 1, "item": 2} | (
        {"behavior": "3", "time": 0} if column == "time" else {"behavior": "buy", "time": 3}
    )
    assert found.to_dicts() == [row]


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.parquet.gz", "[log].parquet"])
def test_only_the_columns_that_are_named_are_kept(tmp_path, name):
    frame = pl.DataFrame({"x": ["1"], "user": ["a"], "y": ["2"], "item": ["b"], "time": ["3"], "behavior": ["buy"]})
    getattr(frame, "write_csv" if "csv" in name else "write_parquet")(tmp_path / name)
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    table = tables.read(tmp_path / name, data.LogOptions(), {"user", "item", "elsewhere"})
    assert table.names == frame.columns and table.frame.columns == ["1", "3"]
    found = columns.read(tmp_path / name, data.LogOptions())
    assert found.select(["user", "item", "behavior"]).rows() == [("a", "b", "buy")]
    with pytest.raises(errors.ConfigError, match="unknown column .* 'users'. Did you mean 'user'"):
        columns.read(tmp_path / name, data.LogOptions(user="users"))


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


UNNAMED = "0,0,9,pv,1511544070\n0,1,9,buy,1511544071\n1,0,9,pv,1511544072\n"
NAMED = "user,item,category,behavior,time"


def test_a_log_without_a_header_is_read_by_names(tmp_path):
    names = tuple(NAMED.split(","))
    found = read(tmp_path, UNNAMED, columns=names)
    assert found["item"].to_list() == [0, 1, 0] and found["behavior"].to_list() == ["pv", "buy", "pv"]
    assert found["time"].to_list() == [1511544070, 1511544071, 1511544072]
    with pytest.raises(errors.DataError, match="line 3: 4 columns, data.log.columns names 5"):
        read(tmp_path, UNNAMED.replace("\n1,0,", "\n1,"), columns=names)
    with pytest.raises(errors.DataError, match="line 5: column 'item' is empty"):
        read(tmp_path, "\n" + UNNAMED + "1,,9,pv,5\n", columns=names)
    with pytest.raises(errors.DataError, match="is empty; expected lines of data"):
        read(tmp_path, "\n", columns=names)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (UNNAMED, {}),
        # Who takes the names from line 1 would lose a row without a word.
        (UNNAMED, {"user": "9", "item": "0", "behavior": "pv", "time": "1511544070"}),
        (
            "7,8,9,pv,1511544070\n0,1,9,pv,1511544071\n",
            {"user": "7", "item": "8", "behavior": "pv", "time": "1511544070"},
        ),
        ("a,b,c,2024-05-31\nd,e,f,2024-06-01\n", {"user": "a", "item": "b", "behavior": "c", "time": "2024-05-31"}),
        ("7,b,c,x\nd,e,c,y\n", {"user": "7", "item": "b", "behavior": "c", "time": None}),
    ],
)
def test_a_header_that_is_data_is_named_as_such(tmp_path, text, named):
    width = text.partition("\n")[0].count(",") + 1
    wanted = NAMED if width == 5 else NAMED.replace("category,", "")
    with pytest.raises(errors.ConfigError) as caught:
        read(tmp_path, text, **named)
    assert "Line 1 looks like data, not like names: if the file has no header, name its" in str(caught.value)
    assert str(caught.value).endswith(f" {width} columns, such as data.log.columns={wanted}.")
    assert "_duplicated_" not in str(caught.value)


def test_names_with_commas_are_listed_as_they_can_be_given(tmp_path):
    with pytest.raises(errors.ConfigError, match="'user'.* Known: \"a, b\", behavior, item, time"):
        read(tmp_path, '"a, b",item,behavior,time\n1,2,buy,3\n')


@pytest.mark.parametrize(("mark", "shown"), [(";", ";"), ("\t", "\\t"), ("|", "|")])
def test_another_separator_is_named(tmp_path, mark, shown):
    with pytest.raises(errors.ConfigError) as caught:
        read(tmp_path, mark.join(("user", "item", "behavior", "time")) + "\n")
    assert str(caught.value).endswith(f" Its columns are divided by '{shown}': give data.log.separator='{shown}'.")


def test_numbered_columns_are_a_header(tmp_path):
    found = read(tmp_path, "0,1,2,3\na,b,c,5\n", user="0", item="1", behavior="2", time="3")
    assert found.row(0) == ("a", "b", "c", 5)


def test_a_name_that_stands_twice_is_refused_where_it_matters(tmp_path):
    text = "user,item,behavior,time,time,x,x\na,1,buy,1,2,,\n"
    with pytest.raises(errors.ConfigError, match=r"2 columns are named 'time' \(data.log.time\). Rename all but one"):
        read(tmp_path, text)
    assert read(tmp_path, text.replace("time,time", "time,later"))["time"].to_list() == [1]


def test_files_without_quoting(tmp_path):
    text = HEADER + 'u0,12" vinyl,buy,3\n"u1",7" single,view,4\n'
    found = read(tmp_path, text, quote=None)
    assert found["item"].to_list() == ['12" vinyl', '7" single'] and found["user"].to_list() == ["u0", '"u1"']
    found = read(tmp_path, HEADER + "'a,b',1,buy,3\n", quote="'")
    assert found["user"].to_list() == ["a,b"]


@pytest.mark.parametrize("tail", ["", 'b,2,"buy\nnow",4\n'])  # read by polars, or line by line
def test_rows_without_any_value_are_left_out_and_said(tmp_path, tail):
    path, notes = tmp_path / "log.csv", []
    path.write_text(HEADER + "a,1,buy,1\n,,,\n\na,2,buy,2\n,,,\n" + tail)
    found = columns.read(path, data.LogOptions(), notes)
    assert found["item"].to_list()[:2] == [1, 2] and found.height == 2 + bool(tail)
    assert f"log: 2 rows without any value left out ({path}, line 3, ...)" in notes
    (tmp_path / "parts").mkdir()
    for name in ("1.csv", "2.csv"):
        (tmp_path / "parts" / name).write_text(HEADER + "a,1,buy,1\n,,,\n")
    notes.clear()
    assert columns.read(tmp_path / "parts", data.LogOptions(), notes).height == 2
    assert notes[0].startswith("log: 2 rows without any value left out (")
    path.write_text(HEADER + "a,1,buy,1\n\n\na,2,buy,2\n")  # blank lines alone
    notes.clear()
    columns.read(path, data.LogOptions(), notes)
    assert not notes


def test_blanks_around_what_is_not_quoted_are_left_out_and_said(tmp_path):
    notes = []
    path = tmp_path / "log.csv"
    path.write_text('user, item, behavior, time\nu1, i1, view, 3\n" u2", i2, buy, 4\n\nu3,i3,buy,5\n')
    found = columns.read(path, data.LogOptions(), notes)["user"]
    assert found.to_list() == ["u1", " u2", "u3"]
    assert notes == ["log: blanks around values that are not quoted are left out in 2 rows ('item', 'behavior')"]


def test_ids_that_stand_for_nobody_are_pointed_at(tmp_path):
    notes = []
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "nan,1,buy,1\nnan,2,buy,1\nNULL,1,buy,2\nann,None,buy,3\nnanny,N/A,buy,4\n")
    columns.read(path, data.LogOptions(), notes)
    assert notes == [
        "log: column 'user' is 'nan' in 2, 'NULL' in 1 rows, and each counts as one user: leave such rows out "
        "if they are of no user",
        "log: column 'item' is 'N/A' in 1, 'None' in 1 rows, and each counts as one item: leave such rows out "
        "if they are of no item",
    ]


def test_rows_of_other_behaviors_may_lack_what_they_have_none_of(tmp_path):
    """A login has no item, a search neither."""
    path, notes = tmp_path / "log.csv", []
    path.write_text(HEADER + "1,,login,1\n1,7,buy,2\n2,,search,\n2,8,view,3\n3,9,like,4\n")
    layout = data.LogOptions(behaviors=("view", "buy"))
    found = columns.read(path, layout, notes)
    assert found.to_dict(as_series=False) == {
        "user": [1, 2, 3],
        "item": [7, 8, 9],
        "behavior": ["buy", "view", "like"],
        "time": [2, 3, 4],
    }
    assert notes == ["log: 2 rows of other behaviors that lack a user, an item or a time left out"]
    for line, text in ((4, "2,,buy,5\n"), (4, "2,8,,5\n")):
        path.write_text(HEADER + "1,,login,1\n1,7,buy,2\n" + text)
        with pytest.raises(errors.DataError, match=f"line {line}: column '(item|behavior)' is empty"):
            columns.read(path, layout)
    path.write_text(HEADER + "1,,login,1\n1,7,buy,soon\n")
    with pytest.raises(errors.DataError, match=r"line 3: column 'time' is 'soon'"):
        columns.read(path, layout)


def test_ids_that_are_written_in_two_ways_are_pointed_at(tmp_path):
    path, notes = tmp_path / "log.csv", []
    path.write_text(HEADER + "1,7,buy,1\n1.0,7,buy,2\n2.0,8,buy,2\n3,8.00,buy,2\n")
    columns.read(path, data.LogOptions(), notes)
    assert notes == [
        f"log: column '{field}' has 1 id written in two ways, such as '{one}' and '{other}', and each way counts as "
        f"{a} {field}: write all of them in one"
        for field, one, other, a in (("user", "1", "1.0", "a"), ("item", "8", "8.00", "a"))
    ]


def test_parts_without_a_byte_are_passed_over_and_said(tmp_path):
    folder, notes = tmp_path / "log[1]", []
    folder.mkdir()
    for number, text in enumerate((HEADER + "1,7,buy,1\n", "", HEADER + "2,8,buy,2\n")):
        (folder / f"part-{number}.csv").write_text(text)
    assert columns.read(folder, data.LogOptions(), notes)["user"].to_list() == [1, 2]
    assert notes == ["log: empty files passed over: part-1.csv"]


def test_a_folder_of_parquet_may_have_any_name(tmp_path):
    folder = tmp_path / "log[1]*"
    folder.mkdir()
    pl.DataFrame({"user": [1], "item": [7], "behavior": ["buy"], "time": [1]}).write_parquet(folder / "part-0.parquet")
    assert columns.read(folder, data.LogOptions())["item"].to_list() == [7]


PACKED = {"bz2": bz2.compress, "xz": lzma.compress, "gz": gzip.compress}


@pytest.mark.parametrize("suffix", ["bz2", "xz", "gz", "zip", "unnamed"])
def test_packed_files(tmp_path, suffix):
    text = (HEADER + "a,1,buy,1\n").encode()
    path = tmp_path / ("log.csv" if suffix == "unnamed" else f"log.csv.{suffix}")
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("log.csv", text)
    else:
        path.write_bytes(PACKED.get(suffix, bz2.compress)(text))
    assert columns.read(path, data.LogOptions()).row(0) == ("a", 1, "buy", 1)
    if suffix == "zip":
        with zipfile.ZipFile(path, "a") as packed:
            packed.writestr("more.csv", text)
        with pytest.raises(errors.DataError, match="holds 2 files, expected one"):
            columns.read(path, data.LogOptions())
    elif suffix != "unnamed":
        path.write_bytes(path.read_bytes()[:-6])
        with pytest.raises(errors.DataError, match=rf"log.csv.{suffix}: the \w+ stream is cut off or damaged"):
            columns.read(path, data.LogOptions())


def test_a_folder_of_parts(tmp_path):
    rows = [("a", 1, "buy", 1), ("b", 2, "view", 2), ("c", 3, "view", 3)]
    frame = pl.DataFrame(rows, schema=["user", "item", "behavior", "time"], orient="row")
    for kind in ("parquet", "csv"):
        folder = tmp_path / f"log.{kind}"
        folder.mkdir()
        for k in range(3):
            getattr(frame[k : k + 1], f"write_{kind}")(folder / f"part-{k}.{kind}")
        (folder / "_SUCCESS").touch()
        (folder / f".part-0.{kind}.crc").touch()
        assert columns.read(folder, data.LogOptions()).rows() == rows
    (tmp_path / "log.csv" / "part-1.csv").write_text(HEADER + "b,2,view,2\nb,2,view,soon\n")
    with pytest.raises(errors.DataError, match=r"part-1.csv, line 3: column 'time' is 'soon'"):
        columns.read(tmp_path / "log.csv", data.LogOptions())
    (tmp_path / "log.csv" / "part-1.csv").write_text("item,user,behavior,time\n2,b,view,2\n")
    with pytest.raises(errors.DataError, match="part-1.csv: its columns are item, user.* and those of part-0.csv user"):
        columns.read(tmp_path / "log.csv", data.LogOptions())
    for name, part in frame.partition_by("behavior", as_dict=True, include_key=False).items():
        (tmp_path / "hive" / f"behavior={name[0]}").mkdir(parents=True)
        part.write_parquet(tmp_path / "hive" / f"behavior={name[0]}" / "part-0.parquet")
    assert columns.read(tmp_path / "hive", data.LogOptions()).rows() == rows


def test_a_pipe_is_read_if_its_format_is_said(tmp_path):
    path = tmp_path / "63"
    for options, message in (({"format": "csv"}, None), ({}, "63: its name tells no format. Set data.log.format")):
        os.path.exists(path) or os.mkfifo(path)
        if message:
            with pytest.raises(errors.ConfigError, match=message):
                loading.load(path, data.Options(log=data.LogOptions(behaviors=("buy",), **options)))
            continue
        writer = threading.Thread(
            target=path.write_text, args=(HEADER + "a,1,buy,1\na,2,buy,2\na,3,buy,3\n",), daemon=True
        )
        writer.start()
        found = loading.load(path, data.Options(log=data.LogOptions(behaviors=("buy",), **options)))
        writer.join()
        assert found.info.num_items == 3 and "is a pipe, which is read once" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pl.Series([[1], [2]]), "ids must be single values"),
        (pl.Series([{"a": 1}, {"a": 2}]), "ids must be single values"),
        (pl.Series([1, 2]).cast(pl.Datetime("ns")), "with values that Python cannot hold"),
        (pl.Series([10**18, 2]).cast(pl.Datetime("us")), "with values that Python cannot hold"),
        (pl.Series([1, 2]).cast(pl.Time), "with values that Python cannot hold"),
        (pl.Series([None, None]), "row 1: column 'user' is empty"),
        (pl.Series([1.0, float("nan")]), "row 2: column 'user' is empty"),
        (pl.Series(["a", " "], dtype=pl.Categorical), "row 2: column 'user' is empty"),
    ],
)
def test_typed_ids_that_would_not_come_back_are_refused(tmp_path, ids, message):
    pl.DataFrame({"user": ids, "item": [1, 2]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(errors.DataError, match=message):
        columns.read(tmp_path / "log.parquet", data.LogOptions(behavior=None, time=None, behaviors=("buy",)))


TYPED = {
    "UInt64": pl.Series([2**64 - 1, 5], dtype=pl.UInt64),
    "Int8": pl.Series([-128, 127], dtype=pl.Int8),
    "Int128": pl.Series([2**100, -5], dtype=pl.Int128),
    "Float32": pl.Series([1.5, -2.0], dtype=pl.Float32),
    "Boolean": pl.Series([True, False]),
    "Date": pl.Series([datetime.date(2024, 5, 31), datetime.date(2023, 1, 1)]),
    "Datetime": pl.Series([datetime.datetime(2024, 5, 31, 7), datetime.datetime(2023, 1, 1)], dtype=pl.Datetime("ms")),
    # One wall time twice: the hour that is repeated when summer time ends.
    "zone": (pl.Series([1_729_989_000, 1_729_992_600]) * 1000).cast(pl.Datetime("ms", "Europe/Berlin")),
    "Decimal": pl.Series(["1.50", "2.25"]).cast(pl.Decimal(10, 2)),
    "Categorical": pl.Series(["b", "a"], dtype=pl.Categorical),
    "Enum": pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"])),
    "Binary": pl.Series([b"\xff", b"a"]),
    "String": pl.Series(["7", "12"]),  # text stays text where the file says so
}


@pytest.mark.parametrize("kind", TYPED)
def test_ids_keep_value_and_type_up_to_the_lists(tmp_path, kind):
    ids = TYPED[kind]
    frame = pl.concat([pl.DataFrame({"user": ids, "item": ids.reverse()}), pl.DataFrame({"user": ids, "item": ids})])
    frame.write_parquet(tmp_path / "log.parquet")
    found = log.read(tmp_path / "log.parquet", data.LogOptions(behavior=None, time=None, behaviors=("buy",)))
    prepared.write(found, tmp_path / "prepared")
    for vocabulary in (found.users, found.items, prepared.read(tmp_path / "prepared").users):
        assert vocabulary.series.dtype == ids.dtype
        assert vocabulary.column([0, 1]).sort().equals(ids.sort().alias("raw_id"), check_dtypes=True)
        assert vocabulary.index(ids.to_list()).tolist() == (ids.rank("dense") - 1).to_list()


IDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=6).filter(str.strip),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(IDS, IDS, st.integers(-(10**12), 10**12)), min_size=1, max_size=10))
def test_ids_of_any_text_come_back(tmp_path, rows):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["user", "item", "time"], *rows])
    found = read(tmp_path, out.getvalue(), behavior=None, behaviors=("buy",))
    assert [(str(u), str(i), t) for u, i, t in found.select("user", "item", "time").iter_rows()] == rows
