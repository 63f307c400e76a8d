"""Times as tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import rich.box
import rich.console
import rich.table
import rich.text

from mbjax.bench import foresight
from mbjax.reporting import tables


def console() -> rich.console.Console:
    """A terminal, or a file wide enough for every table."""
    out = rich.console.Console(highlight=False)
    return out if sys.stdout.isatty() else rich.console.Console(highlight=False, width=max(out.width, 120))


def seconds(value: float) -> str:
    """Three digits with the unit that suits: ``"1.86 s"``, ``"85.0 ms"``, ``"12.3 us"``."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if value * factor >= 0.9995:
            return f"{_three(value * factor)} {unit}"
    return f"{_three(value * 1e6)} us"


def _three(value: float) -> str:
    return f"{value:,.{max(0, 3 - len(str(int(value))))}f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> rich.table.Table:
    """A table of texts; columns whose name begins with ``=`` hold numbers and are set to the right."""
    made = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        right = name.startswith("=")
        made.add_column(name.removeprefix("="), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        made.add_row(*map(rich.text.Text, row))
    return made


def heading(out: rich.console.Console, record: Mapping[str, Any], remark: str | None) -> None:
    """Prints what was measured on what."""
    versions = record["versions"]
    out.print(rich.text.Text(record["benchmark"], style="bold"), soft_wrap=True)
    out.print(f"{record['machine']}, {record['backend']}, JAX {versions['jax']}, Python {versions['python']}")
    if remark:
        out.print(rich.text.Text(f"warning: {remark}", style="yellow"), soft_wrap=True)


def run(out: rich.console.Console, record: Mapping[str, Any]) -> None:
    """Prints the record of ``python -m mbjax.bench``."""
    training, evaluation = record["training"], record["evaluation"]
    rows = []
    if training:
        steps = training["steps_per_epoch"]
        rows += [
            ("compile the training chunk", seconds(training["compile"]), f"{training['chunk_steps']} steps"),
            ("step", seconds(training["step"]), f"best {seconds(training['step_best'])}"),
            ("epoch", seconds(training["epoch"]), f"{steps} steps, order of users {seconds(training['order'])}"),
        ]
    ranked = ", ".join(f"{name} {users:,}" for name, users in evaluation["behaviors"].items())
    rows += [
        ("compile the test pass", seconds(evaluation["compile"]), ""),
        ("test pass", seconds(evaluation["full_pass"]), f"best {seconds(evaluation['best'])}; users: {ranked}"),
    ]
    for name, value in record["peak_memory_mib"].items():
        if value is not None:
            rows.append((f"peak memory, {name}", f"{value:,} MiB", ""))
    tables.put(out, table(("what", "=median", ""), rows))
    if "spmm_left_out" in record:
        out.print(record["spmm_left_out"])
    if record.get("spmm"):
        products = [
            (
                row["graph"],
                f"{row['rows']:,} x {row['columns']:,}",
                f"{row['nnz']:,}",
                f"{row['width']}",
                seconds(row["forward"]),
                seconds(row["forward_and_gradient"]),
            )
            for row in record["spmm"]
        ]
        out.print("sparse times dense, for each graph of the model")
        tables.put(out, table(("graph", "=shape", "=nnz", "=D", "=forward", "=forward + gradient"), products))


def foreseen(out: rich.console.Console, found: foresight.Footprint) -> None:
    """Prints the memory of a run by its parts, in GB of 10^9 bytes."""
    is_host = jax.default_backend() == "cpu"
    rows = []
    if found.process is not None:
        rows.append(("process and data", gigabytes(found.process), "on the host" if is_host else "of the host alone"))
    rows += [(part.name, gigabytes(part.bytes), part.note) for part in found.held]
    rows += [(f"or {part.name}" if n else part.name, gigabytes(part.bytes), part.note) for n, part in _ranked(found)]
    total = found.peak if is_host else found.arrays
    if found.unknown:
        rows.append(("not counted", "", found.unknown[0]))
    if found.programs and total is not None and not found.unknown:
        rows.append(("at most", gigabytes(total), "all that stays and the largest program"))
    if found.available is not None:
        rows.append(("free before it", gigabytes(found.available), "" if is_host else "on the accelerator"))
    tables.put(out, table(("memory", "=GB", ""), rows))


def _ranked(found: foresight.Footprint) -> enumerate[Any]:
    return enumerate(sorted(found.programs, key=lambda part: -part.bytes))


def gigabytes(number: int) -> str:
    """``"1.25"``: of 10^9 bytes."""
    return f"{number / 1e9:,.2f}"


def parts(out: rich.console.Console, record: Mapping[str, Any]) -> None:
    """Prints the parts of a step, each compiled alone, beside the least that they could take."""
    rows = [
        (
            part["part"],
            seconds(part["seconds"]),
            "" if part["floor"] is None else seconds(part["floor"]),
            part["bound"],
        )
        for part in record["step_parts"]
    ]
    total = sum(part["seconds"] for part in record["step_parts"])
    floor = sum(part["floor"] or 0.0 for part in record["step_parts"])
    step = record["training"]["step"]
    rows += [("sum of the parts", seconds(total), seconds(floor), f"of a step of {seconds(step)}")]
    tables.put(out, table(("part of a step", "=median", "=floor", "floor: at least"), rows))
    rates = {name: value / 1e9 for name, value in record["rates"].items()}
    out.print(
        f"matrix product {rates['flops']:.0f} GFLOP/s; addition in place {rates['near']:.1f} GB/s in an array of the "
        f"embeddings' size, {rates['far']:.1f} GB/s in memory",
        soft_wrap=True,
    )
