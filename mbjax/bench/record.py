"""The numbers of a benchmark with what they were measured on, and the file that keeps them."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from mbjax import config as configuration
from mbjax import files, machine


def heading(name: str, config: configuration.Config | None = None) -> dict[str, Any]:
    """What every record begins with: the benchmark's name, the run it measures, machine, versions, commit and load.

    Ask for it before anything is measured: ``load`` is how many processes wanted a core in the last minute (None
    where the system does not tell), so that numbers from a busy machine can be told.

    Args:
      name: of the benchmark.
      config: of the run; None where there is none.
    """
    run = {} if config is None else {"run": configuration.command(config)}
    return {
        "benchmark": name,
        **run,
        "machine": machine.describe(),
        "backend": jax.default_backend(),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def remark(record: Mapping[str, Any]) -> str | None:
    """A warning for numbers that were taken beside other work, None if there was little."""
    load = record["load"]
    if load is None or load < 0.5:
        return None
    return f"the load was {load} before the measurement began: times are longer than on an idle machine"


def write(record: Mapping[str, Any], path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a record as JSON, whole or not at all."""
    path = pathlib.Path(path)
    files.make_folder(path.parent)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    return files.write_text(path, text, "the record")
