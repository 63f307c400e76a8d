"""What a sweep is going to do: its models, what is given to all runs, what varies; and the same as JSON."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pydantic

from mbjax import config, errors
from mbjax.sweep import axes

Setting = Mapping[str, str]
"""Field -> text of its value, of what varies but the seed."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep as it was asked for.

    Attributes:
      models: their names, in the order given.
      dataset: name or path.
      fields: given to all runs: field as written -> text.
      grid, space: texts of ``axes.read_axis`` and ``axes.read_space``.
      search: settings of each model that a search tries; None for a grid.
      minutes: for all runs of each model, its own settings first and then others for as long as there is time; None
        for a grid or a search.
      ablation: of all runs.
      seed: of all runs, where the grid has none; of the search.
      devices: of all runs.
    """

    models: tuple[str, ...]
    dataset: str
    fields: Mapping[str, str]
    grid: tuple[str, ...] = ()
    space: tuple[str, ...] = ()
    search: int | None = None
    minutes: float | None = None
    ablation: str | None = None
    seed: int | None = None
    devices: int = 1

    def text(self) -> str:
        """As JSON, which ``read`` reads back."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read(file: pathlib.Path) -> Plan:
    """A plan from its file. Raises ConfigError if there is none, DataError if it is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        lists = {name: tuple(found.pop(name)) for name in ("models", "grid", "space")}
        return Plan(**found, **lists)
    except OSError:
        raise errors.ConfigError(f"no sweep in {file.parent}: {file.name} is missing.") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise errors.DataError(f"{file} is damaged: {error}.") from error


@dataclasses.dataclass(frozen=True)
class Member:
    """One model of a sweep.

    Attributes:
      plan: of the sweep.
      name: of the model.
      section: class of its section.
      fields: given to all of its runs, path -> text.
      axes: what varies in a grid, but the seed.
      spaces: what a search varies.
      seeds: of each setting.
      lacks: fields of the sweep that this model does not have; its runs go without.
      set_by: field -> the ablation that sets it, of those of all runs and those that vary.
      is_trained: whether it has epochs.
    """

    plan: Plan
    name: str
    section: type[pydantic.BaseModel]
    fields: Mapping[str, str]
    axes: tuple[axes.Axis, ...]
    spaces: tuple[axes.Space, ...]
    seeds: tuple[int, ...]
    lacks: tuple[str, ...]
    is_trained: bool = True
    set_by: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def config(self, setting: Setting, seed: int) -> config.Config:
        """The configuration of a run. Raises ConfigError for a value that does not fit."""
        header: dict[str, Any] = {"seed": seed, "devices": self.plan.devices, "ablation": self.plan.ablation}
        fields = dict(setting)
        if "ablation" in fields:
            name = fields.pop("ablation")
            header["ablation"] = None if name == "none" else name
        return config.load(self.name, self.plan.dataset, self.section, overrides={**self.fields, **fields}, **header)


def members(plan: Plan, section_of: Callable[[str], type[pydantic.BaseModel]]) -> list[Member]:
    """The models of a sweep, with what each is given; every value is tried for its form, and nothing is read or run.

    Args:
      plan: of the sweep.
      section_of: model -> class of its section.

    Raises:
      ConfigError: a field that none of the models has, or that changes what is measured; a value that does not fit; a
        seed given twice; a search without a space.
    """
    read = [axes.read_axis(text) for text in plan.grid]
    spaces = [axes.read_space(text) for text in plan.space]
    _check_together(plan, read, spaces)
    seeds = next((_seeds(axis) for axis in read if axis.field == "seed"), (plan.seed or 0,))
    varied = [axis for axis in read if axis.field != "seed"]
    found = []
    for name in plan.models:
        section = section_of(name)
        known, lacks = config.known_fields(section), []
        own = {path: text for key, text in plan.fields.items() if (path := _path(key, known, lacks))}
        is_trained = not _is_untrained(name)
        if not is_trained:
            known = {path: spec for path, spec in known.items() if not path.startswith("train.")}
        crossed = [axis._replace(field=path) for axis in varied if (path := _path(axis.field, known, lacks))]
        for axis in crossed:
            if axis.field not in axes.HEADER:
                axes.distinct(axis.field, axis.values, known, "grid")
        sought = [axes.resolved(space, known) for space in spaces if _path(space.field, known, lacks)]
        given = (
            own,
            tuple(crossed),
            tuple(sought),
            seeds,
            tuple(lacks),
            is_trained,
            _set_by(plan, name, section, crossed),
        )
        member = Member(plan, name, section, *given)
        is_sought = plan.search or plan.minutes
        found.append(dataclasses.replace(member, spaces=_own_spaces(member)) if is_sought else member)
    for key in dict.fromkeys(key for member in found for key in member.lacks):
        if all(key in member.lacks for member in found):
            config.resolve(key, config.known_fields(found[0].section), "--")  # raises, with the nearest one
            raise errors.ConfigError(f"{key} varies training, and none of the models has any.")
    for member in found:
        _check(member)
    return found


def _path(key: str, known: Mapping[str, config.FieldSpec], lacks: list[str]) -> str | None:
    """The path of a field as written; None where the model lacks it, which is noted."""
    if key in axes.HEADER:
        return key
    try:
        return config.resolve(key, known, "--")
    except errors.ConfigError as error:
        if not str(error).startswith("unknown"):
            raise
        lacks.append(key)
        return None


def _set_by(plan: Plan, name: str, section: type[pydantic.BaseModel], crossed: list[axes.Axis]) -> dict[str, str]:
    varied = [text for axis in crossed if axis.field == "ablation" for text in axis.values if text != "none"]
    given = [plan.ablation] if plan.ablation else []
    return {path: text for text in [*varied, *given] for path in config.ablation_fields(name, text, section)}


def _is_untrained(name: str) -> bool:
    """Whether a model has no epochs by its file, so that what varies training varies nothing."""
    return (config.model_file(name).get("train") or {}).get("epochs") == 0


def _own_spaces(member: Member) -> tuple[axes.Space, ...]:
    """The spaces given, or else those of the model's file, without fields that are given one value."""
    if member.plan.space:
        if not member.spaces and member.plan.search:
            raise errors.ConfigError(f"--space names no field that model '{member.name}' has; a search needs one.")
        return member.spaces
    known = config.known_fields(member.section)
    texts = config.model_file(member.name).get("search") or {}
    found = [axes.resolved(axes.read_space(f"{field}={text}", "space"), known) for field, text in texts.items()]
    values = member.config({}, 0).values()
    if not texts:
        found = [
            space for path, value in values.items() if values["train.epochs"] and (space := axes.default(path, value))
        ]
    # An ablation may choose another section, too, which has not all fields that the file names.
    taken = {*member.fields, *member.set_by}
    found = [space for space in found if space.field in values and space.field not in taken]
    if not found and member.plan.search:
        raise errors.ConfigError(
            f"model '{member.name}' has nothing that a search would vary: give --space=FIELD=LOW..HIGH."
        )
    return tuple(found)


def _check(member: Member) -> None:
    """Tries every value: of a grid all settings, of a search the ends and the choices."""
    for path in [axis.field for axis in member.axes] + [space.field for space in member.spaces]:
        if path not in axes.HEADER:
            axes.check(path)
        if path in member.fields or (path == "ablation" and member.plan.ablation):
            raise errors.ConfigError(f"{path} varies, and is given one value too. Leave out one of them.")
        if path in member.set_by:
            raise errors.ConfigError(
                f"{path} varies, and ablation {member.set_by[path]} sets it, so that its runs would not be what they "
                "are called. Leave out one of them."
            )
    settings: Iterable[Setting] = axes.product(member.axes)
    if member.spaces:
        ends = [(space, end) for space in member.spaces for end in space.choices or (space.low, space.high)]
        settings = [{space.field: space.text(end)} for space, end in ends]
    for setting in settings:
        made = member.config(setting, member.seeds[0])
        if made.protocol != "honest" or made.data.valid in ("none", "into_train"):
            raise errors.ConfigError(
                f"data.valid={made.data.valid}: settings are chosen on validation pairs, and this holds none out."
            )


def _check_together(plan: Plan, grid: list[axes.Axis], spaces: list[axes.Space]) -> None:
    """Raises ConfigError for options that contradict each other."""
    fields = [axis.field for axis in grid] + [space.field for space in spaces]
    for field in fields:
        if fields.count(field) > 1:
            raise errors.ConfigError(f"{field} varies twice; give its values once.")
    if plan.seed is not None and "seed" in fields:
        raise errors.ConfigError(
            f"--seed={plan.seed} and a grid of seeds contradict each other. Leave out one of them."
        )
    if plan.search is not None and plan.minutes is not None:
        raise errors.ConfigError(
            f"--search={plan.search} and --minutes={plan.minutes:g} each say how many settings are tried. Give one."
        )
    if plan.search is None and plan.minutes is None:
        if spaces:
            raise errors.ConfigError(
                f"--space={plan.space[0]} needs --search=N or --minutes=M, which say how many settings are tried."
            )
        if not grid:
            raise errors.ConfigError(
                "nothing varies: give --grid=FIELD=VALUE,VALUE, --search=N or --minutes=M. See --help."
            )
    others = [axis.field for axis in grid if axis.field != "seed"]
    if others and (plan.search is not None or plan.minutes is not None):
        option = f"--search={plan.search}" if plan.search is not None else f"--minutes={plan.minutes:g}"
        raise errors.ConfigError(
            f"--grid={others[0]}=... beside {option}: of a grid a search takes the seeds only. Write "
            f"--space={others[0]}=... instead."
        )
    if any(space.field in axes.HEADER for space in spaces):
        raise errors.ConfigError("--space: a search varies fields; seeds stand in --grid=seed=0,1,2.")


def _seeds(axis: axes.Axis) -> tuple[int, ...]:
    for text in axis.values:
        if not text.isdecimal():
            raise errors.ConfigError(f"--grid={axis.field}={text}: a seed must be a whole number, 0 or more.")
    found = tuple(map(int, axis.values))
    if len(set(found)) < len(found):
        raise errors.ConfigError(f"--grid={axis.field}={','.join(axis.values)}: a seed stands there twice.")
    return found
