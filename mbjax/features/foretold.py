"""What preparing, teaching and ranking take of memory, told from numbers of pairs before any of it is made.

How many candidates there will be is estimated: familiar ones are counted, of new ones a share of the most is found, and
the lists of folds are those expected by how many pairs their users have. Knows of a model's configuration what
``teaching``, ``people`` and ``extent`` read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import sparse

from mbjax import types
from mbjax.features import (
    candidates,
    comparing,
    extent,
    lists,
    people,
    regression,
    retrieval,
    similarity,
    teaching,
)
from mbjax.features import whole as tables
from mbjax.features.retrieval import PARTS
from mbjax.ops import inverse, listwise, threads

FOUND = {True: 0.8, False: 1.0}
"""Share of the most new items that is found, where the regression is searched and where it is not."""
ANSWERED, HELD = 0.85, 0.25
"""Share of lists of new items that hold an answer, of a fold (before those are left out that would not be found without
it, which may be most) and of validation pairs."""
DRAWN = 16  # bytes of a candidate: item, answer, and what says whose it is
SCORED = 16  # bytes of a candidate and its score, while those of all users are put together
TILES = 1.5  # tiles of counts: the one that is used, and the stored entries of those that come next

Sizes = Mapping[tuple[str, str], np.ndarray]
"""(behavior, part) -> candidates of each list, [L]."""


class Numbers(NamedTuple):
    """Lists and their candidates.

    Attributes:
      ranked: of all who are ranked while training.
      folds, valid: those that teach.
      share: behavior -> what its lists are divided by.
    """

    ranked: Sizes
    folds: Sizes
    valid: Sizes
    share: Mapping[str, int]


def numbers(config: Any, info: types.DatasetInfo, evidence: types.Evidence) -> Numbers:
    """Estimates them for evidence of a training run, or of what is ranked after it (then nothing teaches)."""
    of, usual = people.ranked(evidence)
    rows = people.asked_for(config, info, evidence, people.People(of, usual))
    ranked: dict[tuple[str, str], np.ndarray] = {}
    folds: dict[tuple[str, str], np.ndarray] = {}
    valid: dict[tuple[str, str], np.ndarray] = {}
    new = _new(config, info)
    for behavior in info.behaviors:
        known = np.diff(candidates.familiar(of, behavior).indptr)
        asked = np.arange(known.size) if rows[behavior] is None else rows[behavior]
        if evidence.asked is not None and not evidence.teach:
            asked = evidence.asked.get(behavior, asked[:0])
        ranked[behavior, "familiar"] = known[asked]
        ranked[behavior, "new"] = np.full(asked.size, new)
        if not evidence.teach:
            continue
        if "folds" in config.sources:
            for part, sizes in zip(PARTS, _of_folds(config, info, evidence, behavior, known), strict=True):
                if sizes.size:
                    folds[behavior, part] = sizes
        if teaching.judged(evidence, behavior) and "valid" in config.sources:
            found = _of_valid(evidence, of, behavior, known, asked, new)
            valid |= {(behavior, part): sizes for part, sizes in zip(PARTS, found, strict=True) if sizes.size}
    return Numbers(ranked, folds, valid, {b: teaching.share_of(info, evidence, b) for b in info.behaviors})


def _new(config: Any, info: types.DatasetInfo) -> int:
    """New items of a list."""
    share = FOUND[extent.is_searched(config, info.trained_users)]
    return max(1, min(round(share * extent.most_new(config, info.trained_users)), info.num_items))


def _of_folds(
    config: Any, info: types.DatasetInfo, evidence: types.Evidence, behavior: str, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of the lists of all folds of a behavior, of familiar and of new items."""
    train = evidence.train
    number, most, most_new = teaching.limits(config, teaching.share_of(info, evidence, behavior))
    others = lists.union([m for b, m in train.items() if b != behavior], train[behavior].shape)
    own = np.diff(train[behavior].indptr)
    also = np.diff(sparse.csr_array(others.multiply(train[behavior] != 0)).indptr)  # those of a fold are familiar then
    chance = [1 - (1 - 1 / config.folds) ** of for of in (own, also)]
    expected = number * min(1.0, most / max(chance[0].sum(), 1.0)) * chance[1]
    size = known[: own.size] + np.maximum(1.0, also / config.folds)
    # As many lists as are expected, of the sizes that are most likely.
    count, drawn = round(expected.sum()), np.cumsum(expected)
    place = np.searchsorted(drawn, (np.arange(count) + 0.5) * (drawn[-1] / max(count, 1)))
    fresh, of_fold = 0, min(most, chance[0].sum())
    for _ in range(number):
        fresh += round(ANSWERED * min(of_fold, 2 * max(0, most_new - fresh)))
    return size[np.minimum(place, size.size - 1)].astype(np.int64), np.full(fresh, _new(config, info))


def _of_valid(
    evidence: types.Evidence, of: lists.Lists, behavior: str, known: np.ndarray, asked: np.ndarray, new: int
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of the lists that hold a validation pair, of familiar and of new items."""
    truth = sparse.csr_array(evidence.valid[behavior] != 0)
    met = candidates.met(of)[: truth.shape[0]]
    also = np.diff(sparse.csr_array(truth.multiply(met)).indptr)
    has = np.isin(np.arange(truth.shape[0]), asked)
    fresh = (np.diff(truth.indptr) > also) & has
    return known[: truth.shape[0]][(also > 0) & has], np.full(round(HELD * fresh.sum()), new)


def width(config: Any, info: types.DatasetInfo, behavior: str, part: str) -> int:
    """Numbers of a candidate."""
    return len(extent.columns(config, info, behavior, part))


def stages(config: Any, info: types.DatasetInfo, found: Numbers) -> dict[str, float]:
    """Bytes of each stage of preparing at its peak, beside the data, where all who are ranked are prepared at once."""
    drawn, compared, made = _parts(config, info, found)
    widest = max(width(config, info, b, p) for b in info.behaviors for p in PARTS)
    return {
        "search for new items": sought(config, info, info.num_behaviors) + drawn,
        "similarities of candidates": drawn + compared + _tiles(info),
        "tables of candidates": drawn + compared + made + 8 * threads.number() * tables.BLOCK * widest,
    }


def by_groups(config: Any, info: types.DatasetInfo, evidence: types.Evidence, found: Numbers) -> dict[str, float]:
    """Likewise, where the tables of some users are made after those of others (``grouped``)."""
    behaviors = [b for b in info.behaviors if evidence.asked is None or b in evidence.asked]
    given = config, info, evidence.train, behaviors
    number = max((sizes.size for sizes in found.ranked.values()), default=0)
    share = min(1.0, extent.group_size(*given) * extent.groups_at_once(*given) / max(number, 1))
    drawn, compared, _ = _parts(config, info, found)
    scored = SCORED * _total(found.ranked)
    return {
        "ranking of all users": sought(config, info, len(behaviors))
        + share * (drawn + compared)
        + _tiles(info)
        + scored,
        "scores of all users": 2 * scored,
    }


def _parts(config: Any, info: types.DatasetInfo, found: Numbers) -> tuple[float, float, float]:
    """Bytes of all candidates as they are found, of their similarities while these are made, and of their tables."""
    behaviors = info.behaviors
    timed, how = extent.is_timed(config, info), comparing.How.of(config)
    ranked, taught = _total(found.ranked), _total(found.folds)
    # What is a candidate by several behaviors is compared once.
    largest = max(_total({name: n for name, n in found.ranked.items() if name[0] == b}) for b in behaviors)
    together = min(ranked, 1.5 * largest)
    compared = 2 * together * len(comparing.names(behaviors, behaviors, timed=timed, alike=how.alike)) + 4 * ranked
    for (behavior, _), sizes in found.folds.items():
        compared += 2 * sizes.sum() * len(comparing.names(behaviors, [behavior], timed=timed, alike=how.alike))
    compared += (together + taught) * (extent.WORK + len(behaviors) * (2 if how.alike else 1))
    made = sum(
        2 * width(config, info, *name) * n.sum() for kind in (found.ranked, found.folds) for name, n in kind.items()
    )
    return (4 * (2 + len(behaviors)) + DRAWN) * (ranked + taught), compared, made


def ranking(config: Any, info: types.DatasetInfo, found: Numbers) -> float:
    """Bytes of the tables of all who are ranked at once, and of what scores them."""
    held = sum((2 * width(config, info, *name) + SCORED) * n.sum() for name, n in found.ranked.items())
    return held


def lists_of(config: Any, info: types.DatasetInfo, found: Numbers, batch_size: int) -> tuple[Any, Any]:
    """A sampler of lists of the expected lengths, and shapes of the store that it draws from, as ``teaching.teach``."""
    stores, sizes, lengths = {}, {}, {}
    for source, kind in (("valid", found.valid), ("folds", found.folds)):
        for (behavior, part), given in kind.items():
            name, length = f"{behavior}:{part}:{source}", np.sort(np.minimum(given, config.list_length))
            size = max(1, batch_size // found.share[behavior])
            sizes[name] = (length.size, teaching.drawn(config, length.size, size))
            lengths[name], rows = length, int(length.sum()) + 1
            stores[name] = listwise.Store(
                x=_shape((rows, width(config, info, behavior, part)), np.float16),
                positive=_shape((rows,), np.float32),
                weight=_shape((rows,), np.float32),
                **{field: _shape((length.size,), np.int32) for field in ("begin", "length", "group")},
                count=_shape((), np.float32),
            )
    number = max((n.size for n in found.ranked.values()), default=1)
    of_user = 1 + info.num_behaviors * (info.num_behaviors + 1) // 2
    everything = {
        b: (_shape((number, of_user), np.float32), *(_shape((number,), np.float32) for _ in range(3)))
        for b in {behavior for behavior, _ in (*found.valid, *found.folds)}
    }
    return listwise.ListSampler(sizes, 1, config.steps, lengths), (stores, everything)


def _shape(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def sought(config: Any, info: types.DatasetInfo, ranked: int) -> float:
    """Bytes of what new items of so many behaviors are searched with, at its peak."""
    behaviors, num_items = info.num_behaviors, info.num_items
    number = extent.regression_users(config, info.trained_users)
    neighbors = 8 * behaviors * ranked * num_items * min(retrieval.NEAREST, num_items)
    is_whole = extent.is_searched(config, info.trained_users)
    shared = 4 * min(num_items * number, regression.LARGEST) if is_whole else 0
    block = 16 * regression.BLOCK * (number + behaviors * num_items) if is_whole else 8 * regression.WIDE * number
    return inverse.bytes_needed(number, "cpu") + neighbors + shared + threads.number() * block


def _tiles(info: types.DatasetInfo) -> float:
    return 8 * TILES * similarity.tile_size(info.num_items) * info.num_items


def _total(sizes: Sizes) -> int:
    return int(sum(of.sum() for of in sizes.values()))
