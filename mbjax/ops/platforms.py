"""Loops and searches that suit the platform: what a CPU does in small blocks, an accelerator does in few large ones.

On a GPU the host starts every turn of a loop, and waits for the device where the number of turns is only known there.
So what a CPU walks over in blocks that fit into its caches, up to the last real entry, is computed elsewhere over the
whole padded capacity, in tiles as large as memory allows, and a search is written out in place of looped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from mbjax import types

Carry = TypeVar("Carry")


def search(ends: types.Array, place: types.Array) -> types.Array:
    """How many of some ascending ends are at most each place, int32: the row that owns an entry."""

    def by(method):
        return lambda: jnp.searchsorted(ends, place, side="right", method=method).astype(jnp.int32)

    return jax.lax.platform_dependent(cpu=by("scan"), default=by("scan_unrolled"))


def fori(turns: int, body: Callable[[types.Array, Carry], Carry], init: Carry) -> Carry:
    """``fori_loop`` over a few turns of a known number, written out where every turn is a wait or a launch."""
    return jax.lax.platform_dependent(
        cpu=lambda: jax.lax.fori_loop(0, turns, body, init),
        default=lambda: jax.lax.fori_loop(0, turns, body, init, unroll=True),
    )
