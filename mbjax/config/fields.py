"""Dotted field names: which exist, which one a short name means, and what a text means for a field.

A field of a nested section has a path such as ``data.log.min_count``. On the command line and in the YAML
files the section may be left out where only one field fits: ``embedding_size`` is ``model.embedding_size``.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pydantic
import yaml

from mbjax import errors


class FieldSpec(NamedTuple):
    """A leaf of a section: its declared type, meaning (with unit) and default."""

    annotation: Any
    description: str
    default: Any


def walk(section: type[pydantic.BaseModel], prefix: str) -> dict[str, FieldSpec]:
    """Lists the leaves below a section, dotted path -> FieldSpec, in the order of declaration.

    A field that may hold one of several sections (heads, backbones) gives the leaves of all of them.
    """
    found: dict[str, FieldSpec] = {}
    for name, info in section.model_fields.items():
        path = f"{prefix}.{name}"
        nested = [option for option in _options(info.annotation) if _is_section(option)]
        for option in nested:
            for key, spec in walk(option, path).items():
                found.setdefault(key, spec)
        if not nested:
            default = None if info.is_required() else info.get_default(call_default_factory=True)
            found[path] = FieldSpec(info.annotation, info.description or "", default)
    return found


def resolve(key: str, known: Iterable[str], dashes: str = "") -> str:
    """Returns the path that a key means; dashes count as underscores.

    Args:
      key: as written.
      known: the paths that exist.
      dashes: what stands before a key where the user wrote it, for the message.

    Raises:
      ConfigError: no path fits (the nearest is named), or several do.
    """
    key = key.replace("-", "_")
    known = list(known)
    if key in known:
        return key
    fitting = [path for path in known if path.split(".", 1)[-1] == key]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        choices = " or ".join(dashes + path for path in fitting)
        raise errors.ConfigError(f"option '{dashes}{key}' is ambiguous: write {choices}.")
    near = nearest(key, known)
    hint = f" Did you mean '{dashes}{near}'?" if near else ""
    raise errors.ConfigError(f"unknown option '{dashes}{key}'.{hint}")


def nearest(key: str, known: Iterable[str]) -> str | None:
    """Returns the path that comes nearest to a key, None if none is near."""
    names: dict[str, str] = {}
    for path in known:
        # The whole path, the path without its section, and the bare name are all what a user may have had in mind.
        for alias in (path, path.split(".", 1)[-1], path.rsplit(".", 1)[-1]):
            names.setdefault(alias, path)
    for candidate in (key, key.rsplit(".", 1)[-1]):
        near = difflib.get_close_matches(candidate.lower(), names, n=1, cutoff=0.6)
        if near:
            return names[near[0]]
    return None


def flatten(tree: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Turns nested or dotted keys into path -> value.

    Raises:
      ConfigError: a key that is no path.
    """
    known = list(known)
    flat: dict[str, Any] = {}

    def descend(prefix: str, value: Any) -> None:
        inner = any(path.startswith(prefix + ".") for path in known)
        if inner and isinstance(value, Mapping):
            for key, below in value.items():
                descend(f"{prefix}.{key}", below)
        elif inner and value is None:
            return  # a section with nothing under it
        else:
            flat[resolve(prefix, known)] = value

    for key, value in tree.items():
        descend(str(key), value)
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns path -> value into nested dictionaries."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def leaves(sections: Mapping[str, pydantic.BaseModel]) -> dict[str, Any]:
    """Lists the values below sections by name, dotted path -> value."""
    found: dict[str, Any] = {}

    def descend(prefix: str, value: Any) -> None:
        if isinstance(value, pydantic.BaseModel):
            for name in type(value).model_fields:
                descend(f"{prefix}.{name}", getattr(value, name))
        else:
            found[prefix] = value

    for name, section in sections.items():
        descend(name, section)
    return found


def read_text(text: str, annotation: Any) -> Any:
    """Turns a text of the command line into what the field's type needs; what does not fit is left for validation.

    ``none`` is None unless it is one of the field's choices; tuples are separated by commas, with or without
    brackets; whole numbers may be written 1e3 or 200_000.
    """
    options = _options(annotation)
    bare = text.strip()
    if any(bare in typing.get_args(option) for option in options if typing.get_origin(option) is typing.Literal):
        return bare
    if type(None) in options and text.lower() in ("none", "null", ""):
        return None
    for option in options:
        if typing.get_origin(option) is tuple or option is tuple:
            parts = [part for part in bare.strip("()[]").split(",") if part.strip()]
            kinds = [kind for kind in typing.get_args(option) if kind is not Ellipsis] or [str]
            return tuple(read_text(part.strip(), kinds[min(i, len(kinds) - 1)]) for i, part in enumerate(parts))
        if typing.get_origin(option) is dict or option is dict:
            try:
                return yaml.safe_load("{" + bare.strip("{}").replace("=", ": ").replace(":", ": ") + "}")
            except yaml.YAMLError:
                return text
        if option is int:
            try:
                return int(bare)
            except ValueError:
                pass
            try:
                number = float(bare)
            except ValueError:
                continue
            if number.is_integer():
                return int(number)
    return text


def type_name(annotation: Any) -> str:
    """Returns the type or the choices of a field as a user writes them: ``adam|sgd``, ``INT,...``, ``FLOAT|none``."""
    names = []
    for option in _options(annotation):
        if option is type(None):
            names.append("none")
        elif typing.get_origin(option) is typing.Literal:
            names += [str(choice) for choice in typing.get_args(option)]
        elif typing.get_origin(option) is tuple:
            names.append(f"{type_name(typing.get_args(option)[0])}, ...")
        elif option is bool:
            names += ["true", "false"]
        else:
            names.append({int: "INT", float: "NUMBER", str: "TEXT"}.get(option, getattr(option, "__name__", "VALUE")))
    return " | ".join(dict.fromkeys(names))


def show(value: Any) -> str:
    """Writes a value as a user would on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(show, value)) or "()"
    return repr(value) if isinstance(value, float) else str(value)


def _options(annotation: Any) -> list[Any]:
    """The alternatives of a type: members of a union, or the type itself; ``Annotated`` is unwrapped."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [option for member in typing.get_args(annotation) for option in _options(member)]
    return [annotation]


def _is_section(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, pydantic.BaseModel)
