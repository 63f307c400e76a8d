"""The module of the frame of graph models (``compose.py``): tables, a backbone, a head, and the loss over them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from mbjax import backbones, heads, types
from mbjax.backbones import base
from mbjax.models import compose_config, objectives, star_term
from mbjax.ops import all_users, one_by_one, pairs, whole_data


class Composed(nn.Module):
    """Embedding tables, a backbone and a head, and the loss over them."""

    config: compose_config.ComposedConfig
    info: types.DatasetInfo

    def setup(self):
        config, info = self.config, self.info
        self.backbone = backbones.BACKBONES[config.backbone.name](config.backbone, info)
        self.head = heads.HEADS[config.head.name](config.head, info, compose_config.width(config, info))
        self.user = self.param("user", self.backbone.base_init, (info.num_users, config.embedding_size))
        self.item = self.param("item", self.backbone.base_init, (info.num_items, config.embedding_size))

    def encode(self, graphs: types.Graphs) -> base.Encoding:
        """Representations of all nodes."""
        return self.backbone(graphs, jnp.concatenate([self.user, self.item]))

    def loss(self, graphs: types.Graphs, batch: types.UserBatch) -> tuple[types.Array, dict[str, types.Array]]:
        """The batch's contribution to the loss, and its parts."""
        encoding = self.encode(graphs)
        parts = {}
        for term in terms(self.config, self.info):
            parts |= self.term(encoding, graphs, batch, term)
        parts |= self.rest(encoding, batch)
        return sum(parts.values()), parts

    def term(self, encoding: base.Encoding, graphs: types.Graphs, batch: types.UserBatch, task: int | None):
        """The parts of the loss that are of a behavior, or the contrastive one (None)."""
        config, info = self.config, self.info
        if task is None:
            # As parameters are made nothing is drawn.
            is_drawn = config.contrastive.drawn(info) and self.has_rng(base.DROPOUT)
            key = self.make_rng(base.DROPOUT) if is_drawn else None
            aligned = objectives.contrastive(config.contrastive, encoding, info, batch, key)
            return {"contrastive": config.contrastive.weight * aligned}
        name, parts = info.behaviors[task], {}
        factor = config.loss_factor * compose_config.behavior_weights(config, info)[task]
        if config.ranking == "whole_data":
            return self._whole_data(encoding, graphs, batch, task, factor)
        drawn = batch.triples[name]
        if config.mean_over != "triples":
            factor = factor * drawn.total / (batch.total if config.mean_over == "users" else 1.0)
        pairing = pairs.Pairs(jnp.concatenate([drawn.positive, drawn.negative], axis=1))
        sides = self.head.sides(encoding, graphs, task, batch.user)
        scores = config.score_scale * self.head.score(task, sides, pairing)
        rank = objectives.RANKINGS[config.ranking]
        parts[f"{config.ranking}_{name}"] = factor * rank(scores, drawn)
        if encoding.parallel and config.parallel_weight:
            user, item = base.users_items(encoding.parallel[task], info)
            scores = config.score_scale * pairing.product(user[batch.user], item)
            parts[f"parallel_{name}"] = factor * config.parallel_weight * rank(scores, drawn)
        return parts

    def rest(self, encoding: base.Encoding, batch: types.UserBatch) -> dict[str, types.Array]:
        """All other parts of the loss."""
        config, info, parts = self.config, self.info, {}
        if config.alignment.weight and encoding.alignment:
            aligned = objectives.align(config.alignment, encoding, info, batch)
            parts["alignment"] = config.alignment.weight * aligned
        if config.star.weight and info.num_behaviors > 1:
            parts["star"] = config.star.weight * star_term.loss(config.star, encoding, info, batch)
        for spec in objectives.unique_sets(config.unique, info, compose_config.behavior_weights(config, info)):
            term = objectives.unique(spec, encoding, info, batch, config.score_scale)
            parts[f"unique_{spec.name}"] = config.loss_factor * spec.weight * term
        if config.l2_weight:
            parts["l2"] = config.l2_weight * self._squares(encoding, batch)
        return parts

    def _whole_data(self, encoding, graphs, batch, task, factor):
        """The ranking terms of a behavior over all items, and of its second stream."""
        config, info = self.config, self.info
        name = info.behaviors[task]
        missing = base.per_behavior(config.missing_weight, info, "missing_weight")[task]
        if config.mean_over == "users":
            factor = factor / batch.total

        def term(user, item):
            user = config.score_scale * batch.weight[:, None] * user
            return factor * whole_data.squared_error(user, item, batch.history[name], missing)

        parts = {f"whole_{name}": term(*self.head.sides(encoding, graphs, task, batch.user))}
        if encoding.parallel and config.parallel_weight:
            user, item = base.users_items(encoding.parallel[task], info)
            parts[f"parallel_{name}"] = config.parallel_weight * term(user[batch.user], item)
        return parts

    def _squares(self, encoding, batch):
        if self.config.l2_on == "norms":
            lengths = all_users.norm(batch, self.user) + jnp.linalg.norm(self.item)
            return batch.share * lengths / (self.info.num_items + 1)
        # What is summed over users counts in every block, and not once.
        more = (all_users.share(batch) - batch.share) * self.backbone.of_users() if batch.block else 0.0
        if self.config.l2_on == "parameters":
            if batch.block:
                more += (all_users.share(batch) - batch.share) * jnp.sum(jnp.square(self.user))
            return batch.share * sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(self.variables["params"])) + more
        weights = self.backbone.penalty() + self.head.penalty()
        if self.config.l2_on == "tables":
            tables = all_users.share(batch) * jnp.sum(jnp.square(self.user))
            return tables + batch.share * jnp.sum(jnp.square(self.item)) + batch.share * weights + more
        if self.config.l2_on == "weights":
            return 0.5 * (batch.share * weights + more)
        if self.config.l2_on == "encoded":
            return self._encoded_squares(encoding, batch, batch.share * weights + more)
        rows = sum((_triple_squares(self.user, self.item, x, batch) for x in batch.triples.values()), start=0.0)
        return 0.5 * (rows + batch.share * weights + more) / batch.total

    def _encoded_squares(self, encoding, batch, weights):
        """Half the squares of encoded rows: of the batch's triples, or of its users and all items (whole data)."""
        info = self.info
        trained = [task for task, weight in enumerate(compose_config.behavior_weights(self.config, info)) if weight]
        tables = [
            encoding.behaviors[task] if encoding.regularized is None else encoding.regularized for task in trained
        ]
        rows = 0.0
        if self.config.ranking == "whole_data":
            for table in tables if encoding.regularized is None else tables[:1]:
                user, item = base.users_items(table, info)
                rows += jnp.dot(batch.weight, jnp.sum(jnp.square(user[batch.user]), axis=1))
                rows += batch.share * jnp.sum(jnp.square(item))
            return 0.5 * (rows + weights)
        for task, table in zip(trained, tables, strict=True):
            rows += _triple_squares(*base.users_items(table, info), batch.triples[info.behaviors[task]], batch)
        return 0.5 * (rows + weights) / batch.total

    def tables(self, graphs: types.Graphs) -> tuple[heads.Sides, ...]:
        """What scores need, of all users and items: one Sides for each task."""
        encoding = self.encode(graphs)
        return tuple(self.head.sides(encoding, graphs, task) for task in range(self.info.num_behaviors))

    def block(self, sides: heads.Sides, task: int) -> types.Array:
        """Scores [B, T] of a block."""
        return self.head.score(task, sides, pairs.Block())

    def pair_gates(self, graphs: types.Graphs, users: types.Array, items: types.Array, task: int) -> types.Array | None:
        """Gate weights [N, experts] of pairs, users [N] and items [N]; None for a head without gates."""
        sides = self.head.sides(self.encode(graphs), graphs, task, users)
        weights = self.head.gates(task, sides, pairs.Pairs(items[:, None]))
        return None if weights is None else weights[:, 0]


def terms(config: compose_config.ComposedConfig, info: types.DatasetInfo) -> list[int | None]:
    """What ``Composed.term`` is asked for: the behaviors that are trained, and the contrastive part."""
    found: list[int | None] = [
        task for task, weight in enumerate(compose_config.behavior_weights(config, info)) if weight
    ]
    return [*found, None] if config.contrastive.weight and info.num_behaviors > 1 else found


def in_turns(module: Composed, params: types.Params, graphs: types.Graphs, batch: types.UserBatch, key: types.Array):
    """``Composed.loss`` with its terms one after another, for tables that must not be there many times."""
    config, info = module.config, module.info
    streams = {base.DROPOUT: key}
    encoding = module.apply(params, graphs, rngs=streams, method=Composed.encode)
    others = {name: value for name, value in params["params"].items() if name not in ("user", "item")}

    def term(task, variables):
        others, encoding = variables
        # They declare the tables and do not read them.
        unread = {name: jnp.zeros(params["params"][name].shape) for name in ("user", "item")}
        given = {"params": unread | others}, encoding, graphs, batch, task
        parts = module.apply(*given, rngs=streams, method=Composed.term)
        return sum(parts.values()), parts

    each = [functools.partial(term, task) for task in terms(config, info)]
    value, parts = one_by_one.total(each, (others, encoding))
    rest = module.apply(params, encoding, batch, rngs=streams, method=Composed.rest)
    return value + sum(rest.values()), parts | rest


def _triple_squares(user, item, drawn, batch):
    """The squares of the rows of a batch's triples, each as often as it occurs."""
    squares = jnp.sum(jnp.square(item), axis=1)
    negatives = jnp.sum(squares[drawn.negative].reshape(len(drawn.positive), -1, drawn.positive.shape[1]), axis=1)
    rows = jnp.sum(drawn.weight * (squares[drawn.positive] + negatives))
    return rows + jnp.sum(drawn.weight * jnp.sum(jnp.square(user[batch.user]), axis=1)[:, None])


def select(sides: heads.Sides, users: types.Array, start: types.Array | int, size: int) -> heads.Sides:
    """The rows of some users and of a range of items."""
    return heads.Sides(
        jax.tree.map(lambda x: x[users], sides.user),
        jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), sides.item),
    )
