"""Who gets lists of a run, by which model, and what is in none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import errors, seen, types, wording
from mbjax.data import histories as events
from mbjax.experiment import fold_in, wiring


class Run(NamedTuple):
    """A restored run, on the data of its training or on a log that has grown since."""

    experiment: wiring.Experiment
    params: types.Params
    newcomers: events.Histories | None = None
    lines: tuple[str, ...] = ()

    @property
    def is_grown(self) -> bool:
        return self.newcomers is not None


class Audience(NamedTuple):
    """Who gets lists, by which model, and what is in none of them.

    Attributes:
      model, params, graphs: of the users of the run, and of passive ones after them.
      users: int [n], indices of those who get lists.
      ids: raw ids [n].
      left_out: behavior -> the pairs that are no candidates, CSR with a row for each user of the model.
      lines: what is to be said of it.
    """

    model: types.Model
    params: types.Params
    graphs: types.Graphs
    users: np.ndarray
    ids: pl.Series
    left_out: Callable[[str], sparse.csr_array]
    lines: tuple[str, ...]


def of_run(run: Run, exclude: str) -> Audience:
    """All users of the run, and after them those who are new in its log, if the model can."""
    experiment, dataset, new = run.experiment, run.experiment.dataset, run.newcomers
    mask = experiment.config.evaluate.mask
    lines = [*run.lines, seen.describe(dataset, exclude, mask)]
    users, ids = np.arange(dataset.info.num_users), dataset.users.series

    def left_out(behavior: str) -> sparse.csr_array:
        return seen.pairs(dataset, behavior, exclude=exclude, mask=mask)

    if not new or not len(new.users):
        return Audience(experiment.model, run.params, experiment.graphs, users, ids, left_out, tuple(lines))
    if not fold_in.can(experiment.model):
        lines.append(f"new users get no list ({events.named(new.users)}): {fold_in.describe(experiment)}")
        return Audience(experiment.model, run.params, experiment.graphs, users, ids, left_out, tuple(lines))
    lines.append(f"lists of new users are {fold_in.describe(experiment)}")
    extended = fold_in.extend(experiment, run.params, new.pairs)
    return Audience(
        *extended,
        np.arange(extended.model.info.num_users),
        _joined(ids, new.users),
        lambda behavior: _below(left_out(behavior), _own(new.pairs, behavior, exclude, mask)),
        tuple(lines),
    )


def of_histories(run: Run, source: Any, exclude: str) -> Audience:
    """The users of some events."""
    experiment, dataset = run.experiment, run.experiment.dataset
    info, mask = dataset.info, experiment.config.evaluate.mask
    found = events.read(source, experiment.config.data.log, dataset.users, dataset.items, info.behaviors)
    is_known = found.known >= 0
    new, old = int((~is_known).sum()), int(is_known.sum())
    lines = [*run.lines, *found.notes]
    if len(found.without):
        names = events.named(found.without)
        lines.append(f"no list for {wording.count(len(found.without), 'user')} without a usable event ({names})")
    if not len(found.users):
        raise errors.DataError(f"no event is of an item and a behavior that the run knows: {'; '.join(found.notes)}.")
    # Of a known user all counts that the data set has of him, in whatever split.
    places, rows = np.flatnonzero(is_known), found.known[is_known]
    pairs = dict(found.pairs)
    for behavior in info.behaviors:
        before = sparse.csr_array((seen.pairs(dataset, behavior)[rows] != 0).astype(np.uint8)).tocoo()
        shape = pairs[behavior].shape
        before = sparse.csr_array((before.data, (places[before.row], before.col)), shape=shape)
        pairs[behavior] = sparse.csr_array(((pairs[behavior] + before) != 0).astype(np.uint8))
        pairs[behavior].sort_indices()
    left_out = "nothing (exclude=none)"
    if exclude == "known":
        left_out = f"all that a user met by {'any behavior' if mask == 'all_behaviors' else 'the behavior of the list'}"
    left_out = f"left out of the lists: {left_out}"
    how = fold_in.describe(experiment)
    if fold_in.can(experiment.model) or new:
        who = f"lists of {wording.count(new, 'user')} whom training has not seen, from their events"
        if old:
            who += f", and of {wording.count(old, 'user')} whom it has, from all that is known of them"
        extended = fold_in.extend(experiment, run.params, pairs, found.known)  # or raises
        users = info.num_users + np.arange(new + old)
        nobody = sparse.csr_array((info.num_users, info.num_items), dtype=np.uint8)
        return Audience(
            *extended,
            users,
            found.users,
            lambda behavior: _below(nobody, _own(pairs, behavior, exclude, mask)),
            (*lines, f"{who}: {how}", left_out),
        )
    who = f"lists of {wording.count(old, 'user')} as training knows them; new events are left out and not taken in"
    place = sparse.csr_array((np.ones(old, np.uint8), (rows, places)), shape=(info.num_users, old))
    return Audience(
        experiment.model,
        run.params,
        experiment.graphs,
        rows,
        found.users,
        lambda behavior: sparse.csr_array(place @ _own(pairs, behavior, exclude, mask)),
        (*lines, f"{who}: {how}", left_out),
    )


def _own(pairs: Mapping[str, sparse.csr_array], behavior: str, exclude: str, mask: str) -> sparse.csr_array:
    """What users of whom nothing is held out have seen, CSR [N, I]."""
    if exclude == "none":
        return seen.union((), pairs[behavior].shape)
    return seen.union(pairs.values() if mask == "all_behaviors" else [pairs[behavior]], pairs[behavior].shape)


def _below(first: sparse.csr_array, second: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(sparse.vstack([first, second], format="csr"))


def _joined(first: pl.Series, second: pl.Series) -> pl.Series:
    """Ids below one another, as text if their types differ."""
    if first.dtype != second.dtype:
        first, second = first.cast(pl.String), second.cast(pl.String)
    return pl.concat([first.alias("user"), second.alias("user")])
