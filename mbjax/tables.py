"""Metrics for people: the table of every behavior at the end of a run, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rich.table

Table = Mapping[str, Mapping[str, Any]]

KINDS = ("hr", "ndcg", "rec", "prec", "mrr", "f1")
TITLES = {"hr": "HR", "ndcg": "NDCG", "rec": "Rec", "prec": "Prec", "mrr": "MRR", "f1": "F1"}
INDENT = "  "
"""Begins the names of lines that are a part of the line above."""


def title(metric: str) -> str:
    """``"ndcg@5"`` as people write it: ``"NDCG@5"``."""
    kind, at, k = metric.partition("@")
    return TITLES.get(kind, kind) + at + k


def cut_offs(rows: Mapping[str, Table]) -> list[int]:
    """All cut-offs in some tables, ascending."""
    names = {metric for table in rows.values() for values in table.values() for metric in values if "@" in metric}
    return sorted({int(name.rpartition("@")[2]) for name in names})


def per_behavior(
    rows: Mapping[str, Table], *, ks: Sequence[int] | None = None, details: bool = False, caption: str = ""
) -> rich.table.Table:
    """The metrics of every behavior, the model beside its references, as a table for ``rich``.

    Args:
      rows: name -> behavior -> metric -> value; the model first, then popularity, a known optimum, ...
      ks: cut-offs to show; default is the smallest.
      details: also visited and unvisited pairs and user groups, where they were evaluated.
      caption: below the table.

    Returns:
      A table with one block for each behavior; the best value of a column in a block is bold.
    """
    metrics = _metrics(rows, ks)
    grid = rich.table.Table(caption=caption or None, caption_justify="left", show_edge=False, pad_edge=False)
    for name in ("behavior", "users", ""):
        grid.add_column(name, justify="right" if name == "users" else "left", no_wrap=True)
    for metric in metrics:
        grid.add_column(title(metric), justify="right", no_wrap=True)
    for behavior, block in _blocks(rows, metrics, details):
        for number, (users, name, values) in enumerate(block):
            cells = _cells(block, values, metrics, "[bold]{}[/]")
            # A name may hold brackets, which rich would read as markup.
            grid.add_row("" if number else _plain(behavior), users, _plain(name), *cells)
        grid.add_section()
    return grid


def markdown(rows: Mapping[str, Table], *, ks: Sequence[int] | None = None, details: bool = False) -> str:
    """The same as a Markdown table; arguments as for ``per_behavior``."""
    metrics = _metrics(rows, ks)
    lines = [["behavior", "users", "", *map(title, metrics)], ["---", "---:", "---", *["---:"] * len(metrics)]]
    for behavior, block in _blocks(rows, metrics, details):
        for number, (users, name, values) in enumerate(block):
            lines.append(["" if number else behavior, users, name, *_cells(block, values, metrics, "**{}**")])
    return join(lines)


def join(lines: Sequence[Sequence[str]]) -> str:
    """Cells to Markdown lines; a bar in a cell is escaped."""
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _metrics(rows: Mapping[str, Table], ks: Sequence[int] | None) -> list[str]:
    known = {metric for table in rows.values() for values in table.values() for metric in values}
    return [name for k in ks or cut_offs(rows)[:1] for kind in KINDS if (name := f"{kind}@{k}") in known]


def _blocks(rows, metrics, details):
    """Yields (behavior, [(users, name, values), ...])."""
    for behavior in dict.fromkeys(name for table in rows.values() for name in table):
        block = []
        for name, table in rows.items():
            values = table.get(behavior)
            if values is None:
                continue
            block.append((_count(values.get("users")), name, values))
            if not details:
                continue
            parts = {part: values[part] for part in ("visited", "unvisited") if part in values}
            parts |= {f"history {edge}": group for edge, group in (values.get("groups") or {}).items()}
            block += [(_count(part.get("users")), f"{INDENT}{name}, {label}", part) for label, part in parts.items()]
        yield behavior, block


def _cells(block, values, metrics, mark) -> list[str]:
    """The numbers of one line; the best of a column is marked, among whole rows and if there is a choice."""
    whole = [other for _, name, other in block if not name.startswith(INDENT)]
    cells = []
    for metric in metrics:
        best = max((other[metric] for other in whole if other.get(metric) is not None), default=None)
        is_best = len(whole) > 1 and best is not None and any(values is other for other in whole)
        text = _number(values.get(metric))
        cells.append(mark.format(text) if is_best and values.get(metric) == best else text)
    return cells


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
