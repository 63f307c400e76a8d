"""Who may write into a run folder: one training at a time, from before its first file until its last.

The claim is a lock in the folder that the system lets go of when its process ends, however it ends (``filelock``:
flock, Windows' locks, or a marker file where a file system has neither). It is asked for before anything else is
written, so of many that start together in one folder one goes on, and the others have changed nothing.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import pathlib
import shutil
from collections.abc import Iterator

import filelock

from mbjax import errors, files, paths
from mbjax.train import run_folder

LOCK, MARKER = ".lock", ".claimed"
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class InUseError(errors.CheckpointError):
    """Another training is going on in the folder."""


@contextlib.contextmanager
def alone(folder: run_folder.RunFolder) -> Iterator[None]:
    """Keeps an existing folder from every other training, of other processes and of other threads.

    Raises:
      InUseError: there is one.
      WriteError: the folder cannot be written to.
    """
    lock = _lock(folder.path)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def new(workdir: pathlib.Path) -> Iterator[run_folder.RunFolder]:
    """A folder for a new run, made if need be and kept from others; one whose start was cut short will do.

    A folder made here is taken away again if the run does not get as far as its configuration.

    Raises:
      ConfigError: the folder holds a run, or is a file.
      InUseError: another training is going on in it.
      WriteError: it cannot be made or written to.
    """
    folder = run_folder.RunFolder(workdir)
    if folder.path.exists() and not folder.path.is_dir():
        raise errors.ConfigError(f"run folder {folder.path} is a file. Choose another --workdir.")
    files.make_folder(folder.path.parent)
    with files.writing(folder.path, "the run folder"):
        try:
            folder.path.mkdir()
            is_ours = True
        except FileExistsError:
            is_ours = False
    with alone(folder):
        try:
            folder.check_unused()
            yield folder
        finally:
            if is_ours and not folder.has_run():
                shutil.rmtree(folder.path, ignore_errors=True)


@contextlib.contextmanager
def numbered(base: pathlib.Path) -> Iterator[run_folder.RunFolder]:
    """As ``new``, for a name that nobody chose: with the next number behind it where it is taken."""
    with contextlib.ExitStack() as stack:
        for number in itertools.count(1):
            path = files.numbered(base, number)
            if path.exists() and (not path.is_dir() or run_folder.RunFolder(path).is_used()):
                continue
            try:
                folder = stack.enter_context(new(path))
            except (InUseError, errors.ConfigError):  # it was taken a moment ago
                continue
            yield folder
            return


@contextlib.contextmanager
def idle(base: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder of that name in which nobody else is writing, else with the next number; made if need be.

    For files that a later call may replace, but not one that is going on. A folder in which nothing was written is
    taken away again.
    """
    base = paths.absolute(base)
    with contextlib.ExitStack() as stack:
        for number in itertools.count(1):
            folder = files.make_folder(files.numbered(base, number))
            try:
                stack.enter_context(alone(run_folder.RunFolder(folder)))
            except InUseError:
                continue
            stack.callback(_tidy, folder)
            yield folder
            return


def _tidy(folder: pathlib.Path) -> None:
    if {entry.name for entry in folder.iterdir()} <= {LOCK, MARKER}:
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: pathlib.Path) -> filelock.BaseFileLock:
    # A marker outlives a killed process of another machine, so it is for file systems that know no locks.
    for kind, name in ((filelock.FileLock, LOCK), (filelock.SoftFileLock, MARKER)):
        lock = kind(folder / name)
        with files.writing(folder / name, "the claim on the run folder"):
            try:
                lock.acquire(blocking=False)
                return lock
            except filelock.Timeout:
                raise InUseError(
                    f"another process is training in run folder {folder}. Stop it, or choose another --workdir."
                ) from None
            except NotImplementedError:
                continue
            except OSError as error:
                if error.errno not in _NO_LOCKS or kind is filelock.SoftFileLock:
                    raise
    raise AssertionError("a marker is written or refused")
