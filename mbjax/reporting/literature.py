"""What papers print of a model: which row of which table stands beside a run.

Papers share names of models and data sets, not always what they mean by them. So a run stands beside one paper: of
those that report its model on its data set, the one whose cut-offs it was evaluated at, and among several the first in
``published.json``. A table whose data were processed in another way says so in the paper's label.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mbjax.config import about, files
from mbjax.reporting import tables

Record = Mapping[str, Any]


class Row(NamedTuple):
    """A row of a paper's tables: how the name of the paper begins (empty: any), and the name of the row."""

    paper: str
    model: str


STOPPED = "target_sg"
"""The ablation that stops the target's gradient: with it a row of COPF's tables is still that row, the paper's own."""
BEHAVIORS = {("NMTR", "purchase"): "buy"}
"""(how the name of the paper begins, its behavior) -> that behavior here."""
PARTS = ("backbone.name", "head.name", "model.unit")
"""Overrides that make another model, which the papers report under another name or not at all."""
OTHER_TASK = ("data.hold_out", "evaluate.mask")
"""Overrides that change what is learned from, or what is ranked."""


@functools.cache
def published() -> list[dict[str, Any]]:
    """The tables of the papers: paper, table, caption, protocol, rows of model, dataset, behavior, metrics.

    Further keys of a table: ``data``, in what its data are not those of the same name here. Of a row: ``subset``, the
    pairs that were trained on, if not all; ``sd``, deviations of the metrics.
    """
    text = importlib.resources.files("mbjax.reporting").joinpath("published.json").read_text(encoding="utf-8")
    return json.loads(text)


def rows() -> Mapping[tuple[str, str | None], tuple[Row, ...]]:
    """(model, ablation) -> the rows under which papers report it, of every model's file (``config.about``)."""
    return _rows(files.config_dir())


@functools.cache
def _rows(folder: pathlib.Path) -> dict[tuple[str, str | None], tuple[Row, ...]]:
    found = {}
    for model in files.model_names():
        for ablation, named in about.of(model).reported.items():
            place = model, None if ablation == about.DEFAULT else ablation
            found[place] = tuple(Row("" if paper == about.ANY else paper, row) for paper, row in named.items())
    return found


def find(
    model: str, ablation: str | None, dataset: str, *, cut_offs: Collection[int] = (), subset: str | None = None
) -> dict[str, dict[str, Any]]:
    """Behavior -> the row of the paper that a run is beside, with the keys ``paper``, its label, and ``protocol``.

    Args:
      model, ablation, dataset: of the run.
      cut_offs: at which it is evaluated; empty: not known.
      subset: what it is trained on, as ``published.json`` has it; None: all behaviors of the data set.
    """
    names = rows().get((model, ablation.removesuffix(f"+{STOPPED}") if ablation else None), ())
    if subset == "purchase":
        alone = {} if ablation else about.of(model).target_alone
        names, subset = tuple(Row(*named) for named in alone.items()), None
    papers: dict[str, dict[str, dict[str, Any]]] = {}
    for table in published():
        for row in table["rows"]:
            if (row["dataset"], row.get("subset")) != (dataset, subset):
                continue
            if any(row["model"] == name.model and table["paper"].startswith(name.paper) for name in names):
                behavior = BEHAVIORS.get((table["paper"].split()[0], row["behavior"]), row["behavior"])
                papers.setdefault(table["paper"], {}).setdefault(behavior, {**row, **_labels(table)})
    # The first of those with the largest share of their cut-offs among the run's.
    return max(papers.values(), key=lambda rows: _share(rows, cut_offs), default={})


def find_of(record: Record) -> dict[str, dict[str, Any]]:
    """As ``find``, for a results file.

    Nothing for a run whose backbone, head or terms are chosen by hand, that has other data or candidates than any
    table, or, where nothing is trained, another rule. A model of one behavior that was chosen by hand is beside its
    paper there alone.
    """
    by_hand, ablation = dict(record.get("overrides") or {}), record.get("ablation")
    if record["model"] == "nmtr" and not ablation and (unit := by_hand.pop("model.unit", None)):
        ablation = None if unit == "gmf" else unit  # the ablations of these names are nothing else
    if any(path.endswith(PARTS) or path in OTHER_TASK for path in by_hand):
        return {}
    if any(path.endswith("contrastive.weight") and not value for path, value in by_hand.items()):
        return {}
    if not record.get("epochs") and any(path.startswith("model.") for path in by_hand):
        return {}
    cut_offs = cut_offs_of(record)
    found = find(record["model"], ablation, record["dataset"], cut_offs=cut_offs, subset=_subset(by_hand))
    target = by_hand.get("data.target")
    return {behavior: row for behavior, row in found.items() if target in (None, behavior)}


def cut_offs_of(record: Record) -> set[int]:
    """The cut-offs at which a run was evaluated; empty where it has no table."""
    return set(tables.cut_offs(record.get("selection") or {}))


def _labels(table: Mapping[str, Any]) -> dict[str, str]:
    data = table.get("data")
    if not data:
        return {"paper": table["paper"], "protocol": table["protocol"]}
    return {"paper": f"{table['paper']}, other data", "protocol": f"{table['protocol']}; {data}"}


def _share(rows: Mapping[str, Mapping[str, Any]], cut_offs: Collection[int]) -> float:
    own = set(tables.cut_offs({"": rows_to_metrics(rows)}))
    return len(own & set(cut_offs)) / len(own) if own else 0.0


def rows_to_metrics(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Behavior -> metric -> value, of what ``find`` gives."""
    return {behavior: row["metrics"] for behavior, row in rows.items()}


def _subset(by_hand: Mapping[str, Any]) -> str | None:
    """The training pairs of a run in the words of ``published.json``; None: all.

    What no table can have is given words that none has.
    """
    behaviors, shares = by_hand.get("data.behaviors"), _shares(by_hand)
    if behaviors is None:
        return f"all, {shares}" if shares else None
    *others, _ = behaviors
    named = [f"{100 * shares[name]:g}%{name}" if name in shares else name for name in others]
    return "+".join(["purchase", *named])


def _shares(by_hand: Mapping[str, Any]) -> dict[str, float]:
    """Auxiliary behavior -> share of its pairs below 1, of ``data.subsample`` as text or as a mapping."""
    given = by_hand.get("data.subsample") or {}
    if isinstance(given, str):
        given = dict(part.strip().split("=") for part in given.split(","))
    return {name: float(share) for name, share in given.items() if float(share) < 1}
