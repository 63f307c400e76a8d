"""A configuration as text: YAML and back, what differs between two, the command line that makes one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

import pydantic
import yaml

from mbjax import errors, paths
from mbjax.config import fields, files, merge, schema


def dump(config: schema.Config) -> str:
    """Writes a configuration as YAML, every field with its value; ``parse`` reads it back to an equal one."""
    tree = config.header() | {"overrides": config.overrides} | fields.nest(config.values())
    return yaml.safe_dump(_plain(tree), sort_keys=False, allow_unicode=True, width=1000)


def parse(text: str, model_class: type[pydantic.BaseModel], source: str = "config.yaml") -> schema.Config:
    """Reads what ``dump`` wrote.

    Args:
      text: YAML.
      model_class: pydantic class of the section ``model``.
      source: name of the text in error messages.
    """
    tree = files.mapping(text, source)
    header = {name: tree.pop(name) for name in (*schema.HEADER, "overrides") if name in tree}
    for name in ("model_name", "dataset"):
        if name not in header:
            raise errors.ConfigError(f"{source}: '{name}' is missing; is this the config.yaml of a run?")
    return merge.build(header, tree, model_class, source)


def peek(text: str, source: str = "config.yaml") -> str:
    """Returns the model name in what ``dump`` wrote, to find the class that ``parse`` needs."""
    name = files.mapping(text, source).get("model_name")
    if name is None:
        raise errors.ConfigError(f"{source}: 'model_name' is missing; is this the config.yaml of a run?")
    return str(name)


def difference(a: schema.Config, b: schema.Config) -> list[str]:
    """Lists the fields that differ, such as ``"train.epochs: 4 -> 8"``; ``overrides`` are not compared."""
    left, right = (config.header() | config.values() for config in (a, b))
    absent = object()
    lines = []
    for path in dict.fromkeys([*left, *right]):
        old, new = left.get(path, absent), right.get(path, absent)
        if old != new:
            lines.append(f"{path}: {_show(old, absent)} -> {_show(new, absent)}")
    return lines


def command(config: schema.Config) -> str:
    """Returns the command line that makes this configuration, without the folders of one machine.

    Names that choose a section stand before its fields.
    """
    words = [f"--model={config.model_name}", f"--dataset={os.path.basename(os.path.normpath(config.dataset))}"]
    for name, value in config.header().items():
        if name not in ("model_name", "dataset") and value != schema.Config.model_fields[name].default:
            words.append(f"--{name}={value}")
    keys = {choice.key for choice in merge.choices(type(config.model), config.values())}
    made = sorted(config.overrides.items(), key=lambda item: item[0] not in keys)
    kinds = {path: spec.annotation for path, spec in merge.known_fields(type(config.model), config.values()).items()}
    values = portable(config)
    words += [f"--{path}={fields.show(values[path], kinds.get(path))}" for path, _ in made if path in values]
    return " ".join(["python train.py", *map(shlex.quote, words)])


def portable(config: schema.Config) -> dict[str, Any]:
    """The overrides without the folders of one machine: dotted path -> value."""
    found = {path: value for path, value in config.overrides.items() if path != "data.dirs"}
    if found.get("train.init_from"):
        found["train.init_from"] = paths.portable(found["train.init_from"])
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _show(value: Any, absent: object) -> str:
    if value is None:
        return "unset"  # a text may be "none", as data.valid
    return "absent" if value is absent else fields.show(value)
