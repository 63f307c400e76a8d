"""What a run folder keeps of its data set: by which it is known again, and who was left out of it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import polars as pl

SAMPLED = 20_000
"""Pairs of a behavior by which a log that has grown is known again: of one that lacks 1 in 1,000 some 20 are missed."""


def describe(dataset: Any) -> dict[str, Any]:
    """The identity of a ``data.Dataset`` as JSON: name, fingerprint, sizes, pairs of each split and behavior.

    ``ids`` is a SHA-256 of the raw ids as texts, which the fingerprint does not look at: lists are written in them.
    """
    ids = "\n".join(str(raw) for side in (dataset.users, dataset.items) for raw in side.series.to_list())
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    return {
        "name": dataset.info.name,
        "fingerprint": dataset.fingerprint,
        "ids": hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest(),
        "num_users": int(dataset.info.num_users),
        "num_items": int(dataset.info.num_items),
        "behaviors": list(dataset.info.behaviors),
        "times": bool(dataset.info.times),
        "later": bool(dataset.info.later),
        "valid_rule": dataset.valid_rule,
        "mask_valid": bool(dataset.mask_valid),
        "pairs": {split: {name: int(matrix.nnz) for name, matrix in held.items()} for split, held in splits.items()},
    }


def some_pairs(dataset: Any) -> pl.DataFrame:
    """Pairs of all splits as ``behavior``, ``user`` and ``item`` (indices): ``SAMPLED`` of each behavior, or all."""
    frames = [pl.DataFrame(schema={"behavior": pl.String, "user": pl.Int32, "item": pl.Int32})]
    rng = np.random.default_rng(0)
    for behavior in dataset.info.behaviors:
        held = [split[behavior] for split in (dataset.train, dataset.valid, dataset.test) if behavior in split]
        ends = np.cumsum([matrix.nnz for matrix in held])
        chosen = np.arange(ends[-1]) if ends[-1] <= SAMPLED else np.sort(rng.choice(ends[-1], SAMPLED, replace=False))
        for matrix, end in zip(held, ends, strict=True):
            place = chosen[(chosen >= end - matrix.nnz) & (chosen < end)] - (end - matrix.nnz)
            user = np.searchsorted(matrix.indptr, place, side="right") - 1
            of = {"behavior": [behavior] * place.size, "user": user, "item": matrix.indices[place]}
            frames.append(pl.DataFrame(of, schema=frames[0].schema))
    return pl.concat(frames)


def dropped(dataset: Any) -> pl.DataFrame:
    """Who was left out when the data were read: ``what`` ("user" or "item"), ``field`` (of the configuration, the
    reason), and the raw id in ``raw_user`` or ``raw_item``, of its own type."""
    none = {"what": pl.Series(dtype=pl.String), "field": pl.Series(dtype=pl.String)}
    none |= {f"raw_{what}": getattr(dataset, f"{what}s").series.clear() for what in ("user", "item")}
    frames = [pl.DataFrame(none)]
    for part in dataset.dropped:
        ids = part.ids.series.alias(f"raw_{part.what}")
        frames.append(pl.DataFrame(ids).with_columns(what=pl.lit(part.what), field=pl.lit(part.field)))
    return pl.concat(frames, how="diagonal_relaxed")
