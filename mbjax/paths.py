"""Paths that a user gives: ``~`` expanded and made absolute, in this one place, whoever was given them."""

from __future__ import annotations

import os
import pathlib

from mbjax import errors


def absolute(given: str | os.PathLike[str]) -> pathlib.Path:
    """The absolute path that was meant: ``~`` is the user's home, anything else is seen from the working directory.

    Links stay as they are written, since what they point to may change; ``..`` is taken away.

    Raises:
      ConfigError: ``~name`` of a user that does not exist.
    """
    path = pathlib.Path(given)
    try:
        return pathlib.Path(os.path.abspath(path.expanduser()))
    except RuntimeError:
        raise errors.ConfigError(f"'{path}': the home folder of '{path.parts[0]}' is not known.") from None
