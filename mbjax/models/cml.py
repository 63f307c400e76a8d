r"""CML: contrastive meta learning with behavior multiplicity (Wei et al., WSDM 2022).

The encoder (``mbjax/backbones/cml.py``) makes a table Z for all behaviors, with which each of them is ranked, and one
for each, of which the target's is aligned with every other. A small network w of parameters phi
(``mbjax/models/cml_weights.py``) weighs the ranking loss b and the contrastive loss c of each user and behavior
(``mbjax/models/multiplicity.py``):

.. math::
    J(\theta, w) = \frac1B \Big[ \frac1K \sum_k \sum_u w^b_{ku} b_k(u) + \beta \frac1K \sum_k \sum_u w^c_{ku} c_k(u)
        + \rho \sum_u (|Z_u|^2 + |Z_{i^+}|^2 + |Z_{i^-}|^2) \Big]

The encoder follows the gradient of J with the weights held. The network follows that of J on the batch and of J / 2 on
pairs that are drawn anew, of an encoder that is one step ahead, :math:`\theta' = \theta - \eta\, g / |g|` in every
entry (the first step of Adam), with :math:`\theta` and :math:`\theta'` held. rho's rows are of the target's triples.

Differences:
  three rounds: the program steps a copy of the encoder and the network, steps the network again on the other pairs, and
    then the encoder, each by an optimizer of its own. Here all gradients are of one batch and one step takes them:
    the network does one step with the sum of its two gradients, and the encoder's weights are those before it.
  through the weights: the program's copy is also moved by what the losses say through the weights; here the weights
    are held.
  other pairs: the program's are of 128 users of a fixed list and, by an index slip, all of the last behavior's matrix;
    here they are of the batch's users, of each behavior's own pairs.
  rows: the program passes over the pairs of the target; here a batch is of users who have such pairs, one pair each,
    and an epoch has as many batches.
  positives: the program keeps a first guess among all items where the user has it, which favors popular items; here
    pairs are uniform.
  optimizer: the program's is AdamW whose rate goes up and down with the epochs, gradients cut at 20; here it is Adam at
    one rate for encoder and network, and nothing is cut.
  epsilons: 10^-8 inside the logarithms of c; none here.
  size: 16 in the program, 64 in the tables of COPF and here.
  evaluation: the authors rank a held-out item among 99 that are drawn at random; here all items are ranked.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pydantic

from mbjax import types
from mbjax.backbones import base
from mbjax.backbones import cml as encoders
from mbjax.models import cml_weights, multiplicity

OTHER = "other pairs of "


class MultiplicityConfig(base.Section):
    """Switches that CML and KMCLR share."""

    backbone: encoders.CmlConfig = encoders.CmlConfig()
    embedding_size: int = pydantic.Field(64, ge=1, description="width d of all representations")
    contrastive_weight: float = pydantic.Field(0.005, ge=0, description="beta, weight of the contrastive losses")
    contrastive_share: float = pydantic.Field(
        0.1, gt=0, le=1, description="share of a batch's rows that is told from one another"
    )
    chunk: int = pydantic.Field(18, ge=1, description="rows that are not told from one another")
    l2_weight: float = pydantic.Field(
        1e-3, ge=0, description="weight of the squares of the rows of the target's triples, after encoding"
    )
    pairs_per_user: int = pydantic.Field(
        1, ge=1, description="most triples that a user of a batch gives to each behavior"
    )


class CmlConfig(MultiplicityConfig):
    """Switches of CML."""

    weights: bool = pydantic.Field(True, description="weigh losses by the network; off: 1 each")
    weights_dropout_rate: float = pydantic.Field(
        0.8, ge=0, lt=1, description="probability of dropping an entry inside the network of weights"
    )
    other_weight: float = pydantic.Field(
        0.5, ge=0, description="weight of the network's loss on pairs that are drawn anew; 0: none"
    )
    lookahead: float = pydantic.Field(
        1e-3, ge=0, description="step, in each entry, of the encoder that this loss is of; 0: the encoder as it is"
    )


def initial(encoder: base.Backbone, config: MultiplicityConfig, info: types.DatasetInfo, key, graphs) -> dict[str, Any]:
    """Embedding tables and the encoder's weights."""
    keys = jax.random.split(key, 3)
    user, item = (
        base.XAVIER(part, (number, config.embedding_size))
        for part, number in zip(keys, (info.num_users, info.num_items), strict=False)
    )
    weights = encoder.init(keys[2], graphs, jnp.concatenate([user, item]))["params"]
    return {"user": user, "item": item, "encoder": weights}


def encode(encoder: base.Backbone, theta: dict[str, Any], graphs: types.Graphs) -> base.Encoding:
    """All nodes from such parameters."""
    table = jnp.concatenate([theta["user"], theta["item"]])
    return encoder.apply({"params": theta["encoder"]}, graphs, table)


def terms_of(
    config: MultiplicityConfig,
    info: types.DatasetInfo,
    encoding: base.Encoding,
    batch: types.UserBatch,
    key: types.Array,
    *,
    tables: types.Array | None = None,
    prefix: str = "",
) -> tuple[dict[str, multiplicity.Terms], dict[str, multiplicity.Terms]]:
    """b and c of each behavior.

    Args:
      config, info: of the model.
      encoding: of all nodes.
      batch: with triples of each behavior.
      key: of the part of the batch that c is of.
      tables: float [U + I, D], what is ranked with; None: Z.
      prefix: of the names of the triples.
    """
    tables = encoding.merged if tables is None else tables
    ranking = {
        name: multiplicity.ranking(tables, encoding.behaviors[k], batch.triples[prefix + name], batch.user, info)
        for k, name in enumerate(info.behaviors)
    }
    if not config.contrastive_weight:
        return ranking, {}
    part = multiplicity.part_of(batch, key, config.contrastive_share, config.chunk)
    return ranking, {name: multiplicity.contrast(encoding, k, part, batch) for k, name in enumerate(info.behaviors)}


def build(config: CmlConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes CML for a data set of any number of behaviors.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.
    """
    encoder = encoders.Cml(config.backbone, info)
    network = cml_weights.Weights(config.embedding_size, config.weights_dropout_rate)
    sets = {name: types.PairSet(name) for name in info.behaviors}
    looks_at_others = config.weights and config.other_weight > 0
    more = {OTHER + name: pairs for name, pairs in sets.items()} if looks_at_others else {}

    def init(key, graphs):
        first, second = jax.random.split(key)
        made = initial(encoder, config, info, first, graphs)
        if config.weights:
            # Both kinds, so that the parameters of either are made.
            rows = jnp.zeros((2, config.embedding_size))
            probe = multiplicity.Terms(jnp.ones(2), jnp.ones(2), rows, rows)
            kinds = [network.init(second, probe, kind, second)["params"] for kind in ("contrast", "rank")]
            made["weights"] = kinds[0] | kinds[1]
        return {"params": made}

    def factors(phi, terms, kind, key):
        if not config.weights:
            return {name: jnp.ones_like(each.loss) for name, each in terms.items()}
        keys = jax.random.split(key, len(terms)) if terms else ()
        return {
            name: network.apply({"params": phi}, each, kind, part)
            for (name, each), part in zip(terms.items(), keys, strict=True)
        }

    def weighted(ranking, contrast, factors, total):
        parts = {"bpr": multiplicity.weighted(ranking, factors[0], total)}
        if contrast:
            parts["contrastive"] = config.contrastive_weight * multiplicity.weighted(contrast, factors[1], total)
        return parts

    def both(phi, found, key):
        return [
            factors(phi, terms, kind, part)
            for terms, kind, part in zip(found, ("rank", "contrast"), jax.random.split(key), strict=True)
        ]

    def of_encoder(theta, phi, graphs, batch, keys):
        """J with the weights held; its terms and weights."""
        encoding = encode(encoder, theta, graphs)
        found = terms_of(config, info, encoding, batch, keys[0])
        made = both(phi, found, keys[1])
        parts = weighted(*found, jax.lax.stop_gradient(made), batch.total)
        if config.l2_weight:
            rows = multiplicity.squares(encoding.merged, batch.triples[info.target], batch.user, info)
            parts["l2"] = config.l2_weight * rows / batch.total
        return sum(parts.values()), (parts, found, made)

    def loss(params, graphs, batch, key, step):
        del step
        phi = params["params"].get("weights")
        theta = {name: value for name, value in params["params"].items() if name != "weights"}
        keys = jax.random.split(key, 4)
        _, (parts, found, made) = of_encoder(theta, phi, graphs, batch, keys)
        if config.weights:
            own = sum(weighted(*jax.lax.stop_gradient(found), made, batch.total).values())
            parts["weights"] = own - jax.lax.stop_gradient(own)  # a gradient alone: the value is counted above
        if looks_at_others:
            ahead = jax.lax.stop_gradient(theta)
            if config.lookahead:
                # All devices have the whole batch, so that each knows the whole gradient.
                gradient, _ = jax.grad(of_encoder, has_aux=True)(ahead, phi, graphs, batch, keys)
                ahead = jax.tree.map(lambda x, g: x - config.lookahead * _sign(g / batch.share), ahead, gradient)
            encoding = jax.lax.stop_gradient(encode(encoder, ahead, graphs))
            found = terms_of(config, info, encoding, batch, keys[2], prefix=OTHER)
            made = both(phi, found, keys[3])
            parts["other_pairs"] = config.other_weight * sum(weighted(*found, made, batch.total).values())
        return sum(parts.values()), parts

    return model_of(
        info,
        encoders.Cml.graphs(config.backbone, info),
        types.BatchSpec(batch_size, triples=sets | more, per_user=config.pairs_per_user, pass_over=info.target),
        init,
        loss,
        lambda params, graphs: encode(encoder, params["params"], graphs).merged,
    )


def _sign(gradient):
    """The first step of Adam, -1 to 1."""
    return gradient / (jnp.abs(gradient) + 1e-8)


def model_of(info: types.DatasetInfo, graphs, batch: types.BatchSpec, init, loss, tables) -> types.Model:
    """A model that ranks every behavior with one table [U + I, D], ``tables(params, graphs)``; undivided batches."""

    def whole(params, graphs):
        return base.users_items(tables(params, graphs), info)

    def score(params, tables, users, start, size, behavior):
        del params, behavior  # one score for all
        user, item = tables
        return user[users] @ jax.lax.dynamic_slice_in_dim(item, start, size).T

    return types.Model(
        info=info,
        graphs=graphs,
        batch=batch._replace(undivided=True),
        init=init,
        loss=loss,
        encode=whole,
        score=score,
        fold_in=types.PROPAGATED,
    )
