"""The configuration of ``models/funnel.py``, and the penalty of its regression where that is chosen on validation."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pydantic
from scipy import sparse

from mbjax import types
from mbjax.features import extent, table
from mbjax.models import ease_penalty
from mbjax.ops import ridge

Family = Literal["touch", "count", "ease", "near", "rank", "time", "alike"]
MULTIPLE = 3.0
"""Penalty without validation pairs, in mean square lengths of a user's row."""


class FunnelConfig(pydantic.BaseModel):
    """What the experts see and learn from. Defaults serve every data set."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hidden: int = pydantic.Field(
        64, ge=0, description="units of the hidden layer for familiar items; 0: the linear term alone"
    )
    hidden_new: int = pydantic.Field(16, ge=0, description="likewise for new items, of which fewer answers are known")
    members: int = pydantic.Field(6, ge=1, description="networks that begin differently and are averaged")
    penalty: Literal["auto"] | pydantic.PositiveFloat = pydantic.Field(
        "auto",
        description="lambda' of the ridge regression [pairs]; auto: of "
        f"{', '.join(f'{x:g}' for x in ease_penalty.PENALTIES)} times the pairs of a mean user the best for new items "
        f"on validation pairs of {ease_penalty.USERS:,} users, or {MULTIPLE:g} times where there are none",
    )
    features: tuple[Family, ...] = pydantic.Field(
        table.FAMILIES,
        min_length=1,
        description="families of numbers that the experts see",
    )
    added_users: float = pydantic.Field(
        1.0,
        ge=0,
        description="users who are thought to share each two items, added to those counted where items are compared, "
        "which smooths what few have met [users]",
    )
    new_items: int = pydantic.Field(
        80, ge=1, description="new items of a user found by the regression, and as many by neighbors [items]"
    )
    sources: tuple[Literal["folds", "valid"], ...] = pydantic.Field(
        ("folds", "valid"),
        min_length=1,
        description="the lists that teach; folds: training pairs that are taken out again; valid: validation pairs. "
        "With both, one expert learns from all and one from validation pairs alone, weighted by what predicts the "
        "pairs of users whom neither has seen",
    )
    folds: int = pydantic.Field(6, ge=2, description="folds that training pairs are dealt into")
    fold_order: Literal["auto", "random", "latest", "time"] = pydantic.Field(
        "auto",
        description="how pairs are dealt, where it is known when they happened; random; latest: each user's latest "
        "pairs in the first fold, and so on; time: cut at the same moments for everyone, and nothing later is known; "
        "auto: time where validation pairs are later than all training pairs, else random",
    )
    taught_folds: int = pydantic.Field(6, ge=0, description="folds that are taken out and taught")
    max_lists: int = pydantic.Field(12000, ge=1, description="most lists of a fold [users]")
    list_length: int = pydantic.Field(64, ge=2, description="most candidates of a training list; a sample of more")
    times: Literal["auto", "always"] = pydantic.Field(
        "auto",
        description="whether the family time is seen; auto: where validation pairs are later than all training pairs. "
        "Elsewhere, as where each user's last pair is tested, what is late among the known pairs was never taken, and "
        "a model would learn to avoid it",
    )
    cross_fitting: bool = pydantic.Field(
        True, description="take what is to be predicted out of the numbers first; false: they know the answers"
    )
    left_out: Literal["auto", "user", "fold"] = pydantic.Field(
        "auto",
        description="what is left out of counts and similarities where familiar items of a fold are predicted; user: "
        "whose list it is; fold: the pairs of the fold as well, whoever has them, where times are not looked at; auto: "
        "fold up to whole_users users, beyond them user, since what users share is counted anew for each fold",
    )
    loss: Literal["listwise", "pointwise"] = pydantic.Field(
        "listwise", description="softmax over a list, or one by one"
    )
    gate: Literal["user", "constant", "fixed"] = pydantic.Field(
        "user",
        description="how often a familiar item comes next; user: a function of the user; constant: one share a "
        "behavior; fixed: as it begins, for runs that start from another's (train.init_from)",
    )
    l2_weight: float = pydantic.Field(
        2.0, ge=0, description="factor of the squares of an expert's weights, divided by the number of its lists"
    )
    whole_users: int = pydantic.Field(
        25_000,
        ge=1,
        description="of more users than these the regression is of some (regression_users), validation pairs of "
        "10,000 a behavior teach and are ranked on the way, and tables are made for some users after others",
    )
    regression_users: Literal["auto"] | pydantic.PositiveInt = pydantic.Field(
        "auto",
        description="users that the regression is fitted to, a sample of more; auto: all up to whole_users, beyond "
        f"them {extent.MOST:,}, and of more than 500,000 fewer, down to {extent.FEWEST:,}",
    )
    steps: int = pydantic.Field(60, ge=1, description="steps of an epoch")


def notes(config: FunnelConfig, info: types.DatasetInfo) -> tuple[str, ...]:
    """What of the data or of the configuration is not looked at, in sentences."""
    found: tuple[str, ...] = ()
    is_timed = extent.is_timed(config, info)
    if "time" in config.features and info.times and not is_timed:
        found += (
            "funnel: times are not looked at, since validation pairs are not later than all training pairs; with a "
            "split in time (--log.split=time_80_10_10) they are, and lists go by what is recent (model.times)",
        )
    if config.left_out == "fold" and (is_timed or not config.cross_fitting):
        reason = "times are looked at" if is_timed else "model.cross_fitting=false leaves nothing out"
        found += (f"funnel: model.left_out=fold changes nothing here, since {reason}",)
    return (*found, *extent.notes(config, info))


def penalty_of(config: FunnelConfig, evidence: types.Evidence) -> float:
    """lambda' [pairs].

    What is compared are regressions for new items, which see no column of the item (``ease_penalty``): familiar ones
    have many other numbers, and hardly depend on it.
    """
    if config.penalty != "auto":
        return config.penalty
    blocks = [sparse.csr_array(matrix).astype(np.float32) for matrix in evidence.train.values()]
    weights = ridge.column_weights(np.ones(len(blocks)), len(blocks), blocks[0].shape[1])
    found = ease_penalty.choose(blocks, weights, evidence, "all")
    absolute = ridge.absolute_penalty(ridge.weighted(blocks, weights), MULTIPLE if found is None else found)
    return float(f"{absolute:.4g}")
