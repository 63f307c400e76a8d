"""Loss functions: pure, masked, in nats."""

from __future__ import annotations

import jax.numpy as jnp

from mbjax import types
from mbjax.ops import partition, ragged


def multinomial_nll(
    latent: types.Array, kernel: types.Array, bias: types.Array, history: types.Ragged, weight: types.Array
) -> types.Array:
    r"""Weighted multinomial negative log-likelihood of histories under a linear decoder.

    .. math:: \sum_u w_u \Big[ n_u \ln \sum_i e^{y_{ui}} - \sum_{i \in u} y_{ui} \Big], \quad y_u = z_u W^T + b

    Liang et al., WWW 2018, eq. 2, with the sum over a user's items (not their mean). Neither logits nor multi-hot
    rows are formed: the sum of the positive logits is the inner product of z with the sum of the items' rows.

    Args:
      latent: z, float [B, D].
      kernel: W, float [I, D].
      bias: b, float [I].
      history: the positives, Ragged with B rows.
      weight: w, float [B].

    Returns:
      Scalar, in nats. An empty history contributes 0.
    """
    ones = jnp.ones((history.item.shape[0], 1), latent.dtype)
    positive = ragged.embed(kernel, history, ones)[:, 0]  # [B, D]
    positive_bias = ragged.embed(bias[:, None], history, ones)[:, 0, 0]
    positive_logits = jnp.sum(latent * positive, axis=1) + positive_bias
    count = ragged.lengths(history).astype(latent.dtype)
    return partition.weighted_log_partition(latent, kernel, bias, weight * count) - jnp.dot(weight, positive_logits)


def gaussian_kl(mean: types.Array, log_variance: types.Array) -> types.Array:
    r"""KL divergence of a diagonal Gaussian from the standard normal, summed over the last axis.

    .. math:: \tfrac12 \sum_d \left( e^{\ln\sigma_d^2} + \mu_d^2 - 1 - \ln\sigma_d^2 \right)

    Kingma and Welling, 2014, appendix B.

    Args:
      mean: float [..., D].
      log_variance: float [..., D].

    Returns:
      float [...], in nats.
    """
    return 0.5 * jnp.sum(jnp.exp(log_variance) + jnp.square(mean) - 1.0 - log_variance, axis=-1)
