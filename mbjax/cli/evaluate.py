"""``mbjax eval``, ``mbjax recommend`` and ``eval.py``: a run measured again, or turned into ranked lists."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from mbjax import config, errors, paths
from mbjax.cli import guard, help, options, reading, settings

EXCLUDE = ("known", "train", "none")
LISTS = ("blended", "continue", "discover")


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates a run or writes its ranked lists; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_run, argv)


def recommend_main(argv: Sequence[str] | None = None) -> int:
    """Writes ranked lists of a run, as ``main`` does with ``--recommend``; returns the exit code."""
    return guard.run(_recommend, argv)


def _recommend(argv: list[str]) -> int:
    command_line = reading.read(argv, *options.RUNS)
    if "help" in command_line.options:
        help.recommend()
        return 0
    return _lists(command_line)


def _run(argv: list[str]) -> int:
    command_line = reading.read(argv, *options.RUNS)
    is_listing = "recommend" in command_line.options
    if "help" in command_line.options:
        help.recommend() if is_listing else help.evaluate()
        return 0
    return (_lists if is_listing else _tables)(command_line)


def _tables(command_line: reading.Given) -> int:
    given = command_line.options
    workdir, chosen, checkpoint = _of_run(command_line, "eval")
    splits = reading.names(command_line, "split", ("valid", "test"), "test")
    per_user = pathlib.Path(given["per-user"]) if "per-user" in given else None
    more = _devices(command_line)
    settings.experiment().evaluate_run(workdir, chosen, checkpoint=checkpoint, splits=splits, per_user=per_user, **more)
    return 0


def _lists(command_line: reading.Given) -> int:
    given = command_line.options
    workdir, chosen, checkpoint = _of_run(command_line, "recommend")
    made = {"top_k": reading.whole(command_line, "top-k", 20, least=1)}
    made["out"] = pathlib.Path(given["out"]) if "out" in given else None
    made["users"] = _users(given["users"], chosen.data.log.user) if "users" in given else None
    if "exclude" in given:
        made["exclude"] = reading.choice(command_line, "exclude", EXCLUDE)
        if made["exclude"] == "none" and "mask" in given:
            raise errors.ConfigError(
                f"--mask={given['mask']} says whose items are left out, and --exclude=none leaves out none. Give one."
            )
    if "list" in given:
        made["lists"] = reading.names(command_line, "list", LISTS)
    if "repeat" in given:
        made["repeat"] = True
    if "available" in given:
        made["available"] = pathlib.Path(given["available"])
    made |= _groups(command_line)
    if "for" in given:
        made["histories"] = pathlib.Path(given["for"])
    if "allow-new-data" in given:
        made["allow_new_data"] = True
    made |= _devices(command_line)
    settings.experiment().recommend(workdir, chosen, checkpoint=checkpoint, **made)
    return 0


def _devices(command_line: reading.Given) -> dict[str, int]:
    """How many devices share the users, where it was said; virtual ones are made before JAX starts."""
    if "devices" not in command_line.options:
        return {}
    devices = reading.whole(command_line, "devices", least=1)
    settings.virtual_devices(devices)
    return {"devices": devices}


def _groups(command_line: reading.Given) -> dict[str, Any]:
    """The caps of groups of items: a file and a number, or neither."""
    given = command_line.options
    most = reading.whole(command_line, "max-per-group", least=1)
    if "groups" not in given and most is None:
        return {}
    if "groups" not in given:
        raise errors.ConfigError(f"--max-per-group={most} needs --groups=FILE, which says of what groups items are.")
    if most is None:
        raise errors.ConfigError(
            f"--groups={given['groups']} needs --max-per-group=N: a list holds at most so many items of a group."
        )
    return {"groups": paths.absolute(given["groups"]), "max_per_group": most}


def _of_run(command_line: reading.Given, mode: str) -> tuple[pathlib.Path, config.Config, str | None]:
    """The run folder, its configuration with what was given, and the checkpoint that was asked for."""
    given = command_line.options
    reading.refuse_unread(command_line, mode)
    if "workdir" not in given:
        raise errors.ConfigError("--workdir is missing: the folder of a run, as training printed it. See --help.")
    checkpoint = reading.choice(command_line, "checkpoint", ("best", "last"))
    workdir = pathlib.Path(given["workdir"])
    names = ("behaviors", "ks", "mask", "groups") if mode == "eval" else ("behaviors", "mask")
    fields = {f"evaluate.{name}": given[name] for name in names if name in given}
    for field in fields.keys() & command_line.fields.keys():
        raise errors.ConfigError(f"--{field.removeprefix('evaluate.')} and --{field} are the same: give one of them.")
    return workdir, settings.of_run(workdir, command_line, mode, extra=fields), checkpoint


def _users(text: str, column: str) -> tuple[Any, ...]:
    """Raw user ids: of a file (``data/id_files.py``), or separated by commas, those that hold one in double quotes."""
    try:
        file = paths.absolute(text)
    except errors.ConfigError:  # an id need not be a path
        file = pathlib.Path()
    if os.path.isfile(file):
        from mbjax.data import id_files  # not before it is needed: it brings what reads tables

        users = tuple(id_files.read(file, id_files.Wanted(column, id_files.USER), "users").id.to_list())
    elif os.sep in text and os.path.isdir(file):  # a folder may be called as a user is, where it is here
        raise errors.ConfigError(f"--users={text}: is a folder; give raw ids separated by commas, or a file.")
    else:
        users = config.read_text(text, tuple[str, ...])
    if not users:
        raise errors.ConfigError(f"--users={text}: names no user; give raw ids separated by commas, or a file.")
    return users
