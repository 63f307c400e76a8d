"""What the name or path of a data set means to a configuration: how it is kept, and which fields it leaves unread."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable

from mbjax import errors, paths
from mbjax.config import files

UNREAD = {
    "demo": (("data.dirs", "data.download", "data.cache", "data.log."), "it is generated"),
    "name": (("data.log.",), "it is no log"),
    "folder": (("data.dirs", "data.download", "data.cache", "data.log."), "it is a prepared folder, given by its path"),
    "log": (("data.dirs", "data.download"), "it is a log, given by its path"),
    "log by name": (("data.download",), "it is a log"),
}
"""Kind of data set -> beginnings of the fields that nothing reads there, and why."""


def located(dataset: str, dirs: Iterable[str] = ()) -> str:
    """A data set as a configuration keeps it: its name, where it has one, or else its absolute path."""
    has_name = dataset in files.dataset_names() or paths.named_folder(dataset, dirs)
    return dataset if has_name else str(paths.absolute(dataset))


def kind(dataset: str, dirs: Iterable[str] = ()) -> str:
    """What a data set is, seen from outside: a key of ``UNREAD``."""
    if dataset == "demo":
        return "demo"
    named = paths.named_folder(dataset, dirs)
    is_known = dataset in files.dataset_names()
    if is_known or named:
        return "name" if is_known or _is_prepared(named) else "log by name"
    return "folder" if _is_prepared(paths.absolute(dataset)) else "log"


def _is_prepared(folder: pathlib.Path) -> bool:
    """Whether a folder is no log in parts: prepared, or with the published files of the data set whose name it has."""
    return (folder / paths.META).is_file() or (folder.is_dir() and folder.name in files.dataset_names())


def check_read(dataset: str, dirs: Iterable[str], fields: Iterable[str]) -> None:
    """Raises ConfigError for a field given by hand that is of no use with this data set.

    Args:
      dataset: name or path.
      dirs: folders searched first for it.
      fields: dotted paths.
    """
    unread, why = UNREAD[kind(dataset, dirs)]
    for path in fields:
        if path.startswith(unread):
            raise errors.ConfigError(f"{path} is not read with data set '{dataset}': {why}. Leave it out.")


def check_there(dataset: str, dirs: Iterable[str] = ()) -> None:
    """Raises ConfigError unless the data set that a run was trained on is where its configuration says.

    Args:
      dataset: as a configuration keeps it. Older ones kept a path as it was typed.
      dirs: folders searched first for it.
    """
    if dataset in files.dataset_names() or paths.named_folder(dataset, dirs) or paths.absolute(dataset).exists():
        return
    if os.path.isabs(dataset):
        where = "which is not there any more"
    else:
        searched = "nor in any folder that is searched" if paths.is_name(dataset) and "." not in dataset else ""
        where = f"which is not in '{os.getcwd()}'" + (f" {searched}" if searched else "")
    raise errors.ConfigError(
        f"the run was trained on '{dataset}', {where}; give --dataset=PATH (its fingerprint is checked)."
    )
