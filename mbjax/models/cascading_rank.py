r"""CascadingRank: one random walk with restart for each user and behavior, each begun where the one before it ended.

Ko, Jeon, Jung: CascadingRank, arXiv 2502.11335 (2025). Nothing is learned. For a user the behaviors are gone through in
funnel order, and on the graph of behavior k these two are repeated until they stay:

.. math::
    r_u &\leftarrow \gamma S_k r_i + \alpha q_u + \beta c_u \\
    r_i &\leftarrow \gamma S_k^T r_u + \alpha q_i + \beta c_i, \qquad \gamma = 1 - \alpha - \beta

S_k = D_U^{-1/2} R_k D_I^{-1/2}, q_u: 1 at the user, q_i: the user's row of R_k divided by its sum (both: the
*query*), c: the result of the behavior before (the *cascade*). Behavior k is ranked by r_i of its own stage.

The cascade of the first behavior is its query. That is inferred, not read in the paper's program: with a cascade of 0
and the alpha = 0 published for Taobao everything dies away (HR@10 .04 on 600 test users), with the user's one alone it
is .30, with the whole query .33, which is the published number.

Work and memory: users are taken ``users_at_once`` to a block, whose state [U + I, users_at_once] is all the memory
needed, and each step is two products of a sparse matrix with it. A user's values are held as soon as they change by no
more than ``tolerance``, so that they do not depend on who else is in the block.

A user whom the graph does not hold (``types.Model.fold_in``) walks on it as if he alone were added, and the degrees of
the items stay as they are: the walk comes back to him over the items that he met.

Differences: the paper's program is not reproduced line by line. Within a step r_i sees the new r_u; the fixed point is
the same, and it is reached in fewer steps. The change is the sum of absolute differences over all users and items.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pydantic

from mbjax import types
from mbjax.models import untrained
from mbjax.ops import blocks, graph, platforms, rows


class CascadingRankConfig(pydantic.BaseModel):
    """Weights of query and cascade, and when to stop."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    alpha: float = pydantic.Field(0.0, ge=0, le=1, description="weight of the user's own row of the behavior (query)")
    beta: float = pydantic.Field(0.9, ge=0, le=1, description="weight of the result of the behavior before (cascade)")
    tolerance: float = pydantic.Field(
        1e-4, ge=0, description="a user's values stand once they change by no more in a step [sum of absolute values]"
    )
    max_steps: int = pydantic.Field(100, ge=1, description="most steps on the graph of one behavior")
    users_at_once: int = pydantic.Field(
        32, ge=1, description="columns of the dense matrices; decides speed and memory, no result [users]"
    )

    @pydantic.model_validator(mode="after")
    def _weights(self) -> CascadingRankConfig:
        if self.alpha + self.beta > 1:
            raise ValueError(f"alpha={self.alpha} and beta={self.beta} add up to more than 1")
        if not self.alpha + self.beta:  # a walk that never begins anew forgets where it began
            raise ValueError("alpha=0 and beta=0 give all users one list; let one of them be above 0")
        return self


def build(config: CascadingRankConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: its weights.
      info: sizes and behaviors.
      batch_size: unused; there is nothing to train.
    """
    del batch_size

    def encode(graphs):
        return [graphs[name] for name in info.behaviors]

    def score(tables, users, start, size, behavior):
        stages = tables[: behavior + 1]

        def block(block_users):
            _, item = cascade(config, stages, block_users)
            return jax.lax.dynamic_slice_in_dim(item, start, size).T

        return blocks.over_blocks(block, users, config.users_at_once)

    specs = {name: types.GraphSpec((name,), normalization="symmetric") for name in info.behaviors}
    return untrained.model(info, specs, encode, score, fold_in=types.PROPAGATED)._replace(all_items=True)


def cascade(
    config: CascadingRankConfig, stages: list[types.Graph], users: types.Array
) -> tuple[types.Array, types.Array]:
    """The walks of some users through all stages.

    Args:
      config: weights and limits.
      stages: S_k [U, I] of each behavior, upstream to downstream.
      users: int32 [B].

    Returns:
      r_u [U, B] and r_i [I, B] of the last stage.
    """
    num_users, num_items = stages[0].matrix.shape
    query_user = jnp.zeros((num_users, users.shape[0]), jnp.float32).at[users, jnp.arange(users.shape[0])].set(1.0)
    result, longest = None, steps_of(config, stages)
    for stage, most in zip(stages, longest, strict=True):
        row = rows.met(stage.row_ptr, stage.matrix.indices[:, 1], users, 0, num_items)
        query = query_user, (row / jnp.maximum(row.sum(axis=1, keepdims=True), 1.0)).T
        result = walk(config, stage, most, query, result or query, _unread(stage, users))
    return result


def steps_of(config: CascadingRankConfig, stages: list[types.Graph]) -> list[int]:
    r"""The number of steps on the graph of each behavior after which no user's values change by more than allowed.

    Multiplying by S_k lengthens no vector: its norm s is 1, and sqrt 2 where the degrees leave out a user who reads,
    since an item then has at least half of the degree that it would have with him. So what changes dies away,

    .. math:: |\Delta r_u| \le \gamma s |\Delta r_i|, \qquad |\Delta r_i'| \le \gamma s |\Delta r_u|

    from at most the lengths of two results, which are bounded likewise, query and first cascade by 1. A sum of n
    absolute values is at most sqrt n times the length. Users who read and are not read by the one who walks are not
    counted in it, but no value of theirs is above it. Rounding is left out: with a tolerance below that of float32,
    where a CPU goes on to ``max_steps``, the results may differ by it.
    """
    gamma = 1.0 - config.alpha - config.beta
    cascade, found = (1.0, 1.0), []
    for stage in stages:
        num_users, num_items = stage.matrix.shape
        shrinks, users = (2.0**0.5 * gamma, num_users) if _lacks(stage) else (gamma, num_users**0.5)
        user, item = longest = cascade
        changed_user = changed_item = 0.0
        for step in range(config.max_steps):
            next_user = shrinks * item + config.alpha + config.beta * cascade[0]
            next_item = shrinks * next_user + config.alpha + config.beta * cascade[1]
            changed_user = shrinks * changed_item if step else user + next_user
            changed_item = shrinks * changed_user if step else item + next_item
            user, item = next_user, next_item
            longest = max(longest[0], user), max(longest[1], item)
            if users * changed_user + num_items**0.5 * changed_item <= config.tolerance:
                break
        cascade = longest
        found.append(step + 1)
    return found


def _lacks(stage: types.Graph) -> bool:
    """Whether the transpose lacks entries: those of users whom nobody reads."""
    return stage.matrix.nse != stage.transpose.nse


def _unread(stage: types.Graph, users: types.Array) -> tuple[types.Array, types.Array] | None:
    """The users and what their rows of S_k hold that its transpose lacks, as ``walk`` takes it."""
    if not _lacks(stage):
        return None
    num_rows, num_items = stage.matrix.shape
    is_read = jnp.zeros(num_rows).at[stage.transpose.indices[:, 1]].set(1.0)
    row = rows.met(stage.row_ptr, stage.matrix.indices[:, 1], users, 0, num_items, stage.matrix.data)
    return users, ((1.0 - is_read[users, None]) * row).T


def walk(
    config: CascadingRankConfig,
    stage: types.Graph,
    most: int,
    query: tuple[types.Array, types.Array],
    before: tuple[types.Array, types.Array],
    unread: tuple[types.Array, types.Array] | None = None,
) -> tuple[types.Array, types.Array]:
    """One stage of the walk.

    Args:
      config: weights and limits.
      stage: S_k [U, I].
      most: steps of an accelerator, of ``steps_of``.
      query: q_u [U, B] and q_i [I, B].
      before: result of the stage before, which is also the cascade.
      unread: the users [B] and their rows of S_k [I, B] that the stored transpose lacks; None: it lacks none.

    Returns:
      r_u [U, B] and r_i [I, B].
    """
    gamma = 1.0 - config.alpha - config.beta
    user_base, item_base = (config.alpha * q + config.beta * c for q, c in zip(query, before, strict=True))

    def is_going_on(state):
        step, _, _, moving = state
        return (step < config.max_steps) & moving.any()

    def advance(state):
        step, user, item, moving = state
        next_user = gamma * graph.spmm(stage, item) + user_base
        next_item = gamma * graph.spmm(graph.transposed(stage), next_user) + item_base
        if unread is not None:
            users, rows_of = unread
            next_item += gamma * rows_of * next_user[users, jnp.arange(users.shape[0])]
        change = jnp.sum(jnp.abs(next_user - user), axis=0) + jnp.sum(jnp.abs(next_item - item), axis=0)  # [B]
        user, item = jnp.where(moving, next_user, user), jnp.where(moving, next_item, item)
        return step + 1, user, item, moving & (change > config.tolerance)

    def until_all_stand(state):
        return jax.lax.while_loop(is_going_on, advance, state)

    def counted(state):
        return jax.lax.fori_loop(0, most, lambda _, state: advance(state), state)

    moving = jnp.ones(before[0].shape[1], bool)
    state = (jnp.int32(0), *before, moving)
    _, user, item, _ = platforms.choose(state, cpu=until_all_stand, default=counted)
    return user, item
