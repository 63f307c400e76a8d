"""A metric over a setting that varied among runs: of sweeps, results files, and run folders that are over."""

from __future__ import annotations

import json
import math
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from mbjax import config as configuration
from mbjax import errors
from mbjax.data import log, tables
from mbjax.reporting import report, shipped
from mbjax.reporting.figures import drawing
from mbjax.sweep import axes
from mbjax.sweep import records as kept
from mbjax.train import run_folder


class Result(NamedTuple):
    """What a run came to.

    Attributes:
      source: the file, or the folder and the number of a sweep's run.
      model, dataset, seed: of the run.
      settings: field -> its value as a text.
      table: behavior -> metrics.
      split: that they are of.
      protocol: its name; "" for runs of a sweep.
      selection: how the epoch was chosen; "" where there are none, and for runs of a sweep.
      fingerprint: of the data set; "" where that is not known.
      values: of all fields, where the run's configuration lies beside; empty: as the model ships with, but for the
        settings.
      state: of ``sweep.records.STATES``; all but finished runs are named and left out.
    """

    source: str
    model: str
    dataset: str
    seed: int
    settings: Mapping[str, str]
    table: Mapping[str, Mapping[str, Any]]
    split: str
    protocol: str = ""
    selection: str = ""
    fingerprint: str = ""
    values: Mapping[str, Any] = {}
    state: str = kept.STATES[0]


NAMED = 5
"""So many runs that are left out are named; of more, the first."""
LINES = 12
"""So many lines are drawn in a panel; of more, each setting is a point."""
APART = {
    "dataset": "data sets",
    "split": "splits",
    "protocol": "protocols",
    "selection": "ways to choose an epoch",
    "fingerprint": "states of the data set",
}
"""What runs of one figure have in common, in words."""


def settings(places: Sequence[pathlib.Path], metric: str | None = None) -> drawing.Drawn:
    """A metric over each setting that varied among runs: COPF 3 to 5, PKEF 4 and 5, BVAE's sizes and behaviors.

    A panel for each setting, a line for each behavior and each combination of the others, means over seeds with their
    deviations; where these are many, points for each behavior. Sweeps have validation pairs, results files the test
    split; the two do not stand in one figure.

    Args:
      places: folders of sweeps, results files, folders of them, or run folders that are over.
      metric: such as ``"ndcg@10"``; None takes NDCG at the first cut-off that all have.

    Raises:
      ConfigError: nothing varied, or the runs do not compare: several data sets or states of one, splits, protocols.
      DataError: a file that is none, or without results.
    """
    read = [result for place in places for result in _results(place)]
    found, ended = _finished(read)
    for what, words in APART.items():
        several = sorted({getattr(result, what)[:12] for result in found} - {""})
        if len(several) > 1:
            raise errors.ConfigError(f"these runs are of several {words} ({', '.join(several)}). Draw them apart.")
    found, notes = _distinct(_completed(found))
    notes += ended
    fields = dict.fromkeys(field for result in found for field in result.settings)
    # A field that only some models have does not vary by that.
    varied = [f for f in fields if len({result.settings[f] for result in found if f in result.settings}) > 1]
    if not varied:
        said = " ".join(["no setting varied among these runs: name a sweep, or runs that differ in a field.", *ended])
        raise errors.ConfigError(said)
    metric = _metric(found, metric)
    if lacking := [result.source for result in found if not any(_has(row, metric) for row in result.table.values())]:
        notes.append(f"Left out, without {metric}: {', '.join(lacking)}.")
    rows: list[dict[str, Any]] = []
    panels = [_panel(field, varied, found, metric, rows) for field in varied]
    where = "validation pairs" if found[0].split == "valid" else "the test split"
    title = f"{found[0].dataset}: {metric} on {where}"
    said = " ".join(["Means over seeds, with their population deviations.", *notes])
    return drawing.Drawn(pl.DataFrame(rows), panels, title, said)


def _has(row: Mapping[str, Any], metric: str) -> bool:
    return row.get(metric) is not None


def _metric(found: Sequence[Result], metric: str | None) -> str:
    """The one that was asked for, or NDCG at the first cut-off that all have, or that any has."""
    each = [list(dict.fromkeys(name for row in result.table.values() for name in row)) for result in found]
    names = list(dict.fromkeys(name for of in each for name in of if "@" in name))
    if metric is None:
        ndcg = [name for name in names if name.startswith("ndcg@")]
        common = [name for name in ndcg if all(name in of for of in each)]
        metric = next(iter([*common, *ndcg]), "ndcg")
    if metric not in names:
        raise errors.unknown("metric", metric, names)
    return metric


def _finished(found: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The runs that finished, and a sentence on those that were given up, and on those that failed."""
    said = []
    for state in kept.STATES[1:]:
        if names := [result.source for result in found if result.state == state]:
            which = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            said.append(f"Left out, since they {'were' if state == 'given up' else 'have'} {state}: {which}.")
    return [result for result in found if result.state == kept.STATES[0]], said


def _distinct(found: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """The runs, each seed of a setting once, and a sentence on what is left out."""
    kept: dict[tuple, Result] = {}
    again = []
    for result in found:
        key = result.model, result.seed, tuple(sorted(result.settings.items()))
        if key in kept:
            again.append(result.source)
        kept.setdefault(key, result)
    said = [f"Left out, since they repeat a seed of a setting: {', '.join(again)}."] if again else []
    return list(kept.values()), said


def _panel(field: str, varied: Sequence[str], found: Sequence[Result], metric: str, rows: list) -> drawing.Lines:
    texts = list(dict.fromkeys(result.settings[field] for result in found if field in result.settings))
    numbers = [axes.number(text) for text in texts]
    is_number = not any(map(math.isnan, numbers))
    if is_number:
        texts = [text for _, text in sorted(zip(numbers, texts, strict=True))]
    several = len({result.model for result in found}) > 1
    groups: dict[tuple[str, str], dict[str, list[float]]] = {}
    for result in found:
        others = [f"{f.rpartition('.')[2]}={result.settings[f]}" for f in varied if f != field and f in result.settings]
        for behavior, row in reversed(result.table.items()):  # the target first
            if _has(row, metric) and field in result.settings:
                whose = ", ".join([*([result.model] if several else []), behavior])
                of = groups.setdefault((whose, ", ".join([whose, *others])), {})
                of.setdefault(result.settings[field], []).append(row[metric])
    # Of a search, where settings differ in several fields at once, no two stand on one line.
    is_joined = len(groups) <= LINES and any(len(of) > 1 for of in groups.values())
    series: dict[str, drawing.Line] = {}
    for (whose, label), of in groups.items():
        chosen = [text for text in texts if text in of]
        means = [statistics.fmean(of[text]) for text in chosen]
        around = [statistics.pstdev(of[text]) for text in chosen]
        places = [axes.number(text) if is_number else float(texts.index(text)) for text in chosen]
        if is_joined:
            series[label] = drawing.Line(places, means, around)
        else:
            before = series.get(whose, drawing.Line((), ()))
            series[whose] = drawing.Line([*before.x, *places], [*before.y, *means])
        rows += [
            {"field": field, "value": text, "line": label, "metric": metric, "mean": m}
            | {"deviation": d if len(of[text]) > 1 else None, "runs": len(of[text])}
            for text, m, d in zip(chosen, means, around, strict=True)
        ]
    labels = None if is_number else dict(enumerate(texts))
    places = [axes.number(text) for text in texts] if is_number else []
    is_log = is_number and min(places) > 0 and max(places) >= 10 * min(places)
    return drawing.Lines(field, series, field, metric, labels, is_log, is_joined and is_number)


def _results(place: pathlib.Path) -> Iterator[Result]:
    if (place / "sweep.json").is_file():
        dataset = _name(json.loads((place / "sweep.json").read_text(encoding="utf-8"))["dataset"])
        for file in sorted((place / "records").glob("*.json")):
            one = kept.read(file.parent, file.stem)
            yield Result(
                f"{place.name}/{file.stem}", one.model, dataset, one.seed, one.setting, one.table, "valid",
                fingerprint=one.fingerprint, values=_values(place / "runs" / file.stem, one.model), state=one.state,
            )  # fmt: skip
        return
    if (place / "results.json").is_file():
        place = place / "results.json"
    for file in sorted(place.glob("*.json")) if place.is_dir() else [place]:
        record = report.read_file(file)
        chosen = {path: configuration.show(value) for path, value in (record.get("overrides") or {}).items()}
        chosen = {path: text for path, text in chosen.items() if path not in (*report.HARMLESS, "train.max_minutes")}
        if record.get("ablation"):
            chosen["ablation"] = record["ablation"]
        selection = next((name for name in ("valid", "last") if record["selection"].get(name)), None)
        if selection is None:
            has = ", ".join(record["selection"]) or "none"
            raise errors.DataError(
                f"{file} has no results at an epoch chosen on validation or at the last one ({has})."
            )
        how = selection if record.get("epochs") else ""
        yield Result(
            file.name, record["model"], record["dataset"], record.get("seed", 0), chosen,
            record["selection"][selection], "test", record["protocol"]["name"], how,
            record.get("dataset_fingerprint") or "", _values(file.parent, record["model"], file),
        )  # fmt: skip


def _name(dataset: str) -> str:
    """What a data set is called, of its name or path: a log as its file, without what says how it is written."""
    path = pathlib.PurePath(dataset)
    return log.name_of(path) if tables.suffix(path) in tables.FORMATS else path.name


def _values(folder: pathlib.Path, model: str, results: pathlib.Path | None = None) -> Mapping[str, Any]:
    """The fields of a run folder's configuration; empty where there is none, or the results are not its own."""
    from mbjax import models

    place = run_folder.RunFolder(folder)
    if not place.config_file.is_file() or (results is not None and results != place.results_file):
        return {}
    config = configuration.parse(place.config_file.read_text(encoding="utf-8"), models.entry(model).config)
    return config.values()


def _completed(found: Sequence[Result]) -> list[Result]:
    """With the value that a run had, where it says nothing of a field that others set.

    It is that of its configuration, or else what the model ships with for the data set, protocol and ablation. One
    that takes no steps has no value of how they are taken.
    """
    from mbjax import models

    fields = dict.fromkeys(field for result in found for field in result.settings)
    completed = []
    for result in found:
        own: dict[str, Any] = {}
        if fields.keys() - result.settings.keys():
            of = result.model, result.dataset, result.protocol or "honest", result.settings.get("ablation")
            own = dict(result.values or shipped.values(*of)) | {"ablation": "none"}
            if models.entry(result.model).chosen != "epoch":
                own = {field: value for field, value in own.items() if not field.startswith("train.")}
        values = {f: configuration.show(own[f]) for f in fields if f in own}
        completed.append(result._replace(settings=values | dict(result.settings)))
    return completed
