"""Bars of one metric on one data set: a panel for each behavior, a bar for each group of runs, the papers beside."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Sequence

from matplotlib import figure
from matplotlib.backends import backend_agg

from mbjax import tables
from mbjax.compare import blocks
from mbjax.compare import groups as grouping
from mbjax.train import plots, run_folder

ANCHOR = "#999999"
LABEL_WIDTH = 34  # letters
MIN_WIDTH = 6.8  # inches: the title has to fit
ROOM = 1.3
"""The axis ends at so many times the longest bar: the number stands behind it."""
TEXT_WIDTH = 0.28
"""Of such a number with its margins, as a share of the longest bar."""


def draw(
    sheets: Sequence[blocks.Sheet],
    groups: Sequence[grouping.Group],
    metric: str,
    path: str | pathlib.Path,
    *,
    subtitle: str = "",
) -> None:
    """Draws a metric as horizontal bars, from 0 on; every panel has a scale of its own.

    Colors tell models apart and gray is an anchor. Whiskers are one standard deviation to either side over seeds,
    diamonds the published numbers.

    Args:
      sheets: of one data set.
      groups: of the data set; their order is that of the bars.
      metric: such as ``"ndcg@10"``.
      path: of the PNG.
      subtitle: a second line of the title.
    """
    found = [(sheet, block) for sheet in sheets for block in sheet.blocks if block.metric == metric]
    drawn = {line.group.label for _, block in found for line in block.lines}
    labels = [group.label for group in groups if group.label in drawn]
    models = list(dict.fromkeys(group.first.record["model"] for group in groups if group.first.is_trained))
    colors = {
        group.label: plots.COLORS[models.index(group.first.record["model"]) % len(plots.COLORS)]
        for group in groups
        if group.first.is_trained
    }
    names = [textwrap.fill(label, LABEL_WIDTH) for label in labels]
    rows = sum(1 + 0.55 * name.count("\n") for name in names)
    longest = max(len(part) for name in names for part in name.split("\n"))
    width = max(MIN_WIDTH, 0.5 + 0.075 * longest + 3.0 * len(found))
    drawing = figure.Figure(figsize=(width, 1.5 + 0.34 * rows), layout="constrained")
    axes = drawing.subplots(1, len(found), squeeze=False, sharey=True)[0]
    handles = {}
    for axis, (sheet, block) in zip(axes, found, strict=True):
        longest_bar = max(max(line.mean + (line.deviation or 0.0), line.paper or 0.0) for line in block.lines)
        for line in block.lines:
            place, reach = labels.index(line.group.label), line.mean
            axis.barh(place, line.mean, 0.7, color=colors.get(line.group.label, ANCHOR))
            if line.deviation is not None:
                style = {"ecolor": "#222222", "elinewidth": 1.3, "capsize": 3, "fmt": "none", "zorder": 4}
                handles["± s.d. over seeds"] = axis.errorbar(line.mean, place, xerr=line.deviation, **style)
                reach += line.deviation
            if line.paper is not None:
                style = {"marker": "D", "s": 34, "color": "white", "edgecolor": "black", "linewidth": 1.1, "zorder": 3}
                handles["paper"] = axis.scatter(line.paper, place, **style)
                if line.paper < reach + TEXT_WIDTH * longest_bar:  # else the number fits between bar and diamond
                    reach = max(reach, line.paper)
            axis.text(reach + 0.035 * longest_bar, place, f"{line.mean:.4f}", va="center", fontsize=8)
        axis.set_xlim(0, ROOM * longest_bar or 1.0)
        users = "" if sheet.users is None else f"\n{sheet.users:,} users"
        axis.set_title(f"{sheet.behavior}{users}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="x", labelsize=8)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(labels)), names, fontsize=9)
    axes[0].set_ylim(len(labels) - 0.4, -0.6)  # the first on top
    heading = f"{tables.title(metric)} on {found[0][0].dataset}"
    drawing.suptitle(f"{heading}\n{subtitle}" if subtitle else heading, fontsize=11)
    if handles:
        drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    canvas = backend_agg.FigureCanvasAgg(drawing)
    run_folder.replace_file(pathlib.Path(path), lambda file: canvas.print_figure(str(file), dpi=130, format="png"))
