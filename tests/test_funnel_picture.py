"""The picture of the mixture: its numbers add up, nothing lies over anything else, and the file is the script's."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path

import pytest
from matplotlib import image, text

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "docs" / "make_funnel_picture.py"))


def test_the_probabilities_are_those_of_a_mixture(script):
    f, g, p = script["mixture"]()
    assert sum(f.values()) == pytest.approx(1) and sum(g.values()) < 1  # others are new too
    assert sum(p[item] for item in f) == pytest.approx(script["SHARE"])
    assert list(p.values()) == sorted(p.values(), reverse=True)
    met = {item for items in script["HISTORY"].values() for item in items}
    assert set(f) == met - set(script["HISTORY"]["buy"]) and not set(g) & met
    # One list: neither kind stands as a whole before the other.
    kinds = [item in f for item in p]
    assert kinds != sorted(kinds, reverse=True)


def test_no_text_lies_over_another_or_over_the_edge(script):
    drawing = script["draw"]()
    drawing.canvas.draw()
    words = [found for found in drawing.findobj(text.Text) if found.get_text().strip() and found.get_visible()]
    boxes = [(found.get_text(), found.get_window_extent()) for found in words]
    assert {"One list", "q = 0.6", "1 − q = 0.4", "--list=discover"} <= {word for word, _ in boxes}
    width, height = drawing.canvas.get_width_height()
    for word, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, word
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (one, other)


def test_the_file_is_a_small_png(script):
    picture = ROOT / "docs" / "funnel.png"
    assert picture.stat().st_size < 200_000
    height, width = image.imread(picture).shape[:2]
    assert (width, height) == script["draw"]().canvas.get_width_height()
