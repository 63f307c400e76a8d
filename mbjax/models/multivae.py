r"""Mult-VAE: a variational autoencoder for one behavior, or for the union of all.

Liang et al., WWW 2018. The encoder gives mean and log-variance of a latent from the row-normalized, dropped-out
history; a linear decoder gives the logits of a multinomial over items:

.. math::
    [\mu, \ln\sigma^2] = \bar x W + b, \quad z = \mu + \epsilon\sigma, \quad y = z W^{dec} + b^{dec}, \quad
    L = \frac1B \sum_u \big[ NLL_u + \beta\, KL_u \big], \quad \beta = \min(0.2, n / 200000)

VAE (T.) of the BVAE paper is this model of one target behavior (``input="target"``), VAE (U.) of the union of all
(``input="union"``): one model whose ranking serves every behavior.

Differences:
  depth: the original has a hidden layer of 600 with tanh on either side; BVAE's comparison uses none, as here.
  reconstruct: whether VAE (U.) reconstructs the union or the target is not stated; default the union,
    ``reconstruct="behavior"`` the other reading.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import layers, types
from mbjax.ops import losses, noise, ragged

INPUT, OUTPUT = "input", "output"


class MultivaeConfig(pydantic.BaseModel):
    """Switches of Mult-VAE."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_size: int = pydantic.Field(100, ge=1, description="width d of the latent variable")
    dropout_rate: float = pydantic.Field(
        0.5, ge=0.0, lt=1.0, description="probability of dropping an input entry while training"
    )
    input: Literal["target", "union"] = pydantic.Field(
        "target", description="history that is encoded: of data.target, VAE (T.), or of all behaviors, VAE (U.)"
    )
    reconstruct: Literal["union", "behavior"] = pydantic.Field(
        "union", description="history that a union input reconstructs: the union, or that of data.target"
    )
    kl_cap: float = pydantic.Field(0.2, ge=0.0, description="largest weight of the KL term")
    anneal_steps: int = pydantic.Field(
        200_000, ge=1, description="the KL weight is steps / anneal_steps until it reaches kl_cap (optimizer steps)"
    )
    l2_weight: float = pydantic.Field(0.0, ge=0.0, description="weight of the sum of squares of both kernels")


class Multivae(nn.Module):
    """The parameters of Mult-VAE and its forward pass."""

    config: MultivaeConfig
    info: types.DatasetInfo

    def setup(self):
        size = self.config.embedding_size
        self.encoder = layers.HistoryDense(self.info.num_items, 2 * size)
        self.decoder = layers.ItemDecoder(self.info.num_items, size)

    def loss(self, batch: types.UserBatch, kl_weight: types.Array) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        history = batch.history[INPUT]
        weight = noise.entry_dropout(batch.noise, history, 0, 1, self.config.dropout_rate)
        encoded = self.encoder(history, weight * ragged.inverse_norm(history)[:, None])[:, 0]
        mean, log_variance = jnp.split(encoded, 2, axis=-1)
        epsilon = noise.normal(batch.noise, 1, (self.config.embedding_size,))
        latent = mean + epsilon * jnp.exp(0.5 * log_variance)
        row = batch.weight / batch.total
        parts = {
            "nll": losses.multinomial_nll(latent, *self.decoder(), batch.history[OUTPUT], row),
            "kl": kl_weight * jnp.dot(row, losses.gaussian_kl(mean, log_variance)),
        }
        if self.config.l2_weight:
            squares = sum(jnp.sum(jnp.square(layer.kernel)) for layer in (self.encoder, self.decoder))
            parts["l2"] = batch.share * self.config.l2_weight * squares
        return sum(parts.values()), parts

    def latents(self, graphs: types.Graphs) -> types.Array:
        """Means of all users, [U, D]."""
        return jnp.split(self.encoder.all_users(graphs[INPUT]), 2, axis=-1)[0]


def build(config: MultivaeConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes Mult-VAE for a data set.

    It ranks the target only when it was trained on the target, and every behavior when it reconstructs the union.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.
    """
    module = Multivae(config, info)
    united = config.input == "union" and config.reconstruct == "union"
    histories = {
        INPUT: info.behaviors if config.input == "union" else (info.target,),
        OUTPUT: info.behaviors if united else (info.target,),
    }

    def init(key, graphs):
        del graphs
        return module.init(key, layers.probe_batch(histories), 0.0, method=Multivae.loss)

    def loss(params, graphs, batch, key, step):
        del graphs, key  # all randomness comes with the rows
        kl_weight = jnp.minimum(config.kl_cap, step / config.anneal_steps).astype(jnp.float32)
        return module.apply(params, batch, kl_weight, method=Multivae.loss)

    def encode(params, graphs):
        return module.apply(params, graphs, method=Multivae.latents)

    def score(params, tables, users, start, size, behavior):
        del behavior  # one ranking serves all
        return layers.decode_tile(params["params"]["decoder"], tables[users], start, size)

    return types.Model(
        info=info,
        graphs={INPUT: types.GraphSpec(histories[INPUT], normalization="l2_row")},
        batch=types.BatchSpec(batch_size, histories),
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        tasks=info.behaviors if united else (info.target,),
        fold_in=types.EXACT,
    )
