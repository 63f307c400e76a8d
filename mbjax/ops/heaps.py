"""The heaps of the C library that threads take memory from: few, since each keeps what it has had."""

from __future__ import annotations

import ctypes
import os

from mbjax.ops import threads

ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc."""
EACH = 2
"""Heaps for each thread that computes at once. With one, threads wait for one another."""


def limit() -> bool:
    """Lets threads share heaps, ``EACH`` for each that computes; returns whether it has been done.

    By default glibc makes up to eight for each core, one for each thread that begins where pools come and go, and each
    keeps pages that what it holds lies scattered over. Called by the command line only, before there are threads. Where
    the user has said how many (``MALLOC_ARENA_MAX``, ``GLIBC_TUNABLES``), or of another C library, nothing changes.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(ARENA_MAX, EACH * threads.number()))
    except (AttributeError, OSError, TypeError):
        return False
