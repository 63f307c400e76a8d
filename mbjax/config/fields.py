"""Dotted field names and values as texts: which field a short name means, and what a text means for a field.

A field of a nested section has a path such as ``data.log.min_count``. On the command line and in the YAML
files the section may be left out where only one field fits: ``embedding_size`` is ``model.embedding_size``.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mbjax import errors
from mbjax.config import sections


def resolve(key: str, known: Iterable[str], dashes: str = "") -> str:
    """Returns the path that a key means; dashes count as underscores.

    Args:
      key: as written.
      known: the paths that exist.
      dashes: what stands before a key where the user wrote it, for the message.

    Raises:
      ConfigError: no path fits (the nearest is named), or several do, or it is a whole section.
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
    section = _section(key, known)
    if section:
        first = next(path for path in known if path.startswith(f"{section}."))
        raise errors.ConfigError(f"option '{dashes}{key}' is a section: give its fields, such as {dashes}{first}.")
    same = [path for path in known if path.rsplit(".", 1)[-1] == key]
    near = nearest(key, known)
    meant = same if len(same) > 1 else [near] if near else []
    hint = f" Did you mean {' or '.join(repr(dashes + path) for path in meant)}?" if meant else ""
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
    """Turns nested or dotted keys into path -> value; sections may be left out as in ``resolve``.

    Raises:
      ConfigError: a key that is no path.
    """
    known = list(known)
    flat: dict[str, Any] = {}

    def descend(key: str, value: Any) -> None:
        section = _section(key, known)
        if section and isinstance(value, Mapping):
            for name, inner in value.items():
                descend(f"{section}.{name}", inner)
        elif not section or value is not None:  # else a section with nothing under it
            flat[resolve(key, known)] = value

    for key, value in tree.items():
        descend(str(key), value)
    return flat


def _section(key: str, known: Iterable[str]) -> str | None:
    """The section that a key means, None if it means none."""
    key = key.replace("-", "_")
    whole, within = _sections(tuple(known))
    if key in whole:
        return key
    roots = within.get(key, ())
    return f"{roots[0]}.{key}" if len(roots) == 1 else None


@functools.lru_cache(maxsize=64)
def _sections(known: tuple[str, ...]) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
    """All sections that hold some of the paths; and by their names within a root, the roots that have such a one."""
    whole = {parent for path in known for parent in _parents(path)}
    within: dict[str, set[str]] = {}
    for path in known:
        root, _, rest = path.partition(".")
        for parent in _parents(rest):
            within.setdefault(parent, set()).add(root)
    return frozenset(whole), {name: tuple(roots) for name, roots in within.items()}


def _parents(path: str) -> Iterator[str]:
    """``a`` and ``a.b`` of ``a.b.c``."""
    parts = path.split(".")
    return (".".join(parts[:number]) for number in range(1, len(parts)))


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


def read_text(text: str, annotation: Any, *, is_typed: bool = True) -> Any:
    """Turns a text of the command line into what the field's type needs; what does not fit is left for validation.

    ``none`` is None unless it is one of the field's choices, and no value at all where there may be several; tuples are
    separated by commas, with or without brackets around all of it; whole numbers may be written 1e3 or 200_000. A name
    that could be read otherwise stands in double quotes, those inside doubled, as in CSV: ``view,"bought, paid"``.

    Args:
      text: as it was written.
      annotation: the field's type.
      is_typed: on a command line; False for a value of a YAML file, where a text that the field can hold is that text.
    """
    options = sections.members(annotation)
    bare = text.strip()
    quoted = _QUOTED.fullmatch(bare)
    if str in options and (quoted or not is_typed):
        return _unquoted(quoted) if is_typed else text
    if any(bare in typing.get_args(option) for option in options if typing.get_origin(option) is typing.Literal):
        return bare
    if type(None) in options and text.lower() in _NOTHING:
        return None
    for option in options:
        kind = typing.get_origin(option) or option
        if kind in (tuple, dict) and bare.lower() in _NOTHING:
            return kind()
        if typing.get_origin(option) is tuple or option is tuple:
            kinds = [kind for kind in typing.get_args(option) if kind is not Ellipsis] or [str]
            return tuple(read_text(part, kinds[min(i, len(kinds) - 1)]) for i, part in enumerate(_parts(bare)))
        if typing.get_origin(option) is dict or option is dict:
            kind = (typing.get_args(option) or (str, str))[1]
            pairs = [_pair(part) for part in _parts(bare)]
            return text if None in pairs else {name: _number(read_text(value, kind), kind) for name, value in pairs}
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


_NOTHING = ("none", "null", "")
_PART = re.compile(r'\s*"(?:[^"]|"")*"[^,]*|[^,]*')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_PAIR = re.compile(r'"((?:[^"]|"")*)"\s*[=:](.*)', re.DOTALL)


def _parts(text: str) -> list[str]:
    """What stands between the commas outside quotes, without blanks around it; a bracket around all is left out."""
    if len(text) > 1 and text[0] + text[-1] in ("()", "[]", "{}") and _is_around(text):
        text = text[1:-1]
    parts, at = [], 0
    while at <= len(text):
        found = _PART.match(text, at)
        parts.append(found[0].strip())
        at = found.end() + 1
    return [part for part in parts if part]


def _is_around(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last character; brackets within quotes do not count."""
    depth = 0
    bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)
    for at, character in enumerate(bare):
        depth += (character == text[0]) - (character == text[-1])
        if depth == 0:
            return at == len(text) - 1
    return False


def _pair(part: str) -> tuple[str, str] | None:
    """Name and value of NAME=VALUE or NAME:VALUE; a name without quotes goes as far as the last of these signs."""
    quoted = _PAIR.fullmatch(part)
    if quoted:
        return _unquoted(quoted), quoted[2].strip()
    name, sign, value = part.rpartition("=" if "=" in part else ":")
    return (name.strip(), value.strip()) if sign else None


def _number(value: Any, kind: Any) -> Any:
    for number in (int, float) if kind is float else ():
        with contextlib.suppress(ValueError):
            return number(value)
    return value


def _unquoted(quoted: re.Match) -> str:
    return quoted[1].replace('""', '"')


def type_name(annotation: Any) -> str:
    """Returns the type or the choices of a field as a user writes them: ``adam|sgd``, ``INT,...``, ``FLOAT|none``."""
    names = []
    for option in sections.members(annotation):
        if option is type(None):
            names.append("none")
        elif typing.get_origin(option) is typing.Literal:
            names += [str(choice) for choice in typing.get_args(option)]
        elif typing.get_origin(option) is tuple:
            names.append(f"{type_name(typing.get_args(option)[0])}, ...")
        elif typing.get_origin(option) is dict:
            names.append(f"{'='.join(map(type_name, typing.get_args(option)))}, ...")
        elif option is bool:
            names += ["true", "false"]
        else:
            names.append({int: "INT", float: "NUMBER", str: "TEXT"}.get(option, getattr(option, "__name__", "VALUE")))
    return " | ".join(dict.fromkeys(names))


def show(value: Any, annotation: Any = None) -> str:
    """Writes a value as a user would on the command line; ``read_text`` reads it back to the same.

    Args:
      value: of a field.
      annotation: the field's type, where the text is to be read again: a name that is ``none`` is then quoted.
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        options = sections.members(annotation)
        is_name = str in options and type(None) in options and value.lower() in _NOTHING
        return _quote(value) if is_name or _QUOTED.fullmatch(value.strip()) else value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(_show_part, value)) or "()"
    if isinstance(value, Mapping):
        return ",".join(f"{_show_part(str(key), '=:')}={_show_part(part)}" for key, part in value.items()) or "{}"
    return repr(value) if isinstance(value, float) else str(value)


def _show_part(value: Any, signs: str = "") -> str:
    """Writes a part of a list; a name that would be read otherwise stands in quotes."""
    if not isinstance(value, str):
        return show(value)
    is_odd = value != value.strip() or value[:1] in tuple('"([{') or not set(value).isdisjoint("," + signs)
    return _quote(value) if is_odd or value.lower() in _NOTHING else value


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
