"""Parts of a benchmark in processes of their own, so that one that fails or hangs loses nothing of the others."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mbjax.bench import record

TAIL = 15  # lines of a failed part's output that are shown


def run(command: Sequence[str], limit: float) -> dict[str, Any]:
    """Runs a part.

    Args:
      command: a program that calls ``keep`` with its last argument, which is added here.
      limit: seconds after which it is stopped.

    Returns:
      What it kept, ``seconds`` with the start of the process, and ``failed`` in a line where it did not end well.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept, output = pathlib.Path(folder, "part.json"), pathlib.Path(folder, "output.txt")
        start = time.perf_counter()
        with output.open("w") as stream:
            try:
                done = subprocess.run([*command, str(kept)], stdout=stream, stderr=stream, timeout=limit)
                code = done.returncode
            except subprocess.TimeoutExpired:
                code = None
        seconds = round(time.perf_counter() - start, 1)
        found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    if code == 0:
        return found | {"seconds": seconds}
    print(*lines[-TAIL:], sep="\n", file=sys.stderr, flush=True)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    reason = f"stopped after {limit:.0f} s" if code is None else f"exit code {code}: {last[:300]}"
    return found | {"seconds": seconds, "failed": reason}


def keep(findings: Iterable[Mapping[str, Any]], path: str) -> dict[str, Any]:
    """Joins findings and writes all of them after each, so that a part that is stopped loses only what it was at."""
    found: dict[str, Any] = {}
    for more in findings:
        found |= more
        record.write(found, path)
    return found
