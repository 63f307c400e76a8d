"""How many threads this process may have."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number() -> int:
    """Threads that compute at once: ``NPROC``, which XLA goes by as well, or one for each core."""
    given = os.environ.get("NPROC", "")
    return max(1, int(given)) if given.isdecimal() else cores()
