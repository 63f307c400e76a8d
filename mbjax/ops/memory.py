"""How much memory is left where arrays go, as far as the system tells; memory that jax takes without a copy."""

from __future__ import annotations

import ctypes
import functools
import gc
import math
import pathlib
from collections.abc import Callable

import jax
import numpy as np

ALIGNED = 64  # bytes of whose multiples an array has to begin at, for jax to take it as it lies there on a CPU

GROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Limit and use of the group of processes that a container is, of both versions of Linux control groups; and what of
the use is of files that were read or written and goes when memory is asked for: after a large log, most of it."""


def available() -> int | None:
    """Bytes that arrays on the default device may still take; None where nobody tells."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
    known = [_free_of_host()]
    for limit, used, parts, cached in GROUPS:
        limit, used = _number(limit), _number(used)
        known.append(None if limit is None or used is None else max(0, limit - max(0, used - _listed(parts, cached))))
    return min((number for number in known if number is not None), default=None)


def aligned(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An array without values that ``jax.device_put`` takes on a CPU without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    skip = -memory.ctypes.data % ALIGNED
    return memory[skip : skip + size].view(dtype).reshape(shape)


def release() -> None:
    """Gives what was freed back to the system: objects that refer to each other, and the heap of the C library.

    Arrays that threads have made and freed lie in heaps of their own, which are kept for arrays to come; after a stage
    that made many, that is as much as all that is still in use. It takes a few milliseconds.
    """
    gc.collect()
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """``malloc_trim`` of the C library; None where it has none, as elsewhere than on Linux with glibc."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def _free_of_host() -> int | None:
    for line in _text("proc", "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _number(name: str) -> int | None:
    text = _text("sys", "fs", "cgroup", *name.split("/")).strip()
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _listed(name: str, key: str) -> int:
    """The number beside a key in a file of lines "key number"; 0 where there is none."""
    lines = (line.split() for line in _text("sys", "fs", "cgroup", *name.split("/")).splitlines())
    return next((int(number) for word, number in (line for line in lines if len(line) == 2) if word == key), 0)


def _text(*parts: str) -> str:
    try:
        return pathlib.Path("/", *parts).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
