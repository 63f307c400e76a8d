"""The help of one model: every field with meaning, unit and default, alternatives, variants, protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pydantic
import rich.console

from mbjax import config, errors, program
from mbjax.cli import layout, options
from mbjax.config import about


def show(
    out: rich.console.Console,
    given: Mapping[str, str],
    fields: Mapping[str, str | None],
    model_class: type[pydantic.BaseModel],
    examples: Iterable[tuple[str, str]],
) -> None:
    """Prints every field of a model's configuration, with the values it would have under the given options.

    Args:
      out: where to.
      given: options on the command line; model, dataset, protocol and ablation are looked at.
      fields: fields on the command line, as written -> text; those that choose a section are looked at.
      model_class: of the model's section.
      examples: command lines at the end.
    """
    name, dataset = given["model"], given.get("dataset")
    protocol, ablation = given.get("protocol", "honest"), given.get("ablation")
    switches = _switches(fields, model_class)
    where = {"data.dirs": fields["data.dirs"]} if fields.get("data.dirs") else {}
    chosen = switches | where
    values = config.defaults(name, dataset, model_class, protocol=protocol, ablation=ablation, overrides=chosen)
    file = config.model_file(name)
    layout.lines(out, f"{name}: {file.get('summary', '')}", "")
    command = program.command("train")
    layout.lines(out, f"Usage: {command} --model={name} --dataset=NAME [options] [--section.field=value ...]")
    layout.table(out, "Options", layout.options(*options.TRAINING))
    made = [f"data set {dataset}" if dataset else "no data set", f"protocol {protocol}"]
    made += [f"ablation {ablation}"] if ablation else []
    made += [f"{path}={value}" for path, value in switches.items()]
    layout.lines(
        out, "", f"Fields, with the defaults for {', '.join(made)}. The section may be left out where that is clear."
    )
    specs = config.known_fields(model_class, values)
    for section in ("model", "train", "evaluate", "data"):
        layout.fields(out, f"Section {section}", specs, values, f"{section}.")
        if section == "model":
            _alternatives(out, name, config.choices(model_class, values), values)
    ablations = [(key, _changes(change)) for key, change in (file.get("ablations") or {}).items()]
    if ablations:
        layout.table(out, "Ablations (--ablation=NAME)", ablations)
    others = [(key, _changes(change)) for key, change in (file.get("protocols") or {}).items()]
    if others:
        layout.table(out, "Protocols (--protocol=NAME)", [("honest", "the defaults"), *others])
    layout.examples(out, examples)


def _switches(fields: Mapping[str, str | None], model_class: type[pydantic.BaseModel]) -> dict[str, str]:
    """Those of the fields as written that choose a section: path -> name."""
    keys = [choice.key for choice in config.choices(model_class)]
    found = {}
    for key, text in fields.items():
        try:
            path = config.resolve(key, keys)
        except errors.ConfigError:
            continue  # another field, or none at all: help is what was asked for
        if text:
            found[path] = text
    return found


def _alternatives(out, model: str, choices: Iterable[config.Choice], values: Mapping[str, object]) -> None:
    """What the sections of a model may be instead, and with which fields."""
    rows, example = [], None
    for choice in choices:
        for name, section in choice.sections.items():
            if name != values[choice.key]:
                paths = config.known_fields(section)
                inside = [path.removeprefix("model.") for path in paths if path.startswith("model.")]
                names = [path for path in inside if f"{choice.path}.{path}" != choice.key]
                mark = "reconstructed; " if about.of(name).reconstructed else ""
                rows.append(
                    (f"--{choice.key}={name}", mark + (f"with {', '.join(names)}" if names else "without fields"))
                )
                example = example or f"--{choice.key.removeprefix('model.')}={name}"
    if rows:
        layout.table(out, "Alternatives, and the fields that take the place of those above", rows)
        command = program.command("train")
        layout.lines(out, f"  Their meanings and defaults: {command} --model={model} {example} --help")


def _changes(tree: Mapping[str, object], prefix: str = "") -> str:
    """Nested values as ``a.b=1 c=2``."""
    words = []
    for key, value in (tree or {}).items():
        words.append(
            _changes(value, f"{prefix}{key}.") if isinstance(value, Mapping) else f"{prefix}{key}={config.show(value)}"
        )
    return " ".join(words) or "the defaults"
