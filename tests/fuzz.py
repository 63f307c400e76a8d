"""Logs, settings and modes at random, and what must come of them, worked out without a line of mbjax.

A ``Log`` is what somebody did, as Python values. ``write`` makes a file of it in one of many spellings, ``expected``
follows the documented recipe on the values, and ``ranking`` the documented order of ``popularity``. A test then
compares raw ids only: no index, no matrix, no column of the library appears here.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import gzip
import io
import pathlib
from collections import Counter

import oracle
import polars as pl
from hypothesis import strategies as st

EPOCH = datetime.datetime(2024, 2, 28, 22, 0, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Log:
    """Rows in file order (user, item, behavior, seconds after EPOCH), and how the file spells them."""

    rows: tuple[tuple, ...]
    behaviors: tuple[str, ...]  # in use, funnel order
    container: str
    times: str
    names: tuple[str, str, str, str]
    ending: str
    quote_all: bool
    extra: bool
    split: str
    min_count: int
    min_count_on: str
    iterative: bool
    deduplicate: bool
    require: bool


IDS = (
    st.integers(0, 8),
    st.integers(-5, 2**62),
    st.sampled_from([f"{n:03d}" for n in range(9)]),  # leading zeros make text
    st.sampled_from(
        ["a", "b", "A", "ä", "Ж", "e\u0301", "😀", "a b", 'the "x"', "a,b", "x;y", "a\tb", "#", "-1", "1.0", "true"]
    ),
)
BEHAVIORS = st.lists(
    st.sampled_from(
        ["view", "cart", "buy", "page view", "add (cart)", "buy/now", "купить", "a:b", "(x)", "1", "x@5", "a=b", "[y"]
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@st.composite
def logs(draw, containers=("csv", "tsv", "inter", "parquet", "csv.gz", "tsv.gz", "semicolon")):
    """A log of up to some sixty rows; about half of them are large enough to be split and trained on."""
    container = draw(st.sampled_from(containers))
    typed = container == "inter"
    users, items = (draw(st.lists(draw(st.sampled_from(IDS)), min_size=1, max_size=9, unique=True)) for _ in range(2))
    known = draw(BEHAVIORS)
    if typed:  # RecBole's files know no quotes, so that nothing in them can hold a tab
        users, items = ([v for v in ids if "\t" not in str(v)] or ["z"] for ids in (users, items))
    number = draw(st.integers(1, 60))
    row = st.tuples(
        st.sampled_from(users),
        st.sampled_from(items),
        st.sampled_from(known),
        st.integers(0, draw(st.sampled_from([0, 3, 40, 10**6]))),
    )
    rows = draw(st.lists(row, min_size=number, max_size=number))
    used = draw(st.permutations(known))[: draw(st.integers(1, len(known)))]
    names = draw(
        st.sampled_from(
            [("user", "item", "behavior", "time"), ("customer id", "sku", "event:type", "when"), ("u", "i", "b", "t")]
        )
    )
    if typed:
        names = ("user_id", "item_id", "behavior", "timestamp")
    return Log(
        tuple(rows),
        tuple(used),
        container,
        draw(st.sampled_from(["seconds", "float", "iso", "date and time", "zulu", "UTC"])),
        names,
        draw(st.sampled_from(["\n", "\r\n"])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(["leave_one_out", "time_80_10_10"])),
        draw(st.sampled_from([0, 0, 0, 1, 2, 3])),
        draw(st.sampled_from(["target", "union"])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def write(log: Log, folder: pathlib.Path) -> tuple[pathlib.Path, dict[str, object]]:
    """The file of a log, and the options under ``data.log`` that it takes to read it."""
    user, item, behavior, time = log.names
    options: dict[str, object] = {"user": user, "item": item, "behavior": behavior, "time": time}
    header = [user, item, behavior, time]
    rows = [[u, i, b, spelled(t, log.times)] for u, i, b, t in log.rows]
    if log.extra:
        header, rows = [*header, "note"], [[*row, 'say "hi"' if log.container != "inter" else "hi"] for row in rows]
    if log.container == "parquet":
        path = folder / "log.parquet"
        columns = {name: [row[at] for row in rows] for at, name in enumerate(header)}
        pl.DataFrame(columns).write_parquet(path)
    else:
        separator = {"csv": ",", "csv.gz": ",", "semicolon": ";"}.get(log.container, "\t")
        if log.container == "inter":
            header = [f"{name}:token" for name in header]
            text = log.ending.join("\t".join(map(str, row)) for row in [header, *rows]) + log.ending
        else:
            out = io.StringIO()
            quoting = csv.QUOTE_ALL if log.quote_all else csv.QUOTE_MINIMAL
            csv.writer(out, delimiter=separator, lineterminator=log.ending, quoting=quoting).writerows([header, *rows])
            text = out.getvalue()
        name = "log.csv" if log.container == "semicolon" else f"log.{log.container}"
        if log.container == "semicolon":
            options["separator"] = ";"
        path, raw = folder / name, text.encode()
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    options |= {
        "behaviors": log.behaviors,
        "split": log.split,
        "min_count": log.min_count,
        "min_count_on": log.min_count_on,
        "min_count_iterative": log.iterative,
        "deduplicate": log.deduplicate,
        "require_target_train": log.require,
    }
    return path, options


def spelled(time: int, how: str) -> object:
    """A time as a file may have it."""
    moment = EPOCH + datetime.timedelta(seconds=time)
    return {
        "seconds": lambda: time,
        "float": lambda: time + 0.5,
        "iso": lambda: moment.strftime("%Y-%m-%dT%H:%M:%S"),
        "date and time": lambda: moment.strftime("%Y-%m-%d %H:%M:%S"),
        "zulu": lambda: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "UTC": lambda: moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
    }[how]()


@dataclasses.dataclass
class Expected:
    """The pairs of each split by behavior, in raw ids, before a validation rule, and who is left."""

    train: dict[str, set]
    valid: dict[str, set]
    test: dict[str, set]
    users: list
    items: list


def expected(log: Log) -> Expected | str:
    """What the recipe makes of a log; a word of the error where it has to end in one."""
    if not set(log.behaviors) <= {behavior for _, _, behavior, _ in log.rows}:
        return "unknown behavior"
    users, items = (as_read([row[at] for row in log.rows], log.container) for at in (0, 1))
    found = oracle.split_log(
        [(user, item, *row[2:]) for user, item, row in zip(users, items, log.rows, strict=True)],
        log.behaviors,
        split=log.split,
        deduplicate=log.deduplicate,
        min_count=log.min_count,
        min_count_on=log.min_count_on,
        min_count_iterative=log.iterative,
        require_target_train=log.require,
    )
    target = log.behaviors[-1]
    if not found["train"]:
        return "nothing is left"
    if not any(behavior == target for _, _, behavior in found["train"]):
        return f"the target '{target}' has no training pairs"
    # A pair that stands in two splits, as without deduplication, belongs to the first that is learned from.
    found["test"] -= found["train"]
    found["valid"] -= found["train"] | found["test"]
    splits = {
        split: {b: {(user, item) for user, item, behavior in found[split] if behavior == b} for b in log.behaviors}
        for split in ("train", "valid", "test")
    }
    return Expected(**splits, users=found["users"], items=found["items"])


def as_read(column: list, container: str) -> list:
    """Ids of a text file: numbers only where every one of them is written as its number would be."""
    if container == "parquet":
        return column
    texts = [str(value) for value in column]
    numbers = [t.removeprefix("-").isdigit() and t.isascii() and str(int(t)) == t for t in texts]
    return [int(t) for t in texts] if all(numbers) else texts


def ranking(train: set, items: list, seen: set, most: int) -> list:
    """The list of one user by popularity: the number of training pairs, ties to the smaller id, without ``seen``."""
    counts = Counter(item for _, item in train)
    order = sorted(range(len(items)), key=lambda at: (-counts[items[at]], at))
    return [items[at] for at in order if items[at] not in seen][:most]


def seen(found: Expected, behavior: str, used: list, user: object, *, exclude: str, mask: str) -> set:
    """The items that are no candidates for a user: of the behavior, or of all, of the splits that count as known.

    ``train`` is the view of an evaluation on the test split, whose own pairs stay candidates whatever the mask.
    """
    splits = {"known": (found.train, found.valid, found.test), "train": (found.train,), "none": ()}[exclude]
    names = used if mask == "all_behaviors" else [behavior]
    return {item for split in splits for name in names for who, item in split[name] if who == user}
