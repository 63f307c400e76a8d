"""Validation of sections, and what is wrong with a value in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from mbjax import errors
from mbjax.config import fields, sections


def where(origin: str) -> str:
    """Where a value stands, to be put behind it; "" for one of the command line."""
    return f" ({origin})" if origin else ""


def validated(
    section: type[pydantic.BaseModel], values: Mapping[str, Any], prefix: str, origins: Mapping[str, str]
) -> pydantic.BaseModel:
    """Makes a section of nested values.

    Args:
      section: its class.
      values: its values.
      prefix: its name, "" for the whole configuration.
      origins: dotted path -> where the value stands, "" for the command line.

    Raises:
      ConfigError: the first value that does not fit, on one line.
    """
    try:
        return section.model_validate(values)
    except pydantic.ValidationError as error:
        raise errors.ConfigError(_one_line(error.errors(), section, prefix, origins)) from None


def foreign(
    path: str, value: Any, origin: str, choices: Sequence[sections.Choice], values: Mapping[str, Any]
) -> errors.ConfigError:
    """Builds the error for a field that the chosen one of several sections lacks.

    Args:
      path: of the field.
      value: that it was to have.
      origin: where that stands.
      choices: the sections that are one of several, outer ones first.
      values: dotted path -> value, with the names of the chosen ones.
    """
    choice = next(choice for choice in reversed(choices) if path.startswith(f"{choice.path}."))
    start = len(choice.path) + 1
    name, kind, field = values[choice.key], choice.path.rsplit(".", 1)[-1], path[start:]
    own = [key[start:] for key in sections.walk({choice.path: choice.sections[name]}) if key != choice.key]
    has = f"its fields are {', '.join(own)}" if own else "it has no fields"
    others = [other for other, section in choice.sections.items() if path in sections.walk({choice.path: section})]
    remedy = f" It is a field of {', '.join(others)}: set {choice.key}={others[0]} too." if others else ""
    shown = f"{path}={fields.show(value)}{where(origin)}"
    return errors.ConfigError(f"{shown}: the {kind} {name} has no field '{field}'; {has}.{remedy}")


def _one_line(found: Sequence[Mapping[str, Any]], section: type, prefix: str, origins: Mapping[str, str]) -> str:
    """Says in one line which key has the first value that does not fit, and what is allowed instead."""
    problem, path = found[0], _path(found[0], section, prefix, origins)
    origin = where(origins.get(path, ""))
    # A value of a field of several types has a problem with each of them.
    same = [one for one in found if one["input"] is problem["input"] and _path(one, section, prefix, origins) == path]
    message, *more = dict.fromkeys(map(_message, same))
    message = " or ".join([message, *(text.removeprefix("must be ") for text in more)])
    if path == prefix:
        return f"{prefix}: {message}." if prefix else f"{message}."
    if problem["type"] == "missing":
        return f"{path} is missing{origin}."
    hint = ""
    if problem["type"] == "literal_error":
        choices = [part.strip(" '") for part in problem["ctx"]["expected"].replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(str(problem["input"]), choices, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
    if path not in origins and isinstance(problem["input"], Mapping):
        return f"{path}: {message}."  # of a whole section
    return f"{path}={fields.show(problem['input'])}{origin}: {message}.{hint}"


def _path(problem: Mapping[str, Any], section: type, prefix: str, origins: Mapping[str, str]) -> str:
    path = ".".join(([prefix] if prefix else []) + sections.place(section, problem["loc"]))
    while path and path not in origins and path.rsplit(".", 1)[0] in origins:
        path = path.rsplit(".", 1)[0]  # pydantic appends the branch of a union
    return path


def _message(problem: Mapping[str, Any]) -> str:
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return {
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "int_type": "must be a whole number",
        "float_parsing": "must be a number",
        "float_type": "must be a number",
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "string_type": "must be a text",
        "tuple_type": "must be values separated by commas",
        "too_short": "needs at least one value",
    }.get(problem["type"], message)
