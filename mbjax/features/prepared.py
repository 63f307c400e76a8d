"""Candidates of all users with their tables on the device, for what ranks them and for what learns from them.

Knows of a model's configuration the fields ``penalty, new_items, features`` and what ``teaching`` reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import errors, types
from mbjax.features import candidates, events, lists, regression, retrieval, similarity, table, teaching, whole
from mbjax.ops import inverse, memory

SLICE = 4096  # rows summed at once
SAMPLE = 512  # users whose numbers say what is usual, where training's do not


class Prepared(NamedTuple):
    """What all users are ranked by.

    Attributes:
      number: of users, passive ones included.
      device: behavior -> arrays, the evaluation's.
      lists: behavior -> part -> candidates, on the host.
      users: behavior -> float32 [L, G], the gate's numbers.
      lessons: what folds teach, where that was asked for.
    """

    number: int
    device: dict[str, Any]
    lists: Mapping[str, Mapping[str, lists.Lists]]
    users: Mapping[str, np.ndarray]
    lessons: teaching.Lessons | None


def prepare(config: Any, info: types.DatasetInfo, evidence: types.Evidence) -> Prepared:
    """Finds the candidates of all users, or of the passive ones alone, and makes their tables.

    Where validation pairs have joined those of training, counts and rates of all candidates are higher than experts and
    gate have learned them. Means and deviations are those of a sample of users then, the same for all who are ranked.
    """
    train = evidence.train
    check_memory(config, info, train)
    fitted = regression.fit(train, config.penalty)
    of = candidates.histories(train, np.arange(next(iter(train.values())).shape[0]))
    usual = None
    if evidence.joined:
        rng = np.random.default_rng([evidence.seed, 47])
        usual = np.sort(rng.choice(len(of.user), min(SAMPLE, len(of.user)), replace=False))
    log = events.of_evidence(evidence)
    if evidence.passive is not None:
        number = next(iter(evidence.passive.values())).shape[0]
        strangers = candidates.strangers(evidence.passive, len(of.user) + np.arange(number))
        of = _joined(_only(of, usual) if evidence.alone else of, strangers)
    searches = [retrieval.retriever(train, fitted, b) for b in info.behaviors]
    found = _found(config, evidence, fitted, of, dict(zip(info.behaviors, searches, strict=True)))
    drafts = teaching.drafts(config, info, evidence, fitted, searches, log) if evidence.teach else None
    del fitted, searches
    memory.release()
    # What is similar to what is counted once, for the candidates of all behaviors and for all lessons.
    parts = {(b, part): one.lists for b, by_part in found.items() for part, one in by_part.items()}
    together, places = lists.joined(list(parts.values()), info.num_items)
    asked = [similarity.Asked(together, info.behaviors), *(drafts.asked() if drafts else ())]
    near = similarity.aggregate(train, asked)
    counts = table.counts(train)
    sources = {b: table.Source(train, counts, b, log) for b in info.behaviors}
    lessons = drafts.lessons(config, sources, near[1:]) if drafts else None
    device, users = {b: {} for b in info.behaviors}, {}
    for (behavior, part), place in zip(parts, places, strict=True):
        one = found[behavior][part]
        x = whole.matrix(config.features, sources[behavior], one, whole.Compared(near[0], place), part)
        device[behavior][part] = _placed(one.lists, x, usual)
    for behavior, by_part in found.items():
        users[behavior] = teaching.user_numbers(of, candidates.familiar(of, behavior).indptr)
        device[behavior] |= _rest(train[behavior], of, [one.lists for one in by_part.values()])
        valid = evidence.valid.get(behavior)
        device[behavior] |= {
            "judged": jnp.asarray(valid is not None and valid.nnz > 0),
            "user": jnp.asarray(users[behavior]),
            "scale": _scale(users[behavior] if usual is None else users[behavior][usual]),
        }
    listed = {b: {part: one.lists for part, one in by_part.items()} for b, by_part in found.items()}
    del found, near, together, places
    memory.release()
    return Prepared(len(of.user), device, listed, users, lessons)


def _found(
    config: Any, evidence: types.Evidence, fitted: regression.Fit, of: lists.Lists, searches: Mapping[str, Any]
) -> dict[str, dict[str, retrieval.Found]]:
    """Candidates of each behavior.

    Where training alone asks for them, those of a behavior that nothing is held out of only say what its numbers are
    like: those of a sample of users do.
    """
    size = len(of.user)
    few = [b for b in searches if not teaching.judged(evidence, b)]
    if not (evidence.teach and evidence.passing) or evidence.passive is not None or size < 4 * SAMPLE:
        few = []
    groups: list[tuple[list[str], np.ndarray]] = [([b for b in searches if b not in few], np.arange(size))]
    if few:
        groups.append((few, np.sort(np.random.default_rng([evidence.seed, 53]).choice(size, SAMPLE, replace=False))))
    found = {}
    for behaviors, rows in groups:
        some = of if rows.size == size else of.only(rows)
        for behavior, parts in zip(
            behaviors, retrieval.find(fitted, some, [searches[b] for b in behaviors], config.new_items), strict=True
        ):
            found[behavior] = {
                part: one if rows.size == size else retrieval.Found(_at(one.lists, rows, of), one.predicted)
                for part, one in parts.items()
            }
    return {b: found[b] for b in searches}


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


def _scale(x: np.ndarray) -> dict[str, Any]:
    """Mean and deviation of each column."""
    sums = np.zeros((2, x.shape[1]))
    for start in range(0, len(x), SLICE):
        part = x[start : start + SLICE].astype(np.float64)
        sums += part.sum(axis=0), np.einsum("nd,nd->d", part, part)
    mean, square = sums / max(len(x), 1)
    deviation = np.sqrt(np.maximum(square - mean**2, 0)) + 1e-3
    return {"mean": jnp.asarray(mean, jnp.float32), "deviation": jnp.asarray(deviation, jnp.float32)}


def _rest(target: sparse.csr_array, of: lists.Lists, searched: list[lists.Lists]) -> dict[str, Any]:
    """Logarithms of the items' counts by the target + 1, [I], and of their sum over what is no candidate, [L].

    Where candidates and items met are all there are, ``is_left`` is false and the sum is that of all items.
    """
    count = np.asarray(target.sum(axis=0), np.float64).ravel() + 1
    taken = candidates.met(of) @ count
    for chosen in searched[1:]:  # familiar ones are among those met
        taken = taken + np.bincount(chosen.row, count[chosen.item], minlength=taken.size)
    left = count.sum() - taken
    is_left = left > 0.5
    others = np.log(np.where(is_left, left, count.sum()))
    arrays = (np.log(count).astype(np.float32), others.astype(np.float32), is_left)
    return dict(zip(("popularity", "others", "is_left"), map(jnp.asarray, arrays), strict=True))


def _only(of: lists.Lists, keep: np.ndarray | None) -> lists.Lists:
    """Empty histories in the places of all users but some."""
    chosen = np.zeros(len(of.user), bool)
    chosen[[] if keep is None else keep] = True
    rows = sparse.diags_array(chosen.astype(np.float32)).tocsr()

    def kept(part: candidates.Pairs) -> dict[str, sparse.csr_array]:
        found = {b: sparse.csr_array(rows @ m) for b, m in part.items()}
        for matrix in found.values():
            matrix.eliminate_zeros()
            matrix.sort_indices()
        return found

    user = np.where(chosen, of.user, -1).astype(np.int32)
    return lists.Lists(user, kept(of.history), kept(of.removed), of.ptr, of.item, of.clock)


def _joined(of: lists.Lists, more: lists.Lists) -> lists.Lists:
    """Lists without candidates, then more of them."""

    def below(first: candidates.Pairs, second: candidates.Pairs) -> dict[str, sparse.csr_array]:
        return {b: sparse.csr_array(sparse.vstack([m, second[b]], format="csr")) for b, m in first.items()}

    user = np.concatenate([of.user, more.user])
    history, removed = below(of.history, more.history), below(of.removed, more.removed)
    clock = lists.Clock(*map(np.concatenate, zip(of.clock, more.clock, strict=True)))
    return lists.Lists(user, history, removed, np.zeros(user.size + 1, np.int64), np.zeros(0, np.int32), clock)


def check_memory(config: Any, info: types.DatasetInfo, train: candidates.Pairs) -> None:
    """Raises IncompatibleError where the regression, or the tables after it, do not fit into memory."""
    pairs, most_new = (
        sum(m.nnz for m in train.values()),
        info.num_users * (2 * config.new_items + config.new_items // 4),
    )
    needs = {f"a matrix of {info.num_users:,} users": inverse.bytes_needed(info.num_users, jax.default_backend())}
    tables = 0
    for behavior in info.behaviors:
        for familiar, candidates_of in ((True, pairs - train[behavior].nnz), (False, most_new)):
            names = table.names(info.behaviors, behavior, familiar=familiar)
            tables += 2 * candidates_of * len(whole.shown(config.features, names))
    needs[f"tables of the candidates of {len(info.behaviors)} behaviors"] = tables
    free = memory.available()
    for what, needed in needs.items():
        if free is None or needed <= free:
            continue
        raise errors.IncompatibleError(
            f"model 'funnel' makes {what}, which takes up to {needed / 1e9:,.1f} GB; {free / 1e9:,.1f} GB of memory "
            "are free. Use --model=ease --rank=512, users with more pairs (--log.min_user_count=5) or fewer candidates "
            "(--model.new_items=20)."
        )
