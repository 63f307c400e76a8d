"""The folder of the seeds of a run: a run folder for each, and what they come to together.

::

    seeds.json          the seeds, in their order
    seed0/  seed1/      run folders, as a run alone leaves them
    seeds.csv seeds.md  mean and deviation of every metric; once all are over
"""

from __future__ import annotations

import json
import pathlib

from mbjax import errors

FILE = "seeds.json"


def read(workdir: pathlib.Path) -> tuple[int, ...] | None:
    """The seeds of a folder; None if it is no folder of seeds. Raises DataError for a damaged file."""
    file = workdir / FILE
    try:
        return tuple(map(int, json.loads(file.read_text(encoding="utf-8"))["seeds"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise errors.DataError(f"{file} is damaged: {error}.") from error


def member(workdir: pathlib.Path, seed: int) -> pathlib.Path:
    """The run folder of a seed."""
    return workdir / f"seed{seed}"


def settled(workdir: pathlib.Path) -> pathlib.Path | None:
    """The run folder that has the configuration of all seeds but for the seed; None if it is no folder of seeds."""
    found = read(workdir)
    if found is None:
        return None
    folders = [member(workdir, seed) for seed in found]
    return next((folder for folder in folders if (folder / "config.yaml").is_file()), folders[0])
