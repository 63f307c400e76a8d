"""Times of calls: the first, which may compile, and the median of those after it."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

REPEAT = 9
LIMIT = 30.0  # seconds after which a call is not repeated any more
LEAST = 3  # repeats that a median needs, however long they take


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of repeated calls.

    Attributes:
      first: of the first call, which is in no statistic: it may compile, and it touches memory first.
      rest: of the calls after it.
    """

    first: float
    rest: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the calls after the first."""
        return statistics.median(self.rest)

    @property
    def best(self) -> float:
        """The shortest call after the first."""
        return min(self.rest)

    @property
    def compile(self) -> float:
        """What the first call took longer than a usual one."""
        return max(0.0, self.first - self.median)


def repeated(call: Callable[[], Any], repeat: int = REPEAT, limit: float = LIMIT) -> Times:
    """Times a call, waiting for the arrays that it returns.

    Args:
      call: without arguments.
      repeat: calls after the first.
      limit: seconds; once these calls took longer, there are no further ones but to make up three.
    """
    seconds = [once(call)]
    while len(seconds) <= repeat and (len(seconds) <= LEAST or sum(seconds[1:]) < limit):
        seconds.append(once(call))
    return Times(seconds[0], tuple(seconds[1:]))


def once(call: Callable[[], Any]) -> float:
    """Seconds of one call, until the arrays that it returns are there."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def median_seconds(function: Callable[..., Any], *arguments: Any, repeat: int = REPEAT, limit: float = LIMIT) -> float:
    """Median time of a function, compiled for these arguments."""
    compiled = jax.jit(function)
    return repeated(lambda: compiled(*arguments), repeat, limit).median


def median_seconds_in_place(
    function: Callable[..., Any], state: Any, *arguments: Any, repeat: int = REPEAT, limit: float = LIMIT
) -> float:
    """The same of a function that takes over its first argument and returns its successor, as a training step does."""
    compiled = jax.jit(function, donate_argnums=0)
    held = [state]

    def call():
        held[0] = compiled(held[0], *arguments)
        return held[0]

    return repeated(call, repeat, limit).median


def median_seconds_with_gradients(
    function: Callable[..., Any], variables: Any, *arguments: Any, repeat: int = REPEAT, limit: float = LIMIT
) -> float:
    """The same of a function and of the gradients in its first argument, as a part of a training step.

    The gradients of its values are given, as those of the parts after it would be: nothing is summed or squared to
    get at a scalar.

    Args:
      function: ``(variables, *arguments) -> values``, trees of floats on both sides.
      variables: differentiated.
      *arguments: not differentiated.
      repeat: as in ``repeated``.
      limit: as in ``repeated``.
    """
    shapes = jax.eval_shape(function, variables, *arguments)
    cotangents = jax.tree.map(lambda out: jnp.ones(out.shape, out.dtype), shapes)

    def both(variables, cotangents, *arguments):
        values, transpose = jax.vjp(lambda v: function(v, *arguments), variables)
        return values, transpose(cotangents)

    return median_seconds(both, variables, cotangents, *arguments, repeat=repeat, limit=limit)
