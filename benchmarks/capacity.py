"""What a model takes of memory for each item, user and pair of a log, and so for a log of any size: nothing is trained.

    python benchmarks/capacity.py --models=copf,funnel --out benchmarks/results/capacity.json
    python benchmarks/capacity.py --table benchmarks/results/capacity.json        # Markdown

``mbjax bench MODEL LOG --memory`` is asked about four made-up logs that differ in one number each, and what it tells of
each part of the memory is solved for bytes an item, a user and a pair, beside what no size decides. A fifth log, of
twice as much of all, says how far the formula is off. Rows that the file has already are not asked for again.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import generated
import numpy as np
import scale

from mbjax.bench import record
from mbjax.data import log_cache
from mbjax.reporting import tables

MODELS = ("bpr_mf", "lightgcn_m", "copf", "bvae", "als")
"""What ``funnel`` takes is no such sum: of many users it prepares some after others, and histories decide."""
LOGS = {
    "base": generated.Size(1_200_000, 120_000, 30_000),
    "items": generated.Size(1_200_000, 120_000, 60_000),
    "users": generated.Size(1_200_000, 240_000, 30_000),
    "pairs": generated.Size(2_400_000, 120_000, 30_000),
    "twice": generated.Size(2_400_000, 240_000, 60_000),
}
"""Beyond the size from which graph models go another way (``compose.LARGE``)."""
CHECK = "twice"
LARGE = {"items": 1_000_000, "users": 4_000_000, "pairs": 87_000_000}
"""A hundred million rows of the generator: distinct training pairs, each behavior's counted."""
DEVICES = 8
DIVIDED = ("bpr_mf", "lightgcn_m", "copf", "bvae")
"""Models that ``--shard=tables`` divides."""
OF_HOST = ("writing of a checkpoint", "making of the largest graph", scale.OF_ANCHORS)
"""Beginnings of the names of parts that no device holds."""
HELD = "what stays"


def told(name: str, path: pathlib.Path, folder: pathlib.Path) -> dict[str, float]:
    """What ``--memory`` says of the parts on a device: bytes by name; what stays is one."""
    out = folder / "told.json"
    command = [sys.executable, "-m", "mbjax", "bench", name, str(path), "--memory", f"--json={out}", *scale.KEEP]
    environment = os.environ | {log_cache.VARIABLE: str(folder / "kept")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    memory = json.loads(out.read_text(encoding="utf-8"))["memory"]
    programs = {part: size for part, size in memory["programs"].items() if not part.startswith(OF_HOST)}
    return {HELD: sum(memory["held"].values())} | programs


def sizes(path: pathlib.Path) -> dict[str, int]:
    """Items, users and training pairs of a log, as a run counts them."""
    found = log_cache.read(path, scale.LAYOUT, use=False)
    pairs = sum(keys.size for keys in found.keys["train"].values())
    return {"items": found.num_items, "users": found.num_users, "pairs": int(pairs)}


def solved(sizes: Mapping[str, Mapping[str, int]], parts: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Part -> bytes an item, a user and a pair, and of none of them; of logs by name, all but the check.

    Args:
      sizes: log -> items, users and pairs.
      parts: log -> part -> bytes.
    """
    logs = [name for name in sizes if name != CHECK]
    numbers = np.array([[*sizes[name].values(), 1.0] for name in logs])
    found = {}
    for part in parts[logs[0]]:
        values = np.linalg.solve(numbers, [parts[name][part] for name in logs])
        found[part] = dict(zip((*LARGE, "fixed"), map(float, values), strict=True))
    return found


def largest(formula: Mapping[str, Mapping[str, float]], size: Mapping[str, float]) -> tuple[float, str]:
    """Bytes of what stays and of the largest program beside it, and the program's name."""

    def of(part: str) -> float:
        return sum(formula[part].get(what, 0.0) * number for what, number in {**size, "fixed": 1.0}.items())

    program = max((part for part in formula if part != HELD), key=of)
    return of(HELD) + of(program), program


def row(name: str, sizes: Mapping[str, Mapping[str, int]], parts: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """All that the file says of a model."""
    formula = solved(sizes, parts)
    said = parts[CHECK][HELD] + max(size for part, size in parts[CHECK].items() if part != HELD)
    foretold, program = largest(formula, sizes[CHECK])
    whole, at = largest(formula, LARGE)
    found = {"model": name, "parts": {log: dict(of) for log, of in parts.items()}, "formula": formula}
    found |= {"checked": foretold / said - 1, "one_device": whole, "program": at}
    if name in DIVIDED:
        each = LARGE | {what: LARGE[what] / DEVICES for what in ("users", "pairs")}
        found["each_device"] = largest(formula, each)[0]
    return found


def table(found: Mapping[str, Any]) -> str:
    """The Markdown of a file."""
    head = ["", "bytes an item", "a user", "a pair", "largest program", "off by", "100 M rows, one device"]
    lines = [[*head, f"each of {DEVICES}"], ["---", *["---:"] * 3, "---", *["---:"] * 3]]
    for of in found["rows"]:
        both = [of["formula"][HELD], of["formula"][of["program"]]]
        cells = [f"{sum(part[what] for part in both):,.0f}" for what in LARGE]
        each = f"{of['each_device'] / 1e9:.1f} GB" if "each_device" in of else "not divided"
        cells += [of["program"], f"{round(of['checked'], 2) + 0.0:+.0%}", f"{of['one_device'] / 1e9:.1f} GB", each]
        lines.append([f"`{of['model']}`", *cells])
    return tables.join(lines)


def run(asked: argparse.Namespace, folder: pathlib.Path) -> None:
    """Asks for what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    found = record.heading("capacity") | {"sizes": {}, "rows": []}
    if asked.out and asked.out.exists():
        found = json.loads(asked.out.read_text(encoding="utf-8"))
    for log, size in LOGS.items():
        path = folder / f"{log}.parquet"
        if not path.exists():
            generated.log(size, len(log)).write_parquet(path)
        if log not in found["sizes"]:
            found["sizes"][log] = sizes(path)
    known = {of["model"] for of in found["rows"]}
    for name in asked.models.split(","):
        if name in known:
            continue
        parts = {log: told(name, folder / f"{log}.parquet", folder) for log in LOGS}
        found["rows"].append(row(name, found["sizes"], parts))
        if asked.out:  # as far as it is
            record.write(found, asked.out)
    print(table(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--models", default=",".join(MODELS), help="which (%(default)s)")
    parser.add_argument("--folder", type=pathlib.Path, help="for logs (one that is removed afterward)")
    parser.add_argument("--out", metavar="FILE", type=pathlib.Path, help="JSON file to write, or to go on with")
    parser.add_argument("--table", metavar="FILE", type=pathlib.Path, help="print the Markdown of one, and no more")
    asked = parser.parse_args(arguments)
    if asked.table:
        print(table(json.loads(asked.table.read_text(encoding="utf-8"))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        run(asked, (asked.folder or pathlib.Path(temporary)).absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())
