"""Which folder a run is written to, claimed before anything is."""

from __future__ import annotations

import contextlib
import glob
import pathlib
from collections.abc import Iterator
from typing import Any

from mbjax import config as configuration
from mbjax import files, hosts, paths
from mbjax.train import claim, run_folder


@contextlib.contextmanager
def claimed(
    config: configuration.Config, workdir: str | pathlib.Path | None, resume: bool
) -> Iterator[run_folder.RunFolder]:
    """The folder of a run, kept from every other training until the end of the block.

    Of several hosts the first one claims it, and the others are told which it is.

    Args:
      config: of the run.
      workdir: the folder; None is ``runs/<model>-<dataset>...``, for a new run with a number where that is taken, for
        one that goes on the newest.
      resume: go on with the run that is there.

    Raises:
      ConfigError: the folder holds a run (a new one), or none (one that goes on).
      CheckpointError: another training is going on in it.
      WriteError: it cannot be written to.
    """
    if not hosts.is_first():
        yield run_folder.RunFolder(hosts.told(None))
        return
    with _claimed(config, workdir, resume) as folder:
        hosts.told(str(folder.path))
        yield folder


def check(config: configuration.Config, workdir: str | pathlib.Path | None, resume: bool) -> None:
    """Refuses early, before any data are read, what ``claimed`` and ``Run.open`` would refuse; arguments as there.

    Raises:
      ConfigError: the folder holds a run (a new one), or none (one that goes on).
      CheckpointError: the run was started with other settings.
    """
    if not hosts.is_first():
        return
    if resume:
        _existing(config, workdir).check_settings(**differing(config))
    elif workdir is not None:
        run_folder.RunFolder(workdir).check_unused()


def differing(config: configuration.Config) -> dict[str, Any]:
    """What ``RunFolder.check_settings`` is told of a configuration that a run goes on with.

    Of a run without steps the start may be another, too: it is taken anew.
    """

    def changes(old: str) -> list[str]:
        if (name := configuration.peek(old)) != config.model_name:
            return [f"model: {name} -> {config.model_name}"]
        return configuration.difference(configuration.parse(old, type(config.model)), config)

    start = () if config.train.epochs else ("train.init_from",)
    return {"difference": changes, "may_change": (*run_folder.MAY_CHANGE, *start)}


def _existing(config, workdir) -> run_folder.RunFolder:
    """The run that goes on. Raises ConfigError if there is none."""
    base = paths.absolute(default_name(config) if workdir is None else workdir)
    folder = newest(base) if workdir is None else run_folder.RunFolder(base)
    folder.config_text()
    return folder


@contextlib.contextmanager
def _claimed(config, workdir, resume) -> Iterator[run_folder.RunFolder]:
    base = paths.absolute(default_name(config) if workdir is None else workdir)
    if resume:
        folder = _existing(config, workdir)
        with claim.alone(folder):
            yield folder
    elif workdir is None:
        with claim.numbered(base) as folder:
            yield folder
    else:
        with claim.new(base) as folder:
            yield folder


def default_name(config: configuration.Config, last: str = "") -> pathlib.Path:
    """``runs/<model>-<dataset>[-<ablation>][-paper]-seed<seed>``, or with ``last`` at the end."""
    parts = [config.model_name, pathlib.Path(config.dataset).name.split(".")[0], config.ablation]
    parts += ["paper" if config.protocol == "paper" else None, last or f"seed{config.seed}"]
    return pathlib.Path("runs") / "-".join(part for part in parts if part)


def newest(base: pathlib.Path) -> run_folder.RunFolder:
    """Of the numbered folders with a run the last; the first where there is none."""
    found = {1}
    for path in base.parent.glob(f"{glob.escape(base.name)}-*"):
        number = path.name.removeprefix(f"{base.name}-")
        if number.isdecimal() and run_folder.RunFolder(path).has_run():
            found.add(int(number))
    return run_folder.RunFolder(files.numbered(base, max(found)))
