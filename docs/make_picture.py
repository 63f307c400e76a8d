"""Draws docs/mbjax.png: what mbjax makes of a user's history, and how models compare.

python docs/make_picture.py            trains the run of ``make demo`` if there is none: two minutes

The left half is one user of the embedded data set, whose items belong to planted groups: the history of each behavior
in training, and the list that funnel ranks for it. The right half are lines of docs/results on Taobao.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import numpy as np
import polars as pl
from matplotlib import figure, patches
from matplotlib.backends import backend_agg

import mbjax
from mbjax.config import about
from mbjax.data import synthetic
from mbjax.reporting import report, summary

ROOT = pathlib.Path(__file__).resolve().parent.parent
INK, PALE, BACK = "#1f2328", "#8c959f", "#ffffff"
MAIN, SECOND, OTHER = "#0072B2", "#E69F00", "#c9d1d9"
"""Items of a user's main group, of the second one, and of all others."""
LEARNED, PLAIN = "#0072B2", "#8c959f"
TOP_K, WIDEST = 8, 12
"""Items of a list, and of a history that the picture has room for."""
DATASET = "taobao"
DEMO = {"train.epochs": 2, "train.eval_every": 1, "train.batch_size": 128, "model.steps": 30}
"""Settings of the run of ``make demo``, which goes on with it."""


def main(argv=None) -> None:
    """Reads the run of the demo and the results files, and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, default=ROOT / "runs" / "demo", help="run of the demo data set")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "mbjax.png")
    options = parser.parse_args(argv)
    if not (options.workdir / "config.yaml").exists():
        mbjax.train_run(mbjax.load_config("funnel", "demo", overrides=DEMO), options.workdir)
    dataset, planted = synthetic.funnel()
    user = choose_user(dataset, planted)
    with tempfile.TemporaryDirectory() as folder:
        raw = dataset.users.raw([user])
        files = mbjax.recommend_run(options.workdir, top_k=TOP_K, users=raw, out=folder, exclude="train")
        lists = {name: dataset.items.index(pl.read_parquet(file)["item"].to_list()) for name, file in files.items()}
    draw(dataset, planted, user, lists, report.read(ROOT / "results")).savefig(options.out)
    print(options.out)


def draw(dataset, planted, user: int, lists, records) -> figure.Figure:
    """The whole picture; ``lists`` are item indices by behavior, ``records`` results files."""
    drawing = figure.Figure(figsize=(10.8, 4.5), dpi=160, facecolor=BACK)
    backend_agg.FigureCanvasAgg(drawing)
    draw_user(drawing.add_axes((0.0, 0.0, 0.655, 1.0)), dataset, planted, user, lists)
    draw_models(drawing, records)
    return drawing


def choose_user(dataset: mbjax.Dataset, planted: synthetic.Planted) -> int:
    """The first user with two tastes who does something later by every behavior; the history must not be too long."""
    home = planted.fit.argmax(axis=0)
    for user in range(dataset.info.num_users):
        history = [dataset.train[name][[user]].indices for name in dataset.info.behaviors]
        later = [dataset.test[name][[user]].nnz + dataset.valid[name][[user]].nnz for name in dataset.info.behaviors]
        groups = sorted(np.bincount(home[history[0]]))
        if len(history[0]) <= WIDEST and min(map(len, history)) and min(later) and groups[-2] >= 3:
            return user
    raise SystemExit("no user has a history that the picture has room for")


def draw_user(axes, dataset, planted, user: int, lists) -> None:
    """Histories on the left and lists on the right, a row for each behavior."""
    home = planted.fit.argmax(axis=0)
    colors = dict(zip(np.argsort(-planted.interest[user]), (MAIN, SECOND), strict=False))
    axes.set_xlim(0, 64)
    axes.set_ylim(0, 45)
    axes.axis("off")

    def square(x, y, color, dot=False, frame=False):
        style = "round,pad=0.3,rounding_size=0.45"
        axes.add_patch(patches.FancyBboxPatch((x, y), 1.3, 1.3, boxstyle=style, lw=0, fc=color))
        if frame:
            style = "round,pad=0.5,rounding_size=0.6"
            axes.add_patch(patches.FancyBboxPatch((x, y), 1.3, 1.3, boxstyle=style, lw=1.1, fc="none", ec=INK))
        if dot:
            axes.plot(x + 0.65, y + 0.65, "o", ms=5.5, mfc=BACK, mec=BACK)

    title = {"fontsize": 12, "fontweight": "bold", "color": INK, "va": "center"}
    axes.text(1.3, 42, "One user's history, by behavior", **title)
    axes.text(41.2, 42, "What funnel ranks next", **title)
    for row, name in enumerate(dataset.info.behaviors):
        y = 34.6 - 7.4 * row
        axes.text(1.3, y + 0.65, name, fontsize=11, color=INK, va="center")
        history = dataset.train[name][[user]].indices
        for place, item in enumerate(sorted(history, key=lambda item: (color_rank(colors, home[item]), item))):
            square(9 + 2.3 * place, y, colors.get(home[item], OTHER))
        arrow = {"arrowstyle": "-|>", "color": PALE, "lw": 1.2}
        axes.annotate("", (39.9, y + 0.65), (37.6, y + 0.65), arrowprops=arrow)
        later = {*dataset.test[name][[user]].indices, *dataset.valid[name][[user]].indices}
        met = {item for other in dataset.info.behaviors for item in dataset.train[other][[user]].indices}
        for place, item in enumerate(lists[name]):
            square(41.7 + 2.85 * place, y, colors.get(home[item], OTHER), dot=item in later, frame=item in met)
            axes.text(42.35 + 2.85 * place, y - 1.8, str(place + 1), fontsize=8, color=PALE, ha="center", va="center")
    for x, color, words, marks in (
        (1.6, MAIN, "first taste", {}),
        (12.6, SECOND, "second taste", {}),
        (25.6, OTHER, "other", {}),
        (34, MAIN, "met before", {"frame": True}),
        (46, MAIN, "done later (held out)", {"dot": True}),
    ):
        square(x, 3.2, color, **marks)
        axes.text(x + 2.5, 3.85, words, fontsize=9, color=INK, va="center")


def color_rank(colors, group) -> int:
    """Items of the first taste come first in a history, then those of the second."""
    return list(colors).index(group) if group in colors else len(colors)


def draw_models(drawing, records) -> None:
    """Bars of every model with an honest run on the data set, visited and unvisited pairs apart."""
    lines = summary.shares(records, DATASET)[::-1]
    marked = [DATASET in about.of(line.model).chosen_on_test for line in lines]
    names = [line.model + "*" * mark for line, mark in zip(lines, marked, strict=True)]
    colors = [LEARNED if line.is_trained else PLAIN for line in lines]
    text = {"color": INK, "va": "center"}
    drawing.text(0.68, 0.933, "Purchases found on Taobao", fontsize=12, fontweight="bold", **text)
    for left, part, words in ((0.805, "visited", "met before"), (0.91, "unvisited", "new to user")):
        axes = drawing.add_axes((left, 0.15, 0.07, 0.69), facecolor=BACK)
        values = [getattr(line, part) for line in lines]
        bars = axes.barh(range(len(lines)), values, color=colors, height=0.62)
        axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8, color=INK)
        axes.set_xlim(0, 1.4 * max(values))
        axes.set_ylim(-0.7, len(lines) - 0.3)
        axes.set_yticks(range(len(lines)), names if part == "visited" else [""] * len(lines), fontsize=8, color=INK)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.set_title(words, fontsize=9.5, color=INK, loc="left")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color(PALE)
    words = "% of users with a hit in the first ten. Gray: no epochs."
    words += "\n* one setting was chosen on the test split" if any(marked) else ""
    drawing.text(0.68, 0.075, words, fontsize=8.5, **text)


if __name__ == "__main__":
    main()
