"""Candidates of all users with their tables on the device, for what ranks them and for what learns from them.

Knows of a model's configuration the fields ``penalty, new_items, features`` and what ``teaching``, ``extent`` and
``people`` read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import types
from mbjax.features import (
    candidates,
    comparing,
    events,
    extent,
    lessons,
    lists,
    people,
    regression,
    retrieval,
    similarity,
    table,
    teaching,
    whole,
)
from mbjax.ops import memory

SLICE = 4096  # rows summed at once


class Prepared(NamedTuple):
    """What all users are ranked by.

    Attributes:
      number: of users, passive ones included.
      device: behavior -> arrays, the evaluation's; of each part also how many lists teach by validation pairs.
      lists: behavior -> part -> candidates, on the host.
      users: behavior -> float32 [L, G], the gate's numbers.
      lessons: what folds teach, where that was asked for.
      asked: behavior -> the rows whose lists are not empty; None: all.
    """

    number: int
    device: dict[str, Any]
    lists: Mapping[str, Mapping[str, lists.Lists]]
    users: Mapping[str, np.ndarray]
    lessons: teaching.Lessons | None
    asked: Mapping[str, np.ndarray | None] = {}


class Basis(NamedTuple):
    """What candidates are found by and their tables made of, whoever is asked for.

    Attributes:
      train: behavior -> CSR [U, I], the pairs of the statistics.
      fitted: the regression.
      searches: behavior -> what its new items are found with.
      counts: of the pairs.
      log: when everything happened, if that is known.
    """

    train: candidates.Pairs
    fitted: regression.Fit | None
    searches: Mapping[str, retrieval.Retriever]
    counts: table.Counts
    log: events.Log | None


def basis(config: Any, info: types.DatasetInfo, evidence: types.Evidence, ranked: Sequence[str] | None = None) -> Basis:
    """Fits and counts; new items are searched of some behaviors, or of all."""
    train = evidence.train
    chosen = None
    if (number := extent.regression_users(config, info.trained_users)) < info.trained_users:
        rng = np.random.default_rng([evidence.seed, 59])
        chosen = np.sort(rng.choice(info.trained_users, number, replace=False))
    fitted = regression.fit(train, config.penalty, chosen)
    searches = {b: retrieval.retriever(train, fitted, b) for b in ranked or info.behaviors}
    return Basis(train, fitted, searches, table.counts(train), events.of_evidence(evidence))


def prepare(config: Any, info: types.DatasetInfo, evidence: types.Evidence) -> Prepared:
    """Finds the candidates of all users, or of those alone who are asked for, and makes their tables."""
    base, (of, usual) = basis(config, info, evidence), people.ranked(evidence)
    rows = people.asked_for(config, info, evidence, people.People(of, usual))
    found = find(config, base, of, rows)
    drafts = None
    if evidence.teach:
        drafts = teaching.drafts(config, info, evidence, base.fitted, list(base.searches.values()), base.log)
    base = base._replace(fitted=None, searches={})
    memory.release()
    return finish(config, base, evidence, found, people.People(of, usual), drafts)._replace(asked=rows)


Sought = Mapping[str, Mapping[str, retrieval.Found]]
"""Behavior -> part -> candidates."""


def compare(
    config: Any, base: Basis, found: Sought, drafts: teaching.Drafts | None = None
) -> tuple[dict[tuple[str, str], whole.Compared], list[comparing.Near]]:
    """Similarities of candidates, by behavior and part, and of the lists of drafts.

    What is similar to what is counted once, for the candidates of all behaviors and for all lessons.
    """
    parts = {(b, part): one.lists for b, by_part in found.items() for part, one in by_part.items()}
    together, places = lists.joined(list(parts.values()), next(iter(base.train.values())).shape[1])
    how = comparing.How.of(config)
    asked = [comparing.Asked(together, list(found), base.log, None, how)]
    asked += drafts.asked(base.log, how) if drafts else ()
    near = similarity.aggregate(base.train, asked)
    return {name: whole.Compared(near[0], place) for name, place in zip(parts, places, strict=True)}, near[1:]


def finish(
    config: Any,
    base: Basis,
    evidence: types.Evidence,
    found: Mapping[str, Mapping[str, retrieval.Found]],
    who: people.People,
    drafts: teaching.Drafts | None = None,
    compared: Mapping[tuple[str, str], whole.Compared] | None = None,
) -> Prepared:
    """The tables of candidates that were found, and of lessons. The regression is not needed any more."""
    train, (of, usual), behaviors = base.train, who, list(found)
    near: list[comparing.Near] = []
    if compared is None:
        compared, near = compare(config, base, found, drafts)
        memory.release()  # what threads made of tiles
    sources = {b: table.Source(train, base.counts, b, base.log) for b in behaviors}
    lessons = drafts.lessons(config, sources, near) if drafts else None
    device, users = {b: {} for b in behaviors}, {}
    for (behavior, part), of_part in compared.items():
        one = found[behavior][part]
        x = whole.matrix(config.features, sources[behavior], one, of_part, part)
        device[behavior][part] = _placed(one.lists, x, usual)
        device[behavior][part]["judged"] = jnp.int32(_answered(one.lists, behavior, evidence))
    history, met = teaching.history_numbers(of), candidates.met(of)
    for behavior, by_part in found.items():
        users[behavior] = teaching.user_numbers(of, candidates.familiar(of, behavior).indptr, history)
        device[behavior] |= _rest(train[behavior], met, [one.lists for one in by_part.values()])
        device[behavior] |= {
            "user": jnp.asarray(users[behavior]),
            "scale": _scale(users[behavior] if usual is None else users[behavior][usual]),
        }
    listed = {b: {part: one.lists for part, one in by_part.items()} for b, by_part in found.items()}
    del found, compared, near
    memory.release()
    return Prepared(len(of.user), device, listed, users, lessons)


def find(
    config: Any, base: Basis, of: lists.Lists, asked_for: Mapping[str, np.ndarray | None]
) -> dict[str, dict[str, retrieval.Found]]:
    """Candidates of each behavior, of some rows; the others' lists are empty."""
    groups: list[tuple[list[str], np.ndarray | None]] = []
    for behavior, rows in asked_for.items():
        like = next((names for names, others in groups if np.array_equal(rows, others)), None)
        if like is None:
            groups.append(([behavior], rows))
        else:
            like.append(behavior)
    found = {}
    for behaviors, rows in groups:
        searches = [base.searches[b] for b in behaviors]
        some = of if rows is None else of.only(rows)
        for behavior, parts in zip(
            behaviors, retrieval.find(base.fitted, some, searches, config.new_items), strict=True
        ):
            found[behavior] = {
                part: one if rows is None else retrieval.Found(_at(one.lists, rows, of), one.predicted)
                for part, one in parts.items()
            }
    return {b: found[b] for b in asked_for}


def _at(chosen: lists.Lists, rows: np.ndarray, of: lists.Lists) -> lists.Lists:
    """Lists of some rows in their places among all, whose other lists are empty."""
    number = np.zeros(len(of.user), np.int64)
    number[rows] = np.diff(chosen.ptr)
    return dataclasses.replace(of, ptr=np.concatenate([[0], np.cumsum(number)]), item=chosen.item)


def _placed(chosen: lists.Lists, x: np.ndarray, usual: np.ndarray | None) -> dict[str, Any]:
    item, row = chosen.item, chosen.row
    scale = _scale(x if usual is None else x[np.isin(row, usual, kind="table")])
    if not item.size:  # one row that belongs to nobody, since nothing can be made of none
        x, item, row = np.zeros((1, x.shape[1]), np.float16), np.zeros(1, np.int32), np.zeros(1, np.int64)
    return {
        "ptr": jnp.asarray(chosen.ptr, jnp.int32),
        "item": jnp.asarray(item, jnp.int32),
        "row": jnp.asarray(row, jnp.int32),
        "x": jax.device_put(x),
        "scale": scale,
    }


def _answered(chosen: lists.Lists, behavior: str, evidence: types.Evidence) -> int:
    """How many lists hold a validation pair, where these are about to teach."""
    if not (evidence.teach and teaching.judged(evidence, behavior)):
        return 0
    return int((lessons.hits(chosen, evidence.valid[behavior]) > 0).sum())


def _scale(x: np.ndarray) -> dict[str, Any]:
    """Mean and deviation of each column."""
    sums = np.zeros((2, x.shape[1]))
    for start in range(0, len(x), SLICE):
        part = x[start : start + SLICE].astype(np.float64)
        sums += part.sum(axis=0), np.einsum("nd,nd->d", part, part)
    mean, square = sums / max(len(x), 1)
    deviation = np.sqrt(np.maximum(square - mean**2, 0)) + 1e-3
    return {"mean": jnp.asarray(mean, jnp.float32), "deviation": jnp.asarray(deviation, jnp.float32)}


def _rest(target: sparse.csr_array, met: sparse.csr_array, searched: list[lists.Lists]) -> dict[str, Any]:
    """Logarithms of the items' counts by the target + 1, [I], and of their sum over what is no candidate, [L].

    Where candidates and items met are all there are, ``is_left`` is false and the sum is that of all items.
    """
    count = np.asarray(target.sum(axis=0), np.float64).ravel() + 1
    taken = met @ count
    for chosen in searched[1:]:  # familiar ones are among those met
        taken = taken + np.bincount(chosen.row, count[chosen.item], minlength=taken.size)
    left = count.sum() - taken
    is_left = left > 0.5
    others = np.log(np.where(is_left, left, count.sum()))
    arrays = (np.log(count).astype(np.float32), others.astype(np.float32), is_left)
    return dict(zip(("popularity", "others", "is_left"), map(jnp.asarray, arrays), strict=True))
