"""Bars of one metric on one data set: a panel for each behavior, a bar for each group of runs, the papers beside.

A second drawing shows visited and unvisited pairs next to each other: what a run does with items that the user has met,
and whether it finds any others.
"""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib import figure

from mbjax import kinds
from mbjax.reporting import fonts, plots
from mbjax.reporting.compare import blocks
from mbjax.reporting.compare import groups as grouping

ANCHOR = "#999999"
LABEL_WIDTH = 34  # letters
MIN_WIDTH = 6.8  # inches: the title has to fit
ROOM = 1.3
"""The axis ends at so many times the longest bar: the number stands behind it."""
TEXT_WIDTH = 0.28
"""Of such a number with its margins, as a share of the longest bar."""


class Bar(NamedTuple):
    """One group of runs in a panel: mean over seeds, deviation and the published number where there are any."""

    label: str
    mean: float
    deviation: float | None
    paper: float | None = None


class Panel(NamedTuple):
    """Bars that share a scale; ``details`` follow the behavior in the title."""

    behavior: str
    details: str
    bars: tuple[Bar, ...]

    @property
    def title(self) -> str:
        """What stands over the bars."""
        return self.behavior + self.details


Grid = Sequence[Sequence[Panel]]


def whole(sheets: Sequence[blocks.Sheet], metric: str) -> Grid:
    """A metric over all pairs, with the published numbers: one line of panels, one for each behavior."""
    row = []
    for sheet, block in _find(sheets, metric):
        users = "" if sheet.users is None else f"\n{sheet.users:,} users"
        bars = tuple(Bar(line.group.label, line.mean, line.deviation, line.paper) for line in block.lines)
        row.append(Panel(sheet.behavior, users, bars))
    return [row]


def parts(sheets: Sequence[blocks.Sheet], metric: str) -> Grid:
    """A metric over visited pairs beside the same over unvisited ones: a line of two panels for each behavior.

    A behavior without pairs of both kinds is left out, so that there may be no line.
    """
    grid = []
    for sheet, block in _find(sheets, metric):
        row = []
        for name in kinds.IN_ONE_LIST:
            found = [(line, line.parts[name]) for line in block.lines if name in line.parts]
            bars = tuple(
                Bar(line.group.label, part.mean, part.deviation) for line, part in found if part.mean is not None
            )
            # Runs on other training data have other visited pairs.
            pairs = [part.pairs for _, part in found if part.pairs] or [0]
            ends = " to ".join(f"{number:,}" for number in sorted({min(pairs), max(pairs)}))
            row.append(Panel(sheet.behavior, f", {name}\n{ends} pairs", bars))
        if all(panel.bars for panel in row):
            grid.append(row)
    return grid


def _find(sheets, metric):
    return [(sheet, block) for sheet in sheets for block in sheet.blocks if block.metric == metric]


def draw(
    grid: Grid, groups: Sequence[grouping.Group], path: str | pathlib.Path, *, heading: str, subtitle: str = ""
) -> None:
    """Draws lines of panels with horizontal bars, from 0 on; every panel has a scale of its own.

    Colors tell models apart and gray is an anchor. Whiskers are one standard deviation to either side over seeds,
    diamonds the published numbers.

    Args:
      grid: of ``whole`` or ``parts``, at least one line.
      groups: of the data set; their order is that of the bars.
      path: of the PNG.
      heading: the title.
      subtitle: a second line of the title.
    """
    behaviors = order(groups, (panel.behavior for row in grid for panel in row))
    lettering = fonts.Lettering(behaviors, [heading, subtitle, *(group.label for group in groups)])
    drawn = {bar.label for row in grid for panel in row for bar in panel.bars}
    labels = [group.label for group in groups if group.label in drawn]
    models = list(dict.fromkeys(group.first.record["model"] for group in groups if group.first.is_trained))
    colors = {
        group.label: plots.COLORS[models.index(group.first.record["model"]) % len(plots.COLORS)]
        for group in groups
        if group.first.is_trained
    }
    names = [textwrap.fill(lettering(label), LABEL_WIDTH) for label in labels]
    lines = sum(1 + 0.55 * name.count("\n") for name in names)
    longest = max(len(part) for name in names for part in name.split("\n"))
    size = (max(MIN_WIDTH, 0.5 + 0.075 * longest + 3.0 * len(grid[0])), 0.9 + len(grid) * (0.6 + 0.34 * lines))
    drawing = figure.Figure(figsize=size, layout="constrained")
    all_axes = drawing.subplots(len(grid), len(grid[0]), squeeze=False, sharey=True)
    handles = {}
    for row, row_axes in zip(grid, all_axes, strict=True):
        for panel, axis in zip(row, row_axes, strict=True):
            handles |= _bars(axis, panel, labels, colors)
            axis.set_title(lettering(panel.behavior) + panel.details, fontsize=10)
        row_axes[0].set_yticks(range(len(labels)), names, fontsize=9)
        row_axes[0].set_ylim(len(labels) - 0.4, -0.6)  # the first on top
    drawing.suptitle(lettering(f"{heading}\n{subtitle}" if subtitle else heading), fontsize=11)
    if handles:
        drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    plots.write(drawing, path, lettering)


def order(groups: Sequence[grouping.Group], drawn: Iterable[str]) -> list[str]:
    """All behaviors of the runs, in the order of the funnel: those that no font can write are numbered by it."""
    known = [behavior for group in groups for behavior in group.first.record.get("behaviors", ())]
    return list(dict.fromkeys([*known, *drawn]))


def _bars(axis, panel: Panel, labels: Sequence[str], colors) -> dict:
    """Draws a panel; returns what the legend has to explain."""
    handles = {}
    longest_bar = max(max(bar.mean + (bar.deviation or 0.0), bar.paper or 0.0) for bar in panel.bars)
    for bar in panel.bars:
        place, reach = labels.index(bar.label), bar.mean
        axis.barh(place, bar.mean, 0.7, color=colors.get(bar.label, ANCHOR))
        if bar.deviation is not None:
            style = {"ecolor": "#222222", "elinewidth": 1.3, "capsize": 3, "fmt": "none", "zorder": 4}
            handles["± s.d. over seeds"] = axis.errorbar(bar.mean, place, xerr=bar.deviation, **style)
            reach += bar.deviation
        if bar.paper is not None:
            style = {"marker": "D", "s": 34, "color": "white", "edgecolor": "black", "linewidth": 1.1, "zorder": 3}
            handles["paper"] = axis.scatter(bar.paper, place, **style)
            if bar.paper < reach + TEXT_WIDTH * longest_bar:  # else the number fits between bar and diamond
                reach = max(reach, bar.paper)
        axis.text(reach + 0.035 * longest_bar, place, f"{bar.mean:.4f}", va="center", fontsize=8)
    axis.set_xlim(0, ROOM * longest_bar or 1.0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=4)
    return handles
