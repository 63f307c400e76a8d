"""The tree of sections: the leaves below them, and sections that are one of several, such as the heads.

A field ``head: Annotated[A | B, Field(discriminator="name")]`` holds A or B, told apart by their own field ``name``.
Values are flat here, dotted path -> value: ``model.head.name`` chooses which section ``model.head`` is, and with it
which paths exist below.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pydantic

from mbjax import errors

Sections = Mapping[str, type[pydantic.BaseModel]]


class FieldSpec(NamedTuple):
    """A leaf of a section: its declared type, meaning (with unit) and default."""

    annotation: Any
    description: str
    default: Any


class Choice(NamedTuple):
    """A field that holds one of several sections.

    Attributes:
      path: of the field, such as ``model.head``.
      key: path of the name that chooses, such as ``model.head.name``.
      sections: name -> class, in the order of declaration.
    """

    path: str
    key: str
    sections: Sections

    def chosen(self, values: Mapping[str, Any]) -> type[pydantic.BaseModel] | None:
        """The section that the name among ``values`` chooses; None if there is no name."""
        return self.sections[values[self.key]] if self.key in values else None

    def names(self) -> str:
        """The names as in a sentence: ``'a', 'b' or 'c'``."""
        *others, last = map(repr, self.sections)
        return f"{', '.join(others)} or {last}"


def walk(sections: Sections, values: Mapping[str, Any] | None = None) -> dict[str, FieldSpec]:
    """Lists the leaves below sections by name, dotted path -> FieldSpec, in the order of declaration.

    Args:
      sections: name -> class.
      values: path -> value, of which the names choose. A field that may hold one of several sections gives the leaves
        of all of them where none is chosen; leaves of one path then have the types of all.
    """
    values = values or {}
    found: dict[str, FieldSpec] = {}
    for path, info in _fields(sections):
        choice = _choice(path, info)
        chosen = choice.chosen(values) if choice else None
        options = [chosen] if chosen else _nested(info)
        for option in options:
            for key, spec in walk({path: option}, values).items():
                found[key] = _joined(found[key], spec) if key in found else spec
        default = _default(info)
        if choice:
            field = path.rsplit(".", 1)[-1]
            name = getattr(default, choice.key.rsplit(".", 1)[-1], None)
            meaning = found[choice.key].description or f"which {field} it is; its other fields depend on that"
            found[choice.key] = FieldSpec(typing.Literal[tuple(choice.sections)], meaning, name)
        elif not options:
            found[path] = FieldSpec(info.annotation, info.description or "", default)
    return found


def choices(sections: Sections, values: Mapping[str, Any]) -> Iterator[Choice]:
    """Finds the fields that hold one of several sections, outer ones first; below them as the names choose."""
    for path, info in _fields(sections):
        choice = _choice(path, info)
        if choice:
            yield choice
            chosen = choice.chosen(values)
            yield from choices({path: chosen}, values) if chosen else ()
        elif len(_nested(info)) == 1:
            yield from choices({path: _nested(info)[0]}, values)


def switch(sections: Sections, flat: dict[str, Any], layer: Mapping[str, Any], where: str = "") -> list[Choice]:
    """Makes the choices of a layer of values: a section that becomes another one starts from its own defaults.

    Args:
      sections: name -> class.
      flat: path -> value of the layers before. What lies below a section that becomes another one is dropped, and
        its new name set; the layer's other values are not.
      layer: path -> value.
      where: where the layer stands, for the message.

    Returns:
      The choices that are another one than before.

    Raises:
      ConfigError: a name that no section has.
    """
    changed = []
    for choice in choices(sections, flat):
        if choice.key not in layer:
            continue
        name = layer[choice.key]
        name = name.strip() if isinstance(name, str) else name
        if name not in list(choice.sections):
            near = difflib.get_close_matches(str(name), choice.sections, n=1, cutoff=0.4)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise errors.ConfigError(f"{choice.key}={name}{where}: must be {choice.names()}.{hint}")
        if name != flat.get(choice.key):
            for path in below(choice.path, flat):
                del flat[path]
            flat[choice.key] = name
            flat |= defaults({choice.path: choice.sections[name]})
            changed.append(choice)
    return changed


def defaults(sections: Sections) -> dict[str, Any]:
    """The values below the fields that are sections themselves, as their defaults have them: path -> value.

    A field ``x: Part = Part(size=3)`` has ``x.size`` = 3, whatever the default of ``Part`` is.
    """
    found: dict[str, Any] = {}
    for path, info in _fields(sections):
        default = _default(info)
        if isinstance(default, pydantic.BaseModel) and (_choice(path, info) or len(_nested(info)) == 1):
            found |= leaves({path: default})
    return found


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


def below(path: str, paths: Iterable[str]) -> list[str]:
    """The paths that lie below one."""
    return [key for key in paths if key.startswith(f"{path}.")]


def place(section: type[pydantic.BaseModel] | None, location: Iterable[str | int]) -> list[str]:
    """Turns pydantic's location of a problem into names of fields: without indices and names of alternatives."""
    names = []
    parts = iter(location)
    for part in parts:
        if isinstance(part, int):
            continue
        names.append(part)
        info = section.model_fields.get(part) if section else None
        choice = _choice(part, info) if info else None
        nested = _nested(info) if info else []
        # Below a choice, the name of the section stands before the name of its field.
        section = choice.sections.get(next(parts, "")) if choice else nested[0] if len(nested) == 1 else None
    return names


def members(annotation: Any) -> list[Any]:
    """The alternatives of a type: members of a union, or the type itself; ``Annotated`` is unwrapped."""
    if typing.get_origin(annotation) is typing.Annotated:
        return members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [option for member in typing.get_args(annotation) for option in members(member)]
    return [annotation]


def _fields(sections: Sections) -> Iterator[tuple[str, Any]]:
    for prefix, section in sections.items():
        for name, info in section.model_fields.items():
            yield f"{prefix}.{name}", info


def _nested(info: Any) -> list[type[pydantic.BaseModel]]:
    """The sections that a field may hold."""
    options = members(info.annotation)
    return [option for option in options if isinstance(option, type) and issubclass(option, pydantic.BaseModel)]


def _choice(path: str, info: Any) -> Choice | None:
    if not isinstance(info.discriminator, str):
        return None
    sections = {
        name: section
        for section in _nested(info)
        for name in typing.get_args(section.model_fields[info.discriminator].annotation)
    }
    return Choice(path, f"{path}.{info.discriminator}", sections)


def _default(info: Any) -> Any:
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _joined(one: FieldSpec, other: FieldSpec) -> FieldSpec:
    return one._replace(annotation=typing.Union[one.annotation, other.annotation])  # noqa: UP007 - of values
