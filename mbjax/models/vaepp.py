r"""VAE++: an autoencoder of one behavior that is helped by the others (Ma et al., WSDM 2022).

The mean of the target's latent variable is joined with one of all behaviors by a gate, and what the other behaviors say
stands beside it in front of the decoder:

.. math::
    [m, \ln\sigma^2] = \bar x W + b, \quad m^U = \bar x^U W^U + b^U, \quad
    g = \operatorname{sigmoid}(w^T [m \,\|\, m^U] + c), \quad \mu = g\, m + (1 - g)\, m^U

    z = \mu + \epsilon\sigma, \quad y = [z \,\|\, m^{E_1} \,\|\, \dots] W^{dec} + b^{dec}, \quad
    m^{E_j} = \bar x^{E_j} W^{E_j} + b^{E_j}, \quad
    L = \frac1B \sum_u \big[ NLL_u(x) + \beta\, KL(N(\mu, \sigma^2) \,\|\, N(0, I)) \big]

x: multi-hot history of the behavior that is predicted, x^E: of another one, x^U = x + sum of all x^E; bar: scaled to
length 1, then dropped out; beta = min(0.2, n / 200000), n: optimizer steps done. The first line is the paper's target
representation enhancement (TRE), m^E beside z its refinement (TRR). In evaluation the noise is 0.

Differences:
  source: neither the paper's text nor the authors' program was available to us. The equations are those in which two
    programs of others agree.
  decoder: one of the two has one linear layer, the default; the other two without an activation between them:
    ``decoder="two_layers"``. It also puts tanh behind every encoder, marked as its own; not offered.
  union: both add the histories, so that an item that was met by two behaviors counts 2; the paper's later rival BVAE
    takes the set of all: ``union="binary"``.
  more than two behaviors: the paper has purchases and examinations. BVAE's comparison says that c behaviors cost
    O(c^2), which one encoder for each other behavior of each target does: ``auxiliary="each"``. ``"union"`` is O(c),
    one encoder of the union of the others.
  behaviors that are predicted: a model for each, which share nothing. ``tasks="all"`` trains them side by side, each as
    if it were alone but for the epoch that is chosen.
  initial values: Xavier's uniform as in the other autoencoders here; normal in the programs.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import layers, types
from mbjax.ops import losses, noise, ragged

UNION = "union"


class VaeppConfig(pydantic.BaseModel):
    """Switches of VAE++."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_size: int = pydantic.Field(100, ge=1, description="width d of the latent variable and of each encoding")
    dropout_rate: float = pydantic.Field(
        0.5, ge=0.0, lt=1.0, description="probability of dropping an input entry while training"
    )
    tasks: Literal["target", "all"] = pydantic.Field(
        "target", description="what is predicted: data.target, or every behavior, by a model of its own each"
    )
    auxiliary: Literal["each", "union"] = pydantic.Field(
        "each", description="encoders of the other behaviors: one for each, or one of their union"
    )
    union: Literal["count", "binary"] = pydantic.Field(
        "count", description="what an item counts in the history of all behaviors: how many have it, or 1"
    )
    decoder: Literal["linear", "two_layers"] = pydantic.Field(
        "linear", description="one linear layer to the items, or one to the width d before it"
    )
    use_tre: bool = pydantic.Field(True, description="join the mean with that of all behaviors by a gate")
    use_trr: bool = pydantic.Field(True, description="put the encodings of the other behaviors before the decoder")
    kl_cap: float = pydantic.Field(0.2, ge=0.0, description="largest weight of the KL term")
    anneal_steps: int = pydantic.Field(
        200_000, ge=1, description="the KL weight is steps / anneal_steps until it reaches kl_cap (optimizer steps)"
    )
    l2_weight: float = pydantic.Field(
        0.0, ge=0.0, description="weight of the sum of squares of the encoders' and decoders' kernels"
    )


class Vaepp(nn.Module):
    """The parameters of VAE++, those of each predicted behavior apart, and its forward pass; R rows, D = d."""

    config: VaeppConfig
    info: types.DatasetInfo

    def setup(self):
        config, info = self.config, self.info
        items, size = info.num_items, config.embedding_size
        names = predicted(config, info)
        self.own = {name: layers.HistoryDense(items, 2 * size, name=f"own_{name}") for name in names}
        self.others = {
            name: {
                source: layers.HistoryDense(items, size, name=f"other_{name}_{place}")
                for place, source in enumerate(others(config, info, name))
            }
            for name in names
        }
        if config.use_tre:
            self.united = {name: layers.HistoryDense(items, size, name=f"union_{name}") for name in names}
            self.gate = {name: nn.Dense(1, kernel_init=layers.KERNEL_INIT, name=f"gate_{name}") for name in names}
        widths = {name: size * (1 + len(self.others[name])) for name in names}
        if config.decoder == "two_layers":
            self.hidden = {
                name: nn.Dense(size, kernel_init=layers.KERNEL_INIT, bias_init=layers.bias_init, name=f"hidden_{name}")
                for name in names
            }
            widths = dict.fromkeys(names, size)
        self.decoder = {name: layers.ItemDecoder(items, widths[name], name=f"decoder_{name}") for name in names}

    def encoded(self, name: str, encode) -> tuple[types.Array, types.Array, list[types.Array]]:
        """mu and ln sigma^2 of a predicted behavior, and the other encodings, [R, D] each.

        ``encode(layer, name of a history)`` gives [R, features of the layer].
        """
        mean, log_variance = jnp.split(encode(self.own[name], name), 2, axis=-1)
        if self.config.use_tre:
            united = encode(self.united[name], UNION)
            gate = nn.sigmoid(self.gate[name](jnp.concatenate([mean, united], axis=-1)))  # [R, 1]
            mean = gate * mean + (1.0 - gate) * united
        return mean, log_variance, [encode(layer, source) for source, layer in self.others[name].items()]

    def decoder_input(self, name: str, latent: types.Array, other: list[types.Array]) -> types.Array:
        """What the last layer reads."""
        joined = jnp.concatenate([latent, *other], axis=-1)
        return self.hidden[name](joined) if self.config.decoder == "two_layers" else joined

    def loss(self, batch: types.UserBatch, kl_weight: types.Array) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        config, streams = self.config, iter(range(1_000_000))
        row = batch.weight / batch.total
        scales = {name: _scales(config, self.info, batch.history, name) for name in batch.history}

        def encode(layer, source):
            history = batch.history[source]
            weight = noise.entry_dropout(batch.noise, history, next(streams), 1, config.dropout_rate)
            return layer(history, weight * scales[source][:, None])[:, 0]

        parts = {}
        for name in predicted(config, self.info):
            mean, log_variance, other = self.encoded(name, encode)
            epsilon = noise.normal(batch.noise, next(streams), (config.embedding_size,))
            read = self.decoder_input(name, mean + epsilon * jnp.exp(0.5 * log_variance), other)
            parts[f"nll_{name}"] = losses.multinomial_nll(read, *self.decoder[name](), batch.history[name], row)
            parts[f"kl_{name}"] = kl_weight * jnp.dot(row, losses.gaussian_kl(mean, log_variance))
        if config.l2_weight:
            found = [layer for part in self.others.values() for layer in part.values()]
            found += [*self.own.values(), *self.decoder.values(), *(self.united.values() if config.use_tre else ())]
            squares = sum(jnp.sum(jnp.square(layer.kernel)) for layer in found)
            parts["l2"] = batch.share * config.l2_weight * squares
        return sum(parts.values()), parts

    def tables(self, graphs: types.Graphs) -> tuple[types.Array, ...]:
        """What the last layer of each predicted behavior reads of all users, without noise."""

        def encode(layer, source):
            return layer.all_users(graphs[source])

        made = []
        for name in predicted(self.config, self.info):
            mean, _, other = self.encoded(name, encode)
            made.append(self.decoder_input(name, mean, other))
        return tuple(made)


def predicted(config: VaeppConfig, info: types.DatasetInfo) -> tuple[str, ...]:
    """The behaviors that have a model."""
    return info.behaviors if config.tasks == "all" else (info.target,)


def others(config: VaeppConfig, info: types.DatasetInfo, name: str) -> tuple[str, ...]:
    """Names of the histories that stand beside the latent variable of a behavior."""
    rest = tuple(each for each in info.behaviors if each != name)
    if not config.use_trr or not rest:
        return ()
    return rest if config.auxiliary == "each" or len(rest) == 1 else (f"all but {name}",)


def histories(config: VaeppConfig, info: types.DatasetInfo) -> dict[str, tuple[str, ...]]:
    """Name -> the behaviors whose union it is, of all histories that are read."""
    found = {name: (name,) for name in predicted(config, info)}
    for name in predicted(config, info):
        rest = tuple(each for each in info.behaviors if each != name)
        found |= {source: (source,) if source in rest else rest for source in others(config, info, name)}
    if config.use_tre:
        found[UNION] = info.behaviors
        if config.union == "count":  # what is counted
            found = {name: (name,) for name in info.behaviors} | found
    return found


def _scales(config, info, history, name):
    """Factor of each entry of a history [N], so that its row has length 1."""
    if name != UNION or config.union == "binary":
        return ragged.inverse_norm(history[name])
    count = sum(ragged.contains(history[each], history[name]) for each in info.behaviors)
    return count * ragged.inverse_norm(history[name], count)


def build(config: VaeppConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes VAE++ for a data set of any number of behaviors.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.

    Raises:
      ConfigError: a behavior called as the union of all.
    """
    layers.check_names(info.behaviors, (UNION,))
    module, tasks, read = Vaepp(config, info), predicted(config, info), histories(config, info)

    def init(key, graphs):
        del graphs
        return module.init(key, layers.probe_batch(read), 0.0, method=Vaepp.loss)

    def loss(params, graphs, batch, key, step):
        del graphs, key  # all randomness comes with the rows
        kl_weight = jnp.minimum(config.kl_cap, step / config.anneal_steps).astype(jnp.float32)
        return module.apply(params, batch, kl_weight, method=Vaepp.loss)

    def encode(params, graphs):
        return module.apply(params, graphs, method=Vaepp.tables)

    def score(params, tables, users, start, size, behavior):
        name = info.behaviors[behavior]
        place = tasks.index(name) if name in tasks else 0
        return layers.decode_tile(params["params"][f"decoder_{tasks[place]}"], tables[place][users], start, size)

    graphs = {name: types.GraphSpec(behaviors, normalization="l2_row") for name, behaviors in read.items()}
    if config.use_tre and config.union == "count":
        graphs[UNION] = graphs[UNION]._replace(entries="count")
    return types.Model(
        info=info,
        graphs=graphs,
        batch=types.BatchSpec(batch_size, read),
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        tasks=tasks,
        fold_in=types.EXACT,
    )
