"""What a data set holds: users by their number of interactions, pairs by their behaviors."""

from __future__ import annotations

import numpy as np
import polars as pl

from mbjax.data import dataset as datasets
from mbjax.data import statistics
from mbjax.reporting.figures import drawing

MOST = 1 << 40


def histogram(dataset: datasets.Dataset) -> drawing.Drawn:
    """How many users met how many items by each behavior of training: PKEF, Figure 1.

    The bins are 0, 1, 2 to 3, 4 to 7, ...: each twice as wide as the one before.
    """
    lengths = {b: np.diff(matrix.indptr) for b, matrix in dataset.train.items()}
    longest = max(int(length.max(initial=0)) for length in lengths.values())
    edges = [0, 1]
    while edges[-1] <= longest:
        edges.append(2 * edges[-1])
    labels = [_span(low, high - 1) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    counts = {b: np.histogram(length, bins=edges)[0] for b, length in lengths.items()}
    rows = [
        {"behavior": b, "items": label, "from": low, "to": high - 1, "users": int(number)}
        for b, of in counts.items()
        for label, low, high, number in zip(labels, edges[:-1], edges[1:], of, strict=True)
    ]
    panel = drawing.Bars(
        f"{dataset.info.num_users:,} users", labels, dict(counts), "distinct items of a user in training", "users"
    )
    note = "Where the bars of a behavior stand far left, it alone says little about most users."
    return drawing.Drawn(pl.DataFrame(rows), [panel], f"{dataset.info.name}: items per user and behavior", note)


def patterns(dataset: datasets.Dataset) -> drawing.Drawn:
    """Pairs of user and item by the set of behaviors that made them, over all splits: COPF, Figure 6."""
    behaviors = dataset.info.behaviors
    found = statistics.patterns(dataset, statistics.SPLITS)
    whole = sum(found.values())
    rows = []
    for digits, number in sorted(found.items(), key=lambda pair: -pair[1]):
        made = [b for b, digit in zip(behaviors, digits, strict=True) if digit == "1"]
        rows.append({"pattern": digits, "behaviors": " + ".join(made), "pairs": number, "share": number / whole})
    panel = drawing.Bars(
        f"{whole:,} pairs, in the order {', '.join(behaviors)}",
        [row["behaviors"] for row in rows],
        {"pairs": [row["pairs"] for row in rows]},
        "met by just these behaviors",
        "pairs of user and item",
        is_log=True,
    )
    note = "A target that seldom stands without earlier behaviors is reached through them: much of it is visited."
    return drawing.Drawn(pl.DataFrame(rows), [panel], f"{dataset.info.name}: joint behavior patterns", note)


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
