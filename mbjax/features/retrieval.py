"""The candidates of users: familiar items, and the new ones that are worth a closer look.

New items are searched by the regression, by neighbors and by popularity. One pass over the users, in blocks whose
products are dense, serves all ranked behaviors, and says what the regression predicts for the candidates on the way.
Where the regression is of some users alone, as of very many it is, it only judges what neighbors and popularity find:
nothing of a user is dense in the items then.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mbjax.features import candidates, lists, regression
from mbjax.ops import ridge, stages, threads

PARTS = ("familiar", "new")
SHRINKAGE = 10.0  # users, of the neighbors' cosines
NEAREST = 100  # items of the target that an item of a history speaks for
GROUP = 16  # items of which the largest score is found first
TILE = 1024  # items whose neighbors are found at once
OTHERS = 0.3
"""Weight of neighbors of another behavior's items."""


class Retriever(NamedTuple):
    """What new items of a behavior are found with.

    Attributes:
      target: index of the behavior.
      coefficients: k [I, K] of the regression that leaves all columns of the item out.
      near: behavior -> CSR [I, I], cosines with shrinkage between an item of it and the nearest items of the target.
      popular: int [I], items by falling number of users of the target.
    """

    target: int
    coefficients: np.ndarray
    near: Mapping[str, sparse.csr_array]
    popular: np.ndarray


def retriever(train: Mapping[str, sparse.csr_array], fitted: regression.Fit, behavior: str) -> Retriever:
    """Prepares the search for new items of a behavior."""
    target = list(train).index(behavior)
    count = np.asarray(train[behavior].sum(axis=0), np.int64).ravel()
    popular = np.argsort(-count, kind="stable")
    near = {name: _nearest(matrix, train[behavior]) for name, matrix in train.items()}
    k = ridge.coefficients(fitted.gram, target, "all", fitted.dual.weights)
    return Retriever(target, k, near, popular)


def _nearest(speaking: sparse.csr_array, target: sparse.csr_array) -> sparse.csr_array:
    """CSR [I, I]: of each item of a matrix [U, I] the ``NEAREST`` items of another by their cosines with shrinkage."""
    right = sparse.csr_array(target.astype(np.float32))
    by_item = sparse.csr_array(speaking.T.astype(np.float32))
    count = [np.diff(by_item.indptr).astype(np.float32), np.asarray(right.sum(axis=0), np.float32).ravel()]
    num_items = right.shape[1]

    def tile(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shared = sparse.csr_array(by_item[start : start + TILE] @ right)
        row, column = lists.pairs(shared)
        value = shared.data / (np.sqrt(count[0][row + start] * count[1][column]) + np.float32(SHRINKAGE))
        value[row + start == column] = 0
        keep = _largest(shared.indptr, value, NEAREST) & (value > 0)
        return value[keep], column[keep], np.bincount(row[keep], minlength=shared.shape[0])

    with concurrent.futures.ThreadPoolExecutor(threads.number()) as pool:
        values, columns, number = map(np.concatenate, zip(*pool.map(tile, range(0, num_items, TILE)), strict=True))
    near = sparse.csr_array((values, columns, np.concatenate([[0], np.cumsum(number)])), shape=(num_items, num_items))
    near.sort_indices()
    return near


class Found(NamedTuple):
    """Lists with candidates, and what the regression says of them."""

    lists: lists.Lists
    predicted: regression.Predicted


def find(
    fitted: regression.Fit,
    of: lists.Lists,
    searches: Sequence[Retriever],
    most: int,
    parts: Sequence[str] = PARTS,
    told: lists.Lists | None = None,
    shared: regression.Spread | None = None,
) -> list[dict[str, Found]]:
    """Candidates of lists.

    Args:
      fitted: the regression.
      of: the lists; their own candidates are not looked at.
      searches: one for each ranked behavior.
      most: new items by the regression, as many by neighbors, and a quarter by popularity.
      parts: of ``PARTS``.
      told: the same lists with the histories that are looked at, where they are not those that decide what is a
        candidate: the ablation that knows the answers.
      shared: as ``regression.spread`` gives it.

    Returns:
      For each search: part -> Found.
    """
    names = list(of.history)
    given, order, size = of if told is None else told, _alike(of), len(of.user)
    of = of.permuted(order)
    met = candidates.met(of)
    familiar = [candidates.familiar(of, names[search.target]) for search in searches]
    of = of if told is None else told.permuted(order)
    length = regression.BLOCK if fitted.is_whole else regression.WIDE

    def block_of(start: int) -> list[dict[str, tuple]]:
        stop = min(start + length, size)
        rows = regression.rows(of, fitted, start, stop, shared)
        products = regression.products(rows, fitted) if "new" in parts and fitted.is_whole else None
        block = {b: sparse.csr_array(of.history[b][start:stop]) for b in names}
        out: list[dict[str, tuple]] = []
        for search, known in zip(searches, familiar, strict=True):
            out.append({})
            for part in parts:
                if part == "familiar":
                    row, item = lists.pairs(sparse.csr_array(known[start:stop]))
                else:
                    avoid = sparse.csr_array(met[start:stop])
                    row, item = lists.pairs(_new(search, products and products.without, block, avoid, most))
                history = np.stack([lists.has(block[b], row, item) for b in names])
                if products is None:
                    now, g = regression.products_at(rows, fitted, row, item)
                else:
                    now, g = products.without[:, row, item], products.own[:, row, item]
                predicted = regression.predictions(
                    now, g, rows.diagonal[row], fitted.gram[item], history, search.target
                )
                out[-1][part] = row + start, item, predicted
        return out

    # Blocks wait for one another's single-threaded parts where they are taken two at a time.
    starts, blocks_of = range(0, size, length), []
    with concurrent.futures.ThreadPoolExecutor(min(4, threads.number())) as pool:
        for block in pool.map(block_of, starts):
            stages.tell("finding candidates", len(blocks_of), len(starts))
            blocks_of.append(block)
    places = [{part: [block[k][part] for block in blocks_of] for part in parts} for k in range(len(searches))]
    found = []
    for out in places:
        found.append({})
        for part, blocks in out.items():
            row, item = (np.concatenate([np.zeros(0, np.int64), *(b[k] for b in blocks)]) for k in (0, 1))
            row = order[row]
            back = np.argsort(row, kind="stable")
            ptr = np.searchsorted(row[back], np.arange(size + 1)).astype(np.int64)
            chosen = dataclasses.replace(given, ptr=ptr, item=item[back].astype(np.int32))
            predicted = regression.joined([b[2] for b in blocks], len(names))
            found[-1][part] = Found(chosen, regression.Predicted(*(x[..., back] for x in predicted)))
    return found


def _alike(of: lists.Lists) -> np.ndarray:
    """An order in which lists that were taken the same items are neighbors: int [L]."""
    removed = max(of.removed.values(), key=lambda m: m.nnz)
    some = np.flatnonzero(np.diff(removed.indptr))
    first = np.full(removed.shape[0], -1, np.int64)
    if some.size:  # of several the item that most lists were taken
        often = np.bincount(removed.indices, minlength=removed.shape[1])[removed.indices]
        first[some] = np.maximum.reduceat(often * removed.shape[1] + removed.indices, removed.indptr[some])
    return np.argsort(first, kind="stable")


def _new(
    search: Retriever, products: np.ndarray | None, history, avoid: sparse.csr_array, most: int
) -> sparse.csr_array:
    """New items of lists, CSR [b, I]; without products the regression is not searched."""
    near = sparse.csr_array(avoid.shape, dtype=np.float32)
    for place, (name, matrix) in enumerate(search.near.items()):
        near = sparse.csr_array(near + (history[name] @ matrix) * np.float32(1 if place == search.target else OTHERS))
    few, size = search.popular[: max(1, most // 4)], avoid.shape[0]
    found = [_best_stored(near, avoid, most), (np.repeat(np.arange(size), few.size), np.tile(few, size))]
    if products is not None:
        left = products[search.target] + np.einsum("ja,abj->bj", search.coefficients, products)
        left[lists.pairs(avoid)] = -np.inf
        found.append(best(left, most))
    row, column = (np.concatenate([part[k] for part in found]) for k in (0, 1))
    return lists.without(lists.ones(row, column, avoid.shape), avoid)


def best(scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the ``most`` largest finite values of each row; which of equal ones is not said."""
    number = scores.shape[1] // GROUP
    if number < most:
        return _first(*np.nonzero(scores > -np.inf), scores, most)
    # The largest of groups are as many values: the one of rank ``most`` among them bounds that among all from below.
    largest = scores[:, : number * GROUP].reshape(len(scores), GROUP, number).max(axis=1)
    bound = np.partition(largest, number - most, axis=1)[:, number - most, None]
    return _first(*np.nonzero((scores >= bound) & (scores > -np.inf)), scores, most)


def _first(row: np.ndarray, column: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of places by rows, the ``most`` with the largest scores of each row."""
    keep = _largest(np.searchsorted(row, np.arange(len(scores) + 1)), scores[row, column], most)
    return row[keep], column[keep]


def _best_stored(scores: sparse.csr_array, avoid: sparse.csr_array, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the ``most`` largest stored values of each row, none of them among ``avoid``."""
    row, column = lists.pairs(scores)
    some = lists.has(avoid, row, column) == 0
    row, column, value = row[some], column[some], scores.data[some]
    keep = _largest(np.searchsorted(row, np.arange(scores.shape[0] + 1)), value, most)
    return row[keep], column[keep]


def _largest(ptr: np.ndarray, value: np.ndarray, most: int) -> np.ndarray:
    """Whether values are among the ``most`` largest of their run, bool [N] with runs ptr [R + 1]."""
    keep = np.ones(value.size, bool)
    for place in np.flatnonzero(np.diff(ptr) > most):
        mine = slice(ptr[place], ptr[place + 1])
        surplus = ptr[place + 1] - ptr[place] - most
        keep[mine][np.argpartition(value[mine], surplus)[:surplus]] = False
    return keep
