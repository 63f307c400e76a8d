r"""The log-partition of a softmax whose sum is estimated from some of the candidates, the row's own among them always.

.. math:: \hat Z_n = e^{o_n} + r \Big[ \sum_{m \in S} e^{s_{nm}} - [n \in S]\, e^{o_n} \Big], \quad r = N / |S|

N candidates in all, s: the logit of row n and candidate m, o: that of row n and its own candidate n. S is drawn so that
each candidate is in it with the probability 1 / r. So :math:`\hat Z_n` is without bias, and with all candidates (r = 1)
it is the sum itself. Its logarithm is on average below that of the sum, by half the squared relative deviation of
:math:`\hat Z_n`, which the row's own term, the largest of those that are aligned, does not add to.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import partition, platforms


def draw(key: types.Array, size: int, number: int) -> tuple[types.Array, types.Array]:
    """Draws ``size`` of ``number`` rows without replacement, each as likely as any other.

    One row from each of ``size`` strata of equal length, which begin at a random row: no order of all rows is needed.

    Returns:
      The rows, int32 [size], and where the strata begin, int32 scalar: what ``is_in`` asks for.
    """
    length = number // size
    first, second = jax.random.split(key)
    begin = jax.random.randint(first, (), 0, number)
    inside = jax.random.randint(second, (size,), 0, length)
    return (begin + length * jnp.arange(size) + inside) % number, begin


def is_in(rows: types.Array, drawn: types.Array, begin: types.Array, number: int) -> types.Array:
    """Which of some rows were drawn, bool; ``drawn`` and ``begin`` as ``draw`` returned them."""
    size = drawn.shape[0]
    stratum = (rows - begin) % number // (number // size)
    return (stratum < size) & (drawn[jnp.minimum(stratum, size - 1)] == rows)


def _values(lse, own, inside, ratio):
    """ln Z of rows with the log-partition of S, and its derivatives by that and by the own logit."""
    peak = jnp.maximum(lse, own)
    least = jnp.exp(own - peak)  # Z is never below the own term
    of_own = jnp.where(inside, 1.0 - ratio, 1.0) * least
    of_drawn = ratio * jnp.exp(lse - peak)
    total = jnp.maximum(of_own + of_drawn, least)
    return peak + jnp.log(total), of_drawn / total, of_own / total


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def weighted_log_partition(
    latent: types.Array,
    kernel: types.Array,
    own: types.Array,
    inside: types.Array,
    weight: types.Array,
    ratio: float,
) -> types.Array:
    r"""Sum over rows of weight times :math:`\ln \hat Z_n`, in tiles, without ever holding the logits.

    Args:
      latent: z, float [B, D].
      kernel: the candidates that were drawn, float [S, D]; the logits are ``latent @ kernel.T``.
      own: o, float [B].
      inside: bool [B], whether a row's own candidate is among those drawn.
      weight: float [B], not differentiated; rows with exactly 0 are skipped on a CPU (``ops/partition.py``).
      ratio: r.

    Returns:
      Scalar, in nats.
    """
    return _forward(latent, kernel, own, inside, weight, ratio)[0]


def _forward(latent, kernel, own, inside, weight, ratio):
    num_rows = latent.shape[0]

    def over(rows, extras, weights, tile, turns):
        def body(turn, carry):
            value, d_latent, d_kernel, d_own = carry

            def cut(x):
                return jax.lax.dynamic_slice_in_dim(x, turn * tile, tile)

            z, w, (o, i) = cut(rows), cut(weights), map(cut, extras)
            logits = z @ kernel.T
            peak = jnp.max(logits, axis=1, keepdims=True)
            numerator = jnp.exp(logits - peak)
            total = jnp.sum(numerator, axis=1, keepdims=True)
            found, by_drawn, by_own = _values((peak + jnp.log(total))[:, 0], o, i, ratio)
            factor = (w * by_drawn)[:, None] / total
            put = jax.lax.dynamic_update_slice_in_dim
            return (
                value + jnp.dot(w, found),
                put(d_latent, factor * (numerator @ kernel), turn * tile, axis=0),
                d_kernel + numerator.T @ (factor * z),
                put(d_own, w * by_own, turn * tile, axis=0),
            )

        zeros = jnp.zeros((), rows.dtype), jnp.zeros_like(rows), jnp.zeros_like(kernel), jnp.zeros_like(weights)
        return jax.lax.fori_loop(0, turns, body, zeros)

    def walk():
        tile = min(partition.ROW_TILE, num_rows)
        order, rows, weights, busy = partition.tiles(latent, weight, tile)
        extras = [jnp.pad(x[order], (0, rows.shape[0] - num_rows)) for x in (own, inside)]
        value, d_latent, d_kernel, d_own = over(rows, extras, weights, tile, busy)
        back = jnp.argsort(order)
        return value, (d_latent[:num_rows][back], d_kernel, d_own[:num_rows][back])

    def whole():
        rows, weights, tile, turns = partition.wide_tiles(latent, kernel, weight)
        extras = [jnp.pad(x, (0, rows.shape[0] - num_rows)) for x in (own, inside)]
        value, d_latent, d_kernel, d_own = over(rows, extras, weights, tile, turns)
        return value, (d_latent[:num_rows], d_kernel, d_own[:num_rows])

    return platforms.choose(cpu=walk, default=whole)


def _backward(ratio, gradients, cotangent):
    del ratio
    d_latent, d_kernel, d_own = (cotangent * gradient for gradient in gradients)
    return d_latent, d_kernel, d_own, None, None


weighted_log_partition.defvjp(_forward, _backward)
