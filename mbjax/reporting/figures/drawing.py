"""Grouped bars or lines with a legend, which all figures are, and the numbers beside them as CSV."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib import figure, ticker

from mbjax import files
from mbjax.reporting import fonts, plots

WIDE = 0.8
"""Of the room of a group, what its bars take."""
TICKS = 10
"""So many places of a line are all written at the axis, unless two of them are nearer than ``NEAR``."""
NEAR = 0.07
"""Of the length of an axis; what is written at two places that are as near runs into each other."""


class Bars(NamedTuple):
    """A panel of grouped bars.

    Attributes:
      title: over the panel.
      groups: labels along the axis.
      series: label of the legend -> a height for each group; NaN: no bar.
      xlabel, ylabel: of the axes.
      is_log: whether heights are on a logarithmic scale.
    """

    title: str
    groups: Sequence[str]
    series: dict[str, Sequence[float]]
    xlabel: str
    ylabel: str
    is_log: bool = False


class Line(NamedTuple):
    """A line: its points, and how far a band reaches to either side of each; None: no band."""

    x: Sequence[float]
    y: Sequence[float]
    around: Sequence[float] | None = None


class Lines(NamedTuple):
    """A panel of lines.

    Attributes:
      title: over the panel.
      series: label of the legend -> its line.
      xlabel, ylabel: of the axes.
      labels: place -> what is written there, where places are no numbers of their own.
      is_log: whether places are on a logarithmic scale.
      is_joined: whether points are joined by lines.
    """

    title: str
    series: dict[str, Line]
    xlabel: str
    ylabel: str
    labels: Mapping[int, str] | None = None
    is_log: bool = False
    is_joined: bool = True


class Drawn(NamedTuple):
    """A figure: its numbers, its panels, and one sentence on how to read it."""

    table: pl.DataFrame
    panels: Sequence[Bars | Lines]
    title: str
    note: str


def write(drawn: Drawn, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Writes ``NAME.csv`` and ``NAME.png``; returns their paths. Raises WriteError."""
    files.make_folder(folder)
    csv, png = folder / f"{name}.csv", folder / f"{name}.png"
    files.replace(csv, lambda file: drawn.table.write_csv(file))
    draw(drawn, png)
    return [csv, png]


def draw(drawn: Drawn, path: pathlib.Path) -> None:
    """Draws the panels below one another, one legend for each."""
    texts = [drawn.title, *(panel.title for panel in drawn.panels)]
    bars = [panel for panel in drawn.panels if isinstance(panel, Bars)]
    labels = dict.fromkeys(text for panel in drawn.panels for text in panel.series)
    labels |= dict.fromkeys(text for panel in bars for text in panel.groups)
    ticks = [text for panel in drawn.panels if isinstance(panel, Lines) for text in (panel.labels or {}).values()]
    lettering = fonts.Lettering([*labels, *ticks], texts)
    most = max((len(panel.groups) * max(len(panel.series), 1) for panel in bars), default=18)
    size = (min(14.0, max(6.4, 1.8 + 0.34 * most)), 0.5 + 3.1 * len(drawn.panels))
    drawing = figure.Figure(figsize=size, layout="constrained")
    axes = drawing.subplots(len(drawn.panels), 1, squeeze=False)[:, 0]
    # One series alone needs a name where another panel has another one.
    has_legend = len({label for panel in drawn.panels for label in panel.series}) > 1
    for axis, panel in zip(axes, drawn.panels, strict=True):
        (_panel if isinstance(panel, Bars) else _lines)(axis, panel, lettering)
        _finish(axis, has_legend)
    drawing.suptitle(lettering(drawn.title), fontsize=11)
    plots.write(drawing, path, lettering)


def _panel(axis, panel: Bars, lettering: fonts.Lettering) -> None:
    width = WIDE / max(len(panel.series), 1)
    places = np.arange(len(panel.groups))
    for number, (label, heights) in enumerate(panel.series.items()):
        shift = (number - (len(panel.series) - 1) / 2) * width
        color = plots.COLORS[number % len(plots.COLORS)]
        drawn = axis.bar(places + shift, np.asarray(heights, float), 0.92 * width, color=color, label=lettering(label))
        if panel.is_log:
            axis.bar_label(drawn, [f"{height:,.0f}" for height in heights], fontsize=8, padding=1)
    axis.set_title(lettering(panel.title), fontsize=10)
    axis.set_xticks(places, [lettering(group) for group in panel.groups], fontsize=9)
    if max(map(len, panel.groups), default=0) * len(panel.groups) > 90:
        axis.tick_params(axis="x", rotation=30)
    axis.set_xlabel(panel.xlabel)
    axis.set_ylabel(panel.ylabel)
    if panel.is_log:
        axis.set_yscale("log")
        least = min((height for of in panel.series.values() for height in of if height > 0), default=1.0)
        axis.set_ylim(bottom=10.0 ** np.floor(np.log10(least) - 0.3))  # a bar of the least number is seen
        axis.margins(y=0.1)
    axis.axhline(0, color="#222222", linewidth=0.8)


def _lines(axis, panel: Lines, lettering: fonts.Lettering) -> None:
    for number, (label, line) in enumerate(panel.series.items()):
        color = plots.COLORS[number % len(plots.COLORS)]
        style = "o-" if panel.is_joined else "o"
        axis.plot(line.x, line.y, style, color=color, markersize=4, linewidth=1.5, label=lettering(label))
        if line.around is not None and not panel.is_joined:
            axis.errorbar(line.x, line.y, line.around, fmt="none", color=color, linewidth=1)
        elif line.around is not None:
            y, around = np.asarray(line.y), np.asarray(line.around)
            axis.fill_between(line.x, y - around, y + around, color=color, alpha=0.18, linewidth=0)
    places = sorted({x for line in panel.series.values() for x in line.x})
    if panel.is_log:
        axis.set_xscale("log")
    if panel.labels is not None:
        axis.set_xticks(list(panel.labels), [lettering(text) for text in panel.labels.values()], fontsize=9)
        if max(map(len, panel.labels.values())) * len(panel.labels) > 60:
            axis.tick_params(axis="x", rotation=30)
            axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), ha="right")
        axis.margins(x=0.15)
    elif len(places) <= TICKS and _are_apart(places, panel.is_log):
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.xaxis.set_minor_locator(ticker.NullLocator())
    elif panel.is_log:
        plots.log_ticks(axis.xaxis, places[0], places[-1])
    axis.set_title(lettering(panel.title), fontsize=10)
    axis.set_xlabel(panel.xlabel)
    axis.set_ylabel(panel.ylabel)


def _are_apart(places: Sequence[float], is_log: bool) -> bool:
    """Whether what is written at each place has room."""
    on_axis = np.log(places) if is_log else np.asarray(places)
    return len(places) < 2 or bool(np.diff(on_axis).min() >= NEAR * (on_axis[-1] - on_axis[0]))


def _finish(axis, has_legend: bool) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    if has_legend:
        axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
