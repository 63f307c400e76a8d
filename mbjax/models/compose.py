r"""Backbone + head + objectives: the graph models of multi-behavior recommendation, in one frame.

A backbone makes one representation of users and items for each behavior, a head one score for each task, and the loss
is a weighted sum over the tasks with further terms:

.. math::
    L = f \sum_k \lambda_k \operatorname{mean} softplus(s\,y_k^- - s\,y_k^+)
        + \gamma L_{contrastive} + \gamma' L_{alignment} + \gamma'' L_{star} + L_{parallel} + L_{unique}
        + \rho\, |\theta|^2

y: scores of the positive and negative of a sampled triple, s: ``score_scale``, f: ``loss_factor``, lambda:
``behavior_weights``, rho: ``l2_weight``, gamma, gamma', gamma'': ``contrastive.weight``, ``alignment.weight``,
``star.weight``. The parallel and unique terms carry f and lambda of their behavior too. A triple may have several
negatives; the first term is then :math:`\ln (1 + \sum_j e^{s\,y_j^- - s\,y^+})`. With ``ranking="hinge"`` it is
:math:`\sum_j \max(0, 1 - s\,y^+ + s\,y_j^-)`, with ``"whole_data"`` the squared error over all items of the batch's
users (``mbjax/ops/whole_data.py``), and nothing is sampled for it. A model of a paper is a configuration of this frame
with its own defaults.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import backbones, errors, heads, types
from mbjax.backbones import base
from mbjax.models import objectives, star_term
from mbjax.ops import all_users, one_by_one, pairs, whole_data

L2On = Literal["tables", "batch", "norms", "parameters", "encoded", "weights"]
L2_ON = (
    "the whole embedding tables and regularized weights; half the rows of the batch and those weights / batch size; "
    "the lengths of the tables, not squared, / (items + 1); all parameters, with biases and what else is left free; "
    "half the encoded rows of the batch and those weights / batch size (with ranking=whole_data: of its users and of "
    "all items, not divided); or half those weights alone"
)
MeanOver = Literal["triples", "users", "nothing"]
MEAN_OVER = "what a ranking loss is a mean over: the triples, or all users of the batch; nothing: it is their sum"


Ranking = Literal["bpr", "hinge", "whole_data"]
RANKING = (
    "ranking loss of a behavior: of sampled triples, softplus or the hinge of how far the positive is ahead, or the "
    "squared error over all items of the batch's users, summed (with head.name=inner_product)"
)


LARGE = 100_000
"""Users and items together beyond which the terms of the loss are computed one after another."""


class ComposedConfig(base.Section):
    """Switches of the frame; those of the backbone and the head are sections of their own."""

    backbone: backbones.BackboneConfig
    head: heads.HeadConfig
    embedding_size: int = pydantic.Field(64, ge=1, description="width d of all representations")
    behavior_weights: tuple[float, ...] | None = pydantic.Field(
        None, description="loss weight of each behavior in funnel order, 0: not trained; none: 1 / K each"
    )
    ranking: Ranking = pydantic.Field("bpr", description=RANKING)
    missing_weight: tuple[pydantic.NonNegativeFloat, ...] = pydantic.Field(
        (0.1,),
        min_length=1,
        description="weight of what was not met in whole_data, where a training pair weighs 1: of each behavior in "
        "funnel order, or one number for all",
    )
    score_scale: float = pydantic.Field(300.0, gt=0, description="factor of every score before the loss")
    loss_factor: float = pydantic.Field(3.0, gt=0, description="factor of every ranking term of the loss")
    l2_weight: float = pydantic.Field(0.01, ge=0, description="weight of the sum of squares of what l2_on names")
    l2_on: L2On = pydantic.Field("tables", description=L2_ON)
    mean_over: MeanOver = pydantic.Field("triples", description=MEAN_OVER)
    negatives: Literal["behavior", "all_behaviors"] = pydantic.Field(
        "behavior", description="whose training items are no negatives of a behavior: its own, or those of all"
    )
    pairs_per_user: int = pydantic.Field(
        40, ge=1, description="most triples that a user of a batch gives to each behavior"
    )
    negatives_per_pair: int = pydantic.Field(
        1, ge=1, description="negatives of each triple, all of which its positive is to be ahead of"
    )
    users_per_epoch: int = pydantic.Field(0, ge=0, description="random users that an epoch visits; 0: all")
    steps_per_epoch: int = pydantic.Field(
        0,
        ge=-1,
        description="batches of an epoch; 0: as many as one pass over the users needs; -1: floor(training pairs of the "
        "target / batch size) + 1",
    )
    contrastive: objectives.ContrastiveConfig = objectives.ContrastiveConfig()
    alignment: objectives.AlignmentConfig = objectives.AlignmentConfig()
    star: star_term.StarConfig = star_term.StarConfig()
    parallel_weight: float = pydantic.Field(
        1.0, ge=0, description="weight of the ranking loss of a backbone's second stream, where it has one"
    )
    unique: objectives.UniqueConfig = objectives.UniqueConfig()


class Composed(nn.Module):
    """Embedding tables, a backbone and a head, and the loss over them."""

    config: ComposedConfig
    info: types.DatasetInfo

    def setup(self):
        config, info = self.config, self.info
        self.backbone = backbones.BACKBONES[config.backbone.name](config.backbone, info)
        self.head = heads.HEADS[config.head.name](config.head, info, width(config, info))
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
        factor = config.loss_factor * behavior_weights(config, info)[task]
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
        for spec in objectives.unique_sets(config.unique, info, behavior_weights(config, info)):
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
        trained = [task for task, weight in enumerate(behavior_weights(self.config, info)) if weight]
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


def terms(config: ComposedConfig, info: types.DatasetInfo) -> list[int | None]:
    """What ``Composed.term`` is asked for: the behaviors that are trained, and the contrastive part."""
    found: list[int | None] = [task for task, weight in enumerate(behavior_weights(config, info)) if weight]
    return [*found, None] if config.contrastive.weight and info.num_behaviors > 1 else found


def _notes(config: ComposedConfig, info: types.DatasetInfo) -> tuple[str, ...]:
    """What the size of the data set decided."""
    size = config.contrastive.drawn(info)
    if (
        not config.contrastive.weight
        or info.num_behaviors == 1
        or config.contrastive.candidates is not None
        or not size
    ):
        return ()
    return (
        f"contrastive term: each row is told from {size:,} users or items drawn anew in every step, since there are "
        f"{info.num_users + info.num_items:,} of them (contrastive.candidates=0 takes all)",
    )


def _in_turns(module: Composed, params: types.Params, graphs: types.Graphs, batch: types.UserBatch, key: types.Array):
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


def width(config: ComposedConfig, info: types.DatasetInfo) -> int:
    """The width of the representations that the head receives."""
    return backbones.BACKBONES[config.backbone.name].width(config.backbone, info, config.embedding_size)


def behavior_weights(config: ComposedConfig, info: types.DatasetInfo) -> tuple[float, ...]:
    """lambda of each behavior.

    Raises:
      ConfigError: not one for each behavior, or none above 0.
    """
    weights = config.behavior_weights
    if weights is None:
        return (1.0 / info.num_behaviors,) * info.num_behaviors
    if len(weights) != info.num_behaviors or min(weights) < 0 or not any(weights):
        raise errors.ConfigError(
            f"model.behavior_weights={','.join(map(str, weights))} for the {info.num_behaviors} behaviors "
            f"{', '.join(info.behaviors)}: give one of at least 0 for each, one of them above 0, with "
            "--behavior_weights=..., or the default with --behavior_weights=none."
        )
    return weights


def build(config: ComposedConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes a composed model for a data set.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.

    Raises:
      ConfigError: lists or weights that do not fit the number of behaviors.
    """
    weights = behavior_weights(config, info)
    module = Composed(config, info)
    backbone, head = backbones.BACKBONES[config.backbone.name], heads.HEADS[config.head.name]
    specs = {**backbone.graphs(config.backbone, info), **head.graphs(config.head, info)}
    _check_ranking(config, info)
    for place, field in (
        ("backbone", "layers"),
        ("head", "layers"),
        ("head", "merge_weights"),
        ("backbone", "weights"),
    ):
        if values := getattr(getattr(config, place), field, None):
            base.per_behavior(values, info, f"{place}.{field}")
    if config.unique.weight and (unknown := sorted(set(config.unique.exclude) - set(info.behaviors))):
        note = f"unique.exclude names {', '.join(unknown)}: not among the behaviors {', '.join(info.behaviors)}."
        warnings.warn(note, errors.DataWarning, stacklevel=2)
    trained = tuple(name for name, weight in zip(info.behaviors, weights, strict=True) if weight)
    known = info.behaviors if config.negatives == "all_behaviors" else ()
    is_whole = config.ranking == "whole_data"
    histories = {name: (name,) for name in trained} if is_whole else {}
    triples = {} if is_whole else {name: types.PairSet(name, known=known) for name in trained}
    is_star = config.star.weight and info.num_behaviors > 1
    if is_star:
        star_term.check(config.star, info)
    aligns_items = config.alignment.weight and config.alignment.side == "both"
    if (config.contrastive.weight and info.num_behaviors > 1) or aligns_items or is_star:
        triples |= {info.target: types.PairSet(info.target, known=known)}
    triples |= {spec.name: spec.pairs for spec in objectives.unique_sets(config.unique, info, weights)}

    # Without graphs a batch needs no more than its rows.
    in_turns = bool(specs) and len(terms(config, info)) > 1 and info.num_users + info.num_items > LARGE

    def init(key, graphs):
        return module.init(key, graphs, objectives.probe_batch(triples, histories), method=Composed.loss)

    def loss(params, graphs, batch, key, step):
        del step
        if in_turns:
            return _in_turns(module, params, graphs, batch, key)
        return module.apply(params, graphs, batch, rngs={base.DROPOUT: key}, method=Composed.loss)

    def encode(params, graphs):
        return module.apply(params, graphs, method=Composed.tables)

    def score(params, tables, users, start, size, behavior):
        return module.apply(params, select(tables[behavior], users, start, size), behavior, method=Composed.block)

    return types.Model(
        info=info,
        graphs=specs,
        batch=types.BatchSpec(
            size=batch_size,
            histories=histories,
            triples=triples,
            per_user=config.pairs_per_user,
            negatives=config.negatives_per_pair,
            told=(info.target,) if is_star else (),
            users_per_epoch=config.users_per_epoch,
            steps_per_epoch=max(config.steps_per_epoch, 0),
            pass_over=info.target if config.steps_per_epoch < 0 else None,
        ),
        init=init,
        loss=loss,
        encode=encode,
        score=score,
        tasks=trained,
        fold_in=types.PROPAGATED if backbone.graphs(config.backbone, info) else types.OWN_USERS,
        by_row=_by_row(config, specs),
        notes=_notes(config, info),
    )


def _by_row(config: ComposedConfig, specs: Mapping[str, types.GraphSpec]) -> Mapping[str, types.RowTable] | str:
    """``Model.by_row``: without a graph nothing but the rows of a batch is read, unless a term reads all."""
    if specs or config.backbone.name != "mf":
        return f"backbone '{config.backbone.name}' makes every row of its tables anew in each step"
    if config.ranking == "whole_data":
        return "model.ranking=whole_data reads all items (bpr does not)"
    if config.l2_weight and config.l2_on in ("tables", "norms", "parameters"):
        return f"model.l2_on={config.l2_on} reads whole tables (batch does not)"
    if terms := [name for name in ("contrastive", "star") if getattr(config, name).weight]:
        return f"model.{terms[0]} compares with rows outside the batch (model.{terms[0]}.weight=0 does not)"
    return {"user": types.RowTable("user"), "item": types.RowTable("item")}


def _check_ranking(config: ComposedConfig, info: types.DatasetInfo) -> None:
    """Raises ConfigError where the squared error over all items cannot be had, or not as it is asked for."""
    if config.ranking != "whole_data":
        return
    base.per_behavior(config.missing_weight, info, "missing_weight")
    if config.head.name != "inner_product":
        raise errors.ConfigError(
            f"model.ranking=whole_data with model.head.name={config.head.name}: the squared error over all items is "
            "known in closed form for inner products only. Give --head.name=inner_product, or --ranking=bpr."
        )
    if config.mean_over == "triples":
        raise errors.ConfigError(
            "model.ranking=whole_data with model.mean_over=triples: there are none. Give --mean_over=nothing for the "
            "sum over the users of a batch, or --mean_over=users for their mean."
        )


def select(sides: heads.Sides, users: types.Array, start: types.Array | int, size: int) -> heads.Sides:
    """The rows of some users and of a range of items."""
    return heads.Sides(
        jax.tree.map(lambda x: x[users], sides.user),
        jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), sides.item),
    )
