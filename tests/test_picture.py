"""The picture of the front page: nothing written over anything else, small enough, and of whom it says it is."""

from __future__ import annotations

import itertools
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib import text

from mbjax.data import synthetic
from mbjax.reporting import report

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "docs" / "make_picture.py"))


@pytest.fixture(scope="module")
def shop():
    return synthetic.funnel(300, 100)


def test_the_user_has_two_tastes_and_something_held_out_of_every_behavior(script, shop):
    dataset, planted = shop
    user = script["choose_user"](dataset, planted)
    groups = np.bincount(planted.fit.argmax(axis=0)[dataset.train["view"][[user]].indices])
    assert (groups >= 3).sum() >= 2 and groups.sum() <= script["WIDEST"]
    for name in dataset.info.behaviors:
        assert dataset.test[name][[user]].nnz + dataset.valid[name][[user]].nnz


def test_no_text_lies_over_another_or_over_the_edge(script, shop):
    dataset, planted = shop
    user = script["choose_user"](dataset, planted)
    lists = {name: np.arange(script["TOP_K"]) for name in dataset.info.behaviors}
    drawing = script["draw"](dataset, planted, user, lists, report.read(ROOT / "results"))
    drawing.canvas.draw()
    words = [found for found in drawing.findobj(text.Text) if found.get_text().strip() and found.get_visible()]
    boxes = [(found.get_text(), found.get_window_extent()) for found in words]
    assert {"view", "buy", "own_items", "copf*", "32.1", "met before"} <= {word for word, _ in boxes}
    width, height = drawing.canvas.get_width_height()
    for word, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, word
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


def test_the_run_is_the_one_of_make_demo(script):
    """Which goes on with it, and could not if it had other settings."""
    (line,) = re.findall(r"mbjax train --dataset=demo (.*) --workdir", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert line.split() == [f"--{path}={value}" for path, value in script["DEMO"].items()]


def test_the_file_is_a_small_png():
    picture = ROOT / "docs" / "mbjax.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 200_000
