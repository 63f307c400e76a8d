"""Top-K lists of many users: queries prepared on the host once, one compiled pass over them.

What a pass needs from the data set lies on the device from the start; params and tables are arguments. So a pass
compiles once for each model, behavior and set of users, and is then reused over all epochs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from scipy import sparse

from mbjax import errors, parallel, precision, seen, shards, types
from mbjax.ops import capped, ranking

FULL, FEW = 2, 2**20
"""Stored pairs, padding included, up to which users are ranked in their order: so many times the pairs, or so many."""


@struct.dataclass
class Queries:
    """Users in batches of equal size, with the pairs that are no candidates, or with those that alone are.

    Attributes:
      user: int32 [T, B]; the last user is repeated to fill the last batch.
      row: int32 [T, M], the place in its batch of each pair.
      item: int32 [T, M]; padding is I.
      only: bool [T, B], whether a user's pairs are his candidates; else every other item is one. None: for nobody.
      places: int32 [n], where each of those asked for stands among T * B; None: in their order.
      placement: the devices that the batches are divided among.
    """

    user: types.Array
    row: types.Array
    item: types.Array
    only: types.Array | None = None
    places: types.Array | None = None
    placement: parallel.Placement = struct.field(pytree_node=False, default=parallel.ONE)


@struct.dataclass
class Limits:
    """What decides of the items of every list, whoever it is for.

    Attributes:
      listed: bool [I], which items may be listed; None: all.
      group: int32 [I], the group of each item, 0 .. G - 1, and G for none; None: there are no groups.
      num_groups: G.
      most: items of a group in a list; not asked for without groups.
    """

    listed: types.Array | None = None
    group: types.Array | None = None
    num_groups: int = struct.field(pytree_node=False, default=0)
    most: int = struct.field(pytree_node=False, default=0)


def prepare(
    users: np.ndarray,
    masked: sparse.csr_array,
    batch_size: int,
    *,
    only: sparse.csr_array | None = None,
    like: Queries | None = None,
    placement: parallel.Placement = parallel.ONE,
) -> Queries:
    """Puts users and the pairs that decide their candidates on the device.

    Args:
      users: int [n], at least one.
      masked: [U, I], a stored entry is a pair that is no candidate.
      batch_size: the largest number of users scored at once; batches are made as equal as possible.
      only: [U, I], a stored entry is a pair that is a candidate, if it is not masked; None: every pair is.
      like: of the same users and batch size, whose places they get too.
      placement: the devices that the batches are divided among.
    """
    if only is None:
        return pack(users, masked[users], batch_size, like=like, placement=placement)
    rows = seen.without(only[users], masked[users])
    return pack(users, rows, batch_size, only=np.ones(len(users), bool), like=like, placement=placement)


def pack(
    users: np.ndarray,
    rows: sparse.csr_array,
    batch_size: int,
    *,
    only: np.ndarray | None = None,
    like: Queries | None = None,
    placement: parallel.Placement = parallel.ONE,
) -> Queries:
    """Puts users and their pairs on the device, some for either use.

    Users stand in their order, unless some batches would have many more pairs than others, to which all are padded.

    Args:
      users: int [n], at least one; one may come twice.
      rows: [n, I], the pairs of each.
      batch_size: as for ``prepare``.
      only: bool [n], whether these are the candidates; else they are masked. None: for nobody.
      like, placement: as for ``prepare``.
    """
    if isinstance(placement, shards.Shards):
        return _dealt(users, rows, batch_size, only, placement)
    num_batches = placement.rounded(-(-len(users) // batch_size))
    size = -(-len(users) // num_batches)
    bounds = rows.indptr[np.minimum(np.arange(num_batches + 1) * size, len(users))]
    padded = num_batches * int(np.diff(bounds).max())
    in_order = padded <= max(FULL * rows.nnz, FEW) if like is None else like.places is None
    if in_order:
        return _placed(users, rows, np.arange(len(users)), num_batches, size, only, placement).replace(places=None)
    if like is not None:
        return _placed(users, rows, np.asarray(like.places), num_batches, size, only, placement)
    # Of a whole round of users, from the fullest, each batch gets one; which is the fuller one changes every round.
    rank = np.empty(len(users), np.int64)
    rank[np.argsort(-np.diff(rows.indptr), kind="stable")] = np.arange(len(users))
    turn, batch = np.divmod(rank, num_batches)
    places = np.where(turn % 2, num_batches - 1 - batch, batch) * size + turn
    return _placed(users, rows, places, num_batches, size, only, placement)


def _dealt(users, rows, batch_size, only, placement) -> Queries:
    """Each user's query with the device that has him, who is called by his number in its block."""
    places, num_batches, size = placement.deal(np.asarray(users), batch_size)
    return _placed(users % placement.block, rows, places, num_batches, size, only, placement)


def _placed(users, rows, places, num_batches, size, only, placement) -> Queries:
    """Users and their pairs at their places; in other places nobody asks, for the last user or user 0."""
    user = np.full(num_batches * size, users[-1], dtype=np.int32)
    user[places] = users
    counts = np.zeros(num_batches, dtype=np.int64)
    lengths, order = np.diff(rows.indptr), np.argsort(places)
    np.add.at(counts, places // size, lengths)
    row = np.zeros((num_batches, max(1, counts.max())), dtype=np.int32)
    item = np.full(row.shape, rows.shape[1], dtype=np.int32)
    is_pair = np.arange(row.shape[1]) < counts[:, None]
    row[is_pair] = np.repeat(places[order] % size, lengths[order])
    item[is_pair] = rows[order].indices
    if only is not None:
        spread = np.zeros(num_batches * size, dtype=bool)
        spread[places] = only
        only = spread.reshape(num_batches, size)
    user, row, item, only = placement.divided((user.reshape(num_batches, size), row, item, only))
    return Queries(user, row, item, only, places.astype(np.int32), placement)


def encode(
    model: types.Model, params: types.Params, graphs: types.Graphs, placement: parallel.Placement = parallel.ONE
) -> types.Tables:
    """The model's tables, compiled once for each model; one device of a host makes them, and all have them.

    Params and graphs are everywhere.

    What ``encode`` hands on of the graphs as it is stands in the tables without a copy: a prepared inverse may take
    most of the memory that there is, and a compiled program copies what it returns.
    """
    if isinstance(placement, shards.Shards):
        return placement.encode(params, graphs)
    later = next((of for of in graphs.values() if isinstance(of, types.Later)), None)
    if later is not None:
        made = [jax.device_get(encode(model, params, {**graphs, **some}, placement)) for some in later.groups()]
        return placement.everywhere(later.joined(made))
    leaves, structure = jax.tree.flatten((params, graphs))
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    sources, tables = _handed_on(model.encode, structure, shapes)
    left_out = tuple(n is not None for n in sources)
    made = _encode(*placement.here((params, graphs)), encode=model.encode, left_out=left_out)
    made = iter(placement.everywhere(made))
    return jax.tree.unflatten(tables, [next(made) if n is None else leaves[n] for n in sources])


@functools.lru_cache(maxsize=16)
def _handed_on(encode: Callable[..., Any], structure: Any, shapes: tuple[Any, ...]) -> tuple[list[int | None], Any]:
    """For each leaf of the tables: which leaf of params and graphs it is, None if it is computed; and their structure.

    Leaves of params are copied all the same: training gives their memory away.
    """
    arguments = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*shape) for shape in shapes])
    program, tables = jax.make_jaxpr(encode, return_shape=True)(*arguments)
    of_params = len(jax.tree.leaves(arguments[0]))
    place = {id(variable): n for n, variable in enumerate(program.jaxpr.invars) if n >= of_params}
    return [place.get(id(variable)) for variable in program.jaxpr.outvars], jax.tree.structure(tables)


def encoding(model: types.Model, params: types.Params, graphs: types.Graphs) -> tuple[types.Tables, jax.stages.Lowered]:
    """The tables that ``encode`` makes on one device, as shapes, and its program; params and graphs may be shapes."""
    leaves, structure = jax.tree.flatten((params, graphs))
    sources, _ = _handed_on(model.encode, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    tables = jax.eval_shape(model.encode, params, graphs)
    left_out = tuple(n is not None for n in sources)
    return tables, _encode.lower(params, graphs, encode=model.encode, left_out=left_out)


def start(
    model: types.Model,
    params: types.Params,
    tables: types.Tables,
    queries: Queries,
    behavior: str,
    k: int,
    item_tile: int,
    limits: Limits | None = None,
) -> ranking.Lists:
    """Starts the pass over all queries of a behavior; the devices work on after it returned.

    Params and tables are where the queries are: everywhere.

    Returns:
      Lists of T * B rows and min(k, I) places; the rows past the number of users are padding.
    """
    placement, places = queries.placement, queries.places
    given, options = _ranking(model, params, tables, queries, behavior, k, item_tile, limits)
    lists = _rank(*given, **options)
    return lists if places is None else placement.in_order(lists, places)


def for_devices(
    model: types.Model, params: types.Params, tables: types.Tables, placement: parallel.Placement
) -> tuple[types.Model, Any]:
    """The model that scores the users of a device, and how params and tables are divided (``specs`` of ``divide``)."""
    if isinstance(placement, shards.Shards):
        return placement.model, shards.specs_of(params, tables)
    return model, ()


def placed(queries: Queries, number: int) -> np.ndarray:
    """Where each of so many users that were asked for stands among the rows of all batches, int [n]."""
    return np.arange(number) if queries.places is None else np.asarray(queries.places)


def lowered(
    model: types.Model,
    params: types.Params,
    tables: types.Tables,
    queries: Queries,
    behavior: str,
    k: int,
    item_tile: int,
) -> jax.stages.Lowered:
    """The program of ``start``; params and tables may be shapes."""
    given, options = _ranking(model, params, tables, queries, behavior, k, item_tile, None)
    return _rank.lower(*given, **options)


def _ranking(model, params, tables, queries, behavior, k, item_tile, limits):
    """The arguments of ``_rank``."""
    if behavior not in model.info.behaviors:
        raise ValueError(f"behavior '{behavior}' is not one of the model's: {', '.join(model.info.behaviors)}.")
    placement = queries.placement
    model, specs = for_devices(model, params, tables, placement)
    given = (params, tables, queries.replace(places=None), placement.everywhere(limits or Limits()))
    options = {
        "specs": specs,
        "score": model.score,
        "behavior": model.info.behaviors.index(behavior),
        "num_items": model.info.num_items,
        "k": min(k, model.info.num_items),
        "item_tile": item_tile,
        "in_tiles": not model.all_items,
    }
    return given, options


def finish(lists: ranking.Lists, users: np.ndarray, behavior: str) -> tuple[np.ndarray, np.ndarray]:
    """Waits for a pass and takes its lists to the host.

    Returns:
      Items int32 [n, min(k, I)], -1 where a user has no further candidate, and their scores, float32.

    Raises:
      TrainingDivergedError: a candidate's score is NaN, which has no rank.
    """
    is_nan = parallel.whole(lists.is_nan)[: len(users)]
    if is_nan.any():
        raise errors.TrainingDivergedError(
            f"behavior '{behavior}': scores of {is_nan.sum()} of {len(users)} users are nan, first of user index "
            f"{users[is_nan.argmax()]}; the parameters are not finite. Go back to an earlier checkpoint or lower "
            "the learning rate."
        )
    return parallel.whole(lists.item)[: len(users)], parallel.whole(lists.score)[: len(users)]


@functools.partial(jax.jit, static_argnames=("encode", "left_out"))
@precision.full
def _encode(
    params: types.Params, graphs: types.Graphs, *, encode: Callable[..., Any], left_out: tuple[bool, ...]
) -> list[types.Array]:
    return [leaf for leaf, is_out in zip(jax.tree.leaves(encode(params, graphs)), left_out, strict=True) if not is_out]


@functools.partial(jax.jit, static_argnames=("specs", "score", "behavior", "num_items", "k", "item_tile", "in_tiles"))
@precision.full
def _rank(
    params: types.Params,
    tables: types.Tables,
    queries: Queries,
    limits: Limits,
    *,
    specs: Any,
    score: Callable[..., types.Array],
    behavior: int,
    num_items: int,
    k: int,
    item_tile: int,
    in_tiles: bool = True,
) -> ranking.Lists:
    def part(params, tables, limits, queries) -> ranking.Lists:
        select = None if limits.group is None else capped.selection(limits.group, limits.num_groups, limits.most)

        def batch(query: Queries, tile: int = item_tile) -> ranking.Lists:
            return ranking.rank_items(
                lambda first, size: score(params, tables, query.user, first, size, behavior),
                query.row,
                query.item,
                num_users=query.user.shape[0],
                num_items=num_items,
                k=k,
                item_tile=tile,
                only=query.only,
                listed=limits.listed,
                select=select,
            )

        def batch_in_blocks(query: Queries) -> ranking.Lists:
            """All items of a few users at a time, in the memory that a tile of items of all of them takes."""
            size = -(-query.user.shape[0] // -(-num_items // item_tile))
            number = -(-query.user.shape[0] // size)

            def block(first: types.Array) -> ranking.Lists:
                row = query.row - first
                mine = Queries(
                    lax.dynamic_slice_in_dim(query.user, first, size),
                    jnp.where((row < 0) | (row >= size), 0, row),
                    jnp.where((row < 0) | (row >= size), num_items, query.item),
                    None if query.only is None else lax.dynamic_slice_in_dim(query.only, first, size),
                )
                return batch(mine, num_items)

            # The last block ends with the last user, and does some of those before it again.
            last = query.user.shape[0] - size
            lists = lax.map(block, jnp.minimum(jnp.arange(number, dtype=jnp.int32) * size, last))
            row = jnp.arange(query.user.shape[0], dtype=jnp.int32)
            at = jnp.minimum(row // size, number - 1)
            return jax.tree.map(lambda x: x[at, row - jnp.minimum(at * size, last)], lists)

        one = batch if in_tiles or num_items <= item_tile else batch_in_blocks
        lists = lax.map(one, queries)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), lists)

    return queries.placement.divide(part, specs=specs)(params, tables, limits, queries)
