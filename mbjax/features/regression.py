r"""MB-EASE (``ops/ridge.py``) for lists of candidates, every list scored as if its user had not been part of the fit.

With P the inverse of K = X X^T + lambda' 1 over the columns of all behaviors, taking user u out of the fit turns it
into P - P_u P_u^T / P_uu. For a history x - d, d the pairs taken out of it, all columns are then multiplied with

.. math:: z = e_u - (X d)^T P, \qquad w = z - \frac{z_u}{P_{uu}} P_u, \qquad G_a(j) = w \cdot X_a[:, j]

(multiples of P_u in z are without effect). With g_a(j) = P_u . X_a[:, j], the gram matrix of the columns of item j
without the user is M_j - g g^T / P_uu. So a list costs two rows of products, whatever was taken out of it, and the
factorization is done once. A user who is no part of the fit has w = (X x)^T P.

The fit may be of some users alone: P is a matrix of users by users. All others are then no part of it.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import types
from mbjax.features import lists
from mbjax.ops import ridge, threads

BLOCK = 128  # lists whose products are dense at once
WIDE = 512  # likewise, where the fit is of some users alone
ITEMS = 256  # of a part of ``spread``
LARGEST = 2 * 10**8  # numbers of ``spread``
DENSE = 0.04
"""Cost of an entry of a dense product, in those of a sparse one."""
CHUNK = 2_000_000  # (candidate, user of the item) taken at once
ROUND = 1e-6
"""Added to the diagonal of 1 - M, which is singular for a column that decides itself."""
NOISE = 1e-6  # of a prediction, what rounding leaves of 0


class Fit(NamedTuple):
    """One ridge regression of all behaviors.

    Attributes:
      dual: P and the penalty.
      inverse: P as a host array [R, R] of the R users of the fit; on CPU the same memory.
      gram: float32 [I, K, K], M_j.
      graphs: X_a of each behavior, [R, I], on the device.
      columns: X_a^T, CSR [I, R].
      place: int [U], the row of each user of the statistics; -1: he is no part of the fit.
    """

    dual: ridge.Dual
    inverse: np.ndarray
    gram: np.ndarray
    graphs: tuple[types.Graph, ...]
    columns: tuple[sparse.csr_array, ...]
    place: np.ndarray

    @property
    def is_whole(self) -> bool:
        """Whether every user of the statistics is part of the fit."""
        return self.place.size == len(self.inverse)

    def row(self, user: np.ndarray) -> np.ndarray:
        """The rows of users of the statistics, and -1 of those who are no part of the fit, as -1 is of neither."""
        return np.where(user >= 0, self.place[np.maximum(user, 0)], -1)


class Rows(NamedTuple):
    """What the columns are multiplied with for a block of b lists.

    Attributes:
      without: w, float32 [b, U]; None where all are users of the fit and nothing was taken out of their histories:
        then w = e_u - P_u / P_uu, whose products are x - g / P_uu.
      own: P_u, float32 [b, U].
      diagonal: P_uu [b], infinite for users who are not in the fit.
      history: behavior -> CSR [b, I].
    """

    without: np.ndarray | None
    own: np.ndarray
    diagonal: np.ndarray
    history: Mapping[str, sparse.csr_array]


class Products(NamedTuple):
    """G and g of all items, float32 [K, b, I], of the first b lists."""

    without: np.ndarray
    own: np.ndarray


def fit(train: Mapping[str, sparse.csr_array], penalty: float, users: np.ndarray | None = None) -> Fit:
    """Factorizes.

    Args:
      train: behavior -> CSR [U, I], the pairs of all users of the statistics.
      penalty: lambda', in absolute units [pairs].
      users: int [R], ascending, whom the regression is fitted to; None: all.
    """
    place = np.arange(next(iter(train.values())).shape[0])
    if users is not None:
        place = np.full(place.size, -1)
        place[users] = np.arange(len(users))
    parts = [(matrix if users is None else matrix[users]).astype(np.float32) for matrix in train.values()]
    dual = ridge.invert(parts, np.ones(len(parts)), penalty, scaled=False)
    graphs = ridge.place(parts)
    columns = tuple(sparse.csr_array(part.T) for part in parts)
    return Fit(dual, np.asarray(dual.inverse), ridge.gram(graphs, dual), graphs, columns, place)


class Spread(NamedTuple):
    """What many lists from which pairs of one behavior were taken share.

    Attributes:
      behavior: whose pairs.
      items: int [H], ascending, those that most users met by it; all, if they fit.
      products: their X_a^T P, float32 [H, U].
    """

    behavior: str
    items: np.ndarray
    products: np.ndarray


def spread(fitted: Fit, behavior: str, names: Sequence[str]) -> Spread | None:
    """What lists share, of as many items as memory allows; None where the fit is of some users alone."""
    if not fitted.is_whole:
        return None
    columns = fitted.columns[list(names).index(behavior)]
    # Items of few users are taken out of few lists, and cost little each time.
    items = np.sort(np.argsort(-np.diff(columns.indptr), kind="stable")[: LARGEST // columns.shape[1]])
    out = np.empty((items.size, columns.shape[1]), np.float32)

    def part(start: int) -> None:
        out[start : start + ITEMS] = columns[items[start : start + ITEMS]] @ fitted.inverse

    with concurrent.futures.ThreadPoolExecutor(threads.number()) as pool:
        list(pool.map(part, range(0, items.size, ITEMS)))
    return Spread(behavior, items, out)


def rows(of: lists.Lists, fitted: Fit, start: int, stop: int, shared: Spread | None = None) -> Rows:
    """What the columns are multiplied with for lists start .. stop - 1; ``shared`` as ``spread`` gives it."""
    users, size = fitted.row(of.user[start:stop]), stop - start
    is_part = users >= 0
    own = fitted.inverse[np.maximum(users, 0)] * is_part[:, None]
    place = np.flatnonzero(is_part)
    diagonal = np.where(is_part, own[np.arange(size), np.maximum(users, 0)], np.inf)
    history, removed = (
        {b: sparse.csr_array(m[start:stop].astype(np.float32)) for b, m in part.items()}
        for part in (of.history, of.removed)
    )
    changed = {b: sparse.csr_array(m * np.float32(-1)) for b, m in removed.items()}
    if of.added is not None:
        changed = {b: sparse.csr_array(m + of.added[b][start:stop].astype(np.float32)) for b, m in changed.items()}
    if is_part.all() and not any(m.nnz for m in changed.values()):
        return Rows(None, own, diagonal, history)
    z = np.zeros_like(own)
    # Of a user of the fit, only what was taken out of his history or added counts; of anybody else, all of it.
    each = {b: _where(is_part, changed[b], history[b]) for b in history}
    if not fitted.is_whole:  # most are strangers, for whom one product with P serves all behaviors
        z += sum(known @ columns for known, columns in zip(each.values(), fitted.columns, strict=True)) @ fitted.inverse
        each = {}
    for a, (behavior, known) in enumerate(each.items()):
        if known.nnz and shared and behavior == shared.behavior:
            is_shared = np.isin(np.arange(known.shape[1]), shared.items)
            z += known[:, shared.items] @ shared.products
            known = known @ sparse.diags_array((~is_shared).astype(np.float32)).tocsr()
            known.eliminate_zeros()
        if known.nnz:
            z += _times_inverse(known, fitted.columns[a], fitted.inverse)
    z[place, users[place]] += 1
    at = np.where(is_part, z[np.arange(size), np.maximum(users, 0)], 0)
    z -= (at / diagonal)[:, None].astype(np.float32) * own
    return Rows(z, own, diagonal, history)


def products(of: Rows, fitted: Fit) -> Products:
    """The products with the columns of all items, of at most ``BLOCK`` lists."""
    size, num_users = of.own.shape
    parts = [of.own] if of.without is None else [of.own, of.without]
    whole = np.zeros((len(parts) * BLOCK, num_users), np.float32)  # of two sizes, so that little is compiled
    for place, part in enumerate(parts):
        whole[place * BLOCK : place * BLOCK + size] = part
    found = np.asarray(_products(fitted.dual, fitted.graphs, whole))
    own = found[:, :size]
    if of.without is not None:
        return Products(found[:, BLOCK : BLOCK + size], own)
    without = own * np.float32(-1 / of.diagonal)[:, None]
    for of_behavior, matrix in zip(without, of.history.values(), strict=True):
        of_behavior[lists.pairs(matrix)] += 1
    return Products(without, own)


def products_at(of: Rows, fitted: Fit, row: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G and g of candidates alone, float32 [K, N] each: where few items are asked for, far cheaper than of all.

    Args:
      of: of a block of lists.
      fitted: the regression.
      row: the list of each candidate within the block.
      item: the candidates.
    """
    parts = [of.own] if of.without is None else [of.own, of.without]
    if np.isinf(of.diagonal).all():  # g of strangers is 0
        parts = parts[1:]
    found = np.zeros((len(parts), len(fitted.columns), row.size), np.float32)
    for a, columns in enumerate(fitted.columns):
        length = np.diff(columns.indptr)[item]
        some = np.flatnonzero(length)
        ends = np.cumsum(length[some], dtype=np.int64)
        cuts = np.unique(np.searchsorted(ends, np.arange(CHUNK, ends[-1] if ends.size else 0, CHUNK)))
        for picked in np.split(some, cuts):
            if not picked.size:
                continue
            number = length[picked]
            first = np.concatenate([[0], np.cumsum(number)[:-1]])
            met = columns.indices[lists.ragged(columns.indptr[item[picked]], number)]
            met = met + np.repeat(row[picked] * columns.shape[1], number)
            for k, values in enumerate(parts):
                found[k, a, picked] = np.add.reduceat(values.ravel().take(met), first)
    if of.without is not None:
        return found[-1], found[0] if len(parts) > 1 else np.zeros_like(found[-1])
    met = np.stack([lists.has(matrix, row, item) for matrix in of.history.values()])
    return met - found[0] / np.float32(of.diagonal)[row], found[0]


def _times_inverse(known: sparse.csr_array, columns: sparse.csr_array, inverse: np.ndarray) -> np.ndarray:
    """known @ columns @ inverse, [b, I] [I, U] [U, U], in the order that costs least."""
    shared, items = sparse.csr_array(known @ columns), np.unique(known.indices)
    costs = {
        "sparse": shared.nnz,
        "dense": DENSE * shared.shape[0] * shared.shape[1],
        # Where lists have the same items, as those of a block do, each is multiplied once.
        "items": np.diff(columns.indptr)[items].sum() + DENSE * items.size * shared.shape[0],
    }
    best = min(costs, key=costs.get)
    if best == "items":
        return known[:, items].toarray() @ (columns[items] @ inverse)
    return (shared.toarray() if best == "dense" else shared) @ inverse


def _where(is_part: np.ndarray, taken: sparse.csr_array, whole: sparse.csr_array) -> sparse.csr_array:
    if is_part.all():
        return taken
    choose = sparse.diags_array(is_part.astype(np.float32)).tocsr(), sparse.diags_array((~is_part).astype(np.float32))
    return sparse.csr_array(choose[0] @ taken + choose[1].tocsr() @ whole)


@jax.jit
def _products(dual: ridge.Dual, graphs: Sequence[types.Graph], v: types.Array) -> types.Array:
    return ridge.rows(dual, graphs, jnp.asarray(v), 0, graphs[0].matrix.shape[1])


class Predicted(NamedTuple):
    """Of candidates, float32 [N]: the target's column left out, those of all behaviors left out, and [K, N] the
    products of each behavior's column, less what the history holds of the item itself."""

    kept: np.ndarray
    left: np.ndarray
    gain: np.ndarray


def predictions(
    now: np.ndarray, g: np.ndarray, diagonal: np.ndarray, gram: np.ndarray, history: np.ndarray, target: int
) -> Predicted:
    """What the regressions predict for candidates.

    Args:
      now: G of the candidates, [K, N].
      g: likewise g.
      diagonal: P_uu of their lists, [N].
      gram: M of the candidates, [N, K, K].
      history: float32 [K, N], whether each candidate is in the user's history by each behavior.
      target: index of the behavior that is predicted.
    """
    g, now = g.astype(np.float64), now.astype(np.float64)
    m = gram - np.einsum("an,bn->nab", g, g) / diagonal[:, None, None]
    q = m[:, target, target]
    kept = now[target] + q / np.maximum(1 - q, ROUND) * (now[target] - history[target])
    inner = (1 + ROUND) * np.eye(m.shape[1]) - m
    k = np.linalg.solve(inner, m[:, :, target, None])[:, :, 0]
    left = now[target] + np.einsum("na,an->n", k, now - history)
    # Where nothing but the user's own pairs speaks for an item all is taken off, and what rounding leaves is no sign.
    kept, left = (np.where(np.abs(x) < NOISE, 0, x) for x in (kept, left))
    return Predicted(*(x.astype(np.float32) for x in (kept, left, now - history)))


def joined(parts: Sequence[Predicted], num_behaviors: int) -> Predicted:
    """Predictions of candidates one after another."""
    if not parts:
        empty = np.zeros(0, np.float32)
        return Predicted(empty, empty, np.zeros((num_behaviors, 0), np.float32))
    return Predicted(*(np.concatenate(x, axis=-1) for x in zip(*parts, strict=True)))
