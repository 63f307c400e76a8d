"""Whole runs on a made-up log of a shop's size: CPU seconds and memory, beside the memory that was foreseen.

    python benchmarks/scale.py S --out benchmarks/results/scale-S-cpu.json
    python benchmarks/scale.py M --models="als,itemknn,bpr_mf --train.lazy=true" --minutes=30
    python benchmarks/scale.py L --models="itemknn --lists,als" --minutes=60
    python benchmarks/scale.py --table benchmarks/results/scale-S-cpu.json        # Markdown

For each model ``mbjax bench MODEL LOG --memory`` and then ``mbjax train`` for one epoch, with final tables of all users
and without anchors, and with ``--lists`` after its name ``mbjax recommend`` of what was trained: twenty items for each
user of the log. Each is a process of its own that is stopped after some minutes. Seconds are of CPU, user and
system, with the start of Python, reading the kept log and compiling; memory is the most that the process had, as the
system tells it. Rows that the file has already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import generated

from mbjax import models
from mbjax.bench import record
from mbjax.data import log_cache, options
from mbjax.reporting import tables

LAYOUT = options.LogOptions(behaviors=generated.BEHAVIORS, require_target_train=False)
"""All users of a log stay, also those who bought nothing."""
KEEP = ("--log.behaviors=" + ",".join(generated.BEHAVIORS), "--log.require_target_train=false")
OF_ANCHORS = "test pass of "
"""Names of parts of the memory that a run without anchors has not."""
READ = ("reading", "reading again")
"""The first start on a log, which splits and keeps it, and the second."""
FAILED = "stopped"
LISTS = "--lists"
"""After a model's name: its lists for all users too."""


def measured(command: Sequence[str], folder: pathlib.Path, minutes: float) -> dict[str, Any]:
    """Runs a program, Python's words after the interpreter's name, and waits for its end.

    Returns:
      ``cpu`` seconds, ``wall`` seconds, ``peak`` bytes, and ``stopped``: why it has no more, if it did not end well.
    """
    command = [sys.executable, *command]
    given = {"start_new_session": True, "stdin": subprocess.DEVNULL, "env": os.environ | _cache(folder)}
    with tempfile.TemporaryFile() as printed:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, **given)
        timer = threading.Timer(60 * minutes, process.kill)
        timer.start()
        _, status, used = os.wait4(process.pid, 0)
        is_late = not timer.is_alive()
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        lines = [line for line in printed.read().decode(errors="replace").splitlines() if line.strip()]
    found = {
        "cpu": round(used.ru_utime + used.ru_stime, 2),
        "wall": round(time.perf_counter() - began, 1),
        "peak": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    if is_late:
        return found | {FAILED: f"after {minutes:g} minutes"}
    if process.returncode:
        return found | {FAILED: lines[-1].strip() if lines else f"exit code {process.returncode}"}
    return found


def _cache(folder: pathlib.Path) -> dict[str, str]:
    return {log_cache.VARIABLE: str(folder / "kept")}


def reading(path: pathlib.Path, folder: pathlib.Path, minutes: float) -> list[dict[str, Any]]:
    """What a start on a log takes before there is a model."""
    return [{"model": name} | measured([__file__, "--read", str(path)], folder, minutes) for name in READ]


def of_model(text: str, path: pathlib.Path, folder: pathlib.Path, minutes: float) -> dict[str, Any]:
    """What is foreseen of a model, and what one epoch of it then takes.

    Args:
      text: its name and options of its own, as on a command line.
      path: of the log.
      folder: for what runs write.
      minutes: after which a run is stopped.
    """
    name, *own = shlex.split(text)
    with_lists = LISTS in own
    own = [word for word in own if word != LISTS]
    told, workdir = folder / "told.json", folder / f"{path.stem}-{len(list(folder.iterdir()))}"
    words = [f"--json={told}", *KEEP, *(word for word in own if not word.startswith("--train.epochs"))]
    foreseen = measured(["-m", "mbjax", "bench", name, str(path), "--memory", *words], folder, minutes)
    memory = {} if FAILED in foreseen else json.loads(told.read_text(encoding="utf-8"))["memory"]
    words = [f"--model={name}", f"--dataset={path}", *KEEP, "--evaluate.anchors=", f"--workdir={workdir}", *own]
    if not any(word.startswith("--train.epochs") for word in own):
        words.append("--train.epochs=1")
    row = {"model": text} | measured(["-m", "mbjax", "train", *words], folder, minutes)
    row |= {"foreseen": foreseen_peak(memory), "foreseen_by_parts": {k: memory[k] for k in memory if k != "available"}}
    results = workdir / "results.json"
    if results.exists():
        seconds = json.loads(results.read_text(encoding="utf-8")).get("seconds", {})
        row["seconds"] = {part: seconds[part] for part in ("train_epoch", "test_pass") if part in seconds}
        if with_lists:
            words = [f"--workdir={workdir}", f"--behaviors={generated.BEHAVIORS[-1]}", f"--out={folder / 'lists'}"]
            row["lists"] = measured(["-m", "mbjax", "recommend", *words], folder, minutes)
    return row


def foreseen_peak(memory: dict[str, Any]) -> int | None:
    """Bytes of a run without anchors at most, from the parts of ``--memory``; None where not all is counted."""
    if memory.get("peak") is None:
        return None
    programs = [size for name, size in memory["programs"].items() if not name.startswith(OF_ANCHORS)]
    return memory["process"] + sum(memory["held"].values()) + max(programs, default=0)


def table(found: dict[str, Any]) -> str:
    """The Markdown of a file; lists of all users have columns where one of its runs made them."""
    has_lists = any("lists" in row for row in found["rows"])
    lines = [
        ["run", "CPU s", "an epoch [s]", "a test pass [s]", "peak [GB]", "foreseen [GB]", ""],
        ["---", *["---:"] * 5, "---"],
    ]
    if has_lists:
        lines[0][-1:-1], lines[1][-1:-1] = ["lists for all [CPU s]", "peak [GB]"], ["---:"] * 2
    for row in found["rows"]:
        seconds = row.get("seconds", {})
        name = row["model"] if row["model"] in READ else f"`{row['model'].replace(' ' + LISTS, '')}`"
        cells = [name, f"{row['cpu']:,.0f}"]
        cells += [f"{seconds[part]:,.1f}" if part in seconds else "" for part in ("train_epoch", "test_pass")]
        cells += [f"{row['peak'] / 1e9:.2f}", f"{row['foreseen'] / 1e9:.2f}" if row.get("foreseen") else ""]
        if has_lists:
            lists = row.get("lists", {})
            cells += [f"{lists['cpu']:,.0f}", f"{lists['peak'] / 1e9:.2f}"] if lists else ["", ""]
        lines.append([*cells, _remark(row)])
    return tables.join(lines)


def _remark(row: dict[str, Any]) -> str:
    if FAILED in row:
        return row[FAILED]
    if FAILED in row.get("lists", {}):
        return f"lists: {row['lists'][FAILED]}"
    return f"foreseen {row['foreseen'] / row['peak'] - 1:+.0%}" if row.get("foreseen") else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("size", nargs="?", choices=generated.SIZES, help="of the log")
    parser.add_argument("--models", default=",".join(sorted(models.MODELS)), help="with options of theirs (all)")
    parser.add_argument("--minutes", type=float, default=10.0, help="after which a run is stopped (10)")
    parser.add_argument("--folder", type=pathlib.Path, help="for logs and runs (one that is removed afterward)")
    parser.add_argument("--out", metavar="FILE", type=pathlib.Path, help="JSON file to write, or to go on with")
    parser.add_argument("--read", metavar="LOG", help=argparse.SUPPRESS)
    parser.add_argument("--table", metavar="FILE", type=pathlib.Path, help="print the Markdown of one, and no more")
    asked = parser.parse_args(arguments)
    if asked.table:
        print(table(json.loads(asked.table.read_text(encoding="utf-8"))))
        return 0
    if asked.read:
        log_cache.read(asked.read, LAYOUT)
        return 0
    if asked.size is None:
        parser.error("SIZE is missing")
    with tempfile.TemporaryDirectory() as temporary:
        run(asked, (asked.folder or pathlib.Path(temporary)).absolute())
    return 0


def run(asked: argparse.Namespace, folder: pathlib.Path) -> None:
    """Takes the measurements that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{asked.size}.parquet"
    if not path.exists():
        # Not here: a process hands down its peak to those that it starts.
        subprocess.run([sys.executable, generated.__file__, asked.size, f"--out={path}"], check=True)
    found = record.heading(f"scale-{asked.size}") | {"rows": []}
    if asked.out and asked.out.exists():
        found = json.loads(asked.out.read_text(encoding="utf-8"))
    known = {row["model"] for row in found["rows"]}
    if READ[0] not in known:
        found["rows"] += reading(path, folder, asked.minutes)
    for text in asked.models.split(","):
        if text not in known:
            row = of_model(text, path, folder, asked.minutes)
            found["rows"].append(row)
            print(f"{text}: {row['cpu']:,.0f} CPU s, {row['peak'] / 1e9:.2f} GB, {_remark(row)}", flush=True)
        if asked.out:  # as far as it is
            record.write(found, asked.out)
    print(table(found))


if __name__ == "__main__":
    sys.exit(main())
