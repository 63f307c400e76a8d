"""Plots of a run as PNG: the learning curve, the metrics of every behavior next to references, and reliability.

Figures are made by matplotlib's object interface with the Agg canvas: no global state, no display.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib import figure, ticker
from matplotlib.backends import backend_agg
from scipy import special

from mbjax import files
from mbjax.reporting import fonts

# Okabe and Ito's colors without yellow and black: told apart with any color vision, and in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D3B", "#666666")
STYLES = {"valid": "-", "test": "--"}


def learning_curve(
    rows: Sequence[Mapping[str, Any]],
    path: str | pathlib.Path,
    *,
    metric: str | None = None,
    names: Sequence[str] = (),
) -> None:
    """Loss of every epoch, and one metric of every behavior and split below it; the first epoch is 1, as in tables.

    Args:
      rows: of metrics.jsonl.
      path: of the PNG.
      metric: e.g. ``"ndcg@5"``; default is NDCG at the smallest cut-off that was evaluated.
      names: all behaviors of the data set, by whose order one is numbered that no font can write.
    """
    curves = _curves(rows)
    lettering = fonts.Lettering(_all(names, (behavior for _, behavior in curves)))
    metric = metric or _default_metric(rows)
    panels = 2 if curves and metric else 1
    drawing = figure.Figure(figsize=(8, 3.2 * panels + 0.4), layout="constrained")
    axes = drawing.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    losses = [(row["epoch"] + 1, row["loss"]) for row in rows if row.get("loss") is not None]
    axes[0].plot(*_columns(losses), color="#333333", marker=_marker(losses), label="training loss")
    axes[0].set_ylabel("loss [nats]\nsum over the epoch's batches")
    axes[0].legend(frameon=False)
    if panels == 2:
        behaviors = list(dict.fromkeys(behavior for _, behavior in curves))
        for (split, behavior), points in curves.items():
            values = [(epoch + 1, table[metric]) for epoch, table in points if table.get(metric) is not None]
            axes[1].plot(
                *_columns(values),
                STYLES[split],
                color=COLORS[behaviors.index(behavior) % len(COLORS)],
                marker=_marker(values),
                label=f"{lettering(behavior)} ({split})",
            )
        axes[1].set_ylabel(f"{_pretty(metric)}\nmean over users")
        axes[1].set_ylim(bottom=0)
        axes[1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    _finish(drawing, axes, path, lettering)


def per_behavior(
    table: Mapping[str, Mapping[str, Any]],
    path: str | pathlib.Path,
    reference: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    title: str = "",
    names: Sequence[str] = (),
) -> None:
    """Bars of several metrics for every behavior, with references (popularity, a known optimum) beside the model.

    Args:
      table: behavior -> metric -> value.
      path: of the PNG.
      reference: row name -> a table like ``table``.
      metrics: default is HR, recall, NDCG and MRR at the smallest cut-off.
      title: over the plot, e.g. model, data set and split.
      names: as for ``learning_curve``.
    """
    rows = {"model": table, **(reference or {})}
    behaviors = list(table)
    lettering = fonts.Lettering(_all(names, behaviors), [title])
    metrics = metrics or _default_metrics(table)
    drawing = figure.Figure(figsize=(2.2 + 2.6 * len(metrics), 3.6), layout="constrained")
    axes = drawing.subplots(1, len(metrics), squeeze=False)[0]
    width = 0.8 / len(rows)
    for axis, metric in zip(axes, metrics, strict=True):
        for number, (name, values) in enumerate(rows.items()):
            heights = [values.get(behavior, {}).get(metric) or 0.0 for behavior in behaviors]
            places = [place - 0.4 + width * (number + 0.5) for place in range(len(behaviors))]
            bars = axis.bar(places, heights, width * 0.94, color=COLORS[number % len(COLORS)], label=name)
            axis.bar_label(bars, fmt="%.3f", fontsize=7, padding=2, rotation=90 if len(rows) > 1 else 0)
        axis.set_title(_pretty(metric), fontsize=10)
        axis.set_xticks(range(len(behaviors)), map(lettering, behaviors))
        axis.margins(y=0.22)
    axes[0].set_ylabel("mean over users")
    if title:
        drawing.suptitle(lettering(title), fontsize=11)
    if len(rows) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=len(rows), frameon=False)
    _finish(drawing, axes, path, lettering)


def reliability(
    curves: Mapping[str, pl.DataFrame],
    path: str | pathlib.Path,
    *,
    title: str = "",
    names: Sequence[str] = (),
) -> None:
    """Predicted probability against observed frequency, a panel for each behavior; the diagonal is calibrated.

    Args:
      curves: behavior -> ``probabilities.curve``. The bars are the middle 68 % of what as many successes as were found
        may have come from (Garwood's interval of a Poisson mean); a bin without any shows the upper end alone.
      path: of the PNG.
      title: over the plot.
      names: as for ``learning_curve``.
    """
    lettering = fonts.Lettering(_all(names, curves), [title])
    drawing = figure.Figure(figsize=(0.6 + 3.2 * len(curves), 3.7), layout="constrained")
    axes = drawing.subplots(1, len(curves), squeeze=False)[0]
    for number, (axis, (behavior, curve)) in enumerate(zip(axes, curves.items(), strict=True)):
        curve = curve.filter((pl.col("predicted") > 0) & (pl.col("trials") > 0))
        predicted, found, trials = (curve[name].to_numpy() for name in ("predicted", "found", "trials"))
        low, high = special.gammaincinv(found, 0.16) / trials, special.gammaincinv(found + 1, 0.84) / trials
        some = found > 0
        color = COLORS[number % len(COLORS)]
        axis.vlines(predicted[some], low[some], high[some], color=color, linewidth=1.2)
        axis.plot(predicted[some], (found / trials)[some], "o", color=color, markersize=4)
        axis.plot(predicted[~some], high[~some], "v", color=color, markersize=5, fillstyle="none")
        ends = [*predicted, *low[some], *high]
        if ends:
            line = [min(ends) / 1.5, min(1.0, max(ends) * 1.5)]
            axis.plot(line, line, color="#999999", linewidth=0.8, zorder=0)
            axis.set_xscale("log")
            axis.set_yscale("log")
            for side in (axis.xaxis, axis.yaxis):
                log_ticks(side, *line)
        axis.set_title(lettering(behavior), fontsize=10)
        axis.set_xlabel("predicted probability")
    axes[0].set_ylabel("observed frequency")
    if title:
        drawing.suptitle(lettering(title), fontsize=11)
    _finish(drawing, axes, path, lettering)


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]]:
    curves: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    for split in STYLES:
        for row in rows:
            for behavior, table in (row.get(split) or {}).items():
                curves.setdefault((split, behavior), []).append((row["epoch"], table))
    return curves


def _cut_off(metric: str) -> int:
    return int(metric.rsplit("@", 1)[1])


def _default_metrics(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    known = list(dict.fromkeys(name for values in table.values() for name in values if "@" in name))
    smallest = min(map(_cut_off, known), default=0)
    return [name for kind in ("hr", "rec", "ndcg", "mrr") if (name := f"{kind}@{smallest}") in known]


def _default_metric(rows: Sequence[Mapping[str, Any]]) -> str | None:
    for row in rows:
        for split in STYLES:
            found = [name for name in _default_metrics(row.get(split) or {}) if name.startswith("ndcg")]
            if found:
                return found[0]
    return None


def _pretty(metric: str) -> str:
    kind, cut_off = metric.split("@")
    return f"{ {'rec': 'Recall', 'prec': 'Precision'}.get(kind, kind.upper()) }@{cut_off}"


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _marker(points: Sequence[Any]) -> str | None:
    # A line through few points hides where they are, and a single point draws no line at all.
    return "o" if len(points) <= 12 else None


def _all(names: Sequence[str], drawn: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*names, *drawn]))


def _finish(drawing: figure.Figure, axes: Any, path: str | pathlib.Path, lettering: fonts.Lettering) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    write(drawing, path, lettering)


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis that do not run together: at 1, 2 and 5 of up to three decades, else at decades."""
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high <= 1000 * low else (1.0,)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def write(drawing: figure.Figure, path: str | pathlib.Path, lettering: fonts.Lettering) -> None:
    """Writes a finished drawing as a PNG. Raises WriteError."""
    lettering.apply(drawing)
    canvas = backend_agg.FigureCanvasAgg(drawing)
    files.replace(path, lambda file: canvas.print_figure(str(file), dpi=130, format="png"))
