"""Results files read back, grouped, and put in words: what ``pages`` and ``compare`` print."""

from __future__ import annotations

import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mbjax import errors
from mbjax.config import schema
from mbjax.reporting import tables

Record = Mapping[str, Any]

SELECTIONS = {
    "valid": "best epoch on validation",
    "last": "last epoch",
    "best_test": "best epoch on test (oracle)",
    "best_test_late": "best late epoch on test (oracle)",
    "test_per_behavior": "each behavior's best epoch on test (oracle)",
}
ANCHORS = get_args(schema.Anchor)
"""Models without training that stand in every table and comparison."""
HARMLESS = ("train.eval_every", "train.patience", "evaluate.ks", "evaluate.batch_size", "evaluate.item_tile")
"""Overrides with which a run still counts as the model's own configuration."""


def read(folder: str | pathlib.Path) -> list[Record]:
    """All results files in a folder, by name. Raises DataError for a file that is none."""
    return [read_file(path) for path in sorted(pathlib.Path(folder).glob("*.json"))]


def read_file(path: str | pathlib.Path) -> Record:
    """One results file. Raises DataError for a file that is none."""
    try:
        record = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        missing = [key for key in ("model", "dataset", "seed", "protocol", "selection") if key not in record]
    except (OSError, ValueError, TypeError) as error:
        raise errors.DataError(f"{path} is no results file: {error}.") from error
    if missing:
        raise errors.DataError(f"{path} is no results file: '{missing[0]}' is missing.")
    return record


def is_plain(record: Record) -> bool:
    """Whether a run is one of its model's own configuration."""
    # An honest run chooses its epoch among those it had; the table's footer says how many.
    harmless = {*HARMLESS, "train.epochs"} if record["protocol"]["name"] == "honest" else set(HARMLESS)
    return not record.get("ablation") and set(record.get("overrides") or {}) <= harmless


def groups(records: Sequence[Record]) -> list[list[Record]]:
    """Records that differ by nothing but the seed, in order of first appearance.

    A seed counts once: of a run by itself and of a sweep that chose the same settings, the run.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        settings = [record["model"], record["dataset"], record.get("ablation"), record.get("overrides")]
        found.setdefault(json.dumps([*settings, record["protocol"]], sort_keys=True), []).append(record)
    return [_each_seed_once(group) for group in found.values()]


def _each_seed_once(group: Sequence[Record]) -> list[Record]:
    chosen: dict[int, Record] = {}
    for record in sorted(group, key=lambda record: bool(record.get("sweep"))):
        chosen.setdefault(record["seed"], record)
    return [record for record in group if record is chosen[record["seed"]]]


def variant(record: Record) -> str:
    """What was chosen by hand, in words: ``"wo_base, train.epochs=60"``."""
    parts = [record["ablation"]] if record.get("ablation") else []
    return ", ".join(parts + [f"{key}={value}" for key, value in (record.get("overrides") or {}).items()])


def epoch_of(group: Sequence[Record], selection: str) -> str:
    """Which epoch a selection takes, in words."""
    return SELECTIONS[selection] if any(record["epochs"] for record in group) else "no training"


def epochs(group: Sequence[Record]) -> str:
    """How many epochs the runs had: ``"1,000"``, or ``"90-120"``."""
    numbers = sorted({record["epochs"] for record in group})
    return "-".join(f"{n:,}" for n in dict.fromkeys((numbers[0], numbers[-1])))


def selections(group: Sequence[Record]) -> list[str]:
    """Those that any of the runs has, oracles first."""
    order = ["test_per_behavior", "best_test", "best_test_late", "valid", "last"]
    return [name for name in order if any(name in record["selection"] for record in group)]


def values(group: Sequence[Record], selection: str, behavior: str) -> list[Mapping[str, Any]]:
    """The metrics of a behavior, of each run that has them."""
    found = [record["selection"].get(selection, {}).get(behavior) for record in group]
    return [value for value in found if value]


def judged(group: Sequence[Record], behavior: str) -> list[Mapping[str, Any]]:
    """The metrics of a behavior at the epoch that validation chose or, of what is not trained, the only ones."""
    return values(group, "valid", behavior) or values(group, "last", behavior)


def behaviors(paper: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """The target first, then the others in funnel order."""
    funnel = list(dict.fromkeys(name for record in records for name in record.get("behaviors", ())))
    names = {name for record in records for table in record["selection"].values() for name in table}
    ordered = dict.fromkeys([*funnel[-1:], *funnel[:-1], *paper, *sorted(names)])
    return [name for name in ordered if name in names or name in paper]


def metrics(paper: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """Those that the paper prints, or four at the smallest cut-off."""
    if paper:
        return list(next(iter(paper.values()))["metrics"])
    each = {str(n): table for n, record in enumerate(records) for table in record["selection"].values()}
    smallest = tables.cut_offs(each)[:1]
    return [f"{kind}@{k}" for k in smallest for kind in ("prec", "rec", "ndcg", "hr")]


def average(values: Sequence[Mapping[str, Any]], metric: str) -> tuple[float | None, float | None]:
    """Mean and population standard deviation of a metric over runs; None for what there is not."""
    numbers = [value[metric] for value in values if value.get(metric) is not None]
    if not numbers:
        return None, None
    return statistics.fmean(numbers), statistics.pstdev(numbers) if len(numbers) > 1 else None


def cell(mean: float | None, deviation: float | None = None) -> str:
    """A number of a table, ``"0.0743 ± 0.0002"``, or a dash."""
    if mean is None:
        return "-"
    return f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def deviation(ours: float | None, reference: float | None) -> str:
    """``"-3.8 %"`` for .0806 where .0838 is published; empty where either is missing."""
    if ours is None or not reference:
        return ""
    return f"{round(100 * (ours / reference - 1), 1) + 0.0:+.1f} %"  # adding 0 takes the sign off a -0
