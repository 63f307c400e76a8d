"""Loops and searches that suit the platform: what a CPU does in small blocks, an accelerator does in few large ones.

On a GPU the host starts every turn of a loop, and waits for the device where the number of turns is only known there.
So what a CPU walks over in blocks that fit into its caches, up to the last real entry, is computed elsewhere over the
whole padded capacity, in tiles as large as memory allows, and a search is written out in place of looped.

Which of two ways a program takes is decided when it is traced. ``jax.lax.platform_dependent`` would trace both, and
where one stands within another, as the products of a graph do within the steps of a chunk, four or eight in place of
one: tracing was what a short training waited for most.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp

from mbjax import types

Carry = TypeVar("Carry")
Result = TypeVar("Result")

_named: str | None = None


def target() -> str:
    """The platform that what is traced now will run on, "cpu", "gpu", "tpu", or as ``traced_for`` says."""
    if _named is not None:
        return _named
    device = jax.config.jax_default_device
    return jax.default_backend() if device is None else getattr(device, "platform", device)


@contextlib.contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """Traces for a platform that need not be here, to be lowered for it: ``.trace(...).lower(lowering_platforms=...)``.

    What was traced for another one is forgotten before and after, since JAX would take it again.
    """
    global _named
    jax.clear_caches()
    before, _named = _named, platform
    try:
        yield
    finally:
        _named = before
        jax.clear_caches()


def choose(*operands, cpu: Callable[..., Result], default: Callable[..., Result]) -> Result:
    """``cpu(*operands)`` where the program will run on a CPU, and ``default(*operands)`` anywhere else."""
    return (cpu if target() == "cpu" else default)(*operands)


def search(ends: types.Array, place: types.Array) -> types.Array:
    """How many of some ascending ends are at most each place, int32: the row that owns an entry."""

    def by(method):
        return lambda: jnp.searchsorted(ends, place, side="right", method=method).astype(jnp.int32)

    return choose(cpu=by("scan"), default=by("scan_unrolled"))


def fori(turns: int, body: Callable[[types.Array, Carry], Carry], init: Carry) -> Carry:
    """``fori_loop`` over a few turns of a known number, written out where every turn is a wait or a launch."""
    return choose(
        cpu=lambda: jax.lax.fori_loop(0, turns, body, init),
        default=lambda: jax.lax.fori_loop(0, turns, body, init, unroll=True),
    )
