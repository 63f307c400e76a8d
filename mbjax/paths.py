"""Paths that a user gives: ``~`` expanded and made absolute, in this one place, whoever was given them.

Also what tells the name of a data set from a path, which those who keep it and those who read it have to agree on.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable

from mbjax import errors

DATA_VARIABLE = "MBJAX_DATA"
META = "meta.json"
"""The file that makes a folder a prepared data set."""
HERE = ("data", os.path.join("..", "shared", "data"))
"""Folders of data sets that are looked for from the working directory."""


def absolute(given: str | os.PathLike[str]) -> pathlib.Path:
    """The absolute path that was meant: ``~`` is the user's home, anything else is seen from the working directory.

    Links stay as they are written, since what they point to may change; ``..`` is taken away.

    Raises:
      ConfigError: ``~name`` of a user that does not exist, or bytes that are no text and that no file could keep.
    """
    text = os.fspath(given)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise errors.ConfigError(f"{ascii(text)}: the path is no text in UTF-8. Rename the file or folder.") from None
    if "\0" in text:
        raise errors.ConfigError(f"{ascii(text)}: no path holds a zero byte.")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise errors.ConfigError(f"'{text}': the home folder of '{pathlib.PurePath(text).parts[0]}' is not known.")
    return pathlib.Path(os.path.abspath(expanded))


def short(path: str | os.PathLike[str]) -> str:
    """A path as a reader likes it: seen from the working directory where it lies below that, else as it is."""
    here, path = pathlib.Path.cwd(), pathlib.Path(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def portable(path: str | os.PathLike[str]) -> str:
    """A path without the folders of one machine: from the working directory, else the last name alone."""
    here, path = pathlib.Path.cwd(), pathlib.Path(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def is_name(text: str) -> bool:
    """Whether a text could be the name of a data set: it has no folder in it."""
    return text == os.path.basename(text) and text not in ("", ".", "..", "~")


def search_path(dirs: Iterable[str | os.PathLike[str]] = ()) -> list[pathlib.Path]:
    """The folders in which data sets are looked for, in order: ``dirs``, $MBJAX_DATA, ./data, ../shared/data."""
    named = [*dirs, *os.environ.get(DATA_VARIABLE, "").split(os.pathsep), *HERE]
    return [absolute(place) for place in named if place]


def named_folder(name: str, dirs: Iterable[str | os.PathLike[str]] = ()) -> pathlib.Path | None:
    """The folder of that name that is first on the search path; None where there is none, or the text is no name."""
    places = (place / name for place in search_path(dirs) if is_name(name))
    return next((place for place in places if place.is_dir()), None)


def prepared_names(dirs: Iterable[str | os.PathLike[str]] = ()) -> list[str]:
    """The names of the prepared data sets on the search path."""
    places = (place for place in search_path(dirs) if place.is_dir())
    return [folder.name for place in places for folder in place.iterdir() if (folder / META).is_file()]
