"""What the commands on models and runs share: a model's section, a run's configuration, and the late imports."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pydantic

from mbjax import config, errors, seeds
from mbjax.cli import reading


def model_class(name: str) -> type[pydantic.BaseModel]:
    """The class of a model's section; imports the models and with them JAX, but not for a wrong name."""
    if name not in config.model_names():
        raise errors.unknown("model", name, config.model_names())
    from mbjax import models

    return models.entry(name).config


def of_run(
    workdir: pathlib.Path, given: reading.Given, *modes: str, extra: Mapping[str, str] | None = None
) -> config.Config:
    """The configuration of a run, with the fields and the data set that were given.

    Args:
      workdir: the run folder.
      given: from the command line; ``--dataset`` says where the run's data lie now.
      *modes: that are in use.
      extra: more fields: dotted path -> text.

    Raises:
      ConfigError: there is no run, a field that the modes do not read, or the data are not where the run says.
    """
    file = workdir / "config.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        if found := seeds.read(workdir):
            names = ", ".join(seeds.member(workdir, seed).name for seed in found)
            raise errors.ConfigError(f"'{workdir}' holds the runs of seeds. Name one of them: {names}.") from None
        from mbjax.train import run_folder

        within = run_folder.RunFolder(workdir).within()
        raise errors.ConfigError(f"no run in '{workdir}': {file.name} is missing or unreadable.{within}") from None
    section = model_class(config.peek(text, str(file)))
    settings = config.parse(text, section, str(file))
    fields = reading.resolved(given, config.known_fields(section), *modes) | (extra or {})
    if "evaluate.ks" in fields and modes == ("eval",):
        # The epoch is selected already, so the cut-off that selected it need not be among the new ones.
        fields["train.monitor"] = "mean:ndcg"
    header: dict[str, Any] = {}
    dirs = config.override(settings, fields).data.dirs
    if "dataset" in given.options:
        config.check_names(settings.model_name, given.options["dataset"], dirs)
        header["dataset"] = config.located(given.options["dataset"], dirs)
    if "devices" in given.options:
        header["devices"] = reading.whole(given, "devices", least=1)
    changed = config.override(settings, fields, **header)
    config.check_there(changed.dataset, dirs)
    config.check_read(changed.dataset, dirs, fields)
    return changed


def model_of(workdir: pathlib.Path) -> str | None:
    """The model of the run in a folder; None if there is no run."""
    file = workdir / "config.yaml"
    try:
        return config.peek(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError):
        return None


def check_chosen(chosen: config.Config) -> None:
    """Raises ConfigError where a second training would have nothing to go by; before any data are read."""
    from mbjax import models

    models.check_chosen(chosen.model_name, chosen.model, chosen.train.epochs)


def virtual_devices(count: int) -> None:
    """Lets JAX split the CPU into ``count`` devices. Must come before JAX is used; harmless with accelerators."""
    flags = os.environ.get("XLA_FLAGS", "")
    name = "--xla_force_host_platform_device_count"
    if count > 1 and name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {name}={count}".strip()


def experiment():
    """Imports what does the work, late, and keeps what is compiled."""
    from mbjax import compilation, experiment

    compilation.keep()
    return experiment
