"""Draws docs/funnel.png: how the model ``funnel`` makes one list of two, an example with made-up numbers.

python docs/make_funnel_picture.py

What a user has met by other behaviors is ordered by f, everything else by g; q says how often the first comes next. The
probabilities in the picture are computed from the scores and the share below, so that they add up as the model's do.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from matplotlib import figure, patches
from matplotlib.backends import backend_agg

ROOT = pathlib.Path(__file__).resolve().parent.parent
INK, PALE, BACK = "#1f2328", "#8c959f", "#ffffff"
FAMILIAR, NEW, DONE = "#0072B2", "#E69F00", "#c9d1d9"
HISTORY = {"view": "ABCDE", "cart": "BDE", "buy": "E"}
"""What the user has met. To buy are familiar: A, B, C, D; E is bought already."""
SHARE = 0.6
"""q: of purchases like those that are held out, so many are of familiar items."""
F = {"B": 2.4, "D": 1.8, "A": 0.7, "C": 0.0}
G = {"K": 2.3, "M": 1.7, "P": 1.0}
REST = 18.0
"""Sum of exp(g) over all other new items."""
LISTED = 7


def main(argv=None) -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "funnel.png")
    options = parser.parse_args(argv)
    draw().savefig(options.out)
    print(options.out)


def mixture() -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Softmax of f over familiar items, of g over new ones, and the probabilities of both in one, best first."""
    familiar, new = np.exp(list(F.values())), np.exp(list(G.values()))
    f = dict(zip(F, familiar / familiar.sum(), strict=True))
    g = dict(zip(G, new / (new.sum() + REST), strict=True))
    p = {item: SHARE * value for item, value in f.items()} | {item: (1 - SHARE) * value for item, value in g.items()}
    return f, g, dict(sorted(p.items(), key=lambda pair: -pair[1]))


def draw() -> figure.Figure:
    """The whole picture, from left to right: the log, the two experts, one list."""
    drawing = figure.Figure(figsize=(10.8, 4.4), dpi=160, facecolor=BACK)
    backend_agg.FigureCanvasAgg(drawing)
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 108)
    axes.set_ylim(0, 44)
    axes.axis("off")
    f, g, p = mixture()
    title = {"fontsize": 12, "fontweight": "bold", "color": INK, "va": "center"}
    axes.text(2, 41, "What a user has met", **title)
    axes.text(43, 41, "What may come next", **title)
    axes.text(82, 41, "One list", **title)
    draw_history(axes)
    draw_expert(axes, 24.2, f, FAMILIAR, "familiar, by f", "met by another behavior", "continue")
    draw_expert(axes, 6.6, g, NEW, "new, by g", "all the rest of the catalog", "discover", more=True)
    draw_gate(axes)
    draw_list(axes, p)
    axes.text(2, 2, "An example with made-up numbers.", fontsize=8.5, color=PALE, va="center")
    return drawing


def draw_history(axes) -> None:
    """The user's items, a row for each behavior; those already bought are gray."""
    for row, (name, items) in enumerate(HISTORY.items()):
        y = 31.5 - 6.5 * row
        axes.text(2, y, name, fontsize=11, color=INK, va="center")
        for item in items:
            square(axes, 9.5 + 4 * HISTORY["view"].index(item), y, item, DONE if item in HISTORY["buy"] else FAMILIAR)
    axes.text(2, 11.5, "To buy next? E is bought already\nand left out.", fontsize=9, color=INK, va="center")


def draw_gate(axes) -> None:
    """Arrows to the two experts, as wide as their shares."""
    for y, share, words, color in ((32, SHARE, "q", FAMILIAR), (14.4, 1 - SHARE, "1 − q", NEW)):
        axes.annotate(
            "", (42.2, y), (30.5, 24.5), arrowprops={"arrowstyle": "-", "color": color, "lw": 12 * share, "alpha": 0.75}
        )
        axes.text(
            37,
            y + (2.4 if y > 24 else -2.4),
            f"{words} = {share:.1f}",
            fontsize=11,
            color=INK,
            va="center",
            ha="center",
        )
        axes.annotate("", (80.6, 23.5), (73.6, y), arrowprops={"arrowstyle": "-|>", "color": PALE, "lw": 1.2})


def draw_expert(
    axes, bottom: float, shares, color: str, words: str, meaning: str, kind: str, more: bool = False
) -> None:
    """Items with the bars of their softmax, and the name of the list that they make by themselves."""
    style = "round,pad=0.2,rounding_size=0.8"
    axes.add_patch(patches.FancyBboxPatch((43.2, bottom), 29.6, 13.8, boxstyle=style, lw=1, fc="none", ec=PALE))
    axes.text(44.5, bottom + 12.2, words, fontsize=10, fontweight="bold", color=color, va="center")
    axes.text(56.5, bottom + 12.2, meaning, fontsize=8.5, color=INK, va="center")
    for row, (item, value) in enumerate(shares.items()):
        y = bottom + 9.2 - 2.6 * row
        square(axes, 46, y, item, color, size=0.55)
        bar(axes, 48.4, y, 21 * value, color)
        axes.text(49.2 + 21 * value, y, f"{value:.2f}", fontsize=8.5, color=INK, va="center")
    if more:
        axes.text(46, bottom + 1.4, "...", fontsize=11, color=INK, va="center", ha="center")
    axes.text(72, bottom + 1.4, f"--list={kind}", fontsize=8.5, color=INK, va="center", ha="right", family="monospace")


def draw_list(axes, p) -> None:
    """The items of both in one order."""
    for row, (item, value) in enumerate(list(p.items())[:LISTED]):
        y, color = 36 - 4 * row, FAMILIAR if item in F else NEW
        axes.text(83, y, str(row + 1), fontsize=9, color=PALE, va="center", ha="center")
        square(axes, 86.2, y, item, color)
        bar(axes, 89.2, y, 32 * value, color)
        axes.text(90 + 32 * value, y, f"{value:.2f}", fontsize=9, color=INK, va="center")
    axes.text(82, 6.8, "p: q · softmax f, or (1 − q) · softmax g", fontsize=8.5, color=INK, va="center")
    axes.text(82, 4.4, "--list=blended", fontsize=8.5, color=INK, va="center", family="monospace")


def square(axes, x: float, y: float, item: str, color: str, size: float = 0.9) -> None:
    """An item, its letter inside."""
    style = f"round,pad={0.4 * size},rounding_size=0.45"
    axes.add_patch(patches.FancyBboxPatch((x - size, y - size), 2 * size, 2 * size, boxstyle=style, lw=0, fc=color))
    ink = INK if color == DONE else BACK
    axes.text(x, y - 0.05, item, fontsize=10 * size**0.5, color=ink, va="center", ha="center", fontweight="bold")


def bar(axes, x: float, y: float, width: float, color: str) -> None:
    """A probability."""
    axes.add_patch(patches.Rectangle((x, y - 0.65), width, 1.3, lw=0, fc=color, alpha=0.55))


if __name__ == "__main__":
    main()
