"""Tables of all lists, block by block: what is wide is made of a few lists at once and kept in half precision."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mbjax.features import comparing, regression, retrieval, table
from mbjax.ops import memory, threads

BLOCK = 100_000  # candidates whose columns are made at once


class Compared(NamedTuple):
    """Similarities of lists, and where in them each candidate's are, int32 [N]; None: in the same order."""

    near: comparing.Near
    place: np.ndarray | None = None

    def span(self, first: int, end: int) -> comparing.Near:
        """Of the candidates first .. end - 1."""
        where = slice(first, end) if self.place is None else self.place[first:end]
        return {name: x[where] for name, x in self.near.items()}


def shown(features: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of some columns that belong to the given families."""
    return [name for name in names if set(_families(name)) <= set(features)]


def _families(name: str) -> list[str]:
    """The family of a column; of a rank, that of what is ranked as well. A behavior may be called like a family."""
    first, _, rest = name.partition("_")
    return [first, rest.removeprefix("z_").partition("_")[0]] if first == "rank" else [first]


def matrix(
    features: Sequence[str],
    source: table.Source,
    found: retrieval.Found,
    compared: Compared,
    part: str,
    look: Callable[[int, int, table.Columns], None] | None = None,
) -> np.ndarray:
    """The columns of all candidates, float16 [N, D].

    Args:
      features: the families of columns.
      source: the statistics.
      found: the lists and what the regression says.
      compared: their similarities.
      part: ``"familiar"`` or ``"new"``.
      look: is given the first candidate of each block, the one after its last, and all its columns.
    """
    of = found.lists
    timed = source.log is not None
    chosen = shown(features, table.names(list(source.train), source.target, familiar=part == "familiar", timed=timed))
    out = memory.aligned((of.item.size, len(chosen)), np.float16)
    cuts = np.searchsorted(of.ptr, np.arange(BLOCK, of.item.size, BLOCK))
    bounds = np.unique(np.concatenate([[0], cuts, [len(of.user)]]))

    def block(start: int, stop: int) -> None:
        first, end = int(of.ptr[start]), int(of.ptr[stop])
        predicted = regression.Predicted(*(x[..., first:end] for x in found.predicted))
        of_block = of.span(start, stop)
        columns = table.table(source, of_block, predicted, compared.span(first, end), familiar=part == "familiar")
        for place, name in enumerate(chosen):
            out[first:end, place] = columns[name]
        if look is not None:
            look(first, end, columns)

    with concurrent.futures.ThreadPoolExecutor(threads.number()) as pool:
        list(pool.map(block, bounds[:-1].tolist(), bounds[1:].tolist()))
    return out
