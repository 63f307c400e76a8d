"""Loading a configuration: YAML files under ``configs/``, named variants, overrides; and back to YAML.

Later layers win: model file, data-set file, the model file's ``datasets.<name>``, ``protocols.<protocol>`` and
``ablations.<name>``, overrides.
"""

from __future__ import annotations

import difflib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pydantic
import yaml

from mbjax import errors
from mbjax.config import fields, schema

_MODEL_KEYS = {"summary", "model", "data", "train", "evaluate", "datasets", "protocols", "ablations"}
_DATASET_KEYS = {"summary", "data", "train", "evaluate"}


def config_dir() -> pathlib.Path:
    """Returns the folder with ``models/`` and ``datasets/``: inside an installed package, else of the repository."""
    package = pathlib.Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "models").is_dir():
            return folder
    raise errors.ConfigError(f"no configs folder in {package} or {package.parent}; install mbjax again.")


def model_names() -> list[str]:
    """Names of the models that have a file under ``configs/models``."""
    return sorted(path.stem for path in (config_dir() / "models").glob("*.yaml"))


def dataset_names() -> list[str]:
    """Names of the data sets that have a file under ``configs/datasets``."""
    return sorted(path.stem for path in (config_dir() / "datasets").glob("*.yaml"))


def model_file(name: str) -> dict[str, Any]:
    """Reads a model's file; ConfigError if there is none."""
    if name not in model_names():
        raise errors.unknown("model", name, model_names())
    return _read(config_dir() / "models" / f"{name}.yaml", _MODEL_KEYS)


def dataset_file(name: str) -> dict[str, Any]:
    """Reads a data set's file; empty for the path of a folder or log that exists.

    Raises:
      ConfigError: neither a known name nor an existing path.
    """
    if name in dataset_names():
        return _read(config_dir() / "datasets" / f"{name}.yaml", _DATASET_KEYS)
    if os.path.exists(name):
        return {}
    if os.sep in name or "." in name:
        raise errors.ConfigError(f"data set '{name}': no such file or folder. Known names: {_list(dataset_names())}.")
    raise errors.unknown("data set", name, dataset_names())


def known_fields(model_class: type[pydantic.BaseModel]) -> dict[str, fields.FieldSpec]:
    """All fields of a configuration with this model, dotted path -> FieldSpec."""
    found = fields.walk(model_class, "model")
    for name, section in schema.SECTIONS.items():
        found |= fields.walk(section, name)
    return found


def load(
    model_name: str,
    dataset: str,
    model_class: type[pydantic.BaseModel],
    *,
    protocol: str = "honest",
    ablation: str | None = None,
    seed: int = 0,
    devices: int = 1,
    overrides: Mapping[str, Any] | None = None,
) -> schema.Config:
    """Builds the configuration of a run from the files and the user's overrides.

    Args:
      model_name: name of a file under ``configs/models``.
      dataset: name of a file under ``configs/datasets``, or an existing path.
      model_class: pydantic class of the section ``model``.
      protocol: ``"honest"`` or ``"paper"``.
      ablation: a name under ``ablations:`` of the model's file.
      seed: of the run.
      devices: that share each batch.
      overrides: key -> value; keys dotted, the section may be left out where that is unambiguous; values of any
        type, texts are read as on the command line.

    Raises:
      ConfigError: a name, key or value that does not exist or does not fit.
    """
    model, data = model_file(model_name), dataset_file(dataset)
    file, data_file = f"configs/models/{model_name}.yaml", f"configs/datasets/{dataset}.yaml"
    ablations = model.get("ablations") or {}
    if ablation is not None and ablation not in ablations:
        raise errors.unknown(f"ablation of {model_name}", ablation, ablations) if ablations else errors.ConfigError(
            f"model '{model_name}' has no ablations; leave out --ablation={ablation}."
        )
    sections = ("model", "data", "train", "evaluate")
    layers = [
        (file, {key: model[key] for key in sections if key in model}),
        (data_file, {key: data[key] for key in sections if key in data}),
        (f"{file}, datasets.{dataset}", (model.get("datasets") or {}).get(dataset) or {}),
        (f"{file}, protocols.{protocol}", (model.get("protocols") or {}).get(protocol) or {}),
        (f"{file}, ablations.{ablation}", ablations.get(ablation) or {} if ablation else {}),
        ("", overrides or {}),
    ]
    header = {"model_name": model_name, "dataset": dataset, "protocol": protocol, "ablation": ablation}
    return _build(header | {"seed": seed, "devices": devices}, layers, model_class)


def override(config: schema.Config, overrides: Mapping[str, Any], **header: Any) -> schema.Config:
    """Returns the configuration with some fields changed; keys and values as in ``load``.

    Args:
      config: a validated configuration.
      overrides: key -> value.
      **header: new values of ``seed``, ``devices`` or ``protocol``.
    """
    values = _header(config) | header
    return _build(values, [("", overrides)], type(config.model), _flat(_sections(config)), config.overrides)


def dump(config: schema.Config) -> str:
    """Writes a configuration as YAML, every field with its value; ``parse`` reads it back to an equal one."""
    tree = _header(config) | {"overrides": config.overrides} | fields.nest(_flat(_sections(config)))
    return yaml.safe_dump(_plain(tree), sort_keys=False, allow_unicode=True, width=1000)


def parse(text: str, model_class: type[pydantic.BaseModel], source: str = "config.yaml") -> schema.Config:
    """Reads what ``dump`` wrote.

    Args:
      text: YAML.
      model_class: pydantic class of the section ``model``.
      source: name of the text in error messages.
    """
    tree = _mapping(text, source)
    header = {name: tree.pop(name) for name in ("model_name", "dataset", *schema.HEADER, "overrides") if name in tree}
    missing = [name for name in ("model_name", "dataset") if name not in header]
    if missing:
        raise errors.ConfigError(f"{source}: '{missing[0]}' is missing; is this the config.yaml of a run?")
    record = header.pop("overrides", None) or ()
    return _build(header, [(source, tree)], model_class, record=record)


def peek(text: str, source: str = "config.yaml") -> str:
    """Returns the model name in what ``dump`` wrote, to find the class that ``parse`` needs."""
    name = _mapping(text, source).get("model_name")
    if name is None:
        raise errors.ConfigError(f"{source}: 'model_name' is missing; is this the config.yaml of a run?")
    return str(name)


def difference(a: schema.Config, b: schema.Config) -> list[str]:
    """Lists the fields that differ, such as ``"train.epochs: 4 -> 8"``; ``overrides`` are not compared."""
    left, right = (_header(config) | _flat(_sections(config)) for config in (a, b))
    absent = object()
    lines = []
    for path in dict.fromkeys([*left, *right]):
        old, new = left.get(path, absent), right.get(path, absent)
        if old != new:
            lines.append(f"{path}: {_show(old, absent)} -> {_show(new, absent)}")
    return lines


def _build(header, layers, model_class, flat=None, record=()) -> schema.Config:
    """Merges layers ``(origin, keys and values)`` over ``flat`` and validates; origin "" is the command line."""
    known = known_fields(model_class)
    flat, origins = dict(flat or {}), {}
    made = list(record)  # paths set by hand
    for origin, layer in layers:
        try:
            values = fields.flatten(layer, known)
        except errors.ConfigError as error:
            raise errors.ConfigError(f"{origin}: {error}" if origin else str(error)) from None
        for path, value in values.items():
            flat[path] = fields.read_text(value, known[path].annotation) if isinstance(value, str) else value
            origins[path] = origin
            if not origin:
                made.append(path)
    tree = fields.nest(flat)
    built: dict[str, Any] = {}
    for name, section in {"model": model_class, **schema.SECTIONS}.items():
        built[name] = _validated(section, tree.get(name, {}), name, origins)
    final = _flat(built)
    overrides = {path: final[path] for path in dict.fromkeys(made) if path in final}
    return _validated(schema.Config, header | built | {"overrides": overrides}, "", origins)


def _validated(section, values, prefix, origins):
    try:
        return section.model_validate(values)
    except pydantic.ValidationError as error:
        raise errors.ConfigError(_one_line(error.errors()[0], prefix, origins)) from None


def _one_line(problem: Mapping[str, Any], prefix: str, origins: Mapping[str, str]) -> str:
    """Says in one line which key has which value and what is allowed instead."""
    names = [part for part in problem["loc"] if isinstance(part, str)]
    path = ".".join(([prefix] if prefix else []) + names)
    while path and path not in origins and path.rsplit(".", 1)[0] in origins:
        path = path.rsplit(".", 1)[0]  # pydantic appends the branch of a union
    origin = f" ({origins[path]})" if origins.get(path) else ""
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = {
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "int_type": "must be a whole number",
        "float_parsing": "must be a number",
        "float_type": "must be a number",
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "string_type": "must be a text",
        "tuple_type": "must be values separated by commas",
    }.get(problem["type"], message)
    if not names:
        return f"{prefix}: {message}." if prefix else f"{message}."
    if problem["type"] == "missing":
        return f"{path} is missing{origin}."
    hint = ""
    if problem["type"] == "literal_error":
        choices = [part.strip(" '") for part in problem["ctx"]["expected"].replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(str(problem["input"]), choices, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{path}={fields.show(problem['input'])}{origin}: {message}.{hint}"


def _flat(sections: Mapping[str, pydantic.BaseModel]) -> dict[str, Any]:
    """All leaves of sections by name, dotted path -> value."""
    found: dict[str, Any] = {}

    def descend(prefix: str, section: pydantic.BaseModel) -> None:
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, pydantic.BaseModel):
                descend(f"{prefix}.{name}", value)
            else:
                found[f"{prefix}.{name}"] = value

    for name, section in sections.items():
        descend(name, section)
    return found


def _sections(config: schema.Config) -> dict[str, pydantic.BaseModel]:
    return {name: getattr(config, name) for name in ("model", *schema.SECTIONS)}


def _header(config: schema.Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("model_name", "dataset", *schema.HEADER)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _show(value: Any, absent: object) -> str:
    return "absent" if value is absent else fields.show(value)


def _list(names: list[str]) -> str:
    return ", ".join(names)


def _read(path: pathlib.Path, known: set[str]) -> dict[str, Any]:
    tree = _mapping(path.read_text(encoding="utf-8"), f"configs/{path.parent.name}/{path.name}")
    for key in tree:
        if key not in known:
            where = f"configs/{path.parent.name}/{path.name}"
            raise errors.ConfigError(f"{where}: {errors.unknown('key', key, known)}")
    return tree


def _mapping(text: str, source: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise errors.ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree or {}, dict):
        raise errors.ConfigError(f"{source} must hold keys and values, not a {type(tree).__name__}.")
    return tree or {}
