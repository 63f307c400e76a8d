"""A comparison to be read: the same tables on the terminal and as Markdown, with what a reader should know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import rich.box
import rich.padding
import rich.table
import rich.text

from mbjax import kinds
from mbjax.reporting import literature, report, tables
from mbjax.reporting.compare import blocks, significance
from mbjax.reporting.compare import groups as grouping


class Cell(NamedTuple):
    """A text, and whether it is set in bold."""

    text: str
    is_bold: bool = False


class Grid(NamedTuple):
    """A table: heads of its columns after the first, and for each metric its lines of cells."""

    head: list[str]
    lines: dict[str, list[list[Cell]]]


def results(sheet: blocks.Sheet) -> Grid:
    """Mean and deviation of each group, the paper's number, and visited and unvisited pairs; the best is bold."""
    lines = [line for block in sheet.blocks for line in block.lines]
    has_paper = any(line.paper is not None for line in lines)
    selections = {line.group.first.selection for line in lines if line.group.first.is_trained}
    parts = [part for part in kinds.IN_ONE_LIST if any(part in line.parts for line in lines)]
    counts = {part: {line.parts[part].pairs for line in lines if part in line.parts} for part in parts}
    head = ["epoch"] * (len(selections) > 1) + ["seeds", "all"] + ["paper"] * has_paper
    head += [f"{part} ({min(counts[part]):,})" if len(counts[part]) == 1 else part for part in parts]
    body = {}
    for block in sheet.blocks:
        best = round(max(line.mean for line in block.lines), 4)
        body[block.metric] = []
        for line in block.lines:
            mark = len(block.lines) > 1 and round(line.mean, 4) == best
            cells = [Cell(line.group.label)]
            if len(selections) > 1:
                cells.append(Cell(line.group.first.selection if line.group.first.is_trained else ""))
            cells += [Cell(str(len(line.values))), Cell(report.cell(line.mean, line.deviation), mark)]
            cells += [Cell(report.cell(line.paper))] if has_paper else []
            for part in parts:
                found = line.parts.get(part)
                beside = f" ({found.pairs:,})" if found and len(counts[part]) > 1 else ""
                cells.append(Cell(report.cell(found.mean if found else None) + beside))
            body[block.metric].append(cells)
    return Grid(head, body)


def tests(sheet: blocks.Sheet) -> Grid:
    """The paired tests of each metric; p-values below the level are bold."""
    body = {}
    for block in sheet.blocks:
        if block.best is not None:
            body[block.metric] = [[Cell(block.best.label, True), Cell("best"), *[Cell("")] * 4]]
        for line in block.lines:
            if (test := line.test) is not None:
                cells = [Cell(line.group.label), Cell(f"{test.difference:+.4f}")]
                cells += [Cell(f"{test.low:+.4f} to {test.high:+.4f}"), Cell(f"{test.better:,} / {test.worse:,}")]
                for p in (test.t_test_holm, test.wilcoxon_holm):
                    cells.append(Cell("<0.001" if p < 0.001 else f"{p:.3f}", p < significance.LEVEL))
                body[block.metric].append(cells)
    return Grid(["difference", "95 % interval", "better / worse", "t-test p", "Wilcoxon p"], body)


def title(sheet: blocks.Sheet, split: str) -> str:
    """What a sheet is of: data set, behavior, split, users and pairs."""
    sizes = [
        f"{number:,} {name}" for number, name in ((sheet.users, "users"), (sheet.pairs, "held-out pairs")) if number
    ]
    return f"{sheet.dataset}, {sheet.behavior}: {split} split" + (f", {' with '.join(sizes)}" if sizes else "")


def notes(groups: Sequence[grouping.Group], sheets: Sequence[blocks.Sheet], *, with_tests: bool = True) -> list[str]:
    """What a reader of the sheets of one data set should know, one sentence each."""
    trained = [g for g in groups if g.first.is_trained]
    said = []
    if common := grouping.shared(groups):
        said.append(f"Set by hand in all {'trained ' * bool(trained)}runs: {', '.join(common)}.")
    chosen = dict.fromkeys(g.first.selection for g in trained)
    if len(chosen) == 1:
        said.append(f"Epoch of trained runs: {report.SELECTIONS[next(iter(chosen))]}.")
    elif chosen:
        meant = "; ".join(f"{name}: {report.SELECTIONS[name]}" for name in chosen)
        said.append(f"The lines are of differently chosen epochs and do not compare as equals. {meant}.")
    if any(g.first.record["protocol"]["name"] == "paper" for g in trained):
        said.append(
            "Protocol 'paper' reports as printed tables do, most of them by the test split; it is there for comparison "
            "with these tables only."
        )
    if any(len(g.runs) > 1 for g in groups):
        said.append("±: population standard deviation over the seeds.")
    said.append(
        "Visited: held-out pairs that the user had met through another behavior in training; means are over "
        "the users that have any."
    )
    if len(dict.fromkeys(_learned_from(g.first.record) for g in groups)) > 1:
        said.append(
            "The runs have not the same behaviors, or only a part of their pairs: what one of them had not seen is "
            "unvisited for it, so visited and unvisited pairs are not the same from line to line."
        )
    papers = {}
    for g in groups:
        found = literature.find_of(g.first.record)
        papers |= {row["paper"]: row["protocol"] for row in found.values()}
    said += [f"Paper: {name}; {protocol}." for name, protocol in papers.items()]
    said += _without(groups, sheets)
    if with_tests:
        said += _on_tests(groups, sheets)
    return said


def _without(groups: Sequence[grouping.Group], sheets: Sequence[blocks.Sheet]) -> list[str]:
    """Which runs have a behavior and not a metric of it, a sentence for each metric."""
    found = []
    for sheet in sheets:
        for block in sheet.blocks:
            there = [line.group for line in block.lines]
            lacking = [g.label for g in groups if g not in there and any(sheet.behavior in run.table for run in g.runs)]
            if lacking:
                found.append(f"Without {tables.title(block.metric)} of {sheet.behavior}: {', '.join(lacking)}.")
    return found


def _learned_from(record) -> tuple[str, ...]:
    """What decides which held-out pairs are visited."""
    overrides = record.get("overrides") or {}
    return (*sorted(record.get("behaviors", ())), str(overrides.get("data.subsample", "")))


def _on_tests(groups: Sequence[grouping.Group], sheets: Sequence[blocks.Sheet]) -> list[str]:
    blocks_here = [(sheet.behavior, block) for sheet in sheets for block in sheet.blocks]
    if not any(block.best for _, block in blocks_here):
        why = sorted({run.untested for g in groups for run in g.runs if run.per_user is None})
        beside = f" Runs without: {'; '.join(why)}." if why else ""
        return [f"No tests: they need two groups with per-user values.{beside}"] if len(groups) > 1 else []
    said = [
        "Tests: per-user values, averaged over a group's seeds, paired with those of the best group that has any; "
        f"two-sided; Holm-corrected over the groups tested in a metric of a behavior; bold: below "
        f"{significance.LEVEL}. They generalize over users, not over seeds."
    ]
    reasons: dict[str, list[str]] = {}
    for g in groups:
        for run in g.runs:
            if run.per_user is None:
                reasons.setdefault(run.untested, []).append(f"{g.label} (seed {run.record['seed']})")
    for behavior, block in blocks_here:
        for run, label in ((run, line.group.label) for line in block.lines for run in line.group.runs):
            if run.per_user is not None and block.metric not in run.per_user.columns:
                reason = f"of {behavior} none of {tables.title(block.metric)}"
                reasons.setdefault(reason, []).append(f"{label} (seed {run.record['seed']})")
    for reason, names in reasons.items():
        said.append(f"In the tables but in no test, for want of per-user values ({reason}): {', '.join(names)}.")
    for behavior, block in blocks_here:
        top = max(block.lines, key=lambda line: line.mean)
        if block.best is not None and all(line.mean < top.mean for line in block.lines if line.group is block.best):
            said.append(
                f"{tables.title(block.metric)} of {behavior}: '{top.group.label}' is best and has no per-user values; "
                f"the tests are against '{block.best.label}'."
            )
    return said


def markdown(grid: Grid) -> str:
    """A grid with a column for the metric, which is named in the first of its lines."""
    lines = [["metric", "run", *grid.head], ["---", "---", *["---:"] * len(grid.head)]]
    for metric, body in grid.lines.items():
        for number, cells in enumerate(body):
            texts = [f"**{cell.text}**" if cell.is_bold else cell.text for cell in cells]
            lines.append(["" if number else tables.title(metric), *texts])
    return tables.join(lines)


def terminal(grid: Grid) -> rich.table.Table:
    """A grid for ``rich``: every metric is a line of its own above its lines."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold")
    for name in grid.head:
        table.add_column("\n".join(name.rsplit(" ", 1)), justify="right", no_wrap=True)
    for number, (metric, body) in enumerate(grid.lines.items()):
        if number:
            table.add_row()
        table.add_row(rich.text.Text(tables.title(metric), style="italic"))
        for label, *cells in body:
            name = rich.padding.Padding(rich.text.Text(label.text, style="bold" if label.is_bold else ""), (0, 0, 0, 2))
            table.add_row(name, *(rich.text.Text(cell.text, style="bold" if cell.is_bold else "") for cell in cells))
    return table
