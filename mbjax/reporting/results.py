"""Results files: one small JSON for each finished run on real data, and tables in Markdown files made from them.

``python -m mbjax.results FILE ...`` writes the tables between markers anew (see ``pages``); ``--check`` only says
whether they are up to date. A results file holds the settings of the run, what it was run with, times, and the test
metrics at every selection; nothing in it names a folder of one machine.
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
import pathlib
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mbjax import config as configuration
from mbjax import errors, files, machine, paths, program
from mbjax.cli import guard, help, reading
from mbjax.reporting import pages, report, selections

PRIVATE = (
    "data.dirs",
    "data.download",
    "data.cache",
    "train.save_minutes",
    "train.chunk_steps",
    "train.side_by_side",
    "evaluate.anchors",
    "evaluate.last",
)
"""Overrides that say where and how a run went and decide no number."""
IDENTITY = ("model", "dataset", "dataset_fingerprint", "ablation", "overrides", "seed", "protocol", "behaviors")
"""Fields of a results file by which two are of the same run."""
DIGITS = 6
"""Decimals of a metric in a results file."""


def record(
    config: Any,
    dataset: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    parameters: int,
    tables: Mapping[str, tuple[int, selections.Table]] | None = None,
    seconds: Mapping[str, float] | None = None,
    commit: str | None = None,
) -> dict[str, Any]:
    """Puts a results file together.

    Args:
      config: ``config.Config`` of the run.
      dataset: ``data.Dataset`` it was run on.
      rows: of metrics.jsonl.
      parameters: number of trained values.
      tables: selection -> (epoch, test table), for those whose test table is not in ``rows``: an honest run reads the
        test split once, after training. They go before what ``rows`` say.
      seconds: ``compile``, ``test_pass`` and ``total``, as far as known; ``train_epoch`` is taken from ``rows``: the
        median after the first.
      commit: of the code that the run started with; default is that of the checkout now.
    """
    options = {"monitor": config.train.monitor, "first_k": config.evaluate.ks[0], "target": dataset.info.target}
    chosen = {name: selections.at_epoch(*table) for name, table in (tables or {}).items()}
    for name in ("valid", "last", *config.evaluate.selections):
        if name not in chosen and (table := selections.select(rows, name, **options)):
            chosen[name] = table
    epoch_seconds = [row["seconds"] for row in rows if row.get("seconds") is not None]
    times = dict(seconds or {})
    if epoch_seconds:
        times["train_epoch"] = statistics.median(epoch_seconds[1:] or epoch_seconds)
    return {
        "model": config.model_name,
        "dataset": dataset.info.name,
        "ablation": config.ablation,
        "overrides": {key: value for key, value in configuration.portable(config).items() if key not in PRIVATE},
        "seed": config.seed,
        "protocol": {
            "name": config.protocol,
            "valid": dataset.valid_rule,
            "mask": config.evaluate.mask,
            "mask_valid": bool(dataset.mask_valid),
        }
        | ({"sample_users": number} if (number := config.evaluate.sample_users) and _are_sampled(rows) else {}),
        "behaviors": list(dataset.info.behaviors),
        "epochs": rows[-1]["epoch"] + 1 if rows else 0,
        "devices": config.devices,
        "parameters": int(parameters),
        "command": configuration.command(config),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit or machine.commit(),
        "versions": machine.versions(),
        "machine": machine.describe(),
        "dataset_fingerprint": dataset.fingerprint,
        "seconds": {name: round(value, 3) for name, value in times.items()},
        "peak_memory_mib": machine.peak_memory_mib(),
        "selection": _rounded(chosen),
    }


def _are_sampled(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether an epoch was judged by fewer users than there are."""
    tables = (row[split] for row in rows for split in ("valid", "test") if split in row)
    return any("sampled_from" in of_behavior for table in tables for of_behavior in table.values())


def default_tag(record: Mapping[str, Any]) -> str:
    """What tells a run from the default one of its model and data set: protocol, ablation, overrides; often empty."""
    parts = [] if record["protocol"]["name"] == "honest" else [record["protocol"]["name"]]
    parts += [record["ablation"]] if record["ablation"] else []
    for key, value in sorted(record["overrides"].items()):
        value = "-".join(map(str, value)) if isinstance(value, list | tuple) else value
        parts.append(f"{key.rpartition('.')[2]}_{value}")
    return "-".join(map(_slug, parts))


def file_name(record: Mapping[str, Any], tag: str | None = None) -> str:
    """``<model>-<dataset>[-<tag>]-seed<seed>.json``; ``tag`` defaults to ``default_tag``."""
    tag = default_tag(record) if tag is None else _slug(tag)
    words = [record["model"], _slug(record["dataset"]), *([tag] if tag else []), f"seed{record['seed']}"]
    return "-".join(words) + ".json"


def write(record: Mapping[str, Any], folder: str | pathlib.Path = "results", *, tag: str | None = None) -> pathlib.Path:
    """Writes a results file, over an older one of the same run; returns its path.

    Names are short and can be the same for different runs. Then the file gets the next number: none is lost.
    """
    base = files.make_folder(folder) / file_name(record, tag)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    for number in itertools.count(1):
        path = files.numbered(base, number, base.suffix)
        if files.create(path, text, "the results file"):
            return path
        if _same_run(path, record):
            return files.write_text(path, text, "the results file")
    raise AssertionError("there is always a next number")


def put(record: Mapping[str, Any], where: bool | pathlib.Path) -> pathlib.Path:
    """Writes a results file to the default place (True), a folder or a file; returns its path. Raises WriteError."""
    if where is True:
        return write(record)
    path = paths.absolute(where)
    if path.suffix != ".json":
        return write(record, path)
    files.make_folder(path.parent)
    return files.write_json(path, record, "the results file")


def _same_run(path: pathlib.Path, record: Mapping[str, Any]) -> bool:
    try:
        other = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    now = json.loads(json.dumps({key: record.get(key) for key in IDENTITY}))  # tuples are lists there
    return isinstance(other, dict) and all(other.get(key) == now[key] for key in IDENTITY)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the tables in Markdown files anew; returns the exit code, 1 if ``--check`` found an old table."""
    return guard.run(_update, argv)


def _update(argv: list[str]) -> int:
    given = reading.read(argv, "results")
    if "help" in given.options:
        about = "Writes result tables into Markdown files, between their markers <!-- results:NAME -->."
        help.plain("results", (about,), (("results README.md", "after new results files"),))
        return 0
    reading.refuse_unread(given, "results")
    reading.resolved(given, configuration.known_fields(configuration.Section), "results")
    old = 0
    for word in reading.words(given, "results"):
        file = paths.absolute(word)
        before, folder = _text(file), given.options.get("results", _results_for(file))
        records = report.read(pathlib.Path(folder))
        if not records:  # tables of nothing would take the place of what is there
            raise errors.DataError(
                f"{word}: no results files (*.json) in {folder}. Runs with --record leave them; --results=FOLDER says "
                "where they are."
            )
        after = pages.update(before, records, source=word, folder=folder)
        if before == after:
            continue
        old += 1
        if "check" in given.options:
            print(f"{word}: tables are not up to date; run {program.command('results')} {word}")
        else:
            files.write_text(file, after)
            print(f"{word}: tables written")
    return 1 if "check" in given.options and old else 0


def _results_for(file: pathlib.Path) -> pathlib.Path:
    """The nearest folder results/ with results files in it: beside the file, or beside a folder that it lies in."""
    near = [folder / "results" for folder in file.absolute().parents]
    return next((folder for folder in near if any(folder.glob("*.json"))), near[0])


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise errors.DataError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise errors.DataError(f"{file} cannot be read: it is not a text in UTF-8.") from None


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", str(text)).strip("_")
