"""What varies in a sweep, as it is written: the values of a grid, and the ranges of a search."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mbjax import config, errors

HEADER = ("seed", "ablation")
"""What may vary beside the fields; ``train.seed`` is ``seed``."""
MEASURE = ("evaluate.", "data.", "train.monitor")
"""Fields that change what is measured, or beginnings of their names: values under them do not compare."""
SAME_PAIRS = ("data.behaviors", "data.subsample")
"""Of these, those that leave the held-out pairs of the target as they are."""
DECADE = 10
"""A range whose ends are so many times apart, or more, is drawn from by its logarithm."""
_VALUE = re.compile(r'(?:\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|"(?:[^"]|"")*"|[^,])+')
"""What has commas of its own stands in brackets, or in quotes."""


class Axis(NamedTuple):
    """A field and the texts of its values, as on a command line."""

    field: str
    values: tuple[str, ...]


class Space(NamedTuple):
    """A field and where a search looks for its value: between two numbers, or among texts.

    Attributes:
      field: as it was written, or its path.
      low, high: the ends, both included; None where there are ``choices``.
      choices: empty where there are ends.
      is_whole: whether only whole numbers are drawn.
    """

    field: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_whole: bool = False

    @property
    def is_log(self) -> bool:
        """Whether it is drawn from by its logarithm."""
        return self.low is not None and self.low > 0 and self.high / self.low >= DECADE

    def text(self, drawn: Any) -> str:
        """A drawn value as it is written, tried and reported: four digits of a number."""
        if self.choices:
            return str(drawn)
        return str(int(drawn)) if self.is_whole else f"{drawn:.4g}"

    def holds(self, value: Any) -> bool:
        """Whether the search could draw a value."""
        if self.choices:
            return config.show(value) in self.choices
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


def read_axis(text: str, option: str = "grid") -> Axis:
    """``"model.x=0.01,0.1"`` -> the field and its values. Raises ConfigError for anything else."""
    field, equals, values = text.partition("=")
    listed = tuple(part.strip() for part in _VALUE.findall(values) if part.strip())
    if not field or not equals or not listed:
        raise errors.ConfigError(f"--{option}={text}: write a field and its values, such as model.x=0.01,0.1.")
    if len(set(listed)) < len(listed):
        raise errors.ConfigError(f"--{option}={text}: a value stands there twice.")
    return Axis("seed" if field == "train.seed" else field, listed)


def read_space(text: str, option: str = "space") -> Space:
    """``"model.x=0.01..1"`` or ``"model.x=a,b"`` -> where a search looks. Raises ConfigError for anything else."""
    field, values = read_axis(text, option)
    low, dots, high = values[0].partition("..")
    if not dots:
        return Space(field, choices=values)
    ends = [number(end) for end in (low, high)]
    if len(values) > 1 or not all(map(math.isfinite, ends)):
        raise errors.ConfigError(f"--{option}={text}: write the ends of a range as two numbers, such as 0.01..1.")
    if ends[0] >= ends[1]:
        raise errors.ConfigError(f"--{option}={text}: the first end must be below the second.")
    return Space(field, *ends)


def resolved(space: Space, known: Mapping[str, config.FieldSpec]) -> Space:
    """The space of a model's field: by its path, of whole numbers where the field holds no others."""
    path = config.resolve(space.field, known, "--")
    if space.choices:
        return space._replace(field=path, choices=distinct(path, space.choices, known, "space"))
    kinds = config.type_name(known[path].annotation).split(" | ")
    if not {"INT", "NUMBER"} & set(kinds):
        raise errors.ConfigError(
            f"--space={space.field}={space.low:g}..{space.high:g}: the field takes {' | '.join(kinds)}; give values, "
            "separated by commas."
        )
    return space._replace(field=path, is_whole="NUMBER" not in kinds)


def distinct(path: str, texts: Sequence[str], known: Mapping[str, config.FieldSpec], option: str) -> tuple[str, ...]:
    """The values as the configuration writes them. Raises ConfigError where two texts mean the same."""
    had: dict[str, str] = {}
    for text in texts:
        value = config.canonical(text, known[path].annotation)
        if value in had:
            raise errors.ConfigError(f"--{option}={path}: {had[value]} and {text} are the same value; give it once.")
        had[value] = text
    return tuple(had)


def at_home(text: str, known: Mapping[str, config.FieldSpec], option: str = "grid") -> str:
    """An axis or a space as it was written, but with absolute paths where its field holds paths."""
    axis = read_axis(text, option)
    try:
        path = config.resolve(axis.field, known, "--")
    except errors.ConfigError:
        return text  # said later, or "seed"
    if not config.holds_paths(known[path].annotation):
        return text
    found = [config.canonical(value, known[path].annotation) for value in axis.values]
    return f"{axis.field}=" + ",".join(f'"{value}"' if "," in value else value for value in found)


def check(path: str) -> None:
    """Raises ConfigError for a field that changes what is measured."""
    if path.startswith(MEASURE) and path not in SAME_PAIRS:
        raise errors.ConfigError(
            f"{path} changes what is measured, so that values under it do not compare. Give it once, for all runs."
        )


def default(path: str, value: Any) -> Space | None:
    """A space around the step size of a model whose file names none; None for other fields."""
    return Space(path, value / 10, value * 10) if path == "train.learning_rate" else None


def product(axes: Iterable[Axis]) -> list[dict[str, str]]:
    """All combinations, the last axis turning fastest; one empty setting where nothing varies."""
    found: list[dict[str, str]] = [{}]
    for axis in axes:
        found = [setting | {axis.field: value} for setting in found for value in axis.values]
    return found


def number(text: str) -> float:
    """A number as it is written; NaN for anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan
