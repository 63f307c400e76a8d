"""Held-out pairs in two parts: items that the user met by another behavior in training, and all others.

Both parts are measured in two ways, which give different numbers and have names of their own:

* *visited* and *unvisited*: on the one list of all candidates, with the truth restricted to the part. How good is the
  list that a user sees, for either kind of pair? The two compete for its places.
* *familiar* and *new*: on a list of the candidates of that kind alone, which is how MEMBER (CIKM 2025) and BOAR
  (CIKM 2026) measure. How well does a model order the items of a kind? Such numbers are higher, and no list with both
  kinds has them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from mbjax import batching, kinds, metrics, parallel, seen, topk, types
from mbjax.ops import ranking

IN_ONE_LIST_METRICS = ("hr", "ndcg")


def in_one_list(
    items: np.ndarray,
    hits: np.ndarray,
    truth: sparse.csr_array,
    visited: sparse.csr_array,
    ks: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Visited and unvisited pairs on the lists of all candidates, over the users that have any of the part.

    Args:
      items: int [n, K], the lists.
      hits: bool [n, K] of ``metrics.find_hits``.
      truth: [n, I], the held-out items.
      visited: [n, I], those that are visited.
      ks: cut-offs.

    Returns:
      Part -> {"pairs": n, "users": n, "hr@5": .., "ndcg@5": ..}; counts only where there are no pairs.
    """
    is_visited = metrics.find_hits(items, visited)
    number = np.diff(visited.indptr)
    either = ((is_visited, number), (hits & ~is_visited, np.diff(truth.indptr) - number))
    complete = items.shape[1] == truth.shape[1]
    return {
        name: _row(metrics.per_user(hit, pairs, ks, IN_ONE_LIST_METRICS, complete=complete), pairs)
        for name, (hit, pairs) in zip(kinds.IN_ONE_LIST, either, strict=True)
    }


@dataclasses.dataclass(frozen=True)
class Kinds:
    """The kinds of a behavior, as pairs.

    Attributes:
      users: int32 [n]; a user with pairs of both kinds comes twice.
      truth: [n, I], the held-out pairs of the kind.
      familiar: how many of the rows are of the first kind.
      listed: [n, I], the candidates of the first kind, and what is none of the other. Empty in ``Parts``.
    """

    users: np.ndarray
    truth: sparse.csr_array
    familiar: int
    listed: sparse.csr_array


@dataclasses.dataclass(frozen=True)
class Parts:
    """The kinds of a behavior, prepared. One pass ranks both: first for users with familiar pairs, then with new ones.

    Attributes:
      kinds: which users have pairs of which kind.
      queries: on the device; candidates are of the kind alone.
    """

    kinds: Kinds
    queries: batching.Queries


def divide(held_out: sparse.csr_array, masked: sparse.csr_array, familiar: sparse.csr_array) -> Kinds:
    """Both kinds of a behavior; all matrices are [U, I], ``held_out`` has pairs."""
    truths = [sparse.csr_array(held_out.multiply(familiar != 0)), seen.without(held_out, familiar)]
    users = [np.flatnonzero(np.diff(truth.indptr)).astype(np.int32) for truth in truths]
    # Familiar candidates are the listed pairs, new ones all but these.
    listed = (seen.without(familiar, masked), seen.union((masked, familiar), masked.shape))
    rows = sparse.vstack([pairs[some] for pairs, some in zip(listed, users, strict=True)], format="csr")
    truth = sparse.vstack([pairs[some] for pairs, some in zip(truths, users, strict=True)], format="csr")
    truth.sort_indices()
    return Kinds(np.concatenate(users), truth, len(users[0]), rows)


def prepare(
    kinds_of: Mapping[str, Kinds], batch_size: int, placement: parallel.Placement = parallel.ONE
) -> dict[str, Parts]:
    """Puts both kinds of behaviors on the device."""
    if not kinds_of:
        return {}
    num_items = next(iter(kinds_of.values())).truth.shape[1]
    size = batching.common_size([len(of.users) for of in kinds_of.values()], num_items, placement.batch(batch_size))
    found = {}
    for behavior, of in kinds_of.items():
        only = np.arange(len(of.users)) < of.familiar
        queries = batching.pack(of.users, of.listed, batch_size, only=only, size=size, placement=placement)
        found[behavior] = Parts(dataclasses.replace(of, listed=of.listed[:0]), queries)
    return found


def measure(
    model: types.Model,
    params: types.Params,
    tables: types.Tables,
    parts: Mapping[str, Parts],
    ks: Sequence[int],
    *,
    item_tile: int,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Ranks the candidates of each kind alone.

    Args:
      model, params, tables: as for ``topk.start``.
      parts: of ``prepare``, by the behaviors that are ranked.
      ks: cut-offs.
      item_tile: items scored at once.

    Returns:
      Behavior -> kind -> {"pairs": n, "users": n, every metric}; counts only where there are no pairs.
    """
    asked = [(behavior, both.queries) for behavior, both in parts.items()]
    passes = topk.start_all(model, params, tables, asked, max(ks), item_tile)
    return {b: _of_pass(one, parts[b].kinds, b, ks) for (b, _), one in zip(asked, passes, strict=True)}


def _of_pass(lists: ranking.Lists, both: Kinds, behavior: str, ks: Sequence[int]) -> dict[str, dict[str, Any]]:
    items, _ = topk.finish(lists, both.users, behavior)
    pairs = np.diff(both.truth.indptr)
    complete = items.shape[1] == both.truth.shape[1]
    values = metrics.per_user(metrics.find_hits(items, both.truth), pairs, ks, complete=complete)
    halves = (slice(both.familiar), slice(both.familiar, None))
    return {
        name: _row({metric: value[half] for metric, value in values.items()}, pairs[half])
        for name, half in zip(kinds.AMONG, halves, strict=True)
    }


def _row(values: Mapping[str, np.ndarray], pairs: np.ndarray) -> dict[str, Any]:
    return {"pairs": int(pairs.sum()), "users": int((pairs > 0).sum())} | metrics.means(values, pairs > 0)
