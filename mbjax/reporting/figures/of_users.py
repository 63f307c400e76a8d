"""A metric of several runs in groups of users: by their number of target pairs, by how alike their behaviors are."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy import sparse

from mbjax import errors, metrics
from mbjax.reporting.figures import drawing

GROUPS = 5
COUNT, SHARE = "{:,.0f}", "{:.2f}"


def purchases(runs: Sequence[pathlib.Path], metric: str | None = None, groups: int = GROUPS) -> drawing.Drawn:
    """Users by their training pairs of the target, in groups of as many users each: NMTR, Figure 2.

    Users with as many pairs are in one group, so that groups of a few numbers are not equally large.
    """

    def deal(train: Mapping[str, sparse.csr_array], target: str, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = np.diff(train[target].indptr)[users].astype(float)
        cuts = np.unique(np.quantile(value, np.arange(1, groups) / groups, method="lower"))
        return np.searchsorted(cuts, value, side="left"), value

    note = "Whether a model needs many pairs of the target, or lives on the other behaviors where there are few."
    return _drawn(
        runs, metric, deal, "training pairs of {target}", "users by training pairs of {target}", note, "{:,.0f}"
    )


def correlation(runs: Sequence[pathlib.Path], metric: str | None = None, groups: int = GROUPS) -> drawing.Drawn:
    """Users by the Pearson correlation of their behaviors, in groups of as many training pairs: PKEF, Figure 6.

    A user's behaviors are rows of zeros and ones over all items; the value is the mean correlation over all two
    behaviors of which neither is empty. The paper says no more than "Pearson correlation" and "equal degree": that it
    is of these rows, and that degree is training pairs of all behaviors, is our reading.
    """

    def deal(train: Mapping[str, sparse.csr_array], target: str, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(train) < 2:
            raise errors.ConfigError(
                f"one behavior, '{target}', has nothing to be correlated with: take a run of several."
            )
        value = pearson(train)[users]
        degree = sum(np.diff(matrix.indptr) for matrix in train.values())[users]
        order = np.argsort(value, kind="stable")
        before = np.cumsum(degree[order]) - degree[order] / 2
        group = np.empty(users.size, np.int64)
        group[order] = np.minimum((before * groups / max(degree.sum(), 1)).astype(np.int64), groups - 1)
        return group, value

    note = "Where behaviors of a user have little in common, what one says must not drown what another one says."
    words = "mean Pearson correlation of a user's behaviors"
    return _drawn(runs, metric, deal, words, "users by correlation of their behaviors", note, SHARE)


def pearson(train: Mapping[str, sparse.csr_array]) -> np.ndarray:
    """The mean correlation of each user's behaviors, [U]; 0 where fewer than two have pairs.

    Of rows of zeros and ones with a, b and c ones of both, over I items: (I c - a b) / sqrt(a (I - a) b (I - b)).
    """
    num_users, num_items = next(iter(train.values())).shape
    total, number = np.zeros(num_users), np.zeros(num_users)
    for first, second in itertools.combinations(train.values(), 2):
        a, b = (np.diff(matrix.indptr).astype(float) for matrix in (first, second))
        both = np.asarray((first != 0).multiply(second != 0).sum(axis=1), float).ravel()
        below = a * (num_items - a) * b * (num_items - b)
        some = below > 0
        total[some] += (num_items * both - a * b)[some] / np.sqrt(below[some])
        number += some
    return total / np.maximum(number, 1)


def _drawn(runs, metric, deal, words: str, title: str, note: str, form: str) -> drawing.Drawn:
    """Evaluates the runs on the test split, of which each has its own users and training pairs."""
    rows, series, groups, first, alike = [], {}, [], None, None
    if metric is not None and metric.partition("@")[0] not in metrics.NAMES:
        raise errors.unknown("metric", metric.partition("@")[0], metrics.NAMES)
    for place in runs:
        experiment, frame, chosen = _values(place, metric)
        info = experiment.dataset.info
        if first is None:
            first, metric = info, chosen
        elif (info.name, info.target) != (first.name, first.target):
            raise errors.ConfigError(
                f"run {place} is of data set '{info.name}' and target '{info.target}', the first one of "
                f"'{first.name}' and '{first.target}'. Name runs of one data set."
            )
        users = frame["user"].to_numpy()
        group, value = deal(experiment.dataset.train, info.target, users)
        state = experiment.dataset.fingerprint, users, value
        if alike is None:
            alike = state
        elif not all(map(np.array_equal, alike, state)):
            raise errors.ConfigError(
                f"run {place} has other test users or training pairs of '{info.name}' than the first one, so that its "
                "groups are others. Name runs with one state of the data and one choice of data.*."
            )
        label, heights = _label(place, series), []
        found = []
        for g in range(int(group.max()) + 1):
            inside = group == g
            if not inside.any():
                continue
            low, high = value[inside].min(), value[inside].max()
            mean = float(frame[chosen].to_numpy()[inside].mean())
            found.append(_range(form, low, high))
            heights.append(mean)
            span = {"group": len(found), "from": float(low), "to": float(high), "users": int(inside.sum())}
            rows.append({"run": label} | span | {"metric": chosen, "mean": mean})
        groups, series[label] = found, heights
    said = {"target": first.target}
    panel = drawing.Bars(f"test split, {first.target}", groups, series, words.format(**said), metric)
    return drawing.Drawn(pl.DataFrame(rows), [panel], f"{first.name}: {title.format(**said)}", note)


def _values(place: pathlib.Path, metric: str | None):
    """The experiment of a run, the values of each user of the target, and the metric's name."""
    from mbjax.experiment import runs  # late: help needs none of it

    experiment, params, _ = runs.restore(place)
    target = experiment.dataset.info.target
    cut = None if metric is None else int(metric.partition("@")[2])
    options = {"behaviors": (target,)} | ({} if cut is None else {"ks": (cut,)})
    evaluator = experiment.evaluator("test", **options)
    found = evaluator(experiment.model, params, experiment.graphs_for("test"), per_user=True).per_user
    metric = metric or f"ndcg@{experiment.config.evaluate.ks[0]}"
    if metric not in found.columns:
        known = [name for name in found.columns if "@" in name]
        raise errors.unknown("metric", metric, known)
    return experiment, found.filter(pl.col("behavior") == target), metric


def _range(form: str, low: float, high: float) -> str:
    first, last = (form.format(round(value, 2) + 0.0) for value in (low, high))  # no -0.00
    return first if first == last else f"{first} to {last}"


def _label(place: pathlib.Path, taken: Mapping[str, object]) -> str:
    name = place.name
    number = 2
    while name in taken:
        name, number = f"{place.name} ({number})", number + 1
    return name
