"""All models on a data set under one protocol: what they reach, with what time, memory and number of parameters.

Runs are honest ones: validation pairs chose the epoch, the test split was read once. Those that kept to a budget stand
before those that had longer: a sweep (``mbjax sweep --minutes``), which tried other settings in it too and chose among
them on validation pairs, or a run of its own, with its evaluations. The budget is of two cores: a run on one core alone
may take twice the minutes.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from mbjax import errors, kinds
from mbjax.reporting import report, summary, tables
from mbjax.reporting.report import Record

CORES = 2
"""Of which the minutes of a budget are."""
OTHER_DATA = ("data.", "evaluate.")
"""Beginnings of overrides that change what is learned from or ranked."""


class Entry(NamedTuple):
    """The runs of one setting; ``value``: what the table is ordered by."""

    group: Sequence[Record]
    minutes: float | None
    value: float


def table(name: str, records: Sequence[Record]) -> str:
    """The Markdown of a marker ``leaderboard:DATASET:MINUTES``: two tables, within so much of two cores and beyond.

    A model stands once in each: with a sweep of so many minutes, the longest; without one with the run that has the
    fewest settings chosen by hand, of several the longest. One that was told to end in time is within it, whatever its
    last epoch took. Of one ranked behavior hit rate and NDCG are shown, of several the NDCG of each. A run on an
    accelerator is beyond.

    Raises:
      DataError: the marker has other parts, or there is no honest run on the data set.
    """
    dataset, budget = _asked(name)
    of_data = [r for r in records if r["dataset"] == dataset and r["protocol"]["name"] == "honest"]
    own = [r for r in of_data if not any(path.startswith(OTHER_DATA) for path in _by_hand(r)) and _is_a_model(r)]
    if not own:
        raise errors.DataError(f"results:{name}: no honest run on '{dataset}'.")
    target = report.behaviors({}, own)[0]
    metrics = [m for m in report.metrics({}, own) if m.startswith("ndcg")][:1]
    limits = dict.fromkeys(_sweep(record).get("limit") for record in own)
    groups = [g for limit in limits for g in report.groups([r for r in own if _sweep(r).get("limit") == limit])]
    entries = [_entry(group, target, metrics[0]) for group in groups]
    parts = {"within": [], "longer": []}
    for entry in entries:
        is_within = _allowed(entry) <= budget and not _has_accelerator(entry.group)
        parts["within" if is_within else "longer"].append(entry)
    texts = [f"Within {budget:g} minutes of two cores:", _lines(_best(parts["within"]), own)]
    if parts["longer"]:
        texts += ["With more, or on an accelerator:", _lines(_best(parts["longer"]), own)]
    return "\n\n".join(texts)


def _asked(name: str) -> tuple[str, float]:
    parts = name.split(":")
    try:
        _, dataset, minutes = parts
        return dataset, float(minutes)
    except ValueError:
        raise errors.DataError(
            f"results:{name}: it is leaderboard:DATASET:MINUTES, such as leaderboard:taobao:5."
        ) from None


def _allowed(entry: Entry) -> float:
    """Minutes of two cores that the runs of a setting were told to keep to, or else took."""
    limits = [_sweep(record).get("limit") or record["overrides"].get("train.max_minutes") for record in entry.group]
    if all(limits):
        return max(limit * _cores(record) for limit, record in zip(limits, entry.group, strict=True)) / CORES
    return statistics.fmean(_minutes(record) * _cores(record) for record in entry.group) / CORES


def _minutes(record: Record) -> float:
    """What a run or a sweep took; 0 where it is not told."""
    return _sweep(record).get("minutes") or (record.get("seconds") or {}).get("total", 0.0) / 60


def _cores(record: Record) -> int:
    """Cores that a run could use; two where its machine is not told."""
    found = re.match(r"(\d+) core", record.get("machine", ""))
    return int(found[1]) if found else CORES


def _sweep(record: Record) -> dict:
    """What a setting was chosen from; empty where it was not."""
    return record.get("sweep") or {}


def _has_accelerator(group: Sequence[Record]) -> bool:
    """Whether any of the runs was on more than the cores of a CPU."""
    return any(" x " in record.get("machine", "") for record in group)


def _by_hand(record: Record) -> list[str]:
    """Overrides but those that say how often and up to which cut-offs is evaluated; none that a sweep chose."""
    if _sweep(record):
        return []
    return [path for path in record.get("overrides") or {} if path not in report.HARMLESS]


def _is_a_model(record: Record) -> bool:
    """Whether a run is of a model as it ships or of one of its readings, and not a part of it taken away."""
    return summary.known_as(record) is not None


def _entry(group: Sequence[Record], target: str, metric: str) -> Entry:
    totals = [total for record in group if (total := _minutes(record))]
    value, _ = report.average(report.judged(group, target), metric)
    return Entry(group, statistics.fmean(totals) if totals else None, -1.0 if value is None else value)


def _best(entries: Sequence[Entry]) -> list[Entry]:
    """One entry for each model and reading, in descending order of the value; none is chosen by the test split."""
    found: dict[tuple, Entry] = {}
    for entry in entries:
        first = entry.group[0]
        place = first["model"], first.get("ablation")
        if place not in found or _length(entry) > _length(found[place]):
            found[place] = entry
    return sorted(found.values(), key=lambda entry: -entry.value)


def _length(entry: Entry) -> tuple[float, int, int]:
    """Sweeps go before runs, runs with settings of their own before those with others, longer ones before shorter."""
    return (
        _sweep(entry.group[0]).get("limit") or 0.0,
        -len([p for p in _by_hand(entry.group[0]) if not p.startswith("train.")]),
        entry.group[0]["epochs"],
    )


def _lines(entries: Sequence[Entry], own: Sequence[Record]) -> str:
    behaviors = report.behaviors({}, own)
    metric = next(m for m in report.metrics({}, own) if m.startswith("ndcg"))
    shown = [(behaviors[0], metric.replace("ndcg", "hr")), (behaviors[0], metric)]
    shown = shown if len(behaviors) == 1 else [(b, metric) for b in behaviors]
    parts = [p for p in kinds.IN_ONE_LIST if any(p in v for e in entries for v in report.judged(e.group, behaviors[0]))]
    head = ["", "model", *(f"{b} {tables.title(m)}" for b, m in shown)]
    first = shown[0][1].replace("ndcg", "hr")
    head += [f"{behaviors[0]} {tables.title(first)} {part}" for part in parts]
    head += ["settings", "epochs", "seeds", "minutes", "parameters", "MiB", "machine"]
    lines = [head, ["---:", "---", *["---:"] * (len(head) - 3), "---"]]
    for number, entry in enumerate(entries, start=1):
        record = entry.group[0]
        name = summary.known_as(record) or record["model"]
        by_hand = [f"{p.rpartition('.')[2]}={record['overrides'][p]}" for p in _shown(record)]
        cells = [str(number), ", ".join([summary.name_of(name), *by_hand])]
        for behavior, one in shown:
            cells.append(report.cell(*report.average(report.judged(entry.group, behavior), one)))
        for part in parts:
            rows = [value.get(part) or {} for value in report.judged(entry.group, behaviors[0])]
            cells.append(report.cell(report.average(rows, first)[0]))
        cells += [str(_sweep(record).get("settings", 1))]
        cells += [report.epochs(entry.group) if record["epochs"] else "", str(len(entry.group))]
        cells += ["" if entry.minutes is None else f"{entry.minutes:.1f}"]
        cells += [f"{record['parameters']:,}" if record.get("parameters") else ""]
        memory = [r["peak_memory_mib"] for r in entry.group if r.get("peak_memory_mib")]
        machines = dict.fromkeys(r["machine"] for r in entry.group if r.get("machine"))
        lines.append([*cells, f"{max(memory):,}" if memory else "", "; ".join(machines)])
    return tables.join(lines)


def _shown(record: Record) -> list[str]:
    """Overrides that stand beside the model's name, be they chosen by hand or on validation pairs."""
    return [p for p in record.get("overrides") or {} if p not in (*report.HARMLESS, *_LENGTH)]


_LENGTH = ("train.epochs", "train.max_minutes")
"""Overrides that the columns of epochs and minutes tell."""
