r"""MB-EASE: every item of every behavior from all other columns of all behaviors, by ridge regressions in closed form.

Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, on the blocks of all behaviors side by side:
see ``ops.ridge`` for the equations. One inverse serves every item and every behavior. Two readings of what an item may
not be predicted from:

* ``own_columns="kept"``: the target's column of the item is left out, as in EASE. A view of an item speaks for buying
  it: right where the pairs asked for are of items that the user met through another behavior.
* ``own_columns="left_out"``: the item's columns of all behaviors are left out. The regression cannot learn that people
  buy what they viewed, and has to say what else they buy: right where the pairs asked for are new to the user.

Rows are divided by (a user's number of pairs)^``activity_exponent``, columns by (pairs of the item in the
behavior)^``frequency_exponent``. The latter is the penalty :math:`\lambda n_i^{2\beta}` of Rendle et al. (RecSys 2022)
on the weight of a column. The penalty has no unit: it is times the mean square length of a row.

The system is solved in the dual form, [U, U], or in the primal one, [K I, K I], by what is smaller, or in the latter
with ``rank`` eigenvectors (``ops.low_rank``), where neither fits into memory. A user whom training has not seen is
multiplied by the same weights, so that his list is exact.

Differences: EASE has one behavior, and rows and columns as they are (exponents of 0). Weights of low rank are A A^T but
for the columns left out, as in ELSA (RecSys 2022); A are eigenvectors here, and found by gradient steps there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import scipy.sparse

from mbjax import errors, types
from mbjax.models import ease_penalty, ease_shares, untrained
from mbjax.ops import blocks as row_blocks
from mbjax.ops import graph, inverse, low_rank, memory, primal, ridge

HOST = 16  # bytes of a pair: scaled, and once more side by side
LEAVE: dict[str, ridge.Leave] = {"kept": "own", "left_out": "all"}


class EaseConfig(pydantic.BaseModel):
    """What the regressions see, and how they are solved."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    own_columns: Literal["kept", "left_out"] = pydantic.Field(
        "kept",
        description="the item's columns of other behaviors among what predicts it; kept: a view of an item counts for "
        "buying it; left_out: only other items count, for lists of what is new to the user",
    )
    penalty: Literal["auto"] | pydantic.PositiveFloat = pydantic.Field(
        "auto",
        description="of the squared weights, times the mean square length of a user's row; auto: of "
        f"{', '.join(f'{x:g}' for x in ease_penalty.PENALTIES)} the best on validation pairs of "
        f"{ease_penalty.USERS:,} users, or {ease_penalty.DEFAULT:g} where there are none",
    )
    behavior_weights: tuple[pydantic.NonNegativeFloat, ...] | None = pydantic.Field(
        None, description="weight of each behavior's columns, in funnel order; 0: it predicts nothing; none: 1 each"
    )
    activity_exponent: float = pydantic.Field(
        0.0, ge=0, le=2, description="rows are divided by the user's number of pairs to this power; 0: not at all"
    )
    frequency_exponent: float = pydantic.Field(
        0.0,
        ge=0,
        le=2,
        description="columns are divided by their number of pairs to this power, so that frequent ones are penalized "
        "more; 0: not at all",
    )
    form: Literal["auto", "dual", "primal"] = pydantic.Field(
        "auto", description="invert a matrix of users (dual) or of the columns of all behaviors (primal); auto: smaller"
    )
    rank: int = pydantic.Field(
        0, ge=0, description="eigenvectors kept in place of an inverse, for what does not fit into memory; 0: exact"
    )


def build(config: EaseConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: its regressions.
      info: sizes and behaviors.
      batch_size: unused; there is nothing to train.

    Raises:
      ConfigError: not one weight for each behavior, or none above 0.
    """
    del batch_size
    weights = behavior_weights(config, info)

    def prepare(evidence: types.Evidence) -> dict[str, object]:
        num_users = next(iter(evidence.train.values())).shape[0]
        form = form_of(config, weights, num_users, info.num_items)
        _check_memory(config, form, num_users, weights, info.num_items)
        scaled, activity = scale(config, evidence.train)
        columns = column_weights(config, weights, evidence.train)
        chosen, penalty = None, config.penalty
        if penalty == "auto":
            chosen = ease_penalty.choose(scaled, columns, evidence, LEAVE[config.own_columns])
            penalty = ease_penalty.DEFAULT if chosen is None else chosen
        whole = scaled
        if evidence.passive is not None:
            passive, more = scale(config, evidence.passive)
            whole = [scipy.sparse.csr_array(scipy.sparse.vstack(pair)) for pair in zip(scaled, passive, strict=True)]
            activity = np.concatenate([activity, more])
        placed = [graph.build(mine, _above(known, mine)) for mine, known in zip(whole, scaled, strict=True)]
        solve = ridge.coefficients if form == "dual" else primal.coefficients
        if form == "dual":
            solved = ridge.invert(scaled, columns, penalty)
            products = ridge.gram(placed, solved)
        elif form == "primal":
            solved = primal.invert(scaled, columns, penalty)
            products = primal.gram(solved)
        else:
            absolute = ridge.absolute_penalty(ridge.weighted(scaled, columns), penalty)
            overlaps = low_rank.overlaps(scaled)
            solved = low_rank.solve(placed, overlaps, columns, absolute, config.rank, seed=evidence.seed)
            products = low_rank.gram(solved)
        leave = LEAVE[config.own_columns]
        own = np.stack([solve(products, target, leave, columns) for target in range(info.num_behaviors)])
        counts = np.stack([np.bincount(m.indices, minlength=info.num_items) for m in evidence.train.values()])
        return {
            "solved": solved,
            "own": jnp.asarray(own),  # [targets, I, K]
            "blocks": tuple(placed),
            "activity": jnp.asarray(activity),
            "penalty": jnp.float32(penalty),
            "is_chosen": jnp.asarray(chosen is not None),
            "worth": jnp.asarray(ease_shares.worth(solved, placed, own, products, counts, leave)),
        }

    def preparing(evidence: types.Evidence) -> types.Preparation:
        return _preparing(config, weights, evidence)

    def encode(graphs):
        """The prepared parts, and rows that stand for users: passive ones in the dual form, all with a low rank."""
        tables = {name: graphs[name] for name in ("solved", "own", "blocks", "activity")}
        if isinstance(graphs["solved"], ridge.Dual):
            tables["passive"] = _passive(graphs["solved"], graphs["blocks"])
        elif isinstance(graphs["solved"], low_rank.LowRank):
            tables["codes"] = low_rank.codes(graphs["solved"], graphs["blocks"])
        return tables

    def score(tables, users, start, size, behavior):
        # Columns that no regression leaves out need no products of their own.
        chosen = [
            b for b in range(info.num_behaviors) if b == behavior or (config.own_columns == "left_out" and weights[b])
        ]
        blocks = [tables["blocks"][b] for b in chosen]
        own = jax.lax.dynamic_slice_in_dim(tables["own"][behavior], start, size)[:, jnp.array(chosen)]  # [size, chosen]
        entries = ridge.entries(blocks, users, start, size)  # [chosen, B, size]
        target, solved = chosen.index(behavior), tables["solved"]
        if isinstance(solved, ridge.Dual):
            v, is_passive = _rows_of_users(tables, users)
            products = ridge.rows(solved, blocks, v, start, size) - is_passive[:, None] * entries
            out = ridge.combine(products, own, target)
        elif isinstance(solved, primal.Primal):
            out = primal.combine(primal.rows(solved, tables["blocks"], users, start, size, chosen=chosen), own)
        else:
            products = low_rank.rows(solved, tables["blocks"], tables["codes"], users, start, size, chosen)
            out = primal.combine(products, own)
        return (entries[target] + out) / tables["activity"][users][:, None]

    def shares(params, tables, user, item, behavior):
        return ease_shares.shares(tables, user, item, behavior, LEAVE[config.own_columns])

    def findings(params, graphs):
        leave = LEAVE[config.own_columns]
        return ease_shares.findings(info, np.asarray(graphs["worth"]), float(graphs["penalty"]), leave)

    def choices(params, graphs):
        return {"model.penalty": float(f"{float(graphs['penalty']):g}")} if graphs["is_chosen"] else {}

    return untrained.model(info, {}, encode, score)._replace(
        prepare=prepare,
        preparing=preparing,
        choices=choices,
        explanation=types.Explanation(tuple((name,) for name in info.behaviors), shares),
        findings=findings,
    )


def behavior_weights(
    config: Any, info: types.DatasetInfo, nothing: str = "nothing would predict anything"
) -> tuple[float, ...]:
    """One weight for each behavior. Raises ConfigError for another number of them, or none above 0.

    Args:
      config: with a field ``behavior_weights``.
      info: the behaviors.
      nothing: what it comes to if no weight is above 0.
    """
    weights = config.behavior_weights or (1.0,) * info.num_behaviors
    if len(weights) != info.num_behaviors:
        raise errors.ConfigError(
            f"model.behavior_weights has {len(weights)} values for {info.num_behaviors} behaviors "
            f"({', '.join(info.behaviors)}); give one for each, in this order."
        )
    if not any(weights):
        raise errors.ConfigError(f"model.behavior_weights are all 0: {nothing}. Give one above 0.")
    return weights


def form_of(config: EaseConfig, weights: Sequence[float], num_users: int, num_items: int) -> str:
    """``"dual"``, ``"primal"`` or ``"low_rank"``."""
    if (config.form == "primal" or config.rank) and not all(weights):
        asked = f"model.rank={config.rank}" if config.rank else "model.form=primal"
        raise errors.IncompatibleError(
            f"{asked} needs weights above 0 for all behaviors (model.behavior_weights); use model.form=dual."
        )
    if config.rank:
        return "low_rank"
    if config.form != "auto":
        return config.form
    return "primal" if len(weights) * num_items < num_users and all(weights) else "dual"


def scale(config: EaseConfig, pairs) -> tuple[list[scipy.sparse.csr_array], np.ndarray]:
    """Blocks with scaled rows, float32, and what the rows were multiplied with, float32 [U]."""
    blocks = [scipy.sparse.csr_array(matrix).astype(np.float32) for matrix in pairs.values()]
    counts = sum(np.diff(block.indptr) for block in blocks)
    factor = np.power(np.maximum(counts, 1), -config.activity_exponent).astype(np.float32)
    return [scipy.sparse.csr_array(scipy.sparse.diags_array(factor) @ block) for block in blocks], factor


def column_weights(config: EaseConfig, weights: Sequence[float], train) -> np.ndarray:
    """Of the columns, float32 [K, I]."""
    counts = np.stack([np.bincount(matrix.indices, minlength=matrix.shape[1]) for matrix in train.values()])
    return np.asarray(weights, np.float32)[:, None] * np.power(
        np.maximum(counts, 1), -config.frequency_exponent
    ).astype(np.float32)


def _above(known: scipy.sparse.csr_array, whole: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """The known rows in the shape of the whole."""
    out = known.copy()
    out.resize(whole.shape)
    return out


def _passive(solved: ridge.Dual, blocks: Sequence[types.Graph]) -> types.Array:
    """v of the passive users, [N, U]."""
    num_users, (num_rows, num_items) = solved.inverse.shape[0], blocks[0].matrix.shape
    if num_rows == num_users:
        return jnp.zeros((0, num_users), jnp.float32)
    users = jnp.arange(num_users, num_rows, dtype=jnp.int32)

    def block(some):
        return ridge.project(solved, blocks, ridge.entries(blocks, some, 0, num_items))

    return row_blocks.over_blocks(block, users, ridge.DENSE_COLUMNS)


def _rows_of_users(tables: types.Tables, users: types.Array) -> tuple[types.Array, types.Array]:
    """v of any users, [B, U]: - lambda' P_u, or that of passive ones; and who is passive, float32 [B]."""
    solved, passive = tables["solved"], tables["passive"]
    num_users = solved.inverse.shape[0]
    mine = -solved.penalty * solved.inverse[jnp.minimum(users, num_users - 1)]
    if not passive.shape[0]:
        return mine, jnp.zeros(users.shape[0], jnp.float32)
    is_passive = users >= num_users
    theirs = passive[jnp.maximum(users - num_users, 0)]
    return jnp.where(is_passive[:, None], theirs, mine), is_passive.astype(jnp.float32)


def _preparing(config: EaseConfig, weights: Sequence[float], evidence: types.Evidence) -> types.Preparation:
    """Blocks and their solution; beside them what solving takes, or what choosing a penalty does."""
    train = evidence.train
    (num_users, num_items), number = next(iter(train.values())).shape, len(train)
    pairs = sum(matrix.nnz for matrix in train.values())
    form = form_of(config, weights, num_users, num_items)
    f32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    of_columns = f32((number, num_items))
    solved = {
        "dual": lambda: ridge.Dual(f32((num_users, num_users)), f32(()), of_columns),
        "primal": lambda: primal.Primal(f32((number * num_items,) * 2), f32(()), of_columns),
        "low_rank": lambda: low_rank.LowRank(
            f32((number, num_items, min(config.rank, num_users, number * num_items))),
            f32((num_items, number, number)),
            of_columns,
        ),
    }[form]()
    made = {
        "solved": solved,
        "own": f32((number, num_items, number)),
        "blocks": tuple(graph.shape_of(num_users, num_items, matrix.nnz) for matrix in train.values()),
        "activity": f32((num_users,)),
        "penalty": f32(()),
        "is_chosen": jax.ShapeDtypeStruct((), jnp.bool_),
        "worth": f32((number, number, 2)),
    }
    needed, what, remedy = _needed(config, form, num_users, len(weights), num_items)
    choosing = 0 if config.penalty != "auto" else ease_penalty.bytes_needed(num_users, num_items)
    beside = max(needed - sum(leaf.size * 4 for leaf in jax.tree.leaves(solved)), choosing)
    return types.Preparation(made, beside + HOST * pairs, what, remedy)


def _needed(config: EaseConfig, form: str, num_users: int, num_behaviors: int, num_items: int) -> tuple[int, str, str]:
    """Bytes that solving takes at its peak, its result included; what decides it, and what would make it smaller."""
    columns = num_behaviors * num_items
    if form == "low_rank":
        needed = low_rank.bytes_needed(num_users, columns, config.rank)
        return needed, f"keeps {config.rank:,} eigenvectors", "a smaller model.rank"
    needed = inverse.bytes_needed(num_users if form == "dual" else columns, jax.default_backend())
    of = f"{num_users:,} users" if form == "dual" else f"{columns:,} columns of items and behaviors"
    return needed, f"inverts a matrix of {of}", "model.rank=512 (low rank)"


def _check_memory(config: EaseConfig, form: str, num_users: int, weights: Sequence[float], num_items: int) -> None:
    """Raises IncompatibleError for what does not fit into memory, before anything begins."""
    needed, what, remedy = _needed(config, form, num_users, len(weights), num_items)
    available = memory.available()
    if available is not None and needed > available:
        where = "memory" if jax.default_backend() == "cpu" else "memory of the accelerator"
        raise errors.IncompatibleError(
            f"model 'ease' {what}, which takes {needed / 1e9:,.1f} GB; {available / 1e9:,.1f} GB of {where} are free. "
            f"Use {remedy}."
        )
