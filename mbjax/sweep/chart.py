"""A metric against what varied: a panel for each field, lines with a band over seeds of a grid, points of a search."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib import figure, ticker

from mbjax.reporting import fonts, plots, tables
from mbjax.sweep import axes, records

LINES = 8
"""So many combinations of the other fields are a line each; of more, each setting is a point."""
TICKS = 8
"""So many values of a grid are all written at the axis."""


class Point(NamedTuple):
    """A setting in a panel: mean and deviation over seeds, and whether all of them finished."""

    x: float
    mean: float
    deviation: float | None
    is_whole: bool
    number: int


class Panel(NamedTuple):
    """A field: label -> its points by x; ``labels`` of the places 0, 1, ... where its values are no numbers."""

    field: str
    curves: dict[str, list[Point]]
    labels: tuple[str, ...]
    is_log: bool


def panels(lines: Sequence[records.Line], own: Mapping[str, str] = types.MappingProxyType({})) -> list[Panel]:
    """A panel for each field with several values, of the settings of one model that have a value to show.

    Args:
      lines: of one model.
      own: field -> the model's own value as a text, for settings that leave a field as it is.
    """
    shown = [line for line in lines if _mean(line) is not None]
    fields = dict.fromkeys(field for line in shown for field in line.setting)
    shown = [
        dataclasses.replace(line, setting={f: own[f] for f in fields if f in own} | dict(line.setting))
        for line in shown
    ]
    having = {field: [line for line in shown if field in line.setting] for field in fields}
    return [_panel(field, of) for field, of in having.items() if len({line.setting[field] for line in of}) > 1]


def _panel(field: str, lines: Sequence[records.Line]) -> Panel:
    texts = list(dict.fromkeys(line.setting[field] for line in lines))
    numbers = [axes.number(text) for text in texts]
    labels = tuple(texts) if any(map(math.isnan, numbers)) else ()
    places = dict(zip(texts, range(len(texts)) if labels else numbers, strict=True))
    curves: dict[str, list[Point]] = {}
    for line in lines:
        others = ", ".join(f"{_short(name)}={text}" for name, text in line.setting.items() if name != field)
        point = Point(places[line.setting[field]], _mean(line), line.deviation, line.is_whole, line.number)
        curves.setdefault(others, []).append(point)
    for points in curves.values():
        points.sort()
    is_log = not labels and min(places.values()) > 0 and max(places.values()) / min(places.values()) >= axes.DECADE
    return Panel(field, curves, labels, is_log)


def draw(
    lines: Sequence[records.Line],
    path: str | pathlib.Path,
    *,
    title: str,
    chosen: int | None = None,
    is_search: bool = False,
    own: Mapping[str, str] = types.MappingProxyType({}),
) -> bool:
    """Draws the settings of one model as a PNG; False, and no file, where no field has two values with results.

    Args:
      lines: of one model.
      path: of the PNG.
      title: over the panels.
      chosen: number of the setting that gets a ring.
      is_search: points rather than lines; those that were given up are hollow, at the best value that they had.
      own: as for ``panels``.
    """
    found = panels(lines, own)
    if not found:
        return False
    monitor = next(run.monitor for line in lines for run in line.runs)
    behavior, _, metric = monitor.rpartition(":")
    seeds = max(len(line.values) for line in lines)
    drawing = figure.Figure(figsize=(1.2 + 4.4 * len(found), 4.2), layout="constrained")
    row = drawing.subplots(1, len(found), sharey=True, squeeze=False)[0]
    words = [title, behavior, *(label for panel in found for label in (*panel.curves, *panel.labels))]
    lettering = fonts.Lettering([], words)
    for axis, panel in zip(row, found, strict=True):
        as_lines = not is_search and len(panel.curves) <= LINES
        _fill(axis, panel, as_lines, lettering)
        points = [point for points in panel.curves.values() for point in points if point.number == chosen]
        for point in points:
            axis.plot(point.x, point.mean, "o", color="black", fillstyle="none", markersize=11, label="chosen")
        axis.set_xlabel(panel.field)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        if as_lines and any(panel.curves):
            axis.legend(frameon=False, fontsize=8)
        elif points:  # above, where no point is
            axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    over = "mean over behaviors" if behavior == "mean" else behavior
    band = f"\nmean ± deviation of {seeds} seeds" if seeds > 1 else ""
    row[0].set_ylabel(lettering(f"{tables.title(metric)} on validation, {over}{band}"))
    drawing.suptitle(lettering(title), fontsize=11)
    plots.write(drawing, path, lettering)
    return True


def _fill(axis: Any, panel: Panel, as_lines: bool, lettering: fonts.Lettering) -> None:
    for number, (label, points) in enumerate(panel.curves.items()):
        color = plots.COLORS[number % len(plots.COLORS)] if as_lines else plots.COLORS[0]
        xs, means = [point.x for point in points], [point.mean for point in points]
        around = [point.deviation or 0.0 for point in points]
        if as_lines:
            axis.plot(xs, means, "o-", color=color, markersize=4, label=lettering(label))
            low, high = ([m + sign * d for m, d in zip(means, around, strict=True)] for sign in (-1, 1))
            axis.fill_between(xs, low, high, color=color, alpha=0.18, linewidth=0)
            continue
        for point, deviation in zip(points, around, strict=True):
            style = "full" if point.is_whole else "none"
            axis.errorbar(point.x, point.mean, deviation or None, fmt="o", color=color, markersize=5, fillstyle=style)
    if panel.is_log:
        axis.set_xscale("log")
    places = sorted({point.x for points in panel.curves.values() for point in points})
    if panel.labels:
        axis.set_xticks(range(len(panel.labels)), map(lettering, panel.labels))
        axis.margins(x=0.15)
    elif len(places) <= TICKS and as_lines:
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.xaxis.set_minor_locator(ticker.NullLocator())
    elif panel.is_log:
        plots.log_ticks(axis.xaxis, places[0], places[-1])


def _mean(line: records.Line) -> float | None:
    """Of the runs that finished; of one that was given up, the best value that it had."""
    if line.mean is not None:
        return line.mean
    return next((run.value for run in line.runs if run.value is not None), None)


def _short(field: str) -> str:
    return field.rpartition(".")[2]
