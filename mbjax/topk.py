"""Top-K lists of many users: queries prepared on the host once, one compiled pass over them.

What a pass needs from the data set lies on the device from the start; params and tables are arguments. So a pass
compiles once for each model, behavior and set of users, and is then reused over all epochs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mbjax import batching, errors, parallel, precision, shards, types
from mbjax.ops import capped, ranking, shortlist


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
    queries: batching.Queries,
    behavior: str,
    k: int,
    item_tile: int,
    limits: batching.Limits | None = None,
) -> ranking.Lists:
    """Starts the pass over all queries of a behavior; the devices work on after it returned.

    Params and tables are where the queries are: everywhere.

    Returns:
      Lists of T * B rows and min(k, I) places; the rows past the number of users are padding.
    """
    return start_all(model, params, tables, [(behavior, queries)], k, item_tile, limits)[0]


def start_all(
    model: types.Model,
    params: types.Params,
    tables: types.Tables,
    asked: Sequence[tuple[str, batching.Queries]],
    k: int,
    item_tile: int,
    limits: batching.Limits | None = None,
) -> list[ranking.Lists]:
    """Starts the passes over several sets of queries, in few programs, and each of many in one of its own.

    Args:
      asked: behavior and queries of each, all of one placement.

    Returns:
      What ``start`` returns, for each.
    """
    found = []
    for some in in_programs(asked, model.info.num_items):
        given, options = _ranking(model, params, tables, some, k, item_tile, limits)
        for (_, queries), lists in zip(some, _rank(*given, **options), strict=True):
            found.append(lists if queries.places is None else queries.placement.in_order(lists, queries.places))
    return found


def in_programs(
    asked: Sequence[tuple[str, batching.Queries]], num_items: int
) -> list[Sequence[tuple[str, batching.Queries]]]:
    """Which passes are one program. Of those that are not, the host looks at one while the devices are at the next."""
    if batching.are_few([queries.user.size for _, queries in asked], num_items):
        return [asked] if asked else []
    return [[one] for one in asked]


def for_devices(
    model: types.Model, params: types.Params, tables: types.Tables, placement: parallel.Placement
) -> tuple[types.Model, Any]:
    """The model that scores the users of a device, and how params and tables are divided (``specs`` of ``divide``)."""
    if isinstance(placement, shards.Shards):
        return placement.model, shards.specs_of(params, tables)
    return model, ()


def placed(queries: batching.Queries, number: int) -> np.ndarray:
    """Where each of so many users that were asked for stands among the rows of all batches, int [n]."""
    return np.arange(number) if queries.places is None else np.asarray(queries.places)


def lowered(
    model: types.Model,
    params: types.Params,
    tables: types.Tables,
    asked: Sequence[tuple[str, batching.Queries]],
    k: int,
    item_tile: int,
) -> dict[str, jax.stages.Lowered]:
    """The programs of ``start_all``, by the behaviors that they rank; params and tables may be shapes."""
    found = {}
    for some in in_programs(asked, model.info.num_items):
        given, options = _ranking(model, params, tables, some, k, item_tile, None)
        found[", ".join(behavior for behavior, _ in some)] = _rank.lower(*given, **options)
    return found


def _ranking(model, params, tables, asked, k, item_tile, limits):
    """The arguments of ``_rank``."""
    for behavior, _ in asked:
        if behavior not in model.info.behaviors:
            raise ValueError(f"behavior '{behavior}' is not one of the model's: {', '.join(model.info.behaviors)}.")
    placement = asked[0][1].placement
    model, specs = for_devices(model, params, tables, placement)
    queries = tuple(of.replace(places=None) for _, of in asked)
    given = (params, tables, queries, placement.everywhere(limits or batching.Limits()))
    options = {
        "specs": specs,
        "score": model.score,
        "behaviors": tuple(model.info.behaviors.index(behavior) for behavior, _ in asked),
        "num_items": model.info.num_items,
        "k": min(k, model.info.num_items),
        "item_tile": item_tile,
        "in_tiles": not model.all_items,
        "same_for_all": model.same_for_all,
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


@functools.partial(
    jax.jit, static_argnames=("specs", "score", "behaviors", "num_items", "k", "item_tile", "in_tiles", "same_for_all")
)
@precision.full
def _rank(
    params: types.Params,
    tables: types.Tables,
    queries: tuple[batching.Queries, ...],
    limits: batching.Limits,
    *,
    specs: Any,
    score: Callable[..., types.Array],
    behaviors: tuple[int, ...],
    num_items: int,
    k: int,
    item_tile: int,
    in_tiles: bool = True,
    same_for_all: types.SameForAll | None = None,
) -> tuple[ranking.Lists, ...]:
    def best_of_all(params, tables, limits, queries, behavior) -> shortlist.Shortlist | None:
        """What lists are taken from, where scores are the same for all; None where a pass over all items is less."""
        size = min(k + queries.most, num_items)
        if same_for_all is None or limits.group is not None or 2 * size > num_items:
            return None
        if same_for_all.own is not None and batching.are_few([queries.user.size], num_items):
            return None
        scores = jnp.asarray(same_for_all.score(params, tables, behavior), jnp.float32)
        return shortlist.of(scores if limits.listed is None else jnp.where(limits.listed, scores, -jnp.inf), size)

    def one_pass(params, tables, limits, queries, behavior) -> ranking.Lists:
        if (short := best_of_all(params, tables, limits, queries, behavior)) is not None:

            def of_all(query: batching.Queries) -> ranking.Lists:
                options = {"num_users": query.user.shape[0], "k": k, "item_tile": item_tile, "only": query.only}
                if same_for_all.own is not None:
                    patterns = same_for_all.own(params, tables, behavior)
                    pair = functools.partial(same_for_all.pair, params, tables, behavior=behavior)
                    options["own"] = shortlist.Own(query.user, patterns, pair)
                return shortlist.rank(short, query.row, query.item, **options)

            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), lax.map(of_all, queries))

        select = None if limits.group is None else capped.selection(limits.group, limits.num_groups, limits.most)

        def batch(query: batching.Queries, tile: int = item_tile) -> ranking.Lists:
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

        def batch_in_blocks(query: batching.Queries) -> ranking.Lists:
            """All items of a few users at a time, in the memory that a tile of items of all of them takes."""
            size = -(-query.user.shape[0] // -(-num_items // item_tile))
            number = -(-query.user.shape[0] // size)

            def block(first: types.Array) -> ranking.Lists:
                row = query.row - first
                mine = batching.Queries(
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

    def part(params, tables, limits, queries) -> tuple[ranking.Lists, ...]:
        return tuple(one_pass(params, tables, limits, of, b) for of, b in zip(queries, behaviors, strict=True))

    return queries[0].placement.divide(part, specs=specs)(params, tables, limits, queries)
