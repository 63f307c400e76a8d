"""The switches of the frame of graph models (``compose.py``), and what follows from them and the data set alone."""

from __future__ import annotations

from typing import Literal, Protocol

import pydantic

from mbjax import backbones, errors, heads, types
from mbjax.backbones import base
from mbjax.models import objectives, star_term

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
    users_per_epoch: int = pydantic.Field(
        0, ge=0, description="random users that an epoch visits; 0: all; steps_per_epoch other than 0 takes its place"
    )
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


class WithWeights(Protocol):
    """The section of a model whose behaviors have weights."""

    behavior_weights: tuple[float, ...] | None


def width(config: ComposedConfig, info: types.DatasetInfo) -> int:
    """The width of the representations that the head receives."""
    return backbones.BACKBONES[config.backbone.name].width(config.backbone, info, config.embedding_size)


def behavior_weights(config: WithWeights, info: types.DatasetInfo) -> tuple[float, ...]:
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
