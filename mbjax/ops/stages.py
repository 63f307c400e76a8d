"""What long work that is no training has got to, told to whoever shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Listener = Callable[[str, int, int], None]
"""What is being done, parts done, parts in all."""

_listeners: list[Listener] = []


def tell(what: str, done: int, total: int) -> None:
    """Says how far a stage is: ``done`` of ``total`` parts, once at its beginning and after each."""
    for listener in _listeners:
        listener(what, done, total)


@contextlib.contextmanager
def heard(by: Listener) -> Iterator[None]:
    """Tells a listener of all stages, in all threads."""
    _listeners.append(by)
    try:
        yield
    finally:
        _listeners.remove(by)
