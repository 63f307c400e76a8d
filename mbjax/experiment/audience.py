"""Who gets lists of a run, by which model, and what is in none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import candidates, errors, seen, types, wording
from mbjax.data import histories as events
from mbjax.experiment import earlier, fold_in, wiring


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
      pairs: behavior -> what decides of the candidates, with a row for each user of the model.
      lines: what is to be said of it.
      without: raw ids of users of given events who get no list, for none of their events is usable; None without such.
    """

    model: types.Model
    params: types.Params
    graphs: types.Graphs
    users: np.ndarray
    ids: pl.Series
    pairs: Callable[[str], candidates.Pairs]
    lines: tuple[str, ...]
    without: pl.Series | None = None


def of_run(run: Run, rule: candidates.Rule) -> Audience:
    """All users of the run, and after them those who are new in its log, if the model can."""
    experiment, dataset, new = run.experiment, run.experiment.dataset, run.newcomers
    lines = [*run.lines, *candidates.describe(rule, seen.describe(dataset, rule.exclude, rule.mask))]
    if rule.repeat or rule.exclude == "none":
        lines += _unknown(experiment)
    users, ids = np.arange(dataset.info.num_users), dataset.users.series

    def pairs(behavior: str) -> candidates.Pairs:
        return candidates.of(dataset, behavior, rule, experiment.model)

    if not new or not len(new.users):
        return Audience(experiment.model, run.params, experiment.graphs_for("test"), users, ids, pairs, tuple(lines))
    if not fold_in.can(experiment.model):
        lines.append(f"new users get no list ({events.named(new.users)}): {fold_in.describe(experiment)}")
        return Audience(experiment.model, run.params, experiment.graphs_for("test"), users, ids, pairs, tuple(lines))
    lines.append(f"lists of new users are {fold_in.describe(experiment)}")
    extended = fold_in.extend(experiment, run.params, new.pairs, events=new.events)
    return Audience(
        *extended,
        np.arange(extended.model.info.num_users),
        _joined(ids, new.users),
        lambda behavior: _below(pairs(behavior), _own(new.pairs, behavior, rule)),
        tuple(lines),
    )


def of_histories(run: Run, source: Any, rule: candidates.Rule) -> Audience:
    """The users of some events."""
    experiment, dataset = run.experiment, run.experiment.dataset
    info = dataset.info
    layout, times = experiment.config.data.log, experiment.model.times
    found = events.read(source, layout, dataset.users, dataset.items, info.behaviors, times=times)
    is_known = found.known >= 0
    new, old = int((~is_known).sum()), int(is_known.sum())
    lines = [*run.lines, *found.notes]
    if times and (line := earlier.of_times(dataset, found)):
        lines.append(line)
    if not len(found.users):
        raise errors.DataError(f"no event is of an item and a behavior that the run knows: {'; '.join(found.notes)}.")
    # Of a known user all counts that the data set has of him, in whatever split.
    places, rows = np.flatnonzero(is_known), found.known[is_known]
    found, added = earlier.with_log(run.newcomers, found)
    pairs = dict(found.pairs)
    for behavior in info.behaviors:
        before = earlier.put(seen.pairs(dataset, behavior)[rows], places, len(found.users))
        pairs[behavior] = (seen.union([pairs[behavior], before], before.shape) != 0).astype(np.uint8)
    left_out = "nothing (exclude=none)"
    if rule.exclude == "known":
        by = "any behavior" if rule.mask == "all_behaviors" else "the behavior of the list"
        left_out = f"all that a user met by {by}"
    held = candidates.describe(rule, f"left out of the lists: {left_out}")
    how = fold_in.describe(experiment)
    if fold_in.can(experiment.model) or new:
        who = f"lists of {wording.count(new, 'user')} whom training has not seen, from their events"
        if added:
            who += f" (of {wording.count(added, 'user')} the log has some too, as it is now)"
        if old:
            who += f", and of {wording.count(old, 'user')} whom it has, from all that is known of them"
        known = earlier.moments_of(dataset, found) if times else None
        extended = fold_in.extend(experiment, run.params, pairs, found.known, alone=True, events=known)  # or raises
        users = info.num_users + np.arange(new + old)
        nothing = sparse.csr_array((info.num_users, info.num_items), dtype=np.uint8)
        nobody = candidates.Pairs(nothing, nothing, nothing)
        return Audience(
            *extended,
            users,
            found.users,
            lambda behavior: _below(nobody, _own(pairs, behavior, rule)),
            (*lines, f"{who}: {how}", *held),
            found.without,
        )
    who = f"lists of {wording.count(old, 'user')} as training knows them; new events are left out and not taken in"
    place = sparse.csr_array((np.ones(old, np.uint8), (rows, places)), shape=(info.num_users, old))
    if rule.repeat or rule.exclude == "none":
        lines += _unknown(experiment)
    return Audience(
        experiment.model,
        run.params,
        experiment.graphs_for("test"),
        rows,
        found.users,
        lambda behavior: candidates.Pairs(*(sparse.csr_array(place @ part) for part in _own(pairs, behavior, rule))),
        (*lines, f"{who}: {how}", *held),
        found.without,
    )


def _unknown(experiment: wiring.Experiment) -> list[str]:
    """That held-out pairs are ranked as what may come next, where they may come back: a line, or nothing."""
    dataset, model, number = experiment.dataset, experiment.model, 0
    for behavior in experiment.config.evaluate.behaviors or model.tasks or dataset.info.behaviors:
        number += candidates.held_out(dataset, behavior, model).nnz
    if not number:
        return []
    held = wording.count(number, "pair")
    line = f"of all users {held} held out from training may come back, ranked as if they had not happened"
    if fold_in.can(model):
        line += ": they may come first. --for=LOG with these users' events ranks from all that is known of them"
    return [line]


def _own(pairs: Mapping[str, sparse.csr_array], behavior: str, rule: candidates.Rule) -> candidates.Pairs:
    """What decides of the candidates of users of whom nothing is held out, CSR [N, I]."""
    own = seen.union([pairs[behavior]], pairs[behavior].shape)
    return candidates.divide(own, seen.union((p for b, p in pairs.items() if b != behavior), own.shape), rule)


def _below(first: candidates.Pairs, second: candidates.Pairs) -> candidates.Pairs:
    """One user below another."""
    stacked = (sparse.vstack(parts, format="csr") for parts in zip(first, second, strict=True))
    return candidates.Pairs(*map(sparse.csr_array, stacked))


def _joined(first: pl.Series, second: pl.Series) -> pl.Series:
    """Ids below one another, as text if their types differ."""
    if first.dtype != second.dtype:
        first, second = first.cast(pl.String), second.cast(pl.String)
    return pl.concat([first.alias("user"), second.alias("user")])
