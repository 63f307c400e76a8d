"""Names of any script in plots: the characters that no font has are numbers, and nothing warns."""

from __future__ import annotations

import logging

from matplotlib import figure, font_manager
from matplotlib.backends import backend_agg

from mbjax.reporting import fonts

SERIF_ONLY = "ᴕ"
"""matplotlib's serif font has it, its default has not."""


def render(lettering, texts):
    """Draws texts, as tick labels too. A missing character is a warning, and with that an error."""
    drawing = figure.Figure()
    axes = drawing.subplots()
    axes.set_xticks(range(len(texts)), [lettering(text) for text in texts])
    axes.set_title("".join(map(lettering, texts)))
    lettering.apply(drawing)
    backend_agg.FigureCanvasAgg(drawing).draw()
    return [label.get_text() for label in axes.get_xticklabels()]


def test_scripts_that_the_default_has_are_drawn_as_they_are():
    names = ["view", "купить", "αγορά", "añadir al carro"]
    lettering = fonts.Lettering(names)
    assert (lettering.families, lettering.numbered, lettering.note()) == ([fonts.DEFAULT], {}, None)
    assert render(lettering, names) == names


def test_a_font_that_is_installed_is_found(caplog):
    lettering = fonts.Lettering(["view", SERIF_ONLY])
    assert lettering.note() is None and len(lettering.families) == 2
    assert SERIF_ONLY in fonts._has(font_manager.findfont(lettering.families[1]))
    assert render(lettering, ["view", SERIF_ONLY]) == ["view", SERIF_ONLY]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_without_a_font_names_are_numbered_and_other_texts_spelled(monkeypatch):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    fonts._fonts.cache_clear()
    try:
        names, title = ["浏览", "buy", "购买"], "bvae on 日"
        lettering = fonts.Lettering(names, [title])
    finally:
        fonts._fonts.cache_clear()
    assert lettering.numbered == {"浏览": "behavior 1", "购买": "behavior 3"}
    assert lettering(title) == "bvae on <U+65E5>"
    assert "浏览 is 'behavior 1', 购买 is 'behavior 3'" in lettering.note()
    assert render(lettering, [*names, title]) == ["behavior 1", "buy", "behavior 3", "bvae on <U+65E5>"]
