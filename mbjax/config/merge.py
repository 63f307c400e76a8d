"""Building a configuration in layers: the YAML files, named variants, overrides.

Later layers win: model file, data-set file, the model file's ``datasets.<name>``, ``protocols.<protocol>`` and
``ablations.<name>``, overrides. A layer that sets ``model.head.name`` to another value drops all that earlier layers
set below ``model.head``: the new head starts from its own defaults and what this layer and later ones set.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from mbjax import errors, paths
from mbjax.config import ablations, about, datasets, fields, files, presets, problems, schema, sections

_SECTIONS = ("model", *schema.SECTIONS)


def known_fields(
    model_class: type[pydantic.BaseModel], values: Mapping[str, Any] | None = None
) -> dict[str, sections.FieldSpec]:
    """All fields of a configuration with this model, dotted path -> FieldSpec.

    Args:
      model_class: pydantic class of the section ``model``.
      values: dotted path -> value. Where a section is one of several, these give its name, and only the fields of that
        one exist; where they do not, the fields of all exist.
    """
    return sections.walk(_roots(model_class), values) if values else dict(_all_fields(model_class))


@functools.cache
def _all_fields(model_class: type[pydantic.BaseModel]) -> Mapping[str, sections.FieldSpec]:
    """Those of all alternatives: every configuration asks for them several times."""
    return sections.walk(_roots(model_class))


def choices(model_class: type[pydantic.BaseModel], values: Mapping[str, Any] | None = None) -> list[sections.Choice]:
    """The sections that are one of several, such as ``model.head``; arguments as for ``known_fields``."""
    return list(sections.choices(_roots(model_class), values or {}))


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
      dataset: name of a file under ``configs/datasets`` or of a folder on the search path, or an existing path, which
        becomes absolute. Where the search began in the working directory, what it found is added to ``data.dirs``.
      model_class: pydantic class of the section ``model``.
      protocol: ``"honest"`` or ``"paper"``.
      ablation: a name under ``ablations:`` of the model's file, or several with commas between them.
      seed: of the run.
      devices: that share each batch.
      overrides: key -> value; keys dotted, the section may be left out where that is unambiguous; values of any
        type, texts are read as on the command line.

    Raises:
      ConfigError: a name, key or value that does not exist or does not fit.
    """
    dataset, dirs = os.fspath(dataset), _dirs(overrides or {}, model_class)
    check_names(model_name, dataset, dirs, protocol=protocol, ablation=ablation, seed=seed, devices=devices)
    about.of(model_name)  # a mistake there must not be found when the run is over
    dataset = datasets.located(dataset, dirs)
    ablation = _ablation(model_name, ablation, model_class)
    header = {"model_name": model_name, "dataset": dataset, "protocol": protocol, "ablation": ablation}
    layers = [*_layers(model_name, dataset, protocol, ablation, dirs), ("", overrides or {})]
    made = _build(header | {"seed": seed, "devices": devices}, layers, model_class)
    datasets.check_read(dataset, dirs, made.overrides)
    return _at_home(made)


def defaults(
    model_name: str,
    dataset: str | None,
    model_class: type[pydantic.BaseModel],
    *,
    protocol: str = "honest",
    ablation: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the value of every field as ``load`` sets it, dotted path -> value; for no data set if that is None."""
    dirs = _dirs(overrides or {}, model_class)
    check_names(model_name, dataset, dirs, protocol=protocol, ablation=ablation)
    ablation = _ablation(model_name, ablation, model_class)
    header = {"model_name": model_name, "dataset": dataset or "", "protocol": protocol, "ablation": ablation}
    layers = [*_layers(model_name, dataset, protocol, ablation, dirs), ("", overrides or {})]
    return _build(header, layers, model_class).values()


def override(config: schema.Config, overrides: Mapping[str, Any], **header: Any) -> schema.Config:
    """Returns the configuration with some fields changed; keys and values as in ``load``.

    Args:
      config: a validated configuration.
      overrides: key -> value.
      **header: new values of ``dataset``, ``seed``, ``devices`` or ``protocol``.
    """
    return _build(config.header() | header, [("", overrides)], type(config.model), config.values(), config.overrides)


def ablation_fields(model_name: str, ablation: str | None, model_class: type[pydantic.BaseModel]) -> list[str]:
    """The dotted paths of what variants of a model's file set. Raises ConfigError for a name that does not exist."""
    there = files.model_file(model_name).get("ablations") or {}
    known = known_fields(model_class)
    chosen = ablations.names(ablations.canonical(model_name, ablation, there))
    return list(dict.fromkeys(path for name in chosen for path in fields.flatten(there[name] or {}, known)))


def check_names(model_name: str, dataset: str | None, dirs: Iterable[str] = (), **header: Any) -> None:
    """Checks the names of model, data set and ablation, and the other fields of the header, without any model's code.

    Args:
      model_name: of the model.
      dataset: name or path; None where none is needed.
      dirs: folders searched first for the data set.
      **header: other fields outside the sections.

    Raises:
      ConfigError: one of them does not exist or does not fit.
    """
    there = files.model_file(model_name).get("ablations") or {}
    if dataset is not None:
        files.dataset_file(dataset, dirs)
    ablations.canonical(model_name, header.get("ablation"), there)
    nothing = {"model_name": model_name, "dataset": dataset or "", "model": schema.Section()}
    problems.validated(schema.Config, nothing | header, "", {})


def build(
    header: Mapping[str, Any], tree: Mapping[str, Any], model_class: type[pydantic.BaseModel], source: str
) -> schema.Config:
    """Builds a configuration from values that are complete; ``source`` names them in error messages."""
    header = dict(header)
    record = header.pop("overrides", None) or ()
    return _build(header, [(source, tree)], model_class, record=record)


def _ablation(model_name: str, given: str | None, model_class) -> str | None:
    """The canonical name of one or several variants. Raises ConfigError for those that do not go together."""
    there = files.model_file(model_name).get("ablations") or {}
    name = ablations.canonical(model_name, given, there)
    chosen = {each: there[each] or {} for each in ablations.names(name)}
    if len(chosen) > 1:
        ablations.check_together(chosen, known_fields(model_class))
    return name


def _layers(model_name, dataset, protocol, ablation, dirs=()) -> list[tuple[str, Mapping[str, Any]]]:
    """The layers of the files, each with its origin for error messages; later ones win."""
    model = files.model_file(model_name)
    data = files.dataset_file(dataset, dirs) if dataset else {}
    file = f"configs/models/{model_name}.yaml"
    layers = [
        (file, {key: model[key] for key in _SECTIONS if key in model}),
        (f"configs/datasets/{dataset}.yaml", {key: data[key] for key in _SECTIONS if key in data}),
    ]
    variants = [("ablations", name) for name in ablations.names(ablation)]
    for kind, name in (("datasets", dataset), ("protocols", protocol), *variants):
        layers.append((f"{file}, {kind}.{name}", (model.get(kind) or {}).get(name) or {}))
    return layers


def _dirs(overrides: Mapping[str, Any], model_class) -> tuple[str, ...]:
    """The folders that an override of ``data.dirs`` names: they say what the name of a data set is."""
    known = known_fields(model_class)
    given = next((value for key, value in fields.flatten(overrides, known).items() if key == "data.dirs"), None) or ()
    given = fields.read_text(given, known["data.dirs"].annotation) if isinstance(given, str) else given
    return tuple(map(os.fspath, given))


def _at_home(config: schema.Config) -> schema.Config:
    """The configuration with the folder that its data set was found in, where only the working directory tells it."""
    folder = paths.named_folder(config.dataset, config.data.dirs)
    if folder is None or folder.parent not in map(paths.absolute, paths.HERE) or str(folder.parent) in config.data.dirs:
        return config
    data = config.data.model_copy(update={"dirs": (*config.data.dirs, str(folder.parent))})
    return config.model_copy(update={"data": data})


def _apply_preset(flat: dict[str, Any], origins: Mapping[str, str]) -> None:
    """Sets what the preset of a log says, so that the configuration records what is done.

    Raises:
      ConfigError: a field that was set by hand says otherwise.
    """
    preset = flat.get("data.log.preset")
    for field, value in presets.PRESETS.get(preset, {}).items():
        path = f"data.log.{field}"
        if origins.get(path) == "":
            given = problems.validated(schema.LogConfig, {field: flat[path]}, "data.log", {path: ""})
            if getattr(given, field) != value:
                raise presets.contradiction(preset, field, flat[path])
        flat[path] = value


def _roots(model_class) -> dict[str, type[pydantic.BaseModel]]:
    return {"model": model_class, **schema.SECTIONS}


def _build(header, layers, model_class, flat=None, record=()) -> schema.Config:
    """Merges layers ``(origin, keys and values)`` over ``flat`` and validates; origin "" is the command line."""
    roots, known = _roots(model_class), known_fields(model_class)
    flat = dict(flat) if flat else sections.defaults(roots)
    origins: dict[str, str] = {}
    made, whole = list(record), []  # paths set by hand; sections that were chosen by hand more than once
    for origin, layer in layers:
        try:
            values = fields.flatten(layer, known)
        except errors.ConfigError as error:
            raise errors.ConfigError(f"{origin}: {error}" if origin else str(error)) from None
        if not values:
            continue
        for choice in sections.switch(roots, flat, values, problems.where(origin)):
            for path in sections.below(choice.path, origins):
                del origins[path]
            if not origin:
                whole += [choice.path] if choice.key in made else []
                gone = sections.below(choice.path, made)
                made = [path for path in made if path not in gone]
        specs = known_fields(model_class, flat)
        for path, value in values.items():
            if path not in specs:
                raise problems.foreign(path, value, origin, choices(model_class, flat), flat)
            if isinstance(value, str):
                value = fields.read_text(value, specs[path].annotation, is_typed=not origin)
            flat[path] = value
            origins[path] = origin
            if not origin:
                made.append(path)
    _apply_preset(flat, origins)
    for choice in choices(model_class, flat):
        if choice.key not in flat:
            raise errors.ConfigError(f"{choice.key} is missing: must be {choice.names()}.")
    tree = fields.nest(flat)
    built = {name: problems.validated(section, tree.get(name, {}), name, origins) for name, section in roots.items()}
    values = sections.leaves(built)
    # The files may choose what was chosen by hand before the last time, so that this choice alone would not drop what
    # they set below it: only all values together say what this section is.
    made += [path for section in whole for path in sections.below(section, values)]
    overrides = {path: values[path] for path in dict.fromkeys(made) if path in values}
    return problems.validated(schema.Config, dict(header) | built | {"overrides": overrides}, "", origins)
