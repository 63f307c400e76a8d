"""Which epoch a number is of: the monitored metric, and the selections of a run by their names.

``valid``, ``last``; and, for comparison with papers that chose epochs on the test split, ``best_test``,
``best_test_late`` and ``test_per_behavior``. Rows are those of ``metrics.jsonl``; tables are behavior -> metric ->
value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mbjax import errors

Row = Mapping[str, Any]
Table = Mapping[str, Mapping[str, Any]]

NAMES = ("valid", "last", "best_test", "best_test_late", "test_per_behavior")
LATE_EPOCHS = frozenset({0, *range(93, 199, 3)})
"""Epochs that COPF's released code tests on the way; it tests once more after the last."""


def monitored(table: Table, monitor: str, first_k: int) -> float:
    """The value that selects an epoch; larger is better.

    Args:
      table: of one split.
      monitor: ``"BEHAVIOR:METRIC@K"``; BEHAVIOR ``mean`` is the average over the behaviors that have held-out pairs,
        without ``@K`` the cut-off is ``first_k``.
      first_k: the first cut-off of the configuration.

    Raises:
      ConfigError: the behavior or the metric was not evaluated.
    """
    behavior, _, metric = monitor.rpartition(":")
    metric = metric if "@" in metric else f"{metric}@{first_k}"
    if behavior != "mean" and behavior not in table:
        raise errors.unknown("behavior in train.monitor", behavior, ["mean", *table])
    names = table if behavior == "mean" else (behavior,)
    values = [table[name][metric] for name in names if table[name].get(metric) is not None]
    if not values:
        raise errors.ConfigError(f"train.monitor={monitor}: no behavior with held-out pairs has a value of {metric}.")
    return float(sum(values) / len(values))


def best_row(rows: Iterable[Row], split: str, monitor: str, first_k: int) -> Row | None:
    """The row with the largest monitored value on a split, the earliest of equals; None if none was evaluated."""
    evaluated = [row for row in rows if row.get(split)]
    return max(evaluated, key=lambda row: monitored(row[split], monitor, first_k), default=None)


def select(rows: Sequence[Row], name: str, *, monitor: str, first_k: int, target: str) -> dict[str, dict[str, Any]]:
    """The test table of a selection, as behavior -> {"epoch": e, metrics}.

    Args:
      rows: of metrics.jsonl.
      name: one of ``NAMES``. ``best_test`` is the best epoch by the monitored value; ``best_test_late`` COPF's
        rule: the hit rate of the target among epochs 0, 93, 96, ..., 198 and the last, compared with a best value that
        is rounded to four digits, ties to the later; ``test_per_behavior`` BVAE's: each behavior at its own best NDCG
        at the first cut-off.
      monitor: see ``monitored``.
      first_k: the first cut-off.
      target: the target behavior.

    Returns:
      The table; empty if the epochs in question were not evaluated on the test split.
    """
    if name not in NAMES:
        raise ValueError(f"unknown selection {name!r}; known: {', '.join(NAMES)}")
    tested = [row for row in rows if row.get("test")]
    if name == "valid":
        chosen = best_row(rows, "valid", monitor, first_k)
    elif name == "last":
        chosen = rows[-1] if rows else None
    elif name == "best_test":
        chosen = best_row(rows, "test", monitor, first_k)
    elif name == "best_test_late":
        chosen = _best_late(tested, rows[-1]["epoch"] if rows else 0, f"{target}:hr", first_k)
    else:
        return _each_at_its_best(tested, first_k)
    return at_epoch(chosen["epoch"], chosen["test"]) if chosen and chosen.get("test") else {}


def at_epoch(epoch: int, table: Table) -> dict[str, dict[str, Any]]:
    """A table as a selection: every behavior with the epoch it is of."""
    return {behavior: {"epoch": int(epoch), **values} for behavior, values in table.items()}


def _best_late(tested: Sequence[Row], last_epoch: int, monitor: str, first_k: int) -> Row | None:
    chosen, best = None, 0.0
    for row in tested:
        if row["epoch"] in LATE_EPOCHS or row["epoch"] == last_epoch:
            value = monitored(row["test"], monitor, first_k)
            if value >= best:
                chosen, best = row, round(value, 4)
    return chosen


def _each_at_its_best(tested: Sequence[Row], first_k: int) -> dict[str, dict[str, Any]]:
    table = {}
    for behavior in dict.fromkeys(name for row in tested for name in row["test"]):
        having = [row for row in tested if row["test"].get(behavior, {}).get(f"ndcg@{first_k}") is not None]
        if having:
            row = best_row(having, "test", f"{behavior}:ndcg", first_k)
            table |= at_epoch(row["epoch"], {behavior: row["test"][behavior]})
    return table
