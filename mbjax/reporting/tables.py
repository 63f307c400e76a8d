"""Metrics for people: the table of every behavior at the end of a run, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.box
import rich.console
import rich.measure
import rich.table
import rich.text

from mbjax import kinds
from mbjax.config import about

Table = Mapping[str, Mapping[str, Any]]

TITLES = {"hr": "HR", "ndcg": "NDCG", "rec": "Rec", "prec": "Prec", "mrr": "MRR", "f1": "F1"}
_ROOMY = 10_000  # columns
INDENT = "  "
"""Begins the names of lines that are a part of the line above."""


def title(metric: str) -> str:
    """``"ndcg@5"`` as people write it: ``"NDCG@5"``."""
    kind, at, k = metric.partition("@")
    return TITLES.get(kind, kind) + at + k


def model_title(name: str, *details: str, backbone: str | None = None) -> str:
    """A model's name with what belongs in brackets behind it: ``"bigel (reconstructed, valid 29)"``.

    Whether it is reconstructed, its file says (``config.about``), also for an encoder of the same name.

    Args:
      name: of the model.
      details: what else stands in the brackets; empty ones are left out.
      backbone: the encoder, where it was chosen by hand or may have been.
    """
    marks = ["reconstructed"] if about.of(name).reconstructed else []
    marks = marks or ([f"{backbone} reconstructed"] if backbone and about.of(backbone).reconstructed else [])
    words = [*marks, *filter(None, details)]
    return f"{name} ({', '.join(words)})" if words else name


def cut_offs(rows: Mapping[str, Table]) -> list[int]:
    """All cut-offs in some tables, ascending."""
    names = {metric for table in rows.values() for values in table.values() for metric in values if "@" in metric}
    return sorted({int(name.rpartition("@")[2]) for name in names})


def per_behavior(
    rows: Mapping[str, Table],
    *,
    ks: Sequence[int] | None = None,
    details: bool = False,
    among: bool = False,
    caption: str = "",
) -> rich.table.Table:
    """The metrics of every behavior, the model beside its references, as a table for ``rich``.

    Args:
      rows: name -> behavior -> metric -> value; the model first, then popularity, a known optimum, ...
      ks: cut-offs to show, one line each; default is the smallest alone.
      details: also visited and unvisited pairs, with their numbers, and user groups, where they were evaluated, and
        deviations over runs.
      among: with details, also the metrics among familiar and among new candidates alone, at the first cut-off.
      caption: below the table.

    Returns:
      A table with one block for each behavior; the best value of a column in a block is bold. It fits 80 columns.
    """
    head, lines = _layout(rows, ks, details, "[bold]{}[/]", among)
    grid = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        padding=0,  # to fit 80 columns; the box has a space between columns
        pad_edge=False,
        show_edge=False,
        caption=caption or None,
        caption_justify="left",
    )
    for name in head:
        grid.add_column(
            name, justify="left" if name in ("", "behavior") else "right", no_wrap=name != "", overflow="fold"
        )
    for number, line in enumerate(lines):
        if line[0] and number:
            grid.add_row()
        # Names may hold brackets, which rich would read as markup.
        grid.add_row(*(cell.replace("[", "\\[") if place in (0, 2) else cell for place, cell in enumerate(line)))
    return grid


def put(out: rich.console.Console, table: rich.table.Table) -> None:
    """Prints a table, wider than the terminal if it has to be: a number that is cut is another number.

    Columns that do not wrap are shown whole; of the others, their longest word. The console stays that wide.
    """
    roomy = out.options.update(width=_ROOMY)
    for column in table.columns:
        if column.no_wrap:
            cells = (column.header, *column.cells)
            column.min_width = max(rich.measure.Measurement.get(out, roomy, cell).maximum for cell in cells)
    out.width = max(out.width, rich.measure.Measurement.get(out, roomy, table).minimum)
    out.print(table)


def say(
    out: rich.console.Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = ""
) -> None:
    """Prints a table of texts and numbers: numbers with four decimals, on the right; None is empty.

    Args:
      out: the terminal.
      title: above it.
      columns: names.
      rows: cells of each line.
      note: below it.
    """
    grid = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False)
    for place, name in enumerate(columns):
        is_number = any(isinstance(row[place], float) for row in rows)
        grid.add_column(rich.text.Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(rich.text.Text(_plain(cell)) for cell in row))
    out.print(rich.text.Text(title, style="bold"), soft_wrap=True)
    put(out, grid)
    if note:
        out.print(rich.text.Text(note, style="italic"))


def _plain(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def markdown(rows: Mapping[str, Table], *, ks: Sequence[int] | None = None, details: bool = False) -> str:
    """The same as a Markdown table; arguments as for ``per_behavior``."""
    head, lines = _layout(rows, ks, details, "**{}**")
    rule = ["---" if name in ("", "behavior") else "---:" for name in head]
    return join([head, rule, *lines])


def join(lines: Sequence[Sequence[str]]) -> str:
    """Cells to Markdown lines; a bar in a cell is escaped."""
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _layout(rows, ks, details, mark, among=False) -> tuple[list[str], list[list[str]]]:
    """Head and lines: behavior, users, name, the cut-off if there are several, metrics; repetitions are left blank."""
    ks = list(ks or cut_offs(rows)[:1])
    known = {metric for table in rows.values() for values in table.values() for metric in values}
    measures = [kind for kind in TITLES if any(f"{kind}@{k}" in known for k in ks)]
    several = len(ks) > 1
    head = ["behavior", "users", "", *(["at"] if several else [])]
    head += [title(kind if several else f"{kind}@{ks[0]}") for kind in measures]
    lines = []
    for behavior in dict.fromkeys(name for table in rows.values() for name in table):
        block = list(_block(rows, behavior, details, among))
        for number, (name, values) in enumerate(block):
            users = "" if values.get("users") is None else f"{values['users']:,}"
            for place, k in enumerate(ks):
                begin = ["" if number or place else behavior, *(("", "") if place else (users, name))]
                cells = _cells(block, values, [f"{kind}@{k}" for kind in measures], mark)
                # Of lists of a kind alone the first cut-off is enough.
                is_alone = name.startswith(INDENT) and name.endswith(kinds.AMONG)
                if place and (is_alone or not any(cell != "-" for cell in cells)):
                    continue  # parts and groups may have fewer cut-offs
                lines.append([*begin, *([str(k)] if several else []), *cells])
    return head, lines


def _block(rows, behavior, details, among) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in rows.items():
        if (values := table.get(behavior)) is None:
            continue
        yield name, values
        if details:
            if "deviation" in values:
                yield f"{INDENT}\N{PLUS-MINUS SIGN}", values["deviation"]
            parts = {part: values[part] for part in kinds.IN_ONE_LIST if part in values}
            if all(part["pairs"] for part in parts.values()):  # else one is the whole
                yield from ((f"{INDENT}{part['pairs']:,} {name}", part) for name, part in parts.items())
            alone = [kind for kind in kinds.AMONG if among and values.get(kind, {}).get("pairs")]
            yield from ((f"{INDENT}{values[kind]['pairs']:,} {kind}", values[kind]) for kind in alone)
            yield from ((f"{INDENT}history {edge}", group) for edge, group in (values.get("groups") or {}).items())


def _cells(block, values, metrics, mark) -> list[str]:
    """The numbers of one line; the best of a column is marked, among whole rows and if there is a choice."""
    whole = [other for name, other in block if not name.startswith(INDENT)]
    cells = []
    for metric in metrics:
        best = max((other[metric] for other in whole if other.get(metric) is not None), default=None)
        is_whole = len(whole) > 1 and any(values is other for other in whole)
        text = "-" if values.get(metric) is None else f"{values[metric]:.4f}"
        cells.append(mark.format(text) if is_whole and best is not None and values.get(metric) == best else text)
    return cells
