"""Texts of values that mean the same, and values that are paths."""

from __future__ import annotations

import typing
from typing import Any

import pydantic

from mbjax.config import fields, schema


def canonical(text: str, annotation: Any) -> str:
    """The text by which ``fields.show`` writes what a text means for a field: ``1e-3`` is ``0.001``, ``yes`` ``true``.

    A relative path becomes absolute. What does not fit the field stays as it is, for validation to say.

    Args:
      text: as it was written on a command line.
      annotation: the field's type.
    """
    value = fields.read_text(text, annotation)
    try:
        value = pydantic.TypeAdapter(annotation).validate_python(value)
    except pydantic.ValidationError:
        return text
    return fields.show(value, annotation)


def holds_paths(annotation: Any) -> bool:
    """Whether a field holds a path, or several."""
    return annotation == schema.FilePath or any(map(holds_paths, typing.get_args(annotation)))
