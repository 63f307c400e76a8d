r"""BCIPM: item preferences in the context of a behavior (Yan et al., SIGIR 2024; its program is named BIPN).

With G of the graph of all behaviors and T of the target's (``mbjax/backbones/bcipm.py``), a gated unit says what it is
about an item that a user looks for by behavior b, and the sum over his purchases is his preference:

.. math::
    [r \,\|\, z] = \sigma([G_u \| G_i \| B_b] W), \quad h = \tanh([r \circ G_u \| G_i \| B_b] V), \quad
    a_b(u, i) = z \circ h, \qquad S_u = \sum_{j \in K(u)} a_K(u, j)

    y_{ui} = (1 - \lambda_u) \langle S_u, G_i \rangle + \lambda_u \langle G_u + T_u, G_i + T_i \rangle,
    \quad \lambda_u = 1 / |K(u)|

    L = c \operatorname{mean} BCE(\langle a_b(u, i), G_i \rangle) + (1 - c) \operatorname{mean} softplus(y^- - y^+)
        + \rho \Big( \frac{|P|}{U + 1} + \frac{|Q|}{I + 1} \Big)

K: the target and K(u) the user's training items of it, the positive among them; B: a trained vector of each behavior,
the unit matrix at first. The BCE is over pairs of every behavior, label 1, and four items of none, label 0. |P|, |Q|:
lengths of the whole tables, not squared.

Differences:
  batches: the program's rows are observed pairs of any behavior, in proportion to their numbers, each with one purchase
    of its user. Here a batch is of users, with up to ``pairs_per_user`` pairs of each behavior, so that behaviors weigh
    alike and busy users not much more than others. The program's rate, 0.0001, belongs to its many more steps.
  users without purchases: the program's lambda is 10^8 there, which scales a user's scores; here it is 1.
  pre-training: the paper's abstract says that tables are pre-trained; the program loads none by default and does not
    have the training of them. Here they are random, or those of ``train.init_from``.
  other behaviors: the paper ranks the target. The unit scores pairs of every behavior, a_b G_i, which is trained:
    ``tasks="all"`` ranks the others with it, at the cost of the unit for every user and item.
  c on Taobao: 0.4 in the program's script, 0.5 in its log.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import types
from mbjax.backbones import base
from mbjax.backbones import bcipm as propagation
from mbjax.models import ncf_units, objectives, pointwise
from mbjax.ops import all_users

BOUGHT = "bought"
BLOCK = 2**16  # pairs at once where the preferences of all users are made


class BcipmConfig(base.Section):
    """Switches of BCIPM."""

    backbone: propagation.BcipmConfig = propagation.BcipmConfig()
    embedding_size: int = pydantic.Field(64, ge=1, description="width d of all representations")
    tasks: Literal["target", "all"] = pydantic.Field(
        "target", description="what is ranked: the target, or the other behaviors too, by their trained units"
    )
    pointwise_share: float = pydantic.Field(
        0.3, ge=0, le=1, description="c, weight of the loss of single pairs; 1 - c is that of the ranking loss"
    )
    negatives: int = pydantic.Field(4, ge=1, description="items of no behavior for each pair of the loss of pairs")
    preference: Literal["sum", "none"] = pydantic.Field(
        "sum", description="what a user's items of the target say by the unit: their sum is part of the score, or not"
    )
    l2_weight: float = pydantic.Field(1e-4, ge=0, description="rho, weight of the tables' lengths, not squared")
    pairs_per_user: int = pydantic.Field(
        4, ge=1, description="most pairs that a user of a batch gives to each behavior and loss"
    )
    steps_per_epoch: int = pydantic.Field(
        0, ge=0, description="batches of an epoch; 0: as many as one pass over the users needs"
    )


class Bcipm(nn.Module):
    """Tables, propagation and the unit."""

    config: BcipmConfig
    info: types.DatasetInfo

    def setup(self):
        size, num = self.config.embedding_size, self.info.num_behaviors
        self.user = self.param("user", base.XAVIER, (self.info.num_users, size))
        self.item = self.param("item", base.XAVIER, (self.info.num_items, size))
        normal = nn.initializers.glorot_normal()
        self.gates = self.param("gates", normal, (2 * size + num, 2 * size))
        self.candidate = self.param("candidate", normal, (2 * size + num, size))
        self.behavior = self.param("behavior", lambda key, shape: jnp.eye(num), (num, num))

    def encode(self, graphs: types.Graphs) -> tuple[types.Array, types.Array]:
        """G and T, float [U + I, D] each."""
        section, info = self.config.backbone, self.info
        table = jnp.concatenate([self.user, self.item])
        whole = propagation.convolve(section, graphs[propagation.matrix(info.behaviors)[0]], table)
        return whole, propagation.convolve(section, graphs[propagation.matrix((info.target,))[0]], whole)

    def unit(self, user: types.Array, item: types.Array, task: int) -> types.Array:
        """a of rows of G, float [..., D]; the two broadcast."""
        user, item = jnp.broadcast_arrays(user, item)
        context = jnp.broadcast_to(self.behavior[task], (*user.shape[:-1], self.info.num_behaviors))
        given = jnp.concatenate([user, item, context], axis=-1)
        reset, update = jnp.split(nn.sigmoid(given @ self.gates), 2, axis=-1)
        given = jnp.concatenate([reset * user, item, context], axis=-1)
        return update * jnp.tanh(given @ self.candidate)

    def pair_scores(self, user: types.Array, item: types.Array, task: int) -> types.Array:
        """The logit of single pairs, float [...]."""
        return jnp.sum(self.unit(user, item, task) * item, axis=-1)

    def loss(self, graphs: types.Graphs, batch: types.UserBatch) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        config, info = self.config, self.info
        whole, own = self.encode(graphs)
        user, item = base.users_items(whole, info)
        mine = user[batch.user]  # [B, D]
        parts = {}
        if config.pointwise_share:
            parts["pairs"] = config.pointwise_share * self._pointwise(mine, item, batch)
        if config.pointwise_share < 1:
            ranked = self._ranking(whole + own, mine, item, batch)
            parts["bpr"] = (1.0 - config.pointwise_share) * ranked
        if config.l2_weight:
            lengths = all_users.norm(batch, self.user) / (all_users.number(batch, info) + 1)
            lengths += jnp.linalg.norm(self.item) / (info.num_items + 1)
            parts["l2"] = config.l2_weight * batch.share * lengths
        return sum(parts.values()), parts

    def _pointwise(self, mine, item, batch):
        """The mean of the cross-entropies of pairs and items of no behavior."""
        loss = total = 0.0
        for task, name in enumerate(self.info.behaviors):
            for number in range(self.config.negatives):
                drawn = batch.triples[_set(name, number)]
                for label, picked in ((1, drawn.positive), (0, drawn.negative))[number > 0 :]:
                    logits = self.pair_scores(mine[:, None], item[picked], task)  # [B, M]
                    loss += jnp.sum(drawn.weight * (jax.nn.softplus(logits) - label * logits))
                    total += drawn.total
        return loss / total

    def _ranking(self, both, mine, item, batch):
        user_both, item_both = base.users_items(both, self.info)
        drawn = batch.triples[BOUGHT]
        picked = jnp.concatenate([drawn.positive, drawn.negative], axis=1)  # [B, 2 M]
        general = jnp.sum(user_both[batch.user][:, None] * item_both[picked], axis=-1)
        if self.config.preference == "none":
            return objectives.bpr(general, drawn)
        history = batch.history[self.info.target]
        rows = (mine.at[history.row], item.at[history.item])
        made = self.unit(*(x.get(mode="fill", fill_value=0) for x in rows), self.info.num_behaviors - 1)  # [N, D]
        sums = jnp.zeros_like(mine).at[history.row].add(made, mode="drop", indices_are_sorted=True)
        share = _share(history.ptr[1:] - history.ptr[:-1])[:, None]
        own = jnp.sum(sums[:, None] * item[picked], axis=-1)
        return objectives.bpr((1.0 - share) * own + share * general, drawn)

    def tables(self, graphs: types.Graphs) -> dict[str, Any]:
        """Of all users and items: rows whose inner product is y, and G."""
        whole, own = self.encode(graphs)
        user, item = base.users_items(whole, self.info)
        user_both, item_both = base.users_items(whole + own, self.info)
        made = {"user": user_both, "item": item_both}
        if self.config.preference == "sum":
            sums, counts = self._preferences(graphs[_pairs(self.info)[0]].matrix, user, item)
            share = _share(counts)[:, None]
            made = {
                "user": jnp.concatenate([(1.0 - share) * sums, share * user_both], axis=1),
                "item": jnp.concatenate([item, item_both], axis=1),
            }
        return made | ({"pair_user": user, "pair_item": item} if self.config.tasks == "all" else {})

    def _preferences(self, matrix, user, item):
        """S of all users, float [U, D], and |K(u)|, float [U], some pairs at a time."""
        extra = -matrix.nse % BLOCK if matrix.nse > BLOCK else 0
        indices = jnp.pad(matrix.indices, ((0, extra), (0, 0)))
        is_pair = jnp.pad(matrix.data, (0, extra))
        size = min(BLOCK, matrix.nse)
        blocks = indices.reshape(-1, size, 2), is_pair.reshape(-1, size)

        def add(carry, block):
            (rows, columns), real = block[0].T, block[1]
            made = real[:, None] * self.unit(user[rows], item[columns], self.info.num_behaviors - 1)
            return (carry[0].at[rows].add(made), carry[1].at[rows].add(real)), None

        return jax.lax.scan(add, (jnp.zeros_like(user), jnp.zeros(user.shape[0])), blocks)[0]


def _share(count):
    """lambda, from the number of a user's items of the target."""
    return 1.0 / jnp.maximum(count.astype(jnp.float32), 1.0)


def _set(name: str, number: int) -> str:
    return f"{name}, {number}"


def _pairs(info: types.DatasetInfo) -> tuple[str, types.GraphSpec]:
    return f"{info.target}, pairs", types.GraphSpec((info.target,))


def build(config: BcipmConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes BCIPM for a data set of any number of behaviors.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.
    """
    module = Bcipm(config, info)
    graphs = dict(propagation.matrix(pool) for pool in (info.behaviors, (info.target,)))
    histories, sets = {}, {}
    if config.preference == "sum":
        graphs |= dict([_pairs(info)])
        histories[info.target] = (info.target,)
    if config.pointwise_share:
        for name in info.behaviors:
            pairs = types.PairSet(name, known=info.behaviors)
            sets |= {_set(name, number): pairs for number in range(config.negatives)}
    if config.pointwise_share < 1:
        sets[BOUGHT] = types.PairSet(info.target, known=info.behaviors)

    def init(key, graphs):
        return module.init(key, graphs, objectives.probe_batch(sets, histories), method=Bcipm.loss)

    def loss(params, graphs, batch, key, step):
        del key, step  # the batch is all that is random
        return module.apply(params, graphs, batch, method=Bcipm.loss)

    def encode(params, graphs):
        return module.apply(params, graphs, method=Bcipm.tables)

    def score(params, tables, users, start, size, behavior):
        is_target = config.tasks == "target" or behavior == info.num_behaviors - 1
        names = ("user", "item") if is_target else ("pair_user", "pair_item")
        user, item = pointwise.select(tuple(tables[name] for name in names), users, start, size)
        if is_target:
            return user @ item.T

        def block(user, item):
            return module.apply(params, user[:, None], item, behavior, method=Bcipm.pair_scores)

        return ncf_units.tiled(block, user, item)

    return types.Model(
        info=info,
        graphs=graphs,
        batch=types.BatchSpec(
            batch_size,
            histories=histories,
            triples=sets,
            per_user=config.pairs_per_user,
            steps_per_epoch=config.steps_per_epoch,
        ),
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        tasks=info.behaviors if config.tasks == "all" else (info.target,),
        fold_in=types.PROPAGATED,
    )
