"""Tables of models without training, kept beside the logs that were split before, so that a data set has them once.

A table is known by all pairs of the data set, by what was asked of it, and by the programs that made it: mbjax's own
text and the version of jax. Whatever else there is, is another table. One that is damaged is measured anew, and so is
one that took no time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mbjax import data, errors, files
from mbjax.data import log_cache
from mbjax.experiment import outcomes

LEAST_SECONDS = 1.0
"""What a table has to have taken to be kept."""
PACKAGE = pathlib.Path(__file__).resolve().parent.parent


def recalled(
    dataset: data.Dataset,
    asked: Mapping[str, Any],
    measure: Callable[[], outcomes.Table],
    *,
    use: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> outcomes.Table:
    """A table as it was measured before, else as it is measured now.

    Args:
      dataset: what it is of.
      asked: all else that it depends on, as JSON has it: model, split, cut-offs and so on.
      measure: makes the table.
      use: whether the cache may be read and written.
      say: is told, in a line, that a table was kept and is read.
    """
    parent = log_cache.folder() if use else None
    if parent is None:
        return measure()
    known = json.dumps({"asked": asked, "pairs": _pairs(dataset), "program": _program()}, sort_keys=True)
    entry = parent / f"{hashlib.sha256(known.encode()).hexdigest()[:40]}{log_cache.ANCHOR}"
    found = _found(entry, known)
    if found is not None:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.stat().st_mtime))
        say(f"{asked['model']}: as measured on {day} ({entry.parent}; --data.cache=false measures it)")
        return found
    began = time.perf_counter()
    table = measure()
    if time.perf_counter() - began >= LEAST_SECONDS:
        _keep(entry, known, table)
    return table


def _pairs(dataset: data.Dataset) -> str:
    """What all splits hold, and what of it is masked."""
    digest = hashlib.sha256(repr((dataset.info, dataset.mask_valid)).encode())
    for split in ("train", "valid", "test"):
        for behavior, matrix in getattr(dataset, split).items():
            digest.update(repr((split, behavior, matrix.shape)).encode())
            for part in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(f"{part.dtype}".encode())
                digest.update(part.tobytes())
    return digest.hexdigest()


@functools.cache
def _program() -> str:
    digest = hashlib.sha256(f"{jax.__version__} {jax.default_backend()}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _found(entry: pathlib.Path, known: str) -> outcomes.Table | None:
    try:
        made = entry.stat().st_mtime
        kept = json.loads(entry.read_text(encoding="utf-8"))
        if kept["known"] != known or kept["sha256"] != _digest(kept["table"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(entry, (time.time(), made))  # the time of access says who makes room
    return kept["table"]


def _keep(entry: pathlib.Path, known: str, table: outcomes.Table) -> None:
    """Writes a table; one that cannot be written is measured the next time too."""
    text = json.dumps({"known": known, "sha256": _digest(table), "table": table}, default=_number)
    with contextlib.suppress(errors.WriteError, OSError):
        files.make_folder(entry.parent)
        files.write_text(entry, text)
        log_cache.make_room(entry)


def _digest(table: outcomes.Table) -> str:
    return hashlib.sha256(json.dumps(table, default=_number).encode()).hexdigest()


def _number(value: Any) -> Any:
    return value.item()
