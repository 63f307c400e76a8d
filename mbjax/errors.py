"""The exceptions that a user of mbjax can meet; programming mistakes stay ``ValueError``.

Every message says what was wrong, its value, and what would be right. The command line prints the
message alone, on one line, and exits with ``exit_code``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MbjaxError(Exception):
    """Base of all errors that a user can cause and mend."""

    exit_code = 1


class ConfigError(MbjaxError):
    """A model, data set, ablation, option or value that does not exist or does not fit."""

    exit_code = 2


class DataError(MbjaxError):
    """A data file that is missing, malformed or contradicts itself."""

    exit_code = 3


class IncompatibleError(ConfigError):
    """Two choices that are fine alone and cannot go together."""


class CheckpointError(MbjaxError):
    """A checkpoint that is damaged, missing, or belongs to another configuration or data set."""

    exit_code = 4


class TrainingDivergedError(MbjaxError):
    """The loss became NaN or infinite."""

    exit_code = 5


class WriteError(MbjaxError):
    """A file could not be written: no space, no permission, a disk that failed.

    Attributes:
      reason: what was in the way, and where.
      lost: what is not there now, in the singular.
      mend: what the user can do about the reason.
      then: how to go on after that; set by whoever knows, see ``files.then``.
    """

    exit_code = 6

    def __init__(self, reason: str, lost: str, mend: str, then: str = ""):
        super().__init__(reason, lost, mend, then)
        self.reason, self.lost, self.mend, self.then = reason, lost, mend, then

    def __str__(self) -> str:
        return f"{self.reason}: {self.lost} was not written. {self.mend} and {self.then or 'try again'}."


class MbjaxWarning(UserWarning):
    """Base of all warnings; the command line prints each on one line."""


class DataWarning(MbjaxWarning):
    """The data were read, and something in them deserves a look."""


class CheckpointWarning(MbjaxWarning):
    """A damaged checkpoint was passed over, and an older one is used."""


class CompilationWarning(MbjaxWarning):
    """Compiled programs are not kept for the next start."""


def unknown(what: str, name: object, known: Iterable[str]) -> ConfigError:
    """Builds the error for a name that is not among the known ones, with the nearest right one.

    Args:
      what: the kind of thing, as it reads in a sentence: ``"model"``, ``"data set"``.
      name: what the user wrote.
      known: the names that exist.
    """
    names = sorted(known)

    def written(n: str) -> str:
        """A name that a list of names would be misread for stands in quotes, as on the command line."""
        is_odd = "," in n or n != n.strip() or n[:1] in tuple('"([{')
        return '"' + n.replace('"', '""') + '"' if is_odd else n

    near = difflib.get_close_matches(str(name).lower(), [n.lower() for n in names], n=1, cutoff=0.4)
    hint = f" Did you mean '{written(next(n for n in names if n.lower() == near[0]))}'?" if near else ""
    return ConfigError(f"unknown {what} '{name}'.{hint} Known: {', '.join(map(written, names))}.")
