"""Logs of any form against an oracle in plain Python: each is read right, or refused in one line with the cause."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import lzma

import oracle
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbjax import data, errors
from mbjax.data import log

ODD = st.text(alphabet="ab1 \"',;\t|\näé漢-.:@=()[]#%", min_size=1, max_size=4).map(str.strip).filter(bool)
TEXTS = [
    st.integers(-9, 9).map(str),
    st.integers(0, 9).map("{:03d}".format),
    st.integers(2**63, 2**63 + 5).map(str),
    st.sampled_from(["ann", "Ann", "nan", "NULL", "é", "漢字", "true", "1e3", "-0"]),
    ODD,
]
TYPED = {
    pl.Int8: st.integers(-9, 9),
    pl.UInt64: st.integers(2**63, 2**63 + 5),
    pl.Float64: st.sampled_from([0.25, -1.5, 2.0, float("inf")]),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(datetime.date(2024, 1, 1), datetime.date(2024, 1, 9)),
    pl.Binary: st.sampled_from([b"a", b"\xff", b"a\0"]),
    pl.Categorical: st.sampled_from(["b", "a", "7", "ä"]),
    pl.String: st.sampled_from(["7", "12", "007", "x"]),
}
FUNNELS = [("view", "buy"), ("page view", "add (cart)", "buy"), ("点", "购买"), ("a;b", "c:d"), ("1", "2")]
PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
SPLITS = ("train", "valid", "test")


@st.composite
def layouts(draw, funnel):
    return {
        "behaviors": funnel,
        "split": draw(st.sampled_from(["leave_one_out", "time_80_10_10"])),
        "deduplicate": draw(st.booleans()),
        "min_count": draw(st.sampled_from([0, 0, 1, 2])),
        "require_target_train": draw(st.booleans()),
    }


def rows_of(users, items, funnel):
    names = st.sampled_from([*funnel, *funnel, "Buy"])
    rows = st.lists(st.tuples(users, items, names, st.integers(0, 40)), min_size=1, max_size=40)
    return rows.map(lambda rows: [*rows, *((*rows[0][:2], name, 5) for name in funnel)])


def written(draw, path, rows, separator, shown):
    """Writes rows of texts as a text file in one of the forms that programs write."""
    out = io.StringIO()
    style = {"delimiter": separator, "lineterminator": draw(st.sampled_from(["\n", "\r\n"]))}
    writer = csv.writer(out, quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])), **style)
    has_header = draw(st.booleans())
    if has_header:
        writer.writerow(["user", "item", "behavior", "time"])
    writer.writerows((*row[:3], shown(row[3])) for row in rows)
    text = draw(st.sampled_from(["", "\ufeff"])) + out.getvalue() + draw(st.sampled_from(["", "\n"]))
    path.write_bytes(PACKED[draw(st.sampled_from(list(PACKED)))](text.encode()))
    return {} if has_header else {"columns": ("user", "item", "behavior", "time")}


TIMES = [
    str,
    lambda t: str(t / 4),
    lambda t: f"2024-01-{1 + t // 24:02d} {t % 24:02d}",
    lambda t: f"2024-01-01 00:{t:02d}:00 UTC",
    lambda t: f"2024-01-01T00:{t:02d}:00.5+01:00",
]


def as_ids(texts):
    """What a column of a text file means: whole numbers, if all are written as such."""
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        return texts
    is_plain = all(str(n) == text and -(2**63) <= n < 2**63 for n, text in zip(numbers, texts, strict=True))
    return numbers if is_plain else texts


def check(path, rows, layout, more):
    """Reads a log and compares it with the oracle."""
    want = oracle.split_log(rows, layout["behaviors"], **{k: v for k, v in layout.items() if k != "behaviors"})
    try:
        found = log.read(path, data.LogOptions(**layout, **more))
    except errors.DataError as error:
        assert "nothing is left to train on: " in str(error) and not want["train"] and "\n" not in str(error)
        return None
    raw = {what: getattr(found, what).series.to_list() for what in ("users", "items")}
    assert raw == {"users": want["users"], "items": want["items"]}
    for split in SPLITS:
        pairs = {(b, *pair) for b in found.behaviors for pair in found.pairs(split, b).tolist()}
        assert {(raw["users"][u], raw["items"][i], b) for b, u, i in pairs} == want[split]
    steps = {"data.log.behaviors": "behaviors", "data.log.require_target_train": "require_target_train"}
    lost = {(d.what, steps.get(d.field, "min_count")): d.ids.series.to_list() for d in found.dropped}
    assert lost == want["dropped"]
    return found


FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(st.data())
def test_text_files_of_any_form(tmp_path, data):
    draw = data.draw
    funnel = draw(st.sampled_from(FUNNELS))
    rows = draw(rows_of(draw(st.sampled_from(TEXTS)), draw(st.sampled_from(TEXTS)), funnel))
    separator, shown = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(TIMES))
    more = {"format": "csv", "separator": separator} | written(draw, tmp_path / "log", rows, separator, shown)
    users, items = (as_ids([row[k] for row in rows]) for k in (0, 1))
    rows = [(user, item, *row[2:]) for user, item, row in zip(users, items, rows, strict=True)]
    check(tmp_path / "log", rows, draw(layouts(funnel)), more)


@FEW
@given(st.data())
def test_parquet_files_of_any_type(tmp_path, data):
    draw = data.draw
    funnel = draw(st.sampled_from(FUNNELS))
    kinds = draw(st.sampled_from(list(TYPED))), draw(st.sampled_from(list(TYPED)))
    rows = draw(rows_of(*(TYPED[kind] for kind in kinds), funnel))
    columns = [list(column) for column in zip(*rows, strict=True)]
    frame = pl.DataFrame({"user": pl.Series(columns[0], dtype=kinds[0]), "item": pl.Series(columns[1], dtype=kinds[1])})
    when = draw(st.sampled_from([pl.Int64, pl.UInt8, pl.Float32, pl.Datetime("ns"), pl.Datetime("ms", "Asia/Tokyo")]))
    frame = frame.with_columns(behavior=pl.Series(columns[2]), time=pl.Series(columns[3]).cast(when))
    frame.write_parquet(tmp_path / "log.parquet")
    found = check(tmp_path / "log.parquet", rows, draw(layouts(funnel)), {})
    if found is not None:
        assert (found.users.series.dtype, found.items.series.dtype) == (frame["user"].dtype, frame["item"].dtype)
