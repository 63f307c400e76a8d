"""Logs that were split before: what one became is kept in the user's cache, so that it is read once.

An entry is known by its files (path, size, when they changed, inode), by every option of ``data.log``, and by the
programs that read: mbjax's own text and the version of polars. Whatever else there is, is another entry. One that is
damaged is made anew; those that were not used for longest make room. Small logs are not kept, since they are read as
fast.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import sys
import time

import platformdirs
import polars as pl

from mbjax import errors, files, paths
from mbjax.data import binary, content, log, tables

VARIABLE = "MBJAX_LOG_CACHE"
"""Names another folder for the entries, or is ``none``: nothing is kept."""
LEAST_BYTES = 4 * 2**20
"""Size from which a log is kept [bytes]."""
MAX_BYTES = 4 * 2**30
"""What all entries may take together [bytes]."""
_SUFFIX = ".split"
ANCHOR = ".anchor"
"""Of what stands beside the entries and was measured on data sets: ``mbjax/experiment/anchor_cache.py``."""
_YOUNG = 1.0  # A file that changed so lately [seconds] may change once more without its time telling.


def read(path: str | os.PathLike, layout=None, *, use: bool = True) -> content.Content:
    """A log as ``log.read`` splits it, from the cache where it was split before.

    Args:
      path, layout: as for ``log.read``.
      use: whether the cache may be read and written.

    Raises:
      ConfigError, DataError: as ``log.read``.
    """
    path = pathlib.Path(path)
    parent = folder() if use else None
    known = None if parent is None else _identity(path, layout)
    if known is None:
        return log.read(path, layout)
    entry = parent / f"{hashlib.sha256(known.encode()).hexdigest()[:40]}{_SUFFIX}"
    found = _found(entry, path)
    if found is None:
        found = log.read(path, layout)
        if _identity(path, layout) == known:
            _keep(found, entry, path)
    return found


def folder() -> pathlib.Path | None:
    """Where the entries lie: in the user's cache folder, or where MBJAX_LOG_CACHE says; None if it says ``none``."""
    given = os.environ.get(VARIABLE, "")
    if given.lower() == "none":
        return None
    return paths.absolute(given or platformdirs.user_cache_path("mbjax", appauthor=False) / "logs")


def clear() -> tuple[int, int]:
    """Removes all entries, also what a process that was killed left of one, and what was measured on data sets.

    Returns:
      The number of logs, and the bytes of all.
    """
    number = size = 0
    for path in _entries():
        with contextlib.suppress(OSError):
            found = path.stat().st_size
            path.unlink()
            number, size = number + (path.suffix != ANCHOR), size + found
    return number, size


def shown(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**20:,.1f} MiB"


@functools.cache
def _program() -> str:
    """What reads and splits: another state of it may split otherwise."""
    digest = hashlib.sha256(pl.__version__.encode())
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _identity(path: pathlib.Path, layout) -> str | None:
    """All that the outcome depends on, as a text; None for a log that is not kept."""
    try:
        if path.is_dir():
            parts = tables.parts(path)
        elif path.is_file():
            parts = [path]
        else:
            return None
        states = [(part, part.stat()) for part in parts]
    except OSError:
        return None
    if sum(state.st_size for _, state in states) < LEAST_BYTES:
        return None
    if time.time() - max(state.st_mtime for _, state in states) < _YOUNG:
        return None
    return json.dumps(
        {
            "program": _program(),
            "path": str(paths.absolute(path)),
            "files": [(str(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for p, s in states],
            "options": dataclasses.asdict(log.resolve(layout)),
        }
    )


def _found(entry: pathlib.Path, path: pathlib.Path) -> content.Content | None:
    """An entry, if it is there and as it was written."""
    try:
        made = entry.stat().st_mtime
        found = binary.read(entry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
        _say(f"{path.name}: what is kept of it cannot be used, so that it is read anew ({entry})")
        return None
    with contextlib.suppress(OSError):
        os.utime(entry, (time.time(), made))  # the time of access says who makes room
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(made))
    _say(f"{path.name}: read from the cache of {day} ({entry.parent}; --data.cache=false reads the log itself)")
    return found


def _keep(found: content.Content, entry: pathlib.Path, path: pathlib.Path) -> None:
    try:
        files.make_folder(entry.parent)
        files.replace(entry, functools.partial(binary.write, found))
        size = entry.stat().st_size
        make_room(entry)
    except (errors.WriteError, OSError, ValueError, pl.exceptions.PolarsError) as error:
        _say(f"{path.name}: is not kept for the next start ({' '.join(str(error).split())})")
        return
    if entry.exists():
        _say(
            f"{path.name}: kept for the next start ({shown(size)} in {entry.parent}; --data.cache=false keeps nothing)"
        )
    else:
        _say(f"{path.name}: is not kept for the next start (more than {shown(MAX_BYTES)})")


def make_room(new: pathlib.Path) -> None:
    """Removes entries, those that were not used for longest first, and a new one if it is too large by itself."""
    known = []
    for path in _entries():
        with contextlib.suppress(OSError):
            state = path.stat()
            if path.suffix != ".tmp":
                known.append((path != new, -state.st_atime, state.st_size, path))
            elif time.time() - state.st_mtime > 86400:
                path.unlink()
    total = 0
    for _, _, size, path in sorted(known):
        if total + size > MAX_BYTES:
            path.unlink(missing_ok=True)
        else:
            total += size


def _entries() -> list[pathlib.Path]:
    """The entries, and what was left of such."""
    parent = folder()
    if parent is None or not parent.is_dir():
        return []
    return [path for path in sorted(parent.iterdir()) if path.is_file() and path.suffix in (_SUFFIX, ANCHOR, ".tmp")]


def _say(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr)
