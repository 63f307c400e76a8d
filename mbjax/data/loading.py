"""Finds a data set by name or path, wherever it lies, and makes a ``Dataset`` of it."""

from __future__ import annotations

import dataclasses
import os
import pathlib

from mbjax import errors, paths
from mbjax.data import catalog, content, dataset, log_cache, options, prepared, published, synthetic, tables

PATH_VARIABLE = paths.DATA_VARIABLE


def load(name_or_path: str | os.PathLike, choice=None) -> dataset.Dataset:
    """Loads a data set.

    Args:
      name_or_path: a name of the catalog (``jd``, ``taobao``, ``demo``, ...), the name of a folder on the search path,
        or the path of a prepared folder or of a log file.
      choice: an ``Options`` or anything with its attributes, such as the section ``data`` of a config.

    Raises:
      ConfigError: there is no such data set, or the choice does not fit it.
      DataError: its files are malformed, or it is not here and cannot be fetched.
    """
    choice = options.Options() if choice is None else choice
    return dataset.prepare(read(name_or_path, choice), choice)


def read(name_or_path: str | os.PathLike, choice=None) -> content.Content:
    """All that a data set contains, before the choice of behaviors, list and validation rule; otherwise as ``load``."""
    choice = options.Options() if choice is None else choice
    name = os.fspath(name_or_path)
    if name == "demo":
        return synthetic.log(seed=choice.seed)[0]
    named = paths.named_folder(name, choice.dirs)
    if named:
        return _folder(named, name, choice)
    if name in catalog.KNOWN:
        try:
            folder = catalog.fetch(name, allow_download=choice.download)
        except errors.DataError:
            if (part := _part(name, choice)) is None:
                raise
            return part
        return published.read(name, folder, hold_out=choice.hold_out)
    path = paths.absolute(name)
    if path.is_dir():
        return _folder(path, None, choice)
    if tables.is_log(path):
        return log_cache.read(path, choice.log, use=choice.cache)
    if paths.is_name(name) and not path.exists():
        raise errors.unknown("data set", name, {*catalog.KNOWN, *paths.prepared_names(choice.dirs)})
    raise errors.DataError(f"{path}: there is no such file or folder.")


def _part(name: str, choice) -> content.Content | None:
    """A part of a data set that cannot be fetched, under a name of its own, where the search path has one.

    Its first note says what it is.
    """
    part, what = catalog.PARTS.get(name, ("", ""))
    folder = paths.named_folder(part, choice.dirs)
    if folder is None:
        return None
    found = _folder(folder, part, choice)
    said = (
        f"'{name}' is not here as it was published: '{part}' is read, {what} (docs/data.md tells how to get all of it)"
    )
    return dataclasses.replace(found, notes=(said, *found.notes))


def _folder(folder: pathlib.Path, name: str | None, choice) -> content.Content:
    """A folder is prepared, or holds the published files of the data set whose name it bears, or the parts of a log."""
    hold_out = choice.hold_out
    if (folder / prepared.META).is_file():
        return prepared.read(folder, name, hold_out)
    public = name or folder.resolve().name
    if published.is_here(public, folder):
        return published.read(public, folder, hold_out=hold_out)
    if tables.parts(folder):
        return log_cache.read(folder, choice.log, use=choice.cache)
    raise errors.DataError(
        f"{folder}: is no data set: it has neither {prepared.META}, nor all the published files of one of "
        f"{', '.join(published.FORMATS)}, nor the parts of a log (files of one suffix: {', '.join(tables.FORMATS)})."
    )
