"""The comparison itself: for every data set, behavior and metric a block of lines, one line for each group of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mbjax import errors, kinds, metrics
from mbjax.reporting import literature, report, tables
from mbjax.reporting.compare import groups as grouping
from mbjax.reporting.compare import significance, sources


@dataclasses.dataclass(frozen=True)
class Part:
    """Visited or unvisited pairs: how many, mean over seeds of the metric on them, standard deviation."""

    pairs: int
    mean: float | None
    deviation: float | None


@dataclasses.dataclass(frozen=True)
class Line:
    """A group of runs in one metric of one behavior.

    Attributes:
      group: the runs.
      values: of each seed, in the group's order.
      mean, deviation: over the seeds; the deviation (of the population) is None for one seed.
      paper, paper_deviation: published values, or None.
      parts: of ``kinds.IN_ONE_LIST``, those that were evaluated.
      test: how it compares with the best group; None if it was not tested, or is the best.
    """

    group: grouping.Group
    values: tuple[float, ...]
    mean: float
    deviation: float | None
    paper: float | None
    paper_deviation: float | None
    parts: Mapping[str, Part]
    test: significance.Outcome | None = None


@dataclasses.dataclass(frozen=True)
class Block:
    """All lines of a metric; ``best`` is the group that the others were tested against, if any was tested."""

    metric: str
    lines: tuple[Line, ...]
    best: grouping.Group | None = None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A behavior of a data set.

    Attributes:
      dataset, behavior: names.
      users, pairs: that are held out.
      blocks: one for each metric that any group has.
    """

    dataset: str
    behavior: str
    users: int | None
    pairs: int | None
    blocks: tuple[Block, ...]


def build(
    runs: Sequence[sources.Run],
    groups: Mapping[str, Sequence[grouping.Group]],
    *,
    metric_names: Sequence[str] = (),
    behaviors: Sequence[str] = (),
    papers: bool = True,
) -> list[Sheet]:
    """Puts runs side by side.

    Args:
      runs: all of them.
      groups: data set -> groups of its runs.
      metric_names: such as ``"ndcg@10"``, or ``"ndcg"`` for the default cut-off; empty: NDCG and HR.
      behaviors: empty: all, the target first.
      papers: whether published numbers stand beside; they are of test splits.

    Returns:
      Sheets by data set, then behavior.

    Raises:
      ConfigError: a behavior or a metric that no run has. IncompatibleError: per-user values of different users.
    """
    known = list(dict.fromkeys(name for run in runs for name in _order([run])))
    for behavior in behaviors:
        if behavior not in known:
            raise errors.unknown("behavior", behavior, known)
    sheets = []
    for dataset, here in groups.items():
        own = [run for group in here for run in group.runs]
        names = choose_metrics(own, metric_names)
        for behavior in behaviors or _order(own):
            blocks = [_block(here, behavior, metric, papers) for metric in names]
            tables_here = [run.table[behavior] for run in own if behavior in run.table]
            if any(block.lines for block in blocks):
                blocks = tuple(block for block in blocks if block.lines)
                sizes = (tables_here[0].get("users"), tables_here[0].get("pairs"))
                sheets.append(Sheet(dataset, behavior, *sizes, blocks))
    if not sheets:
        there = sorted({name for run in runs for row in run.table.values() for name in row if "@" in name})
        raise errors.ConfigError(f"no run has {', '.join(metric_names) or 'a metric'}. There are: {', '.join(there)}.")
    return sheets


def choose_metrics(runs: Sequence[sources.Run], names: Sequence[str] = ()) -> list[str]:
    """Metrics with their cut-offs, of the runs on one data set.

    A cut-off that is not named is that of the papers, or the smallest that all runs have.
    """
    check_metrics(names)
    each = [set(tables.cut_offs({"": run.table})) for run in runs if run.table]
    common = set.intersection(*each) if each else set()
    common = common or set().union(*each)
    rows = [row for run in runs for row in published(run).values()]
    papers = {int(name.partition("@")[2]) for row in rows for name in row["metrics"]}
    k = min(papers & common or common, default=0)
    return list(dict.fromkeys(name if "@" in name else f"{name}@{k}" for name in names or ("ndcg", "hr")))


def check_metrics(names: Sequence[str]) -> None:
    """Raises ConfigError for a metric that is none, or a cut-off."""
    for name in names:
        kind, at, k = name.partition("@")
        if kind not in metrics.NAMES:
            raise errors.unknown("metric", kind, metrics.NAMES)
        if at and not (k.isdecimal() and int(k)):
            raise errors.ConfigError(f"--metric={name}: the cut-off is a whole number from 1 upwards, as in {kind}@10.")


def _order(runs: Sequence[sources.Run]) -> list[str]:
    """Behaviors that were evaluated, the target of the first run first."""
    funnel = list(dict.fromkeys(name for run in runs for name in run.record.get("behaviors", ())))
    first = list(runs[0].record.get("behaviors", ()))
    evaluated = dict.fromkeys(name for run in runs for name in run.table)
    ordered = dict.fromkeys([*first[-1:], *first[:-1], *funnel, *evaluated])
    return [name for name in ordered if name in evaluated]


def published(run: sources.Run) -> dict[str, dict[str, Any]]:
    """Behavior -> row of a paper that reports the run's model; empty if none does."""
    return literature.find_of(run.record)


def _block(groups: Sequence[grouping.Group], behavior: str, metric: str, papers: bool) -> Block:
    lines = []
    for group in groups:
        rows = [run.table[behavior] for run in group.runs if run.table.get(behavior, {}).get(metric) is not None]
        if not rows:
            continue
        paper = published(group.first).get(behavior, {}) if papers else {}
        parts = {}
        for part in kinds.IN_ONE_LIST:
            if found := [row[part] for row in rows if part in row]:
                parts[part] = Part(found[0].get("pairs", 0), *report.average(found, metric))
        lines.append(
            Line(
                group,
                tuple(row[metric] for row in rows),
                *report.average(rows, metric),
                paper=paper.get("metrics", {}).get(metric),
                paper_deviation=paper.get("sd", {}).get(metric),
                parts=parts,
            )
        )
    values = {line.group.label: found for line in lines if (found := _per_user(line.group, behavior, metric))}
    if len(values) < 2:
        return Block(metric, tuple(lines))
    _check_users(values, behavior)
    arrays = {label: array for label, (_, array) in values.items()}
    # The best of what is tested: a group's seeds without per-user values do not count here.
    best = max((line for line in lines if line.group.label in arrays), key=lambda line: arrays[line.group.label].mean())
    reference = arrays.pop(best.group.label)
    if reference.size < 2:
        return Block(metric, tuple(lines))
    outcomes = significance.against(reference, arrays)
    tested = (dataclasses.replace(line, test=outcomes.get(line.group.label)) for line in lines)
    return Block(metric, tuple(tested), best.group)


def _per_user(group: grouping.Group, behavior: str, metric: str) -> tuple[pl.Series, np.ndarray] | None:
    """Raw users, ascending, and the mean over the group's seeds of the value of each; None without such values."""
    users, values = None, []
    for run in group.runs:
        if run.per_user is None or metric not in run.per_user.columns:
            continue
        rows = run.per_user.filter(pl.col("behavior") == behavior).sort("raw_user")
        if not len(rows):
            continue
        if users is not None:
            _check_users({run.source: (rows["raw_user"], None), group.first.source: (users, None)}, behavior)
        users = rows["raw_user"]
        values.append(rows[metric].to_numpy())
    return None if users is None else (users, np.mean(values, axis=0))


def _check_users(values: Mapping[str, tuple[pl.Series, Any]], behavior: str) -> None:
    first, *others = values
    for other in others:
        if not values[first][0].equals(values[other][0]):
            raise errors.IncompatibleError(
                f"the per-user values of '{first}' and '{other}' are of different users of behavior '{behavior}': "
                "nothing can be paired. Evaluate both on the same split."
            )
