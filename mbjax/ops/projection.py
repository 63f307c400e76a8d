"""Projection of rows onto rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types

EPSILON = 1e-12


def coefficient(rows: types.Array, onto: types.Array) -> types.Array:
    r"""How long the projection is in units of its direction, :math:`\frac{x_n \cdot y_n}{|y_n|^2 + 10^{-12}}`.

    The square is a sum of squares: a product of two norms would have no derivative at a zero row.

    Args:
      rows: x, float [N, D].
      onto: y, float [N, D].

    Returns:
      float [N, 1]; 0 where y is 0.
    """
    return jnp.sum(rows * onto, axis=-1, keepdims=True) / (jnp.sum(jnp.square(onto), axis=-1, keepdims=True) + EPSILON)


def cosine(rows: types.Array, onto: types.Array) -> types.Array:
    r"""Cosines, :math:`x_n \cdot y_n\, (|x_n|^2 + 10^{-12})^{-1/2} (|y_n|^2 + 10^{-12})^{-1/2}`.

    Args:
      rows: x, float [N, D].
      onto: y, float [N, D].

    Returns:
      float [N, 1]; 0 where either is 0.
    """
    squares = [jnp.sum(jnp.square(side), axis=-1, keepdims=True) + EPSILON for side in (rows, onto)]
    return jnp.sum(rows * onto, axis=-1, keepdims=True) * jax.lax.rsqrt(squares[0]) * jax.lax.rsqrt(squares[1])


def project(rows: types.Array, onto: types.Array) -> types.Array:
    """The part of each row that is parallel to the row of ``onto``, float [N, D]; ``rows - project`` is orthogonal."""
    return coefficient(rows, onto) * onto
