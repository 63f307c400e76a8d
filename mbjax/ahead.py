"""A program compiled before it is called, so that its memory is known before any of it is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Memory(NamedTuple):
    """Bytes that a program takes beside its arguments, while it runs.

    Attributes:
      temporary: for what it computes on the way; they are free again afterwards.
      results: those that do not take the place of an argument.
    """

    temporary: int
    results: int

    @property
    def total(self) -> int:
        """Both."""
        return self.temporary + self.results


def memory(compiled: Any) -> Memory | None:
    """What a compiled program (``jax.stages.Compiled``) takes; None where the platform does not tell."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    return Memory(found.temp_size_in_bytes, max(0, found.output_size_in_bytes - found.alias_size_in_bytes))


class Program:
    """The chunk of one device, which can be compiled for a length of its own before it is called.

    What was compiled ahead is what runs: nothing is compiled twice.

    Args:
      jitted: ``(state, graphs, store, plan, first, length)``, the length static.
    """

    def __init__(self, jitted: Callable[..., Any]):
        self._jitted = jitted
        self._made: dict[int, Any] = {}
        self.seconds = 0.0
        """What compiling ahead took."""

    def __call__(self, state: Any, graphs: Any, store: Any, plan: Any, first: int, length: int) -> Any:
        """Runs it."""
        made = self._made.get(length)
        given = (state, graphs, store, plan, first)
        return self._jitted(*given, length) if made is None else made(*given)

    def memory(self, state: Any, graphs: Any, store: Any, plan: Any, length: int) -> Memory | None:
        """Compiles it for a length, of arrays or shapes, and says what it takes."""
        if length not in self._made:
            began = time.perf_counter()
            self._made[length] = self._jitted.lower(state, graphs, store, plan, 0, length).compile()
            self.seconds += time.perf_counter() - began
        return memory(self._made[length])
