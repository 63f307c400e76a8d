"""The folder of the seeds of a run, claimed as a run folder is."""

from __future__ import annotations

import contextlib
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from mbjax import errors, files, paths, seeds
from mbjax.train import claim, run_folder


@contextlib.contextmanager
def new(base: pathlib.Path, chosen: Sequence[int], *, is_named: bool) -> Iterator[pathlib.Path]:
    """A new folder of seeds, kept from every other training; it is taken away again if none of them begins.

    Args:
      base: its name.
      chosen: the seeds that are going to be trained.
      is_named: whether the user chose the name; else it gets the next number where it is taken.

    Raises:
      ConfigError: the folder holds runs already. CheckpointError: another training is going on in it.
      WriteError: it cannot be written to.
    """
    if is_named:
        run_folder.RunFolder(base).check_unused()
        if base.exists() and not base.is_dir():
            raise errors.ConfigError(f"--workdir={base} is a file. Choose another one.")
    for number in itertools.count(1):
        folder = files.numbered(base, number)
        if not is_named and folder.exists():
            continue
        is_ours = not folder.exists()
        files.make_folder(folder)
        if files.create(folder / seeds.FILE, _text(chosen)):
            break
        if is_named:
            raise errors.ConfigError(f"{folder} holds seeds already. Continue them with --resume, or choose another.")
    with claim.alone(run_folder.RunFolder(folder)):
        try:
            yield folder
        finally:
            if not any(run_folder.RunFolder(seeds.member(folder, seed)).has_run() for seed in chosen):
                if is_ours:
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    (folder / seeds.FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def old(workdir: pathlib.Path, chosen: Sequence[int]) -> Iterator[pathlib.Path]:
    """A folder of seeds that goes on, maybe with more of them, kept from every other training.

    Raises:
      CheckpointError: another training is going on in it.
    """
    with claim.alone(run_folder.RunFolder(workdir)):
        files.write_text(workdir / seeds.FILE, _text(chosen))
        yield workdir


def newest(base: pathlib.Path) -> pathlib.Path:
    """Of the numbered folders of seeds the last; the first name where there is none."""
    found, number = paths.absolute(base), 1
    while (folder := files.numbered(paths.absolute(base), number)).exists():
        if (folder / seeds.FILE).is_file():
            found = folder
        number += 1
    return found


def _text(chosen: Sequence[int]) -> str:
    return json.dumps({"seeds": list(chosen)}) + "\n"
