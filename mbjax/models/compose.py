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

import warnings
from collections.abc import Mapping

from mbjax import backbones, errors, heads, types
from mbjax.backbones import base
from mbjax.models import compose_config, composed, objectives, star_term

LARGE = 100_000
"""Users and items together beyond which the terms of the loss are computed one after another."""


def build(config: compose_config.ComposedConfig, info: types.DatasetInfo, batch_size: int) -> types.Model:
    """Makes a composed model for a data set.

    Args:
      config: its switches.
      info: sizes and behaviors.
      batch_size: users in a batch, over all devices.

    Raises:
      ConfigError: lists or weights that do not fit the number of behaviors.
    """
    weights = compose_config.behavior_weights(config, info)
    module = composed.Composed(config, info)
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
    in_turns = bool(specs) and len(composed.terms(config, info)) > 1 and info.num_users + info.num_items > LARGE

    def init(key, graphs):
        return module.init(key, graphs, objectives.probe_batch(triples, histories), method=composed.Composed.loss)

    def loss(params, graphs, batch, key, step):
        del step
        if in_turns:
            return composed.in_turns(module, params, graphs, batch, key)
        return module.apply(params, graphs, batch, rngs={base.DROPOUT: key}, method=composed.Composed.loss)

    def encode(params, graphs):
        return module.apply(params, graphs, method=composed.Composed.tables)

    def score(params, tables, users, start, size, behavior):
        return module.apply(
            params, composed.select(tables[behavior], users, start, size), behavior, method=composed.Composed.block
        )

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


def _notes(config: compose_config.ComposedConfig, info: types.DatasetInfo) -> tuple[str, ...]:
    """What the size of the data set decided, and what one setting makes of another."""
    return (*_of_contrastive(config, info), *_of_epochs(config))


def _of_epochs(config: compose_config.ComposedConfig) -> tuple[str, ...]:
    if not (config.users_per_epoch and config.steps_per_epoch):
        return ()
    return (
        f"an epoch is counted in batches (model.steps_per_epoch={config.steps_per_epoch}), so that "
        f"model.users_per_epoch={config.users_per_epoch} is not looked at",
    )


def _of_contrastive(config: compose_config.ComposedConfig, info: types.DatasetInfo) -> tuple[str, ...]:
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


def _by_row(
    config: compose_config.ComposedConfig, specs: Mapping[str, types.GraphSpec]
) -> Mapping[str, types.RowTable] | str:
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


def _check_ranking(config: compose_config.ComposedConfig, info: types.DatasetInfo) -> None:
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
