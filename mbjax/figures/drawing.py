"""Grouped bars with a legend, which all figures are, and the numbers beside them as CSV."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib import figure

from mbjax import files
from mbjax.train import fonts, plots

WIDE = 0.8
"""Of the room of a group, what its bars take."""


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


class Drawn(NamedTuple):
    """A figure: its numbers, its panels, and one sentence on how to read it."""

    table: pl.DataFrame
    panels: Sequence[Bars]
    title: str
    note: str


def write(drawn: Drawn, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Writes ``NAME.csv`` and ``NAME.png``; returns their paths. Raises WriteError."""
    csv, png = folder / f"{name}.csv", folder / f"{name}.png"
    files.replace(csv, lambda file: drawn.table.write_csv(file))
    draw(drawn, png)
    return [csv, png]


def draw(drawn: Drawn, path: pathlib.Path) -> None:
    """Draws the panels below one another, one legend for each."""
    texts = [drawn.title, *(panel.title for panel in drawn.panels)]
    labels = dict.fromkeys(text for panel in drawn.panels for text in (*panel.groups, *panel.series))
    lettering = fonts.Lettering(list(labels), texts)
    most = max(len(panel.groups) * max(len(panel.series), 1) for panel in drawn.panels)
    size = (min(14.0, max(6.4, 1.8 + 0.34 * most)), 0.5 + 3.1 * len(drawn.panels))
    drawing = figure.Figure(figsize=size, layout="constrained")
    axes = drawing.subplots(len(drawn.panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, drawn.panels, strict=True):
        _panel(axis, panel, lettering)
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
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    if len(panel.series) > 1:
        axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
