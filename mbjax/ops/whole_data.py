r"""The squared error over all pairs of some users and all items, without forming the pairs that were not met.

For scores that are inner products, s_ui = <p_u, q_i>, the squares of all of them add up to a product of two small
matrices, since the sums over users and over items part (Chen et al., AAAI 2020):

.. math::
    \sum_u \sum_i w_{ui} (y_{ui} - s_{ui})^2
    = \sum_{(u,i): y=1} \big[ (1 - c)\, s_{ui}^2 - 2 s_{ui} + 1 \big]
    + c \sum_{a,b} (P^T P)_{ab} (Q^T Q)_{ab}

y: 1 for a pair of the history and 0 for any other; w: 1 where y is, c elsewhere. O((B + I) D^2 + N D) in place of
O(B I D).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types
from mbjax.ops import ragged


def squared_error(user: types.Array, item: types.Array, history: types.Ragged, missing: float) -> types.Array:
    """The weighted sum of squared differences of scores and labels over all pairs, exactly.

    Args:
      user: p, float [B, D]; a row of zeros and an empty history are padding, and cost nothing.
      item: q, float [I, D].
      history: the pairs of label 1, Ragged with B rows.
      missing: c, at least 0.

    Returns:
      Scalar.
    """
    scores = ragged.products(user, item, history)  # [N]
    is_real = jnp.arange(scores.shape[0], dtype=jnp.int32) < history.ptr[-1]
    met = jnp.where(is_real, (1.0 - missing) * jnp.square(scores) - 2.0 * scores + 1.0, 0.0)
    # In full precision: on accelerators the default one keeps 10 bits of a factor.
    highest = jax.lax.Precision.HIGHEST
    users, items = (jnp.matmul(x.T, x, precision=highest) for x in (user, item))  # [D, D]
    return jnp.sum(met) + missing * jnp.sum(users * items)
