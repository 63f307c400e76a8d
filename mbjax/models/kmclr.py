r"""KMCLR without a knowledge graph: CML's encoder beside a contrastive LightGCN (Xuan et al., WSDM 2023).

Two branches have tables of their own and are trained side by side; lists are made from

.. math:: Y = 0.9\, Z + 0.1\, G, \qquad y_{ui} = \langle Y_u, Y_i \rangle \quad \text{for every behavior}

Z: of the behaviors, ``Encoding.merged`` of CML's encoder (``mbjax/backbones/cml.py``); G: LightGCN of three layers on
the target's graph. With b and c of ``mbjax/models/multiplicity.py``, b of Y with G held,

.. math::
    L = \frac1B \Big[ \frac1K \sum_{k,u} b_k(u) + \beta \frac1K \sum_{k,u} c_k(u)
        + \rho \sum_u (|Z_u|^2 + |Z_{i^+}|^2 + |Z_{i^-}|^2) \Big]

    \quad + \frac1B \sum_u \Big[ softplus(\langle G_u, G_{i^-} - G_{i^+} \rangle) + \gamma\, N(G'_u, G''_u)
        + \gamma\, N(G'_{i^+}, G''_{i^+}) \Big]
        + \frac{\rho'}{2 B^2} \sum_u (|g_u|^2 + |g_{i^+}|^2 + |g_{i^-}|^2)

    N(x_n, y_n) = \ln \sum_{m \ne n} e^{\cos(x_n, y_m) / \tau} - \cos(x_n, y_n) / \tau

g: the tables of the second branch; G', G'': on two views of the graph that lack edges at random; G in the loss: on a
third. The second branch and the first share no parameters.

Differences:
  knowledge graph: the second branch of the paper reads the items' rows off a graph of entities and relations, which it
    trains too (TransR and a bilinear model), and drops an edge the rather, the less an item's row stands dropout of its
    entities. No data set at hand has such a graph. Items have a plain table here, all edges are dropped alike, and
    there are no losses of the knowledge graph. What COPF's authors did on Beibei and Taobao, which have none either, is
    not said. ``knowledge="none"`` leaves the second branch out: CML with all weights 1.
  views: the program's keep an edge with a probability of 0.6 to 1, by the user's softmax over items times the item's
    stability; here with 0.7, its rate of dropping elsewhere.
  optimizer: the program has two, AdamW whose rate goes up and down and Adam, and batches of 8,192 and 2,048; here one
    step of Adam takes both gradients of one batch. As the branches share nothing, neither hinders the other.
  rows: of users of the target with a pair each, as for CML (``mbjax/models/cml.py``), whose epsilons and positives
    differ likewise.
  size: 32 in the program, 64 in the tables of COPF and here.
  evaluation: the authors rank a held-out item among 99 that are drawn at random; here all items are ranked.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import pydantic

from mbjax import types
from mbjax.backbones import base, lightgcn
from mbjax.backbones import cml as encoders
from mbjax.models import cml, multiplicity
from mbjax.ops import all_users, contrastive, edges

KNOWLEDGE = "second branch"


class KmclrConfig(cml.MultiplicityConfig):
    """Switches of KMCLR."""

    knowledge: Literal["target_graph", "none"] = pydantic.Field(
        "target_graph", description="what stands beside the encoder of behaviors: a LightGCN of the target, or nothing"
    )
    share: float = pydantic.Field(0.1, ge=0, lt=1, description="of the second branch in what is ranked with")
    num_layers: int = pydantic.Field(3, ge=0, description="graph layers of the second branch")
    edge_dropout_rate: float = pydantic.Field(
        0.3, ge=0, lt=1, description="probability of dropping an edge of the second branch while training"
    )
    views_weight: float = pydantic.Field(0.1, ge=0, description="gamma, weight of the alignment of two views")
    temperature: float = pydantic.Field(0.2, gt=0, description="tau, divisor of their cosines")
    views_l2_weight: float = pydantic.Field(1e-4, ge=0, description="rho', of the tables of the second branch")


def others_nce(anchor: types.Array, candidates: types.Array, weight: types.Array, temperature: float) -> types.Array:
    """The weighted sum of N over some rows, the row's own candidate not among the others.

    Args:
      anchor, candidates: float [R, D].
      weight: float [R], 0 for padding, which is nobody's candidate.
      temperature: tau.
    """
    anchor, candidates = contrastive.normalize(anchor), contrastive.normalize(candidates)
    logits = anchor @ candidates.T / temperature
    is_other = ~jnp.eye(logits.shape[0], dtype=bool) & (weight > 0)
    total = jax.nn.logsumexp(jnp.where(is_other, logits, all_users.NEVER), axis=1)
    return jnp.sum(jnp.where(jnp.any(is_other, axis=1), weight * (total - jnp.diagonal(logits)), 0.0))


def build(config: KmclrConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes KMCLR for a data set of any number of behaviors.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.
    """
    encoder = encoders.Cml(config.backbone, info)
    has_second = config.knowledge != "none"
    own = base.matrix_name((info.target,), "symmetric")
    graphs = encoders.Cml.graphs(config.backbone, info)
    if has_second:
        graphs |= {own: types.GraphSpec((info.target,), "bipartite", "symmetric")}

    def init(key, graphs):
        first, *rest = jax.random.split(key, 3)
        made = cml.initial(encoder, config, info, first, graphs)
        if has_second:
            for name, part, number in zip(("user", "item"), rest, (info.num_users, info.num_items), strict=True):
                made[f"second_{name}"] = 0.1 * jax.random.normal(part, (number, config.embedding_size))
        return {"params": made}

    def rows(theta):
        return jnp.concatenate([theta["second_user"], theta["second_item"]])

    def joined(theta, graphs, encoding):
        """Y, the second branch held."""
        if not has_second:
            return encoding.merged
        held = jax.lax.stop_gradient(lightgcn.convolve(graphs[own], rows(theta), config.num_layers))
        return (1.0 - config.share) * encoding.merged + config.share * held

    def second(theta, graphs, batch, key):
        """The loss of the second branch, in parts."""
        drawn = batch.triples[KNOWLEDGE]
        tables = [
            lightgcn.convolve(
                edges.drop(graphs[own], part, config.edge_dropout_rate, renormalized=number > 0),
                rows(theta),
                config.num_layers,
            )
            for number, part in enumerate(jax.random.split(key, 3 if config.views_weight else 1))
        ]
        found = multiplicity.ranking(tables[0], tables[0], drawn, batch.user, info)
        parts = {"second_bpr": jnp.dot(found.weight, found.loss) / batch.total}
        if config.views_weight:
            views = [base.users_items(table, info) for table in tables[1:]]
            users = others_nce(*(user[batch.user] for user, _ in views), batch.weight, config.temperature)
            picked = (item[drawn.positive[:, 0]] for _, item in views)
            items = others_nce(*picked, drawn.weight[:, 0], config.temperature)
            parts["views"] = config.views_weight * (users + items) / batch.total
        if config.views_l2_weight:
            squares = multiplicity.squares(rows(theta), drawn, batch.user, info)
            parts["second_l2"] = 0.5 * config.views_l2_weight * squares / jnp.square(batch.total)
        return parts

    def loss(params, graphs, batch, key, step):
        del step
        theta = params["params"]
        keys = jax.random.split(key)
        encoding = cml.encode(encoder, theta, graphs)
        ranking, contrast = cml.terms_of(config, info, encoding, batch, keys[0], tables=joined(theta, graphs, encoding))
        ones = {name: 1.0 for name in info.behaviors}
        parts = {"bpr": multiplicity.weighted(ranking, ones, batch.total)}
        if contrast:
            parts["contrastive"] = config.contrastive_weight * multiplicity.weighted(contrast, ones, batch.total)
        if config.l2_weight:
            squares = multiplicity.squares(encoding.merged, batch.triples[info.target], batch.user, info)
            parts["l2"] = config.l2_weight * squares / batch.total
        if has_second:
            parts |= second(theta, graphs, batch, keys[1])
        return sum(parts.values()), parts

    sets = {name: types.PairSet(name) for name in info.behaviors}
    if has_second:
        sets[KNOWLEDGE] = types.PairSet(info.target)
    return cml.model_of(
        info,
        graphs,
        types.BatchSpec(batch_size, triples=sets, per_user=config.pairs_per_user, pass_over=info.target),
        init,
        loss,
        lambda params, graphs: joined(params["params"], graphs, cml.encode(encoder, params["params"], graphs)),
    )
