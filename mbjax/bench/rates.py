"""What this machine can do at best, measured in the same process as what is compared with it.

Floors are made of these: the arithmetic of a part at the rate of a large matrix product, its traffic at the rate of an
addition in place. The size of the array decides which memory answers: a table of a few megabytes lies in a cache.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from mbjax.bench import timing

SQUARE = 2048
FLOAT = 4  # bytes
FAR = 256 * 2**20  # bytes of an array that lies in no cache


class Rates(NamedTuple):
    """The best of a machine.

    Attributes:
      flops: floating-point operations a second, of a large float32 matrix product.
      near: bytes a second, reads and writes, of an addition in place to a table that all parts share.
      far: the same for an array in memory.
    """

    flops: float
    near: float
    far: float


def measure(table: int) -> Rates:
    """Measures the machine; ``table`` is the size of the model's table of embeddings, in bytes."""
    return Rates(matmul(), bandwidth(table), bandwidth(FAR))


def matmul(size: int = SQUARE) -> float:
    """Floating-point operations a second of a square float32 product."""
    left, right = jnp.ones((size, size)), jnp.ones((size, size))
    return 2 * size**3 / timing.median_seconds(jnp.matmul, left, right)


def add_in_place(count: int) -> float:
    """Seconds to add a number to ``count`` floats in place: each is read once and written once."""
    return timing.median_seconds_in_place(lambda x: x + 1.0, jnp.ones(count))


def bandwidth(size: int) -> float:
    """Bytes a second, reads and writes, of an addition in place to an array of ``size`` bytes."""
    count = max(1, size // FLOAT)
    return 2 * FLOAT * count / add_in_place(count)
