"""What several seeds of a run come to together: mean and standard deviation of every metric."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console

from mbjax import errors, files, kinds, wording
from mbjax.experiment import outcomes
from mbjax.reporting import printout, report, tables
from mbjax.train import logging


def result(folder: pathlib.Path) -> dict[str, Any] | None:
    """What the run of a folder came to (``results.json``); None if it is not over."""
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise errors.DataError(f"{folder / 'results.json'} is damaged: {error}. Delete it and resume.") from error


def means(records: Sequence[report.Record], selection: str) -> outcomes.Table:
    """The mean table of a selection: behavior -> users, metrics, and ``"deviation"`` with that of each metric.

    The deviation is that of the population; there is none of a single run. ``"visited"`` and ``"unvisited"`` have
    the same, where all runs have such pairs.
    """
    found: outcomes.Table = {}
    for behavior in report.behaviors({}, records):
        values = report.values(records, selection, behavior)
        if not values:
            continue
        found[behavior] = _average(values)
        for part in kinds.IN_ONE_LIST:
            if all(part in row for row in values):
                found[behavior][part] = _average([row[part] for row in values])
    return found


def _average(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the metrics of some rows, and their deviations."""
    averages = {metric: report.average(values, metric) for metric in values[0] if "@" in metric}
    found = {key: values[0][key] for key in ("users", "pairs") if key in values[0]}
    found |= {metric: mean for metric, (mean, _) in averages.items()}
    if len(values) > 1:
        found["deviation"] = {metric: deviation for metric, (_, deviation) in averages.items()}
    return found


def write(
    folder: pathlib.Path, records: Mapping[int, report.Record], title: str, beside: Mapping[str, outcomes.Table]
) -> None:
    """Prints the table of means and writes it with all metrics and seeds. Raises WriteError.

    Args:
      folder: of the seeds.
      records: seed -> its ``results.json``; at least one.
      title: of the model.
      beside: tables of models without training.
    """
    runs = list(records.values())
    rows, lines = {}, []
    for selection in sorted(report.selections(runs), key=("last", "valid").__contains__, reverse=True):
        found = means(runs, selection)
        rows[f"{title} ({selection})" if runs[0]["epochs"] else title] = found
        for behavior, values in found.items():
            each = {seed: record["selection"].get(selection, {}).get(behavior, {}) for seed, record in records.items()}
            for part in ("all", *(part for part in kinds.IN_ONE_LIST if part in values)):
                rows_of = {seed: row if part == "all" else row.get(part, {}) for seed, row in each.items()}
                mean = values if part == "all" else values[part]
                for metric in filter(lambda name: "@" in name, mean):
                    line = {"selection": selection, "behavior": behavior, "pairs": part, "metric": metric}
                    line |= {"mean": mean[metric], "deviation": mean.get("deviation", {}).get(metric)}
                    lines.append(line | {f"seed{seed}": row.get(metric) for seed, row in rows_of.items()})
    seeds = ("seed " if len(runs) == 1 else "seeds ") + ", ".join(map(str, records))
    caption = f"{runs[0]['dataset']}, test split, all items ranked; means of {seeds}"
    caption += ", \N{PLUS-MINUS SIGN}: their population standard deviation" if len(runs) > 1 else ""
    caption += printout.sampled(runs[0].get("protocol", {}).get("sample_users", 0))
    ks = tables.cut_offs(rows)
    tables.put(
        rich.console.Console(), tables.per_behavior(rows | dict(beside), ks=ks[:1], details=True, caption=caption)
    )
    logging.write_csv(lines, folder / "seeds.csv")
    text = f"# {title}, {wording.count(len(runs), 'seed')}\n\n{caption}.\n\n"
    files.write_text(folder / "seeds.md", text + tables.markdown(rows | dict(beside), ks=ks, details=True) + "\n")
