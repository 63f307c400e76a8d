"""Building a configuration in layers: the YAML files, named variants, overrides.

Later layers win: model file, data-set file, the model file's ``datasets.<name>``, ``protocols.<protocol>`` and
``ablations.<name>``, overrides.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import pydantic

from mbjax import errors
from mbjax.config import fields, files, schema

_SECTIONS = ("model", *schema.SECTIONS)


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
    check_names(model_name, dataset, protocol=protocol, ablation=ablation, seed=seed, devices=devices)
    header = {"model_name": model_name, "dataset": dataset, "protocol": protocol, "ablation": ablation}
    layers = [*_layers(model_name, dataset, protocol, ablation), ("", overrides or {})]
    return _build(header | {"seed": seed, "devices": devices}, layers, model_class)


def defaults(
    model_name: str,
    dataset: str | None,
    model_class: type[pydantic.BaseModel],
    *,
    protocol: str = "honest",
    ablation: str | None = None,
) -> dict[str, Any]:
    """Returns the value of every field without overrides, dotted path -> value; for no data set if that is None."""
    check_names(model_name, dataset, protocol=protocol, ablation=ablation)
    header = {"model_name": model_name, "dataset": dataset or "", "protocol": protocol, "ablation": ablation}
    return _build(header, _layers(model_name, dataset, protocol, ablation), model_class).values()


def override(config: schema.Config, overrides: Mapping[str, Any], **header: Any) -> schema.Config:
    """Returns the configuration with some fields changed; keys and values as in ``load``.

    Args:
      config: a validated configuration.
      overrides: key -> value.
      **header: new values of ``seed``, ``devices`` or ``protocol``.
    """
    return _build(config.header() | header, [("", overrides)], type(config.model), config.values(), config.overrides)


def check_names(model_name: str, dataset: str | None, **header: Any) -> None:
    """Checks the names of model, data set and ablation, and the other fields of the header, without any model's code.

    Raises:
      ConfigError: one of them does not exist or does not fit.
    """
    ablations = files.model_file(model_name).get("ablations") or {}
    if dataset is not None:
        files.dataset_file(dataset)
    ablation = header.get("ablation")
    if ablation is not None and not ablations:
        raise errors.ConfigError(f"model '{model_name}' has no ablations; leave out --ablation={ablation}.")
    if ablation is not None and ablation not in ablations:
        raise errors.unknown(f"ablation of {model_name}", ablation, ablations)
    nothing = {"model_name": model_name, "dataset": dataset or "", "model": schema.Section()}
    _validated(schema.Config, nothing | header, "", {})


def build(
    header: Mapping[str, Any], tree: Mapping[str, Any], model_class: type[pydantic.BaseModel], source: str
) -> schema.Config:
    """Builds a configuration from values that are complete; ``source`` names them in error messages."""
    header = dict(header)
    record = header.pop("overrides", None) or ()
    return _build(header, [(source, tree)], model_class, record=record)


def _layers(model_name, dataset, protocol, ablation) -> list[tuple[str, Mapping[str, Any]]]:
    """The layers of the files, each with its origin for error messages; later ones win."""
    model = files.model_file(model_name)
    data = files.dataset_file(dataset) if dataset else {}
    file = f"configs/models/{model_name}.yaml"
    layers = [
        (file, {key: model[key] for key in _SECTIONS if key in model}),
        (f"configs/datasets/{dataset}.yaml", {key: data[key] for key in _SECTIONS if key in data}),
    ]
    for kind, name in (("datasets", dataset), ("protocols", protocol), ("ablations", ablation)):
        layers.append((f"{file}, {kind}.{name}", (model.get(kind) or {}).get(name) or {}))
    return layers


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
    values = fields.leaves(built)
    overrides = {path: values[path] for path in dict.fromkeys(made) if path in values}
    return _validated(schema.Config, dict(header) | built | {"overrides": overrides}, "", origins)


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
        "too_short": "needs at least one value",
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
