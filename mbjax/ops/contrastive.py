"""Contrastive alignment of two tables, row by row, against all rows.

Anchors come with multiplicities: a user whose row was drawn forty times costs as much as one drawn once, and rows that
were not drawn cost nothing. The similarity matrix is never held: see ``partition``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import all_users, partition, sampled_partition

EPSILON = 1e-12


def normalize(rows: types.Array) -> types.Array:
    """Rows scaled to length 1; a zero row stays zero and its gradient finite. Float [N, D]."""
    return rows * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(rows), axis=-1, keepdims=True), EPSILON**2))


def multiplicity(index: types.Array, weight: types.Array, size: int) -> types.Array:
    """How often each row occurs, float [size]: the sum of the weights at its index."""
    return jnp.zeros(size, weight.dtype).at[index.reshape(-1)].add(weight.reshape(-1))


def info_nce(
    anchor: types.Array, candidates: types.Array, weight: types.Array, temperature: float, similarity: str = "cosine"
) -> types.Array:
    r"""Weighted InfoNCE in which every row of the candidates is in the denominator, the anchor's own included.

    .. math:: \sum_n w_n \Big[ \ln \sum_m e^{s(x_n, y_m)/\tau} - s(x_n, y_n)/\tau \Big]

    Args:
      anchor: x, float [N, D].
      candidates: y, float [N, D].
      weight: w, float [N]; rows of weight 0 cost nothing.
      temperature: tau.
      similarity: ``"cosine"`` or ``"inner_product"``.

    Returns:
      Scalar, in nats.
    """
    if similarity == "cosine":
        anchor, candidates = normalize(anchor), normalize(candidates)
    anchor = anchor / temperature
    bias = jnp.zeros(candidates.shape[0], candidates.dtype)
    own = jnp.sum(anchor * candidates, axis=-1)
    return partition.weighted_log_partition(anchor, candidates, bias, weight) - jnp.dot(weight, own)


def sampled_info_nce(
    anchor: types.Array,
    own: types.Array,
    drawn: types.Array,
    inside: types.Array,
    weight: types.Array,
    ratio: float,
    temperature: float,
    similarity: str = "cosine",
) -> types.Array:
    r"""``info_nce`` with the sum of the denominator estimated from candidates that were drawn, and the anchor's own.

    .. math:: \sum_n w_n \Big[ \ln \Big( e^{s(x_n, y_n)/\tau}
              + r \sum_{m \in S, m \ne n} e^{s(x_n, y_m)/\tau} \Big) - s(x_n, y_n)/\tau \Big]

    The sum is estimated without bias, its logarithm from below; with all candidates drawn both are exact.

    Args:
      anchor: x, float [N, D].
      own: y of these rows, float [N, D].
      drawn: y of the candidates S, float [S, D]; each of all was as likely to be among them (``draw``).
      inside: bool [N], whether a row's own candidate is among them.
      weight: w, float [N]; rows of weight 0 cost nothing on a CPU.
      ratio: r, how many candidates there are for each drawn.
      temperature, similarity: as for ``info_nce``.
    """
    if similarity == "cosine":
        anchor, own, drawn = normalize(anchor), normalize(own), normalize(drawn)
    anchor = anchor / temperature
    logits = jnp.sum(anchor * own, axis=-1)
    total = sampled_partition.weighted_log_partition(anchor, drawn, logits, inside, weight, ratio)
    return total - jnp.dot(weight, logits)


def info_nce_of_blocks(
    anchor: types.Array,
    own: types.Array,
    candidates: types.Array,
    weight: types.Array,
    is_real: types.Array,
    temperature: float,
    similarity: str = "cosine",
) -> types.Array:
    r"""``info_nce`` where the candidates are divided among the devices: what a device's anchors add to it.

    The anchors of all devices are gathered, each device sums over its own candidates, and only these sums are added up.
    The derivative of the log-partition is that of each device's part with the weight that the part has in the whole,
    :math:`w_n e^{l_p(n) - l(n)}`.

    Args:
      anchor: x, float [N, D], of this device.
      own: the candidates of these rows, float [N, D].
      candidates: y, float [U, D], of this device.
      weight: w, float [N].
      is_real: bool [U]; the others are no candidates.
      temperature, similarity: as for ``info_nce``.
    """
    if similarity == "cosine":
        anchor, own, candidates = normalize(anchor), normalize(own), normalize(candidates)
    anchor = anchor / temperature
    bias = jnp.where(is_real, 0.0, all_users.NEVER)
    rows, all_weights = all_users.gathered(anchor), all_users.gathered(weight)
    parts = partition.log_partitions(*jax.lax.stop_gradient((rows, candidates, bias)))
    total = all_users.log_sum(parts)
    differentiated = partition.weighted_log_partition(rows, candidates, bias, all_weights * jnp.exp(parts - total))
    first = jax.lax.axis_index(types.AXIS) * weight.shape[0]
    value = jnp.dot(weight, jax.lax.dynamic_slice_in_dim(total, first, weight.shape[0]))
    value += differentiated - jax.lax.stop_gradient(differentiated)
    return value - jnp.dot(weight, jnp.sum(anchor * own, axis=-1))
