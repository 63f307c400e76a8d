"""Names in plots, whatever their script: a font that is installed and has the characters, else a number.

matplotlib's own font has Latin, Greek, Cyrillic, Arabic and more, but no Chinese, Japanese or Korean, of which it would
draw the same empty box for every character.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from matplotlib import figure, font_manager, ft2font
from matplotlib import text as artists

DEFAULT = "DejaVu Sans"
# Common fonts of the missing scripts, upright and plain, so that few files have to be opened.
_LIKELY = ("Noto Sans", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "SimHei", "PingFang", "Hiragino")


class Lettering:
    """How the texts of one drawing are written.

    Args:
      names: those that may be numbered, such as behaviors, in an order that means something.
      others: further texts, of which a character that no font has is written as its code point.
      noun: what a name is.

    Attributes:
      families: fonts in which matplotlib finds every character that it is given.
      numbered: name -> ``"behavior 2"``, for those that no installed font can write.
    """

    def __init__(self, names: Sequence[str], others: Iterable[str] = (), *, noun: str = "behavior"):
        fonts, self._missing = _fonts(frozenset("".join([*names, *others])))
        self.families = [DEFAULT, *fonts]
        unwritable = {name for name in names if self._missing & set(name)}
        self.numbered = {name: f"{noun} {place}" for place, name in enumerate(names, start=1) if name in unwritable}

    def __call__(self, text: str) -> str:
        """A name, or a text of ``others``, as it is drawn."""
        if text in self.numbered:
            return self.numbered[text]
        return "".join(f"<U+{ord(letter):04X}>" if letter in self._missing else letter for letter in text)

    def note(self) -> str | None:
        """A line on the names that are numbered, None where all can be written."""
        if not self.numbered:
            return None
        pairs = ", ".join(f"{name} is '{number}'" for name, number in self.numbered.items())
        return f"plots: no installed font has the characters of some behaviors ({pairs})"

    def apply(self, drawing: figure.Figure) -> None:
        """Lets a drawing that is otherwise finished use the fonts."""
        if len(self.families) > 1:
            for axes in drawing.axes:
                axes.get_xticklabels(), axes.get_yticklabels()  # made only when asked for
            for text in drawing.findobj(artists.Text):
                text.set_fontfamily(self.families)


@functools.cache
def _fonts(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of fonts for what the default lacks, and the characters that none has."""
    missing = {letter for letter in letters if letter.isprintable()} - _has(font_manager.findfont(DEFAULT))
    chosen = []
    if missing:
        # Of other weights and styles matplotlib remarks that it had to take them.
        names = {font.name for font in font_manager.fontManager.ttflist if (font.style, font.weight) == ("normal", 400)}
        for name in sorted(names, key=lambda name: (not name.startswith(_LIKELY), name)):
            if name.startswith("Last Resort"):  # it has a picture of the script for every character
                continue
            found = missing & _has(font_manager.findfont(name))
            if found:
                chosen.append(name)
                missing -= found
            if not missing:
                break
    return tuple(chosen), frozenset(missing)


@functools.lru_cache(maxsize=512)
def _has(file: str) -> frozenset[str]:
    """The characters of a font; none where the file has gone or cannot be read."""
    try:
        return frozenset(map(chr, ft2font.FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
