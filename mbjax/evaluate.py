"""Full-ranking evaluation of every behavior: prepared once, then one compiled pass per call and behavior.

Who counts: a user counts for a behavior if the split holds at least one pair of it. Candidates are all items but
the masked ones, which ``mbjax/seen.py`` decides (``exclude="train"``): training items of the evaluated behavior
(``mask="same_behavior"``) or of any (``mask="all_behaviors"``).

``mbjax/parts.py`` says what is measured on a part of the held-out pairs, and ``mbjax/probabilities.py`` what on scores
that are probabilities.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import polars as pl
from scipy import sparse

from mbjax import batching, errors, files, metrics, parallel, parts, seen, topk, types
from mbjax import details as detailed

if TYPE_CHECKING:
    from mbjax import data

SPLITS = ("valid", "test")


@dataclasses.dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
      table: behavior -> {"users": n, "pairs": n, "ndcg@5": mean over the users, ...,
        "visited": {"pairs": n, "users": n, "hr@5": ..., "ndcg@5": ...}, "unvisited": likewise,
        "groups": {"<5": {"users": n, "pairs": n, metrics}, ...} if groups were asked for}.
        A part or group without users has counts and no metrics. With ``mask="all_behaviors"`` there is also
        ``"masked"``: how many of the pairs no model can find, since the user met the item by another behavior.
        With details also ``"familiar"`` and ``"new"``, {"pairs": n, "users": n, metrics}, unless the data set has one
        behavior or the mask leaves no familiar candidate; and ``"probabilities"``, see ``mbjax/probabilities.py``, for
        a model that gives them.
      per_user: one row for each behavior and user, if asked for: ``behavior``, ``user`` (index), ``raw_user``,
        ``pairs`` (held out), ``history`` (distinct training items of all behaviors), and each metric.
      reliability: behavior -> the curve of ``probabilities.curve``, where there are probabilities in the table.
      seconds: what all but the details took.
    """

    table: dict[str, dict[str, Any]]
    per_user: pl.DataFrame | None = None
    reliability: dict[str, pl.DataFrame] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Writes the per-user values, whole or not at all."""
        if self.per_user is None:
            raise ValueError("no per-user values: call the evaluator with per_user=True.")
        return files.write_parquet(self.per_user, path, "the table of users")


@dataclasses.dataclass(frozen=True)
class _Task:
    """One behavior, prepared. Rows are the users that count, in ascending order.

    Attributes:
      users: int32 [n].
      truth: [n, I], the held-out items.
      visited: [n, I], those met by another behavior in training.
      masked: [U, I], pairs that are no candidates.
      history: int64 [n], number of distinct training items of all behaviors.
      unreachable: held-out pairs that are masked.
      queries: on the device.
      sampled_from: number of users that these were drawn from; 0: these are all.
    """

    users: np.ndarray
    truth: sparse.csr_array
    visited: sparse.csr_array
    masked: sparse.csr_array
    history: np.ndarray
    unreachable: int
    queries: batching.Queries
    sampled_from: int = 0


class Evaluator:
    """Evaluates models of one data set on one split.

    Args:
      dataset: the data set.
      split: ``"valid"`` or ``"test"``.
      behaviors: which; None is every one with held-out pairs.
      ks: cut-offs.
      mask: ``"same_behavior"`` or ``"all_behaviors"``.
      batch_size: users scored at once, by a CPU or by each accelerator.
      item_tile: items scored at once. Neither changes any result; memory is their product times 4 bytes.
      placement: the devices that the users are divided among.
      sample_users: so many users of each behavior are drawn and stand for all; 0: all. Rows of behaviors with more then
        have ``"sampled_from"``, the number of those.
      seed: of the draw.

    Raises:
      ConfigError: an unknown option, a behavior without held-out pairs, or a split without any.
    """

    def __init__(
        self,
        dataset: data.Dataset,
        split: str,
        *,
        behaviors: Sequence[str] | None = None,
        ks: Sequence[int] = (5, 10, 15, 20),
        mask: str = "same_behavior",
        batch_size: int = 512,
        item_tile: int = 16384,
        placement: parallel.Placement = parallel.ONE,
        sample_users: int = 0,
        seed: int = 0,
    ):
        if split not in SPLITS:
            raise errors.unknown("split", split, SPLITS)
        seen.check("train", mask)
        if not ks or min(ks) < 1:
            raise errors.ConfigError(f"evaluate.ks is {tuple(ks)}: cut-offs are integers of at least 1.")
        if min(batch_size, item_tile) < 1:
            raise errors.ConfigError(
                f"evaluate.batch_size is {batch_size} and evaluate.item_tile {item_tile}: both are at least 1."
            )
        self.info = dataset.info
        self.split = split
        self.ks = tuple(dict.fromkeys(int(k) for k in ks))
        self._item_tile, self._placement = item_tile, placement
        self._mask = mask
        self._raw_users = dataset.users
        self._details = detailed.Details(dataset, split, mask, self.ks, batch_size, item_tile, placement)
        held_out: dict[str, sparse.csr_array] = getattr(dataset, split)
        self.behaviors = _choose(behaviors, dataset, held_out, split)
        union = seen.union(dataset.train.values(), (dataset.info.num_users, dataset.info.num_items))
        users = {b: np.unique((held_out[b] != 0).nonzero()[0]).astype(np.int32) for b in self.behaviors}
        kept = {b: sample(of, sample_users, (seed, dataset.info.behaviors.index(b))) for b, of in users.items()}
        numbers, num_items = [len(of) for of in kept.values()], dataset.info.num_items
        size = batching.common_size(numbers, num_items, placement.batch(batch_size))
        self._tasks = {}
        for behavior, chosen in kept.items():
            task = _prepare(dataset, split, behavior, chosen, mask, union, batch_size, size, placement)
            all_of = len(users[behavior])
            self._tasks[behavior] = dataclasses.replace(task, sampled_from=all_of if len(chosen) < all_of else 0)

    @property
    def users(self) -> dict[str, np.ndarray]:
        """Behavior -> the users that count, int32, ascending."""
        return {behavior: task.users for behavior, task in self._tasks.items()}

    @property
    def is_sample(self) -> bool:
        """Whether there are more users of a behavior than are ranked."""
        return any(task.sampled_from for task in self._tasks.values())

    def __call__(
        self,
        model: types.Model,
        params: types.Params,
        graphs: types.Graphs,
        *,
        per_user: bool = False,
        groups: Sequence[int] = (),
        details: bool = False,
    ) -> Result:
        """Evaluates a model.

        Args:
          model: built for this data set.
          params: its parameters.
          graphs: the graphs it asked for.
          per_user: whether the result holds the values of every user.
          groups: ascending edges, in training items of all behaviors, that divide the users into groups:
            (5, 20) makes ``"<5"``, ``"5-19"`` and ``">=20"``.
          details: whether to measure what takes passes of its own too: among familiar and among new items, which
            costs about as much again, and probabilities.

        Raises:
          TrainingDivergedError: a score is NaN.
        """
        if (model.info.num_users, model.info.num_items) != (self.info.num_users, self.info.num_items):
            raise ValueError(f"the model is built for {model.info}, the evaluator for {self.info}.")
        began = time.perf_counter()
        labels = _group_labels(groups)
        params, graphs = self._placement.placed(params, graphs)
        tables = topk.encode(model, params, graphs, self._placement)
        # All passes are started before the first is waited for, so that the host counts while the device ranks.
        started = topk.start_all(model, params, tables, self._asked, max(self.ks), self._item_tile)
        passes = dict(zip(self._tasks, started, strict=True))
        table, frames = {}, []
        for behavior, task in self._tasks.items():
            items, _ = topk.finish(passes[behavior], task.users, behavior)
            hits = metrics.find_hits(items, task.truth)
            pairs = np.diff(task.truth.indptr)
            values = metrics.per_user(hits, pairs, self.ks, complete=items.shape[1] == self.info.num_items)
            row: dict[str, Any] = {"users": len(task.users), "pairs": int(pairs.sum())} | metrics.means(values)
            row |= parts.in_one_list(items, hits, task.truth, task.visited, self.ks)
            if task.sampled_from:
                row["sampled_from"] = task.sampled_from
            if self._mask == "all_behaviors":
                row["masked"] = task.unreachable
            if labels:
                group = np.searchsorted(groups, task.history, side="right")
                row["groups"] = {
                    label: {"users": int((group == g).sum()), "pairs": int(pairs[group == g].sum())}
                    | metrics.means(values, group == g)
                    for g, label in enumerate(labels)
                }
            table[behavior] = row
            if per_user:
                columns = {"user": task.users, "raw_user": self._raw_users.column(task.users)}
                columns |= {"pairs": pairs.astype(np.int32), "history": task.history.astype(np.int32)}
                frame = pl.DataFrame(columns | values)
                frames.append(frame.select(pl.lit(behavior).alias("behavior"), pl.all()))
        seconds = time.perf_counter() - began
        curves: dict[str, pl.DataFrame] = {}
        if details:
            asked = {b: detailed.Asked(task.users, task.masked, task.queries) for b, task in self._tasks.items()}
            more, curves = self._details.measure(model, params, tables, asked)
            table = {behavior: row | more[behavior] for behavior, row in table.items()}
        return Result(table, pl.concat(frames) if per_user else None, curves, seconds)

    def programs(
        self, model: types.Model, params: types.Params, graphs: types.Graphs
    ) -> tuple[types.Tables, dict[str, jax.stages.Lowered]]:
        """What an evaluation runs, for one device and not compiled: the tables as shapes, and name -> program.

        Args:
          model: built for this data set.
          params: its parameters, as arrays or shapes.
          graphs: the graphs it asked for, likewise.
        """
        tables, encoding = topk.encoding(model, params, graphs)
        found = topk.lowered(model, params, tables, self._asked, max(self.ks), self._item_tile)
        return tables, {"encode": encoding} | {f"rank {names}": one for names, one in found.items()}

    @property
    def _asked(self) -> list[tuple[str, batching.Queries]]:
        return [(behavior, task.queries) for behavior, task in self._tasks.items()]


def sample(users: np.ndarray, number: int, seed: Sequence[int]) -> np.ndarray:
    """So many of some users, ascending, drawn without replacement; all of them if there are no more or of 0."""
    if not 0 < number < len(users):
        return users
    return np.sort(np.random.default_rng(seed).choice(users, number, replace=False))


def unreachable(table: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each behavior of a table whose held-out pairs the mask put out of every model's reach."""
    return [
        f"{behavior}: {row['masked']:,} of {row['pairs']:,} held-out pairs are items that the user met by another "
        "behavior; evaluate.mask=all_behaviors leaves them out, so that no model can find them"
        for behavior, row in table.items()
        if row.get("masked")
    ]


def _choose(
    behaviors: Sequence[str] | None, dataset: data.Dataset, held_out: dict[str, sparse.csr_array], split: str
) -> tuple[str, ...]:
    info = dataset.info
    present = tuple(b for b in info.behaviors if b in held_out and held_out[b].nnz > 0)
    if not present:
        why = f": {dataset.empty[split]}." if split in dataset.empty else "."
        hint = " Or evaluate on split 'test'." if split == "valid" and dataset.test else ""
        raise errors.ConfigError(f"split '{split}' of data set '{info.name}' holds no pairs{why}{hint}")
    if behaviors is not None and not behaviors:
        raise errors.ConfigError(
            f"no behavior to evaluate on split '{split}' of data set '{info.name}'. Those that have pairs: "
            f"{', '.join(present)}, which the model does not rank. Choose --data.target={present[-1]}, or a model that "
            "ranks all behaviors."
        )
    for behavior in behaviors or ():
        if behavior not in info.behaviors:
            raise errors.unknown("behavior", behavior, info.behaviors)
        if behavior not in present:
            raise errors.ConfigError(
                f"behavior '{behavior}' has no pairs in split '{split}' of data set '{info.name}'. "
                f"Those that have: {', '.join(present)}."
            )
    return tuple(b for b in present if behaviors is None or b in behaviors)


def _prepare(
    dataset: data.Dataset,
    split: str,
    behavior: str,
    users: np.ndarray,
    mask: str,
    union: sparse.csr_array,
    batch_size: int,
    size: int | None,
    placement: parallel.Placement,
) -> _Task:
    held_out = sparse.csr_array(getattr(dataset, split)[behavior] != 0, dtype=np.int32)
    truth = held_out[users]
    truth.sort_indices()
    visited = sparse.csr_array(truth.multiply(seen.familiar(dataset, behavior)[users] != 0))
    visited.sort_indices()
    masked = seen.pairs(dataset, behavior, exclude="train", mask=mask, split=split)
    unreachable = int(truth.multiply(masked[users] != 0).nnz) if mask == "all_behaviors" else 0
    history = np.diff(union.indptr)[users]
    queries = batching.prepare(users, masked, batch_size, size=size, placement=placement)
    return _Task(users, truth, visited, masked, history, unreachable, queries)


def _group_labels(edges: Sequence[int]) -> list[str]:
    if not edges:
        return []
    if list(edges) != sorted(set(edges)) or edges[0] < 1:
        raise errors.ConfigError(f"evaluate.groups is {tuple(edges)}: edges are ascending integers of at least 1.")
    middle = [f"{low}-{high - 1}" for low, high in zip(edges, edges[1:], strict=False)]
    return [f"<{edges[0]}", *middle, f">={edges[-1]}"]
