r"""BVAE: behavior-aware variational autoencoder for multi-behavior multi-task recommendation.

Rao et al., RecSys 2023. One linear encoder of the union of a user's histories gives the mean, one linear encoder for
each behavior its log-variance, one linear decoder for each behavior the scores of all items:

.. math::
    \mu = \bar x^0 W^\mu + b^\mu, \quad \ln\sigma_k^2 = \bar x^k W^\sigma_k + b^\sigma_k, \quad
    z_k = \mu + \epsilon_k \sigma_k, \quad \hat z_k = \sum_j z_j, \quad y_k = \hat z_k W^{dec}_k + b^{dec}_k

    L = \frac1B \sum_u \sum_k \Big[ \frac{NLL_{uk}}{2 s_{uk}} + \ln s_{uk} + \beta\, KL_{uk} \Big],
    \quad s_{uk} = \Big(\frac1d \sum_d \sigma_{ukd}\Big)^2, \quad \beta = \min(0.2, n / 200000)

x^k: multi-hot training history of behavior k, x^0: of their union; bar: scaled to length 1, then dropped out; n:
optimizer steps done. At evaluation the noise is 0. The paper's names: BASE = the shared mean encoder, GFF = the gate
of each mean, TFF = the gated sum of latents, SDWL = the uncertainty weights 1 / (2 s).

Differences:
  gates: the slides print softmax gates, GFF's of one number, TFF's over the behaviors; in the released program either
    is a softmax over an axis of length 1, hence 1, and its logs agree with that alone among the readings we tried.
    Default ``gate_mode="identity"``; ``"behavior_softmax"`` is the printed reading (TFF a softmax over behaviors, GFF a
    sigmoid).
  deviation: sigma = exp(f(x W + b)) in the slides (eq. 2); the program takes the encoder's output for the logarithm of
    the variance, sigma = exp((x W + b) / 2): ``log_of``.
  activation: the slides write an activation f around both encoders (eqs. 1 and 2) and do not name it; the program has
    none, and there is no option.
  decoder: an MLP of unnamed depth in the slides (eq. 9), one linear layer in the program and here, without an option.
  noise: one epsilon in the slides (eqs. 5 and 6); the program, and the default, draw one for each behavior:
    ``shared_noise``.
  uncertainty: eq. 14 weighs a task by the vector sigma; the program by the square of its mean over the d dimensions:
    ``uncertainty``. The vector is read as the mean of the d weighted losses.
  purchase latent: the released program counts the last auxiliary behavior's latent twice for the target, by an index
    slip: ``purchase_extra_latent``, off; the learning curves cannot be told apart.
  draws: the released program draws masks and noise anew for every output: ``resample_per_task``, off (the loss of each
    output has the same distribution; only their correlation differs).
  KL: inside the uncertainty weight in the slides, outside in the program: ``kl_outside_sdwl``, on.
  regularizer: ln sigma in the slides, ln s = 2 ln sigma in the program: ``sdwl_regularizer``.
  initial values: one seed makes all encoders, and all decoders, start equal in the program: ``identical_init``, off.
  experts in place of BASE (``encoder="mmoe"``, ``"cgc"``): the released program has none; the slides keep the number of
    parameters equal, here every expert is as wide as BASE.
  dummy item: the program's tables have an item 0 that never occurs; there is none here.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import errors, layers, types
from mbjax.models import compose_config
from mbjax.ops import losses, noise, ragged

UNION = "union"


class BvaeConfig(pydantic.BaseModel):
    """Switches of BVAE; what the defaults reach of the published numbers is in ``configs/models/bvae.yaml``."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_size: int = pydantic.Field(100, ge=1, description="width d of the latent variable")
    dropout_rate: float = pydantic.Field(
        0.5, ge=0.0, lt=1.0, description="probability of dropping an input entry while training"
    )
    encoder: Literal["union", "own", "exchange", "mmoe", "cgc"] = pydantic.Field(
        "union",
        description="mean encoder: of the union (BASE), of each behavior's own history (-BASE), own means with one "
        "shared log-variance (exchange), or a mixture of experts in its place (mmoe, cgc)",
    )
    gate_mode: Literal["identity", "behavior_softmax"] = pydantic.Field(
        "identity", description="gates equal to 1 as in the released program, or learned as printed"
    )
    use_gff: bool = pydantic.Field(True, description="gate each behavior's mean (no effect under identity gates)")
    use_tff: bool = pydantic.Field(True, description="combine all latents for each task; off: each task its own latent")
    sdwl: bool = pydantic.Field(True, description="weight the tasks by their uncertainty; off: by behavior_weights")
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order when sdwl is off; none: 1 / K each"
    )
    purchase_extra_latent: bool = pydantic.Field(
        False, description="count the last auxiliary latent twice for the target, as the released program does"
    )
    resample_per_task: bool = pydantic.Field(
        False, description="draw masks and noise anew for every task, as the released program does (K times the draws)"
    )
    log_of: Literal["variance", "deviation"] = pydantic.Field(
        "variance",
        description="what the second encoders' output is the logarithm of: the variance (program) or sigma (slides)",
    )
    shared_noise: bool = pydantic.Field(
        False, description="one noise vector for the latents of all behaviors (slides); off: one for each (program)"
    )
    uncertainty: Literal["mean", "vector"] = pydantic.Field(
        "mean",
        description="what weighs a task: the mean of sigma over the dimensions (program), or each dimension's sigma, "
        "over which the weighted losses are then averaged (slides)",
    )
    kl_outside_sdwl: bool = pydantic.Field(True, description="add the KL term outside the uncertainty weight")
    sdwl_regularizer: Literal["2logsigma", "logsigma"] = pydantic.Field(
        "2logsigma", description="regularizer of the uncertainty: ln of sigma squared (program) or of sigma (slides)"
    )
    kl_cap: float = pydantic.Field(0.2, ge=0.0, description="largest weight of the KL term")
    anneal_steps: int = pydantic.Field(
        200_000, ge=1, description="the KL weight is steps / anneal_steps until it reaches kl_cap (optimizer steps)"
    )
    identical_init: bool = pydantic.Field(
        False, description="start all encoders from the same values, and all decoders, as the released program does"
    )
    l2_weight: float = pydantic.Field(
        0.0, ge=0.0, description="weight of the sum of squares of the mean encoders' and decoders' kernels"
    )


class Bvae(nn.Module):
    """The parameters of BVAE and its forward pass.

    Shapes: R rows (a batch, or all users), K behaviors, D latent width.
    """

    config: BvaeConfig
    info: types.DatasetInfo

    def setup(self):
        behaviors, config = self.info.behaviors, self.config
        size = (self.info.num_items, config.embedding_size)
        self.mean = {name: layers.HistoryDense(*size, name=f"mean_{name}") for name in mean_encoders(config, behaviors)}
        shared_deviation = config.encoder == "exchange"
        self.deviation = {
            name: layers.HistoryDense(*size, name=f"deviation_{name}")
            for name in ((UNION,) if shared_deviation else behaviors)
        }
        self.decoder = {name: layers.ItemDecoder(*size, name=f"decoder_{name}") for name in behaviors}
        # Under identity gates these have no effect, as in the released program, and cost nothing.
        self.mean_gate = {name: nn.Dense(1, name=f"mean_gate_{name}") for name in behaviors}
        self.task_gate = {name: nn.Dense(1, name=f"task_gate_{name}") for name in behaviors}
        if config.encoder in ("mmoe", "cgc"):
            width = len(behaviors) if config.encoder == "mmoe" else 2
            self.expert_gate = {name: nn.Dense(width, name=f"expert_gate_{name}") for name in behaviors}

    def means(self, encode) -> types.Array:
        """mu of every behavior, [R, K, D]; ``encode(layer, history name, copies) -> [R, copies, D]``."""
        behaviors, encoder = self.info.behaviors, self.config.encoder
        num = len(behaviors)
        if encoder == "union":
            # One dropout mask for each latent: their sum averages the masks, which matters.
            means = encode(self.mean[UNION], UNION, num)
        elif encoder in ("own", "exchange"):
            means = jnp.concatenate([encode(self.mean[name], name, 1) for name in behaviors], axis=1)
        elif encoder == "mmoe":
            experts = jnp.stack([encode(self.mean[name], UNION, num) for name in self.mean], axis=2)  # [R, K, E, D]
            means = self._mix(experts, jnp.mean(experts, axis=2))
        else:  # cgc: a behavior's own expert and the shared one, one level
            shared = encode(self.mean[UNION], UNION, num)
            own = jnp.concatenate([encode(self.mean[name], name, 1) for name in behaviors], axis=1)
            means = self._mix(jnp.stack([own, shared], axis=2), shared)
        if self.config.gate_mode == "identity":
            return means
        gates = jnp.stack([self.mean_gate[b](means[:, k]) for k, b in enumerate(behaviors)], axis=1)  # [R, K, 1]
        return means * nn.sigmoid(gates) if self.config.use_gff else means

    def _mix(self, experts, query):
        """Gated sum over experts: [R, K, E, D] and [R, K, D] -> [R, K, D]."""
        logits = [self.expert_gate[b](query[:, k]) for k, b in enumerate(self.info.behaviors)]
        gate = nn.softmax(jnp.stack(logits, axis=1), axis=-1)  # [R, K, E]
        return jnp.einsum("rke,rked->rkd", gate, experts)

    def log_variances(self, encode) -> types.Array:
        """ln sigma^2 of every behavior, [R, K, D]."""
        if self.config.encoder == "exchange":
            encoded = jnp.repeat(encode(self.deviation[UNION], UNION, 1), self.info.num_behaviors, axis=1)
        else:
            encoded = jnp.concatenate([encode(self.deviation[name], name, 1) for name in self.info.behaviors], axis=1)
        return encoded if self.config.log_of == "variance" else 2.0 * encoded

    def combine(self, latents) -> types.Array:
        """z of every behavior -> the input of every task's decoder, both [R, K, D]."""
        if not self.config.use_tff:
            return latents
        behaviors = self.info.behaviors
        if self.config.gate_mode == "identity":
            combined = jnp.repeat(jnp.sum(latents, axis=1, keepdims=True), len(behaviors), axis=1)
        else:
            logits = jnp.stack([self.task_gate[name](latents)[..., 0] for name in behaviors], axis=1)  # [R, K, K]
            combined = jnp.einsum("rkj,rjd->rkd", nn.softmax(logits, axis=-1), latents)
        if self.config.purchase_extra_latent:
            combined = combined.at[:, -1].add(latents[:, -2 if len(behaviors) > 1 else -1])
        return combined

    def draw(self, batch: types.UserBatch, stream: int) -> tuple[types.Array, types.Array, types.Array]:
        """One draw of masks and noise: means, log-variances and decoder inputs, each [B, K, D]."""
        config, streams = self.config, iter(range(stream, stream + 1000))

        def encode(layer, name, copies):
            history = batch.history[name]
            weight = noise.entry_dropout(batch.noise, history, next(streams), copies, config.dropout_rate)
            return layer(history, weight * ragged.inverse_norm(history)[:, None])

        means, log_variances = self.means(encode), self.log_variances(encode)
        shape = (1 if config.shared_noise else self.info.num_behaviors, config.embedding_size)
        epsilon = noise.normal(batch.noise, next(streams), shape)
        return means, log_variances, self.combine(means + epsilon * jnp.exp(0.5 * log_variances))

    def loss(self, batch: types.UserBatch, kl_weight: types.Array) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        config, behaviors = self.config, self.info.behaviors
        num_draws = len(behaviors) if config.resample_per_task else 1
        draws = [self.draw(batch, 1000 * number) for number in range(num_draws)]
        means, log_variances, _ = draws[-1]  # KL and uncertainty come from the last draw
        decoder_input = jnp.stack([draws[k % num_draws][2][:, k] for k in range(len(behaviors))], axis=1)

        row = batch.weight / batch.total
        kl = losses.gaussian_kl(means, log_variances)  # [B, K]
        if config.sdwl:
            if config.uncertainty == "vector":
                log_s = jnp.mean(log_variances, axis=-1)  # [B, K]
                precision = 0.5 * jnp.mean(jnp.exp(-log_variances), axis=-1)
            else:
                log_s = 2.0 * jnp.log(jnp.mean(jnp.exp(0.5 * log_variances), axis=-1))
                precision = 0.5 * jnp.exp(-log_s)
            regularizer = log_s if config.sdwl_regularizer == "2logsigma" else 0.5 * log_s
        else:
            weights = compose_config.behavior_weights(config, self.info)
            precision = jnp.broadcast_to(jnp.asarray(weights, jnp.float32), kl.shape)
            regularizer = jnp.zeros_like(kl)
        nll = sum(
            losses.multinomial_nll(
                decoder_input[:, k], *self.decoder[name](), batch.history[name], row * precision[:, k]
            )
            for k, name in enumerate(behaviors)
        )
        inside = not (config.sdwl and config.kl_outside_sdwl)
        parts = {
            "nll": nll,
            "kl": kl_weight * jnp.sum(row[:, None] * kl * (precision if inside else 1.0)),
            "uncertainty": jnp.sum(row[:, None] * regularizer),
        }
        # Told for each task, from which `mbjax figures weights` has the learned weights; the sum is the same.
        tasks = {f"uncertainty_{name}": jnp.sum(row * regularizer[:, k]) for k, name in enumerate(behaviors)}
        if config.l2_weight:
            kernels = [layer.kernel for group in (self.mean, self.decoder) for layer in group.values()]
            parts["l2"] = batch.share * config.l2_weight * sum(jnp.sum(jnp.square(kernel)) for kernel in kernels)
        total = sum(parts.values())
        if config.sdwl:
            parts = {name: part for name, part in parts.items() if name != "uncertainty"} | tasks
        return total, parts

    def latents(self, graphs: types.Graphs) -> types.Array:
        """Decoder inputs of all users without noise, [K, U, D]."""

        def encode(layer, name, copies):
            return jnp.repeat(layer.all_users(graphs[name])[:, None], copies, axis=1)

        return jnp.swapaxes(self.combine(self.means(encode)), 0, 1)


def mean_encoders(config: BvaeConfig, behaviors: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the mean encoders (experts): what each reads, or the expert's name under mmoe."""
    return {"union": (UNION,), "cgc": (UNION, *behaviors)}.get(config.encoder, behaviors)


def build(config: BvaeConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes BVAE for a data set.

    Args:
      config: its switches.
      info: sizes and behaviors; any number of behaviors.
      batch_size: users in a batch, over all devices.

    Raises:
      ConfigError: ``behavior_weights`` that are not one for each behavior, of at least 0 and one above it, or that
        ``sdwl`` would not look at; a behavior called as the union of all.
    """
    layers.check_names(info.behaviors, (UNION,))
    weights = compose_config.behavior_weights(config, info)
    if config.sdwl and config.behavior_weights is not None:
        raise errors.ConfigError(
            "model.behavior_weights: with model.sdwl=true the tasks are weighted by their uncertainty. Give "
            "--sdwl=false too, or leave the weights out."
        )
    module = Bvae(config, info)
    histories = {UNION: info.behaviors, **{name: (name,) for name in info.behaviors}}

    def init(key, graphs):
        del graphs
        params = module.init(key, layers.probe_batch(histories), 0.0, method=Bvae.loss)
        return _same_start(params) if config.identical_init else params

    def loss(params, graphs, batch, key, step):
        del graphs, key  # all randomness comes with the rows
        kl_weight = jnp.minimum(config.kl_cap, step / config.anneal_steps).astype(jnp.float32)
        return module.apply(params, batch, kl_weight, method=Bvae.loss)

    def encode(params, graphs):
        return module.apply(params, graphs, method=Bvae.latents)

    def score(params, tables, users, start, size, behavior):
        decoder = params["params"][f"decoder_{info.behaviors[behavior]}"]
        return layers.decode_tile(decoder, tables[behavior][users], start, size)

    return types.Model(
        info=info,
        graphs={name: types.GraphSpec(united, normalization="l2_row") for name, united in histories.items()},
        batch=types.BatchSpec(batch_size, histories),
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        # A decoder that nothing has taught ranks nothing.
        tasks=tuple(name for name, weight in zip(info.behaviors, weights, strict=True) if config.sdwl or weight > 0),
        fold_in=types.EXACT,
    )


def _same_start(params):
    """Gives all encoders the first one's values, and all decoders, as equal seeds do in the released program."""
    first = {}

    def share(name, layer):
        kind = name.split("_")[0]
        kind = "encoder" if kind in ("mean", "deviation") and "gate" not in name else kind
        return first.setdefault(kind, layer) if kind in ("encoder", "decoder") else layer

    return {"params": {name: share(name, layer) for name, layer in sorted(params["params"].items())}}
