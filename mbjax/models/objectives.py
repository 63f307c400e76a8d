"""The terms of the loss of composed models: contributions of a batch that add up over devices."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import pydantic

from mbjax import types
from mbjax.backbones import base
from mbjax.ops import all_users, pairs, projection, sampled_partition
from mbjax.ops import contrastive as alignment

LARGE = 100_000
"""Users and items together beyond which the candidates of the contrastive term are drawn."""
DRAWN = 4096
"""How many of either are, where nothing else is said."""


class ContrastiveConfig(base.Section):
    r"""Alignment of the target with every auxiliary behavior (COPF).

    .. math:: L = \sum_{a<K} \frac1U \sum_{(u,v)} \Big[ -\ln \frac{e^{\cos(Z^K_u, Z^a_u)/\tau}}
              {\sum_{u'} e^{\cos(Z^K_u, Z^a_{u'})/\tau}} - \text{the same of } v \text{ over all items} \Big]
    """

    weight: float = pydantic.Field(0.0, ge=0, description="gamma, weight of the contrastive term; 0: none")
    temperature: float = pydantic.Field(0.1, gt=0, description="tau, divisor of the similarities")
    reduction: Literal["pairs_over_users", "mean", "all_nodes"] = pydantic.Field(
        "pairs_over_users",
        description="sum over the batch's target pairs / number of all users (program), their mean, or the mean over "
        "all users and over all items (paper)",
    )
    similarity: Literal["cosine", "inner_product"] = pydantic.Field("cosine", description="similarity of two rows")
    side: Literal["both", "user", "item"] = pydantic.Field("both", description="what is aligned: users, items or both")
    candidates: int | None = pydantic.Field(
        None,
        ge=0,
        description="how many users, and how many items, an anchor is told from: drawn anew in every step, their sum "
        f"scaled up to all; 0: all, as in the paper; none: all up to {LARGE:,} users and items together, {DRAWN:,} "
        "beyond",
    )

    def drawn(self, info: types.DatasetInfo) -> int:
        """Candidates that are drawn of the users, and of the items; 0: they are all taken."""
        if self.candidates is not None:
            return self.candidates
        return DRAWN if info.num_users + info.num_items > LARGE else 0


class AlignmentConfig(base.Section):
    """Alignment of the two tables that a backbone names: InfoNCE within the batch's users (BiGEL, reconstructed)."""

    weight: float = pydantic.Field(0.0, ge=0, description="weight of the alignment; 0: none")
    temperature: float = pydantic.Field(0.2, gt=0, description="divisor of the cosines")
    side: Literal["user", "both"] = pydantic.Field(
        "user", description="the users of the batch; both: also its positive target items, against all items"
    )
    symmetric: bool = pydantic.Field(False, description="the mean of both directions")


class UniqueConfig(base.Section):
    """The unique-behavior loss of PKEF: what is left of a representation after projection predicts what is unique."""

    weight: float = pydantic.Field(0.0, ge=0, description="weight of the unique-behavior loss; 0: none")
    direction: Literal["code", "paper"] = pydantic.Field(
        "code",
        description="the part of j orthogonal to k predicts the pairs of k without j (program), or of j without k",
    )
    coefficient: Literal["projection", "cosine"] = pydantic.Field(
        "projection",
        description="how often the other row is taken away: as projection says (program), or the cosine (paper)",
    )
    scale: float = pydantic.Field(0.01, description="factor of the unique part, on each side")
    exclude: tuple[str, ...] = pydantic.Field((), description="behaviors that take no part in it")


class UniqueSet(NamedTuple):
    """One term of the unique-behavior loss: the part of ``part`` orthogonal to ``onto`` predicts ``pairs``."""

    name: str
    pairs: types.PairSet
    part: int
    onto: int
    weight: float
    scale: float
    coefficient: str


def bpr(scores: types.Array, drawn: types.Triples) -> types.Array:
    """Mean of ln(1 + sum exp(negative - positive)) over the batch's triples; scores [B, M + J M], positives first."""
    ahead = _ahead(scores, drawn)
    if ahead.shape[1] == 1:
        cost = jax.nn.softplus(ahead[:, 0])
    else:
        cost = jax.nn.logsumexp(jnp.pad(ahead, ((0, 0), (1, 0), (0, 0))), axis=1)
    return jnp.sum(drawn.weight * cost) / drawn.total


def hinge(scores: types.Array, drawn: types.Triples) -> types.Array:
    """Mean over the triples of the sum of max(0, 1 - positive + negative); scores as for ``bpr``."""
    cost = jnp.sum(jax.nn.relu(1.0 + _ahead(scores, drawn)), axis=1)
    return jnp.sum(drawn.weight * cost) / drawn.total


def _ahead(scores, drawn):
    """How far each negative is ahead of its positive, [B, J, M]."""
    num_rows, number = drawn.positive.shape
    return scores[:, number:].reshape(num_rows, -1, number) - scores[:, None, :number]


RANKINGS = {"bpr": bpr, "hinge": hinge}


def contrastive(
    config: ContrastiveConfig,
    encoding: base.Encoding,
    info: types.DatasetInfo,
    batch: types.UserBatch,
    key: types.Array | None = None,
) -> types.Array:
    """The alignment loss; anchors are the target's rows of the batch's positive target pairs, or of all nodes.

    ``key``: of the step, the same on all devices, for candidates that are drawn; None: they are all taken.
    """
    size = 0 if key is None else config.drawn(info)
    drawn = batch.triples[info.target]
    if config.reduction == "all_nodes":
        every = jnp.where(all_users.real(batch, info), all_users.share(batch) / all_users.number(batch, info), 0.0)
        weights = every, jnp.full(info.num_items, batch.share / info.num_items)
        rows = tuple((jnp.arange(len(weight)), weight) for weight in weights)
    else:
        divisor = jnp.float32(all_users.number(batch, info)) if config.reduction == "pairs_over_users" else drawn.total
        everyone = jnp.broadcast_to(batch.user[:, None], drawn.positive.shape)
        weights = (
            alignment.multiplicity(everyone, drawn.weight, info.num_users) / divisor,
            alignment.multiplicity(drawn.positive, drawn.weight, info.num_items) / divisor,
        )
        rows = (
            (batch.user, jnp.sum(drawn.weight, axis=1) / divisor),
            (drawn.positive.reshape(-1), drawn.weight.reshape(-1) / divisor),
        )
    loss = 0.0
    target = base.users_items(encoding.behaviors[-1], info)
    for table in encoding.behaviors[:-1]:
        for n, (anchor, candidates) in enumerate(zip(target, base.users_items(table, info), strict=True)):
            if config.side not in ("both", ("user", "item")[n]):
                continue
            if n == 0 and batch.block is not None:
                loss += _among_blocks(config, anchor, candidates, weights[n], info, batch)
            elif 0 < size < len(candidates):
                loss += _among_drawn(config, anchor, candidates, *rows[n], size, jax.random.fold_in(key, n))
            else:
                loss += alignment.info_nce(anchor, candidates, weights[n], config.temperature, config.similarity)
    return loss


def _among_drawn(config, anchor, candidates, index, weight, size, key):
    """A side's part of ``contrastive`` against candidates that are drawn, the same for every behavior.

    The anchors are ``index``, one of which may come again: they are as many as a batch has pairs, not rows of a table.
    """
    number = len(candidates)
    drawn, begin = sampled_partition.draw(key, size, number)
    return alignment.sampled_info_nce(
        anchor[index],
        candidates[index],
        candidates[drawn],
        sampled_partition.is_in(index, drawn, begin, number),
        weight,
        number / size,
        config.temperature,
        config.similarity,
    )


def _among_blocks(config, anchor, candidates, weight, info, batch):
    """The users' part of ``contrastive`` where they are divided: of this device's anchors, against all users.

    Without ``all_nodes`` the anchors are the rows of the batch, a user who is in it twice with half the weight each.
    """
    own = candidates
    if config.reduction != "all_nodes":
        times = jnp.zeros(info.num_users).at[batch.user].add(batch.weight)[batch.user]
        anchor, own = anchor[batch.user], candidates[batch.user]
        weight = batch.weight * weight[batch.user] / jnp.maximum(times, 1.0)
    is_real = all_users.real(batch, info)
    options = config.temperature, config.similarity
    return alignment.info_nce_of_blocks(anchor, own, candidates, weight, is_real, *options)


def align(
    config: AlignmentConfig, encoding: base.Encoding, info: types.DatasetInfo, batch: types.UserBatch
) -> types.Array:
    """The mean over the users of the global batch, against each other; and over the batch's target positives.

    A user that a batch holds twice, which only a ``steps_per_epoch`` set by hand can bring about, counts twice.
    """
    directions = [encoding.alignment, encoding.alignment[::-1]] if config.symmetric else [encoding.alignment]
    loss = 0.0
    for anchor, candidates in directions:
        (user, item), (other_user, other_item) = (base.users_items(x, info) for x in (anchor, candidates))
        rows = alignment.normalize(user[batch.user]) / config.temperature
        own = jnp.sum(rows * alignment.normalize(other_user[batch.user]), axis=1)
        # The candidates are the users of all devices, so that the loss does not depend on their number.
        if batch.block is None:
            others, is_real = alignment.normalize(other_user[jnp.maximum(batch.everyone, 0)]), batch.everyone >= 0
        else:
            others = all_users.gathered(alignment.normalize(other_user[batch.user]))
            is_real = all_users.gathered(batch.weight) > 0
        logits = rows @ others.T
        total = jax.nn.logsumexp(jnp.where(is_real, logits, -jnp.inf), axis=1)
        loss += jnp.dot(batch.weight, total - own) / batch.total
        if config.side == "both":
            drawn = batch.triples[info.target]
            count = alignment.multiplicity(drawn.positive, drawn.weight, info.num_items)
            loss += alignment.info_nce(item, other_item, count, config.temperature) / drawn.total
    return loss / len(directions)


def unique_sets(config: UniqueConfig, info: types.DatasetInfo, weights: tuple[float, ...]) -> tuple[UniqueSet, ...]:
    """The terms that are alive: for each ordered pair of behaviors (k, j) whose first has a weight."""
    if not config.weight:
        return ()
    found = []
    for k, first in enumerate(info.behaviors):
        for j, second in enumerate(info.behaviors):
            if k == j or not weights[k] or {first, second} & set(config.exclude):
                continue
            if config.direction == "code":
                pair_set = types.PairSet(first, without=second)
            else:
                pair_set = types.PairSet(second, without=first)
            name = f"{pair_set.behavior}_without_{pair_set.without}"
            found.append(UniqueSet(name, pair_set, j, k, config.weight * weights[k], config.scale, config.coefficient))
    return tuple(found)


def unique(
    spec: UniqueSet, encoding: base.Encoding, info: types.DatasetInfo, batch: types.UserBatch, scale: float
) -> types.Array:
    """The mean over the triples of one set; the projection is on users and items separately."""
    rows, onto = encoding.behaviors[spec.part], encoding.behaviors[spec.onto]
    user, item = base.users_items(rows, info)
    user_onto, item_onto = base.users_items(onto, info)
    user, user_onto = user[batch.user], user_onto[batch.user]
    drawn = batch.triples[spec.name]
    pairing = pairs.Pairs(jnp.concatenate([drawn.positive, drawn.negative], axis=1))
    factor = projection.cosine if spec.coefficient == "cosine" else projection.coefficient
    sides = ((user, user_onto), (item, item_onto))
    scores = pairing.product(*(side - factor(side, direction) * direction for side, direction in sides))
    return bpr(scale * spec.scale**2 * scores, drawn)


def probe_batch(triples, histories=()) -> types.UserBatch:
    """The smallest batch: one user, a triple and one item. Parameters are created by running the loss on it."""
    one, index = jnp.ones((), jnp.float32), jnp.zeros((1, 1), jnp.int32)
    drawn = types.Triples(index, index, jnp.ones((1, 1), jnp.float32), one)
    return types.UserBatch(
        user=jnp.zeros(1, jnp.int32),
        weight=jnp.ones(1, jnp.float32),
        everyone=jnp.zeros(1, jnp.int32),
        noise=jnp.zeros((1, 2), jnp.uint32),
        history=dict.fromkeys(histories, types.Ragged(jnp.array([0, 1], jnp.int32), index[0], index[0])),
        total=one,
        share=one,
        triples=dict.fromkeys(triples, drawn),
    )
