"""Candidates of all users with their tables on the device, and the lists that training draws from.

Knows of a model's configuration the fields ``penalty, new_items, features, folds, taught_folds, max_lists,
list_length, sources, cross_fitting, members``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import errors, types
from mbjax.features import candidates, lessons, lists, regression, retrieval, table
from mbjax.features.retrieval import PARTS
from mbjax.ops import inverse, listwise, memory

PASSES = 2  # of an epoch over the lists of a name, at most
NEW_LISTS = 2500  # most lists of new items that a behavior gives by folds


class Prepared(NamedTuple):
    """What all users are ranked by.

    Attributes:
      number: of users, passive ones included.
      device: behavior -> arrays, the evaluation's.
      fitted: the regression.
      found: behavior -> part -> candidates, on the host.
      tables: behavior -> part -> float16 [N, D].
      users: behavior -> float32 [L, G], the gate's numbers.
    """

    number: int
    device: dict[str, Any]
    fitted: regression.Fit
    found: Mapping[str, Mapping[str, retrieval.Found]]
    tables: Mapping[str, Mapping[str, np.ndarray]]
    users: Mapping[str, np.ndarray]


def prepare(config: Any, info: types.DatasetInfo, evidence: types.Evidence) -> Prepared:
    """Finds the candidates of all users, or of the passive ones alone, and makes their tables."""
    train = evidence.train
    check_memory(info.num_users)
    fitted = regression.fit(train, config.penalty)
    of = candidates.histories(train, np.arange(next(iter(train.values())).shape[0]))
    if evidence.passive is not None:
        of = _joined(_nobody(of) if evidence.alone else of, candidates.strangers(evidence.passive))
    searches = [retrieval.retriever(train, fitted, b) for b in info.behaviors]
    found = dict(zip(info.behaviors, retrieval.find(fitted, of, searches, config.new_items), strict=True))
    device, tables, users = {}, {}, {}
    for behavior in info.behaviors:
        source = table.Source(train, fitted, behavior)
        tables[behavior], device[behavior] = {}, {}
        for part, (chosen, predicted) in found[behavior].items():
            x = matrix(config, table.table(source, chosen, predicted, familiar=part == "familiar"))
            tables[behavior][part] = x
            device[behavior][part] = _placed(chosen, x)
        users[behavior] = user_numbers(of, found[behavior]["familiar"].lists)
        device[behavior] |= _rest(train[behavior], of, [f.lists for f in found[behavior].values()])
        valid = evidence.valid.get(behavior)
        device[behavior] |= {
            "judged": jnp.asarray(valid is not None and valid.nnz > 0),
            "user": jnp.asarray(users[behavior]),
            "scale": _scale(users[behavior]),
        }
    return Prepared(len(of.user), device, fitted, found, tables, users)


def _placed(chosen: lists.Lists, x: np.ndarray) -> dict[str, Any]:
    item, row = chosen.item, chosen.row
    if not item.size:  # one row that belongs to nobody, since nothing can be made of none
        x, item, row = np.zeros((1, x.shape[1]), np.float16), np.zeros(1, np.int32), np.zeros(1, np.int64)
    return {
        "ptr": jnp.asarray(chosen.ptr, jnp.int32),
        "item": jnp.asarray(item, jnp.int32),
        "row": jnp.asarray(row, jnp.int32),
        "x": jnp.asarray(x),
        "scale": _scale(x),
    }


def _scale(x: np.ndarray) -> dict[str, Any]:
    """Mean and deviation of each column."""
    mean = x.mean(axis=0, dtype=np.float64)
    square = np.mean([np.square(part, dtype=np.float64).mean(axis=0) for part in (x,)], axis=0)
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


def user_numbers(of: lists.Lists, familiar: lists.Lists) -> np.ndarray:
    """What the gate knows of users, float32 [L, 1 + K + K (K - 1) / 2]: logarithms of how much they have of each."""
    names = list(of.history)
    columns = [np.log1p(np.diff(familiar.ptr))] + [np.log1p(np.diff(of.history[b].indptr)) for b in names]
    for place, a in enumerate(names):
        for b in names[place + 1 :]:
            both = np.asarray(of.history[a].multiply(of.history[b]).sum(axis=1)).ravel()
            columns.append(both / (np.diff(of.history[b].indptr) + 1.0))
    return np.stack(columns, axis=1).astype(np.float32)


def matrix(config: Any, columns: table.Columns) -> np.ndarray:
    """The columns of the chosen families, float16 [N, D]."""
    return np.stack([columns[name] for name in shown(config, columns)], axis=1).astype(np.float16)


def shown(config: Any, names: Iterable[str]) -> list[str]:
    """Those of some columns that the experts see."""
    gone = [family for family in table.FAMILIES if family not in config.features]
    return [name for name in names if not any(family in name.split("_") for family in gone)]


def _nobody(of: lists.Lists) -> lists.Lists:
    """Empty histories in the places of users."""
    empty = {b: sparse.csr_array(m.shape, dtype=np.float32) for b, m in of.history.items()}
    return lists.Lists(np.full(len(of.user), -1, np.int32), empty, empty, of.ptr, of.item)


def _joined(of: lists.Lists, more: lists.Lists) -> lists.Lists:
    """Lists without candidates, then more of them."""

    def below(first: candidates.Pairs, second: candidates.Pairs) -> dict[str, sparse.csr_array]:
        return {b: sparse.csr_array(sparse.vstack([m, second[b]], format="csr")) for b, m in first.items()}

    user = np.concatenate([of.user, more.user])
    history, removed = below(of.history, more.history), below(of.removed, more.removed)
    return lists.Lists(user, history, removed, np.zeros(user.size + 1, np.int64), np.zeros(0, np.int32))


def teach(
    config: Any,
    info: types.DatasetInfo,
    evidence: types.Evidence,
    made: Prepared,
    batch_size: int,
    num_devices: int,
) -> tuple[listwise.ListSampler, Any]:
    """The sampler of training lists and the lists, for ``types.Model.teach``."""
    rng = np.random.default_rng([evidence.seed, 41])
    groups = lessons.groups(info.num_users, config.members, evidence.seed)
    stores, sizes, everything = {}, {}, {}

    def add(name: str, x: np.ndarray, ptr: np.ndarray, positive: np.ndarray, group: np.ndarray, size: int) -> None:
        stores[name] = listwise.store(x, ptr, positive, group, config.list_length, rng)
        count = stores[name].place.shape[0]
        # Few lists are not gone through again and again: an epoch has each of them PASSES times at most.
        sizes[name] = (count, min(size, -(-PASSES * count // config.steps)))

    for behavior in info.behaviors:
        valid = evidence.valid.get(behavior)
        is_judged = valid is not None and valid.nnz > 0
        size = batch_size if is_judged or behavior == info.target else batch_size // 4
        if is_judged:
            truth = sparse.csr_array(valid.astype(np.float32))
            of = {part: found.lists for part, found in made.found[behavior].items()}
            everything[behavior] = _asked(made.users[behavior], of, truth)
            for part in PARTS if "valid" in config.sources else ():
                positive = of[part].of(truth)
                keep = np.flatnonzero(np.bincount(of[part].row, positive, minlength=made.number))
                if keep.size:
                    inside = np.isin(of[part].row, keep, kind="table")
                    ptr = np.concatenate([[0], np.cumsum(np.diff(of[part].ptr)[keep])])
                    x = made.tables[behavior][part][inside]
                    add(f"{behavior}:{part}:valid", x, ptr, positive[inside], groups[keep], size)
        number = config.taught_folds if is_judged or not evidence.valid else 1
        for part, lesson, counts in _by_folds(config, evidence.train, made.fitted, behavior, number, rng):
            if lesson is not None:
                x = matrix(config, lesson.columns)
                nobody = np.full(lesson.user.size, -1)
                add(f"{behavior}:{part}:folds", x, lesson.ptr, lesson.positive, nobody, size)
            if counts is not None and behavior not in everything:
                everything[behavior] = counts
    if not stores:
        raise errors.IncompatibleError(
            f"model 'funnel' has nothing to learn from: no list of model.sources={','.join(config.sources)} holds an "
            "answer. Leave model.sources and data.valid at their defaults, or take more data."
        )
    return listwise.ListSampler(sizes, num_devices, config.steps), (stores, everything)


def _by_folds(config, train, fitted, behavior: str, number: int, rng: np.random.Generator):
    """Yields (part, lesson or None, counts or None) of a behavior."""
    if "folds" not in config.sources or not number:
        return
    source = table.Source(train, fitted, behavior)
    search = retrieval.retriever(train, fitted, behavior)
    familiar, new, counts = [], [], None
    for users, taken in lessons.folds(train, behavior, config.folds, number, config.max_lists, rng):
        of = candidates.histories(train, users, {behavior: taken})
        told = None if config.cross_fitting else _as_strangers(train, users)
        (found,) = retrieval.find(fitted, of, [search], config.new_items, ("familiar",), told)
        familiar.append(lessons.lesson(source, found["familiar"], taken, "familiar", config.new_items))
        wanted = NEW_LISTS - sum(part.user.size for part in new if part is not None)
        if wanted <= 0:
            continue
        few = np.sort(rng.choice(users.size, min(users.size, 2 * wanted), replace=False))
        truth = sparse.csr_array(taken[few])
        if counts is None:
            # What comes next is looked for as it will be: with the touches that the pairs have by other behaviors.
            asked = candidates.histories(train, users[few], {behavior: truth})
            (found,) = retrieval.find(fitted, asked, [search], config.new_items)
            lists_of = {part: part_found.lists for part, part_found in found.items()}
            counts = _asked(user_numbers(asked, lists_of["familiar"]), lists_of, truth)
        alone = candidates.histories(train, users[few], lessons.everywhere(train, users[few], truth))
        told = None if config.cross_fitting else _as_strangers(train, users[few])
        (found,) = retrieval.find(fitted, alone, [search], config.new_items, ("new",), told)
        new.append(lessons.lesson(source, found["new"], truth, "new", config.new_items))
    yield "familiar", lessons.joined(familiar), counts
    yield "new", lessons.joined(new), None


def _as_strangers(train: candidates.Pairs, users: np.ndarray) -> lists.Lists:
    """Users with their whole histories, who stay in all statistics: these know what is to be predicted."""
    return candidates.strangers({b: sparse.csr_array(m[users]) for b, m in train.items()})


def check_memory(num_users: int) -> None:
    """Raises IncompatibleError where the regression does not fit into memory."""
    needed, free = inverse.bytes_needed(num_users, jax.default_backend()), memory.available()
    if free is not None and needed > free:
        raise errors.IncompatibleError(
            f"model 'funnel' inverts a matrix of {num_users:,} users, which takes {needed / 1e9:,.1f} GB; "
            f"{free / 1e9:,.1f} GB of memory are free. Use --model=ease --rank=512, or fewer users (--data.subsample)."
        )


def _asked(users: np.ndarray, found: Mapping[str, lists.Lists], truth: sparse.csr_array) -> tuple[Any, ...]:
    pairs, familiar, fresh = lessons.asked(found, truth)
    some = pairs > 0
    return tuple(jnp.asarray(x[some], jnp.float32) for x in (users, pairs, familiar, fresh))
