"""Items like those of a user's history: sums and maxima of cosines between items, by pairs of behaviors, he left out.

With c_ab(h, i) the number of users who met h by behavior a and i by behavior b, and n_a(h) those who met h by a:

    cos_ab(h, i) = c_ab(h, i) / (sqrt(n_a(h) n_b(i)) + shrinkage),        h != i

Of a user u who is part of the counts his own contribution is taken out of each: c - [u met i by b], n_a(h) - 1,
n_b(i) - [u met i by b] (every h is of his history by a).
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from mbjax.features import lists

DENSE = 48_000_000  # entries of a dense tile of counts
CHUNK = 4_000_000  # (candidate, item of the history) taken at once


def aggregate(
    train: Mapping[str, sparse.csr_array],
    of: lists.Lists,
    own: Mapping[str, np.ndarray],
    kinds: Sequence[tuple[str, str, float]],
) -> dict[tuple[str, str, float], tuple[np.ndarray, np.ndarray]]:
    """Sums and maxima of cosines over the histories.

    Args:
      train: behavior -> CSR [U, I], the pairs of the statistics.
      of: the lists.
      own: behavior -> float32 [N], whether the user met the candidate by it *in the statistics*.
      kinds: (behavior a of the history, behavior b of the candidate, shrinkage).

    Returns:
      For each kind the sum and the maximum over the history, float32 [N].
    """
    num_items = next(iter(train.values())).shape[1]
    row = of.row
    # Only items that are candidates need rows of counts.
    items, place = np.unique(of.item, return_inverse=True)
    order = np.argsort(place, kind="stable")
    sorted_place = place[order]
    is_part = (of.user >= 0).astype(np.float32)[row]
    counts = {b: np.asarray(m.sum(axis=0), np.float32).ravel() for b, m in train.items()}
    tile = max(1, DENSE // num_items)
    by_item = {b: sparse.csr_array(train[b].T).astype(np.float32) for b in {kind[1] for kind in kinds}}
    found = {kind: (np.zeros(of.item.size, np.float32), np.zeros(of.item.size, np.float32)) for kind in kinds}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for a, b in dict.fromkeys(kind[:2] for kind in kinds):
            right, history = train[a].astype(np.float32), of.history[a]
            lengths = np.diff(history.indptr)[row]
            for start in range(0, items.size, tile):
                stop = min(start + tile, items.size)
                low, high = np.searchsorted(sorted_place, [start, stop])
                chosen = order[low:high]
                chosen = chosen[lengths[chosen] > 0]
                if not chosen.size:
                    continue
                shared = np.asarray((by_item[b][items[start:stop]] @ right).toarray(), np.float32)  # [tile, I]
                shared[np.arange(stop - start), items[start:stop]] = 0
                length = lengths[chosen]
                bounds = _chunks(length)
                of_pair = [kind for kind in kinds if kind[:2] == (a, b)]
                arguments = (shared, place - start, history, counts[a], counts[b], own[b], is_part, row, of.item)

                def one(span, chosen=chosen, length=length, of_pair=of_pair, arguments=arguments):
                    picked = chosen[span[0] : span[1]]
                    parts = _reduce(picked, length[span[0] : span[1]], [kind[2] for kind in of_pair], *arguments)
                    for kind, (total, largest) in zip(of_pair, parts, strict=True):
                        found[kind][0][picked], found[kind][1][picked] = total, largest

                list(pool.map(one, zip(bounds[:-1], bounds[1:], strict=True)))
    return found


def _chunks(length: np.ndarray) -> list[int]:
    """Places that cut candidates into runs of about CHUNK items of histories."""
    ends = np.cumsum(length)
    cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] if ends.size else 0, CHUNK)).tolist()
    return sorted({0, *cuts, length.size})


def _reduce(picked, length, shrinkages, shared, place, history, count_a, count_b, own, is_part, row, item):
    """(sum, maximum) for each shrinkage of some candidates, whose histories have the given lengths, none of them 0."""
    first = np.concatenate([[0], np.cumsum(length)[:-1]])
    met = history.indices[np.arange(length.sum()) + np.repeat(history.indptr[row[picked]] - first, length)]
    line = place[picked].astype(np.int64) * shared.shape[1]
    value = shared.ravel().take(np.repeat(line, length) + met)
    contributed = own[picked] * is_part[picked]
    # Where the item itself is in the history nothing is shared, and nothing is to be taken off.
    value = np.maximum(value - np.repeat(contributed, length), 0)
    lengths = np.sqrt(np.maximum(count_a[met] - np.repeat(is_part[picked], length), 1))
    lengths *= np.repeat(np.sqrt(np.maximum(count_b[item[picked]] - contributed, 1)), length)
    for shrinkage in shrinkages:
        cosine = value / (lengths + np.float32(shrinkage))
        yield np.add.reduceat(cosine, first), np.maximum.reduceat(cosine, first)
