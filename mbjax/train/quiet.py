"""Keeps the libraries that write checkpoints from littering the terminal with what is raised anyway.

When one array cannot be read or written, orbax logs tracebacks of its threads and closes its event loop under the other
arrays, each of which then prints one more, through ``sys.unraisablehook`` or, once it is thrown away, through asyncio.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

_LATE = 0.1
"""So long nothing more must come after a failure [seconds]."""


_LOGGERS = ("absl", "asyncio")


class _Filter(logging.Filter):
    """Drops what orbax says, and what asyncio says of its reads and writes; the rest passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return "orbax" not in record.pathname and "tensorstore" not in str(error)


class Quiet:
    """Counts who wants quiet, in any thread: the first turns it on, the last takes it off again."""

    def __init__(self):
        self._lock, self._count, self._filter = threading.Lock(), 0, _Filter()
        self._last = 0.0
        self._before: Any = None

    def begin(self) -> None:
        """Turns complaints off; ``end`` must follow."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                for name in _LOGGERS:
                    logging.getLogger(name).addFilter(self._filter)
                if self._before is None:
                    self._before, sys.unraisablehook = sys.unraisablehook, self._hook

    def end(self, *, failed: bool = False) -> None:
        """Lets complaints through again.

        Args:
          failed: something went wrong, so that some may be on their way: they are waited for.
        """
        if failed:
            self._last = time.monotonic()
            while time.monotonic() - self._last < _LATE:
                time.sleep(_LATE / 5)
            gc.collect()  # tasks that nobody waits for complain when they go
        with self._lock:
            self._count -= 1
            if self._count == 0:
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(self._filter)
                if sys.unraisablehook == self._hook:  # else somebody has put his own before it, and it stays
                    sys.unraisablehook, self._before = self._before, None

    def _hook(self, complaint: Any) -> None:
        if self._count and str(complaint.exc_value) == "Event loop is closed":
            self._last = time.monotonic()
        else:
            (self._before or sys.__unraisablehook__)(complaint)


_QUIET = Quiet()
begin, end = _QUIET.begin, _QUIET.end


@contextlib.contextmanager
def during() -> Iterator[None]:
    """Quiet for a block of code."""
    begin()
    failed = True
    try:
        yield
        failed = False
    finally:
        end(failed=failed)
