"""A table of a paper row by row beside runs of one length: what each reaches, and whether the order is the paper's.

The values of a short run are below the paper's. What a component study claims is an order: which part costs most.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mbjax import errors
from mbjax.config import about
from mbjax.reporting import literature, report, tables
from mbjax.reporting.report import Record

TWICE = {("COPF", "COGCN+DFME"): "COPF", ("PKEF", "Projection Fusion"): "PKEF", ("PKEF", "PKF+PME"): "PKEF"}
"""(paper, row) -> another row of that paper, of the same settings and numbers."""
STOPPED = literature.STOPPED


def table(name: str, records: Sequence[Record]) -> str:
    """The Markdown of a marker ``rows:PAPER:TABLE:DATASET:EPOCHS``, such as ``rows:COPF:3:taobao:25``.

    Runs are those of protocol ``paper`` with so many epochs and settings of their own, at their last epoch, on the
    first behavior that the table has. A row of a head that can stop the target's gradient is that with it stopped.

    Raises:
      DataError: the marker has other parts, no paper has such a table, or there is no run of any of its rows.
    """
    published, dataset, epochs = _asked(name)
    rows = [row for row in published["rows"] if row["dataset"] == dataset]
    rows = [row for row in rows if row["behavior"] == rows[0]["behavior"]]
    metrics = list(rows[0]["metrics"])
    runs = {row["model"]: _run(published["paper"], row["model"], dataset, epochs, records) for row in rows}
    if not any(runs.values()):
        raise errors.DataError(f"results:{name}: no run of {epochs} epochs of any row of {published['table']}.")
    ours = {model: _values(group, rows[0]["behavior"]) for model, group in runs.items()}
    both = [row for row in rows if ours[row["model"]]]
    columns = [tables.title(metric) for metric in metrics]
    head = ["row", "`--ablation=`", *(f"{title}, {who}" for title in columns for who in ("paper", "ours"))]
    lines = [[*head, "place, paper", "place, ours"], ["---", "---", *["---:"] * (2 * len(metrics) + 2)]]
    last = metrics[-1]
    theirs = _places([row["metrics"][last] for row in both])
    mine = _places([ours[row["model"]][last] for row in both])
    for row in rows:
        group, values = runs[row["model"]], ours[row["model"]]
        cells = [row["model"], f"`{group[0].get('ablation') or ''}`".replace("``", "(default)") if group else ""]
        for metric in metrics:
            cells += [report.cell(row["metrics"].get(metric)), report.cell(values.get(metric))]
        at = both.index(row) if row in both else None
        lines.append([*cells, *("" if at is None else f"{places[at]:g}" for places in (theirs, mine))])
    return f"{tables.join(lines)}\n\n{_sentence(both, ours, metrics)} Ours: the last of {epochs} epochs, one seed each."


def _asked(name: str) -> tuple[dict[str, Any], str, int]:
    parts = name.split(":")
    if len(parts) != 5 or not parts[4].isdigit():
        raise errors.DataError(f"results:{name}: it is rows:PAPER:TABLE:DATASET:EPOCHS, such as rows:COPF:3:taobao:25.")
    _, paper, number, dataset, epochs = parts
    for published in literature.published():
        is_it = published["paper"].startswith(paper) and published["table"] == f"Table {number}"
        if is_it and any(row["dataset"] == dataset for row in published["rows"]):
            return published, dataset, int(epochs)
    raise errors.DataError(f"results:{name}: no 'Table {number}' of '{paper}' with rows of '{dataset}'.")


def _run(paper: str, row: str, dataset: str, epochs: int, records: Sequence[Record]) -> list[Record] | None:
    """Of the runs that a row may be, the first: with the target's gradient stopped, plain, or of the same settings."""
    of_length = [r for r in records if (r["dataset"], r["protocol"]["name"], r["epochs"]) == (dataset, "paper", epochs)]
    own = [r for r in of_length if set(r.get("overrides") or {}) <= {*report.HARMLESS, "train.epochs"}]
    found = {(group[0]["model"], group[0].get("ablation")): group for group in report.groups(own)}
    row = TWICE.get((paper.split()[0], row), row)
    for (model, ablation), names in literature.rows().items():
        if not any(paper.startswith(name.paper) and name.model == row for name in names):
            continue
        tried = [STOPPED if ablation is None else f"{ablation}+{STOPPED}", ablation]
        same = about.of(model).same.get(ablation or about.DEFAULT)
        tried += [] if same is None else [None if same == about.DEFAULT else same]
        for other in tried:
            if (model, other) in found:
                return found[model, other]
    return None


def _values(group: Sequence[Record] | None, behavior: str) -> dict[str, float]:
    if not group:
        return {}
    values = report.values(group, "last", behavior)
    return {metric: report.average(values, metric)[0] for metric in values[0] if "@" in metric} if values else {}


def _places(values: Sequence[float]) -> list[float]:
    """Place of each, from 1 for the highest; equal ones share."""
    return pl.Series(values, dtype=pl.Float64).rank("average", descending=True).to_list()


def _sentence(both: Sequence[dict[str, Any]], ours: dict[str, dict[str, float]], metrics: Sequence[str]) -> str:
    """Rank correlation and pairs of rows in the same order, by each metric."""
    words = []
    for metric in metrics:
        theirs = [row["metrics"][metric] for row in both]
        mine = [ours[row["model"]][metric] for row in both]
        pairs = list(itertools.combinations(range(len(both)), 2))
        same = sum((theirs[a] - theirs[b]) * (mine[a] - mine[b]) > 0 for a, b in pairs)
        rho = f"{np.corrcoef(_places(theirs), _places(mine))[0, 1]:.2f}" if len(both) > 2 else "-"
        words.append(f"{tables.title(metric)} {rho}, {same} of {len(pairs)} pairs of rows in the paper's order")
    return f"Rank correlation (Spearman) of {len(both)} of the rows: {'; '.join(words)}."
