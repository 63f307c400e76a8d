"""How help is laid out: lines, tables whose names stay whole, command lines as the user would type them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import rich.console
import rich.padding
import rich.table
import rich.text

from mbjax import config, program
from mbjax.cli import options as every


def examples(out: rich.console.Console, given: Iterable[tuple[str, str]], title: str = "Examples") -> None:
    """Prints command lines; each begins with the name of its command, which is shown as the user would type it."""
    lines(out, "", title)
    for line, why in given:
        name, _, rest = line.partition(" ")
        lines(out, f"  # {why}", f"  {program.command(name)} {rest}")


def options(*modes: str) -> list[tuple[str, str]]:
    """Rows of the options of some modes; of two commands together, those that only one reads say so."""
    rows = []
    for option in every.rows(*modes):
        name, value = option.name, option.value
        shown = f"[={value[1:-1]}]" if value.startswith("[") else f"={value}" if value else ""
        only = ""
        if modes == ("eval", "recommend") and name != "recommend" and not set(modes) <= set(option.modes):
            only = "with --recommend: " if "recommend" in option.modes else "without --recommend: "
        rows.append((f"--{name}{shown}", only + option.meaning))
    return rows


def fields(
    out: rich.console.Console,
    title: str,
    specs: Mapping[str, config.FieldSpec],
    values: Mapping[str, object],
    start: str,
) -> None:
    """Prints the fields of a section: with default, values that they may have, and meaning.

    Args:
      out: where to.
      title: of the table.
      specs: dotted path -> field.
      values: dotted path -> its value if it is left out.
      start: of the paths that are shown.
    """
    rows = []
    for path, spec in specs.items():
        if path.startswith(start):
            value = _default(values.get(path, spec.default), spec)
            rows.append((f"--{path}", value, config.type_name(spec.annotation), spec.description))
    table(out, title, rows, header=("field", "default", "values", "meaning [unit]"))


def table(out: rich.console.Console, title: str, rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    """Prints rows under a title; the first column is never broken, so that it can be copied."""
    rows = list(rows)
    grid = rich.table.Table(box=None, show_header=bool(header), padding=(0, 2, 0, 0), pad_edge=False)
    width = len(rows[0]) if rows else 0
    for i in range(width):
        # Names must stay whole, to be copied; values and meanings may wrap.
        grid.add_column(header[i] if header else "", no_wrap=i == 0, overflow="fold")
    for row in rows:
        grid.add_row(*(rich.text.Text(cell) for cell in row))
    lines(out, "", title)
    out.print(rich.padding.Padding(grid, (0, 0, 0, 2)))


def lines(out: rich.console.Console, *given: str) -> None:
    """Prints lines, each whole: the terminal may break them."""
    for line in given:
        out.print(rich.text.Text(line), soft_wrap=True)


def console() -> rich.console.Console:
    """A terminal, or a file of 120 columns or more."""
    made = rich.console.Console(highlight=False)
    if not sys.stdout.isatty():
        made = rich.console.Console(highlight=False, width=max(made.width, 120))
    return made


def _default(value: object, spec: config.FieldSpec) -> str:
    """A default as written on the command line; where ``none`` is itself a choice, its absence is called unset."""
    shown = config.show(value)
    if shown in ("()", "{}"):
        return "none"
    return "unset" if value is None and config.read_text(shown, spec.annotation) is not None else shown
