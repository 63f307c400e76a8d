"""What a run and its log know of the users of some events, beside these."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from mbjax import data, seen
from mbjax.data import histories as events
from mbjax.data import moments

YEAR = 365.25 * 86_400  # seconds
FAR = 5 * YEAR
"""What lies between the events of a run and newer ones, if their times are written in the same way."""


def with_log(log: events.Histories | None, found: events.Histories) -> tuple[events.Histories, int]:
    """The events with what a log that has grown has of users who are new in it, and how many of these there are."""
    if log is None or not len(log.users):
        return found, 0
    of = data.Vocabulary(log.users).places(found.users)
    places = np.flatnonzero((of >= 0) & (found.known < 0))
    rows, pairs, times = of[places], {}, found.events
    for behavior, given in found.pairs.items():
        both = seen.union([given, put(log.pairs[behavior][rows], places, len(of))], given.shape)
        pairs[behavior] = (both != 0).astype(np.uint8)
    if log.events is not None:
        width, times = next(iter(pairs.values())).shape[1], {}
        for behavior in pairs:
            before = moments.rows(log.events[behavior], rows, width)
            before = before._replace(keys=_moved(before.keys, places, width))
            times[behavior] = before if found.events is None else moments.either(before, found.events[behavior])
    return dataclasses.replace(found, pairs=pairs, events=times), places.size


def moments_of(dataset: data.Dataset, found: events.Histories) -> dict[str, moments.Moments]:
    """When the events happened, and what the data set has of users whom it knows; nothing where nobody says.

    The events may be a longer record of the same, so that what both have happened once.
    """
    known = {}
    places = np.flatnonzero(found.known >= 0)
    for behavior in dataset.info.behaviors:
        parts = []
        for split in ("train", "valid"):
            if behavior in dataset.events[split]:
                of = moments.rows(dataset.events[split][behavior], found.known[places], dataset.info.num_items)
                parts.append(of._replace(keys=_moved(of.keys, places, dataset.info.num_items)))
        known[behavior] = moments.joined(parts)
        if found.events is not None:
            known[behavior] = moments.either(known[behavior], found.events[behavior])
    return known


def of_times(dataset: data.Dataset, found: events.Histories) -> str | None:
    """That new events have no times, or are years before or after all that the data set has; None: neither."""
    if found.events is None:
        return "the new events have no times, which this model looks at: they count as the last ones of all"
    known = [part for split in ("train", "valid") for part in dataset.events[split].values() if part.seconds.size]
    new = [part.seconds for part in found.events.values() if part.seconds.size]
    if not (known and new):
        return None
    middle = float(np.median(np.concatenate(new)))
    after, before = middle - moments.end(known), moments.begin(known) - middle
    if max(after, before) < FAR:
        return None
    where = "after the last" if after > before else "before the first"
    return (
        f"the new events are {max(after, before) / YEAR:,.0f} years {where} that the run knows of: times have to be "
        "written as in its log (data.log.time_unit)"
    )


def put(rows: sparse.csr_array, places: np.ndarray, number: int) -> sparse.csr_array:
    """The rows at some places among so many, the others empty."""
    where = (np.ones(places.size, np.uint8), (places, np.arange(places.size)))
    return sparse.csr_array(sparse.csr_array(where, shape=(number, places.size)) @ (rows != 0).astype(np.uint8))


def _moved(keys: np.ndarray, places: np.ndarray, width: int) -> np.ndarray:
    """Keys of the users 0, 1, ... as those of the users at some places."""
    return places[keys // width] * width + keys % width
