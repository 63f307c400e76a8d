"""What the experts learn from: lists of folds and of validation pairs, in stores that batches are drawn from.

Knows of a model's configuration the fields ``folds, taught_folds, max_lists, list_length, sources, cross_fitting,
members, new_items, features, steps, fold_order, left_out``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import errors, types
from mbjax.features import candidates, comparing, events, extent, lessons, lists, regression, retrieval, table, whole
from mbjax.features.retrieval import PARTS
from mbjax.ops import listwise

PASSES = 2  # of an epoch over the lists of a name, at most
FEW = 2**14  # users up to which the gates of all behaviors learn from as many rows, some of them of nobody
NEW_LISTS = 2500  # most lists of new items that a behavior gives by folds

Counts = tuple[np.ndarray, ...]
"""Of lists: the gate's numbers [L, G]; pairs to be predicted, those of them familiar, those found new: [L] each."""


class Lesson(NamedTuple):
    """Lists with right answers: float16 [N, D], int64 [L + 1], float32 [N]."""

    x: np.ndarray
    ptr: np.ndarray
    positive: np.ndarray


class Lessons(NamedTuple):
    """What folds teach: behavior and part -> lists, and what the gate learns from where validation says nothing."""

    lists: dict[tuple[str, str], Sequence[Lesson]]
    counts: Mapping[str, Counts]


@dataclasses.dataclass
class Drafts:
    """Lists of folds before their tables are made."""

    lists: dict[tuple[str, str], list[lessons.Draft]]
    counts: dict[str, Counts]

    def asked(self, log: events.Log | None, how: comparing.How) -> list[comparing.Asked]:
        """The lists, for ``similarity.aggregate``."""
        return [
            comparing.Asked(draft.found.lists, [b], log, draft.train, how)
            for (b, _), drafts in self.lists.items()
            for draft in drafts
        ]

    def lessons(self, config: Any, sources: Mapping[str, table.Source], near: list[comparing.Near]) -> Lessons:
        """Makes the tables, with the similarities of ``asked``, which are used up."""
        found: dict[tuple[str, str], list[Lesson]] = {}
        for (behavior, part), drafts in self.lists.items():
            made = []
            for draft in drafts:
                x, passed = _table(config, sources[behavior], draft, near.pop(0))
                made.append(_lesson(draft, x, passed))
                if draft.fresh is not None and behavior in self.counts:
                    self._count(behavior, draft, passed)
            found[behavior, part] = [one for one in made if len(one.ptr) > 1]
            drafts.clear()
        return Lessons({name: of for name, of in found.items() if of}, self.counts)

    def _count(self, behavior: str, draft: lessons.Draft, passed: np.ndarray) -> None:
        """Says of those whom the gate learns from how many of their new pairs are found without them."""
        *others, found = self.counts[behavior]
        line = draft.line[draft.found.lists.row]
        found = found + np.bincount(line, draft.positive * passed * draft.fresh, minlength=found.size)
        self.counts[behavior] = (*others, found.astype(np.float32))


def _table(
    config: Any, source: table.Source, draft: lessons.Draft, near: comparing.Near
) -> tuple[np.ndarray, np.ndarray]:
    """The table of a draft, and which candidates would be among them if the pairs were still to come: bool [N]."""
    passed = np.ones(draft.positive.size, bool)
    if draft.train is not None:
        source = table.Source(draft.train, table.counts(draft.train), source.target, source.log)
    is_searched = extent.is_searched(config, next(iter(source.train.values())).shape[0])
    # Without the regression's there are half as many candidates, among whom a rank says half as much.
    most = config.new_items if is_searched else config.new_items / 2
    look = None
    if draft.part == "new" and any(m.nnz for m in draft.found.lists.removed.values()):

        def look(first: int, end: int, columns: table.Columns) -> None:
            is_found = lessons.searched(columns, is_searched) < np.log1p(most)
            is_found |= lessons.popular(columns, source.target) < np.log1p(config.new_items // 4)
            passed[first:end] = is_found | (draft.positive[first:end] == 0)

    return whole.matrix(config.features, source, draft.found, whole.Compared(near), draft.part, look), passed


def _lesson(draft: lessons.Draft, x: np.ndarray, passed: np.ndarray) -> Lesson:
    """Without answers that would not be candidates, which are no wrong ones either, and lists that had no others."""
    ptr, positive, row = draft.found.lists.ptr, draft.positive, draft.found.lists.row
    if passed.all():
        return Lesson(x, ptr, positive)
    has = np.bincount(row, positive * passed, minlength=len(ptr) - 1) > 0
    keep = passed & has[row]
    length = np.bincount(row[keep], minlength=has.size)[has]
    return Lesson(x[keep], np.concatenate([[0], np.cumsum(length)]), positive[keep])


def drafts(
    config: Any,
    info: types.DatasetInfo,
    evidence: types.Evidence,
    fitted: regression.Fit,
    searches: Sequence[retrieval.Retriever],
    log: events.Log | None = None,
) -> Drafts:
    """Takes folds of pairs out and finds the candidates of their users."""
    rng = np.random.default_rng([evidence.seed, 41])
    out = Drafts({}, {})
    for behavior, search in zip(info.behaviors, searches, strict=True):
        if "folds" not in config.sources:
            continue
        share = share_of(info, evidence, behavior)
        order = _order(config, evidence, log)
        for part, draft, counts in _by_folds(config, evidence.train, fitted, search, behavior, share, rng, log, order):
            if draft is not None:
                out.lists.setdefault((behavior, part), []).append(draft)
            if counts is not None and not judged(evidence, behavior):
                out.counts.setdefault(behavior, counts)
    return out


def judged(evidence: types.Evidence, behavior: str) -> bool:
    """Whether pairs of a behavior are held out for validation."""
    valid = evidence.valid.get(behavior)
    return valid is not None and valid.nnz > 0


def share_of(info: types.DatasetInfo, evidence: types.Evidence, behavior: str) -> int:
    """What the lists of a behavior are divided by: what nobody judges has a quarter of everything."""
    return 1 if judged(evidence, behavior) or behavior == info.target else 4


def limits(config: Any, share: int) -> tuple[int, int, int]:
    """Folds that a behavior is taught by, most lists of each, and most of new items of all."""
    number, most, most_new = (-(-of // share) for of in (config.taught_folds, config.max_lists, NEW_LISTS))
    return number, most, most_new


def drawn(config: Any, count: int, size: int) -> int:
    """Lists of a batch of so many: few are not gone through again and again, but ``PASSES`` times an epoch at most."""
    return min(size, count, -(-PASSES * count // config.steps))


def _order(config: Any, evidence: types.Evidence, log: events.Log | None) -> str:
    """How pairs are dealt, for ``lessons.folds``."""
    if config.fold_order == "auto":
        return "time" if log is not None and evidence.later else "random"
    return config.fold_order


def _by_folds(
    config, train, fitted, search, behavior: str, share: int, rng, log, order
) -> Iterator[tuple[str, Any, Any]]:
    """Yields (part, draft or None, counts or None) of a behavior."""
    number, most, most_new = limits(config, share)
    answered, asked, shared = 0, False, regression.spread(fitted, behavior, list(train))
    for fold in lessons.folds(train, behavior, config.folds, number, most, rng, log, order):
        users, taken = fold.users, fold.taken
        gone = lessons.removed(train, fold, behavior, log)
        of = candidates.histories(train, users, gone, fold.until)
        told = None if config.cross_fitting else _as_strangers(train, users)
        (found,) = retrieval.find(fitted, of, [search], config.new_items, ("familiar",), told, shared)
        # Without times: a log says of later pairs too when they happened, and these are not of the statistics.
        is_for_all = extent.leaves_fold_out(config, train[behavior].shape[0])
        is_of_fold = is_for_all and config.cross_fitting and log is None
        known = lessons.without(train, fold, behavior) if is_of_fold else None
        yield "familiar", lessons.draft(found["familiar"], taken, "familiar", known), None
        wanted = most_new - answered
        if wanted <= 0:
            continue
        few = np.sort(rng.choice(users.size, min(users.size, 2 * wanted), replace=False))
        truth = sparse.csr_array(taken[few])
        gone, until = {b: sparse.csr_array(m[few]) for b, m in gone.items()}, fold.until[few]
        counts = None
        if not asked:
            # What comes next is looked for as it will be: with the touches that the pairs have by other behaviors.
            plain, asked = candidates.histories(train, users[few], gone, until), True
            (found,) = retrieval.find(fitted, plain, [search], config.new_items, ("familiar",), shared=shared)
            # How many are found among new items is counted once their tables are made.
            counts = _asked(found["familiar"].lists, truth)
        everywhere = lessons.everywhere(train, users[few], truth)
        gone = {b: lists.union([m, *([gone[b]] if b in gone else [])], m.shape) for b, m in everywhere.items()}
        alone = candidates.histories(train, users[few], gone, until)
        told = None if config.cross_fitting else _as_strangers(train, users[few])
        (found,) = retrieval.find(fitted, alone, [search], config.new_items, ("new",), told, shared)
        others = lists.union([m for b, m in everywhere.items() if b != behavior], truth.shape)
        draft = lessons.draft(found["new"], truth, "new", met=None if counts is None else others)
        answered += 0 if draft is None else len(draft.found.lists.user)
        yield "new", draft, counts


def _as_strangers(train: candidates.Pairs, users: np.ndarray) -> lists.Lists:
    """Users with their whole histories, who stay in all statistics: these know what is to be predicted."""
    return candidates.strangers({b: sparse.csr_array(m[users]) for b, m in train.items()}, users)


def teach(
    config: Any, info: types.DatasetInfo, evidence: types.Evidence, made: Any, batch_size: int, num_devices: int
) -> tuple[listwise.ListSampler, Any]:
    """The sampler of training lists and the lists, for ``types.Model.teach``.

    Args:
      made: a ``Prepared`` with lessons, which are used up.
    """
    rng = np.random.default_rng([evidence.seed, 43])
    groups = lessons.groups(info.num_users, config.members, evidence.seed)
    stores, sizes, lengths, everything = {}, {}, {}, {}

    def add(name: str, parts: Sequence[Lesson], group: np.ndarray, size: int) -> None:
        stores[name] = listwise.store(parts, group, config.list_length, rng)
        lengths[name] = np.asarray(stores[name].length)
        count = lengths[name].size
        sizes[name] = (count, drawn(config, count, size))

    for behavior in info.behaviors:
        is_judged = judged(evidence, behavior)
        size = max(1, batch_size // share_of(info, evidence, behavior))
        if is_judged:
            truth = _of_rows(sparse.csr_array(evidence.valid[behavior].astype(np.float32)), made.asked.get(behavior))
            of = made.lists[behavior]
            everything[behavior] = _asked(of["familiar"], truth, of["new"], made.users[behavior])
            for part in PARTS if "valid" in config.sources else ():
                positive = of[part].of(truth)
                keep = np.flatnonzero(np.bincount(of[part].row, positive, minlength=made.number))
                if keep.size:
                    inside = np.isin(of[part].row, keep, kind="table")
                    ptr = np.concatenate([[0], np.cumsum(np.diff(of[part].ptr)[keep])])
                    x = np.asarray(made.device[behavior][part]["x"])[inside]
                    lesson = Lesson(x, ptr, positive[inside])
                    add(f"{behavior}:{part}:valid", [lesson], groups[keep], size)
        elif behavior in made.lessons.counts:
            everything[behavior] = made.lessons.counts[behavior]
        for part in PARTS:
            given = made.lessons.lists.pop((behavior, part), ())
            if given:
                nobody = np.full(sum(len(one.ptr) - 1 for one in given), -1)
                add(f"{behavior}:{part}:folds", given, nobody, size)
    if not stores:
        raise errors.IncompatibleError(
            f"model 'funnel' has nothing to learn from: no list of model.sources={','.join(config.sources)} holds an "
            "answer. Leave model.sources and data.valid at their defaults, or take more data."
        )
    placed = {b: tuple(map(jnp.asarray, counts)) for b, counts in _as_long(everything).items()}
    return listwise.ListSampler(sizes, num_devices, config.steps, lengths), (stores, placed)


def _as_long(everything: Mapping[str, Counts]) -> dict[str, Counts]:
    """Few users of each behavior, filled up with ones who have no pairs: what is done to them is compiled once."""
    longest = max((len(counts[0]) for counts in everything.values()), default=0)
    if longest > FEW:
        return dict(everything)
    return {
        behavior: tuple(np.pad(x, [(0, longest - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in counts)
        for behavior, counts in everything.items()
    }


def _of_rows(matrix: sparse.csr_array, rows: np.ndarray | None) -> sparse.csr_array:
    """With all other rows empty."""
    if rows is None:
        return matrix
    chosen = np.zeros(matrix.shape[0], matrix.dtype)
    chosen[rows] = 1
    found = sparse.csr_array(sparse.diags_array(chosen).tocsr() @ matrix)
    found.eliminate_zeros()
    found.sort_indices()
    return found


def user_numbers(of: lists.Lists, familiar: np.ndarray, history: np.ndarray | None = None) -> np.ndarray:
    """What the gate knows of users, float32 [L, 1 + K + K (K - 1) / 2]: logarithms of how much they have of each.

    Args:
      of: the users' histories.
      familiar: int [L + 1], where the familiar candidates of each begin, one after another.
      history: ``history_numbers`` of the same lists, if these are known.
    """
    history = history_numbers(of) if history is None else history
    return np.column_stack([np.log1p(np.diff(familiar)), history]).astype(np.float32)


def history_numbers(of: lists.Lists) -> np.ndarray:
    """Those of them that are the same whatever is ranked: [L, K + K (K - 1) / 2]."""
    names = list(of.history)
    columns = [np.log1p(np.diff(of.history[b].indptr)) for b in names]
    for place, a in enumerate(names):
        for b in names[place + 1 :]:
            both = np.asarray(of.history[a].multiply(of.history[b]).sum(axis=1)).ravel()
            columns.append(both / (np.diff(of.history[b].indptr) + 1.0))
    return np.stack(columns, axis=1)


def _asked(
    familiar: lists.Lists, truth: sparse.csr_array, new: lists.Lists | None = None, numbers: np.ndarray | None = None
) -> Counts:
    """Of lists with pairs to be predicted, CSR [L, I]; without ``new`` none of them is found, so far."""
    numbers = user_numbers(familiar, familiar.ptr) if numbers is None else numbers
    pairs = np.diff(truth.indptr)
    among = [np.zeros(pairs.size) if of is None else lessons.hits(of, truth) for of in (familiar, new)]
    return tuple(x[pairs > 0].astype(np.float32) for x in (numbers, pairs, *among))
