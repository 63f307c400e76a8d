"""A program compiled before it is called, so that its memory is known before any of it is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Memory(NamedTuple):
    """Bytes that a program takes beside its arguments, while it runs.

    Attributes:
      temporary: for what it computes on the way; they are free again afterward.
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


FRUGAL = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
"""For XLA on a CPU: parts of a program one after another, in the order that takes least memory."""


class Program:
    """The chunk of one device, which can be compiled for a length of its own before it is called.

    What was compiled ahead is what runs: nothing is compiled twice. Once somebody has asked for its memory, which is
    done for large trainings, it is compiled so that it takes little.

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
        if not self._made:  # nobody has asked
            return self._jitted(state, graphs, store, plan, first, length)
        return self._compiled(state, graphs, store, plan, length)(state, graphs, store, plan, first)

    def memory(self, state: Any, graphs: Any, store: Any, plan: Any, length: int) -> Memory | None:
        """Compiles it for a length, of arrays or shapes, and says what it takes."""
        began = time.perf_counter()
        found = self._compiled(state, graphs, store, plan, length)
        self.seconds += time.perf_counter() - began
        return memory(found)

    def _compiled(self, state: Any, graphs: Any, store: Any, plan: Any, length: int) -> Any:
        if length not in self._made:
            lowered = self._jitted.lower(state, graphs, store, plan, 0, length)
            self._made[length] = _frugal(lowered) if jax.default_backend() == "cpu" else lowered.compile()
        return self._made[length]


def _frugal(lowered: Any) -> Any:
    try:
        return lowered.compile(FRUGAL)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()  # an XLA without this option
