"""What is said of a model beside its numbers: the section ``about`` of its file under ``configs/models``.

Under which names papers report it and its ablations, whether it is a reconstruction, what it learns from, where tables
show it. Tables read it here, so that no list of models stands anywhere else.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from mbjax import errors
from mbjax.config import files, problems, schema

DEFAULT = "default"
"""The model without an ablation, where ablations are keys."""
ANY = "any"
"""Every paper that has a row of the name."""


class About(schema.Section):
    """The section ``about``; each field may be left out."""

    reported: dict[str, dict[str, str]] = Field(
        {}, description="ablation, or default -> how the name of a paper begins, or any -> the name of its row"
    )
    target_alone: dict[str, str] = Field(
        {}, description="paper -> the row that the model is when it is given the target's pairs and no others"
    )
    same: dict[str, str] = Field(
        {}, description="ablation -> another one, or default, that comes to the same settings, so its run serves too"
    )
    reconstructed: bool = Field(False, description="made without the paper's equations, which tables say")
    learns: Literal["all", "target", "closed_form", "alternating", "untrained"] = Field(
        "all",
        description="pairs of all behaviors; of the target alone; all in closed form; all, solving for one side after "
        "the other; nothing that is trained",
    )
    shown: tuple[str, ...] = Field((), description="ablations that stand beside the model as it ships in tables of all")
    front: bool = Field(True, description="whether the table of the front page has a line for it")
    chosen_on_test: dict[str, str] = Field(
        {}, description="data set -> what of the settings shipped for it was chosen on the test split"
    )


def of(name: str) -> About:
    """The section of a model's file; what a file leaves out, or a model without one, is as the defaults.

    Raises:
      ConfigError: a field or value that is none, or an ablation that the file does not have.
    """
    return _of(files.config_dir(), name)


@functools.cache
def _of(folder: pathlib.Path, name: str) -> About:
    if name not in files.model_names():
        return About()
    tree = files.model_file(name)
    where = f"configs/models/{name}.yaml"
    given = tree.get("about") or {}
    for key in given:
        if key not in About.model_fields:
            raise errors.ConfigError(f"{where}: {errors.unknown('field of about', key, About.model_fields)}")
    found = problems.validated(About, given, "about", dict.fromkeys(_paths("about", given), where))
    known = {DEFAULT, *(tree.get("ablations") or {})}
    for named in (*found.reported, *found.same, *found.same.values(), *found.shown):
        if named not in known:
            raise errors.ConfigError(f"{where}: about: {errors.unknown('ablation', named, known)}")
    return found


def _paths(path: str, value: object) -> Iterator[str]:
    """Dotted paths of all that is given."""
    yield path
    for key, below in value.items() if isinstance(value, Mapping) else ():
        yield from _paths(f"{path}.{key}", below)
