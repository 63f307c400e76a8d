"""Ranking metrics on the host: hits of top-K lists, per-user values and their means.

A user's list is cut at k (trec_eval's definitions where they overlap). With G the user's held-out items, and
``hits`` those of them among the first k:

=================  ==============================================================================
``prec@k``         hits / k, also where the list is shorter than k
``rec@k``          hits / \\|G\\|
``ndcg@k``         sum over hits of 1 / log2(rank + 1), divided by its largest value, that of
                   min(k, \\|G\\|) hits on the first ranks
``hr@k``           1 if there is a hit, else 0
``mrr@k``          1 / rank of the first hit, 0 without a hit
``f1@k``           harmonic mean of the user's precision and recall, 0 without a hit
``hits_per_user``  ``@k``: the number of hits; its mean is what PKEF and COPF call HR where users
                   have several test items
=================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import sparse

NAMES = ("prec", "rec", "ndcg", "hr", "mrr", "f1", "hits_per_user")


def find_hits(items: np.ndarray, truth: sparse.csr_array) -> np.ndarray:
    """Tells which places of the lists hold a held-out item.

    Args:
      items: int [n, k], item ids, best first; -1 is an empty place.
      truth: [n, I], row r holds the held-out items of the user of list r; sorted indices.

    Returns:
      bool [n, k].
    """
    if items.shape[0] != truth.shape[0]:
        raise ValueError(f"{items.shape[0]} lists and {truth.shape[0]} users.")
    num_items = truth.shape[1]
    row = np.arange(items.shape[0], dtype=np.int64)[:, None]
    known = np.repeat(row[:, 0], np.diff(truth.indptr)) * num_items + truth.indices  # ascending
    if known.size == 0:
        return np.zeros(items.shape, dtype=bool)
    asked = row * num_items + items
    place = np.minimum(np.searchsorted(known, asked), known.size - 1)
    return (known[place] == asked) & (items >= 0)


def per_user(
    hits: np.ndarray,
    num_truth: np.ndarray,
    ks: Iterable[int],
    names: Iterable[str] = NAMES,
    *,
    complete: bool = False,
) -> dict[str, np.ndarray]:
    """The metrics of every user.

    Args:
      hits: bool [n, K] of ``find_hits``; K is at least the largest cut-off, unless ``complete``.
      num_truth: int [n], number of held-out items. A user without any gets 0 in every metric; such users must not
        enter a mean.
      ks: cut-offs.
      names: which of ``NAMES``.
      complete: the lists hold all items there are, so that a cut-off beyond K takes them whole.

    Returns:
      ``"ndcg@5"`` and so on -> float64 [n].
    """
    ks = tuple(ks)
    places = hits.shape[1]
    if (max(ks) > places and not complete) or min(ks) < 1:
        raise ValueError(f"cut-offs {ks} of lists with {places} places.")
    discount = 1.0 / np.log2(np.arange(2, places + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    count = np.cumsum(hits, axis=1)
    gain = np.cumsum(hits * discount, axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    known = np.maximum(num_truth, 1)
    values = {}
    for k in ks:
        last = min(k, places) - 1
        found = count[:, last].astype(np.float64)
        of_k = {
            "prec": found / k,
            "rec": found / known,
            "ndcg": gain[:, last] / ideal[np.minimum(known, last + 1)],
            "hr": (found > 0).astype(np.float64),
            "mrr": np.where(first <= k, 1.0 / first, 0.0),
            # 2PR / (P + R) with P = found / k and R = found / |G|.
            "f1": 2.0 * found / (k + known),
            "hits_per_user": found,
        }
        values |= {f"{name}@{k}": of_k[name] for name in names}
    return values


def means(values: Mapping[str, np.ndarray], chosen: np.ndarray | None = None) -> dict[str, float]:
    """The mean of each metric over the chosen users (bool [n]; None: all). No users, no entries."""
    if chosen is None:
        chosen = np.ones(len(next(iter(values.values()))), dtype=bool)
    if not chosen.any():
        return {}
    return {name: float(value[chosen].mean()) for name, value in values.items()}
