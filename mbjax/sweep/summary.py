"""A sweep as tables: every run and every setting as CSV, the settings and what was chosen as Markdown and on screen."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console

from mbjax import config, files, wording
from mbjax.reporting import report, tables
from mbjax.sweep import chart, records
from mbjax.sweep import plan as plans
from mbjax.train import logging

SHOWN = 20
"""Settings of a model that are printed, the best first; files have all."""
STATES = {"finished": "", "given up": "given up", "failed": "failed"}


def write(
    found: Sequence[records.Record],
    members: Sequence[plans.Member],
    folder: pathlib.Path,
    chosen: Mapping[str, Any],
) -> list[pathlib.Path]:
    """Writes ``runs.csv``, ``settings.csv``, ``sweep.md`` and a chart of each model; returns the files.

    Args:
      found: all runs.
      members: the models of the sweep.
      folder: of the sweep.
      chosen: model -> what ``Sweep.choose`` found.
    """
    made, plan, of = [], members[0].plan, {member.name: member for member in members}
    logging.write_csv([_run_row(record) for record in found], folder / "runs.csv")
    rows = [_setting_row(line, chosen) for line in records.lines(found, members[0].seeds)]
    logging.write_csv(rows, folder / "settings.csv")
    text = ["# Sweep", "\n".join(f"- {sentence}" for sentence in notes(found, members, chosen))]
    for name, own in _by_model(found, members).items():
        path = folder / f"{name}.png"
        number = chosen.get(name, {}).get("number")
        title = f"{name} on {pathlib.PurePath(plan.dataset).name}"
        text.append(f"## {name}")
        values = _own(of[name], own)
        settings = {"is_search": bool(plan.search or plan.minutes), "own": values}
        if chart.draw(own, path, title=title, chosen=number, **settings):
            made.append(path)
            text.append(f"![{title}]({path.name})")
        head, body = _table(own, chosen, values)
        rule = ["---:" if head_ in ("validation", "epoch", "seconds") else "---" for head_ in head]
        text.append(tables.join([head, rule, *([_plain(cell) for cell in row] for row in body)]))
        text += _tested(name, chosen)
        text += [f"- {run.name} failed: {run.error}" for line in own for run in line.runs if run.state == "failed"]
    files.write_text(folder / "sweep.md", "\n\n".join(text) + "\n")
    return [folder / "sweep.md", folder / "settings.csv", folder / "runs.csv", *made]


def show(
    found: Sequence[records.Record],
    members: Sequence[plans.Member],
    chosen: Mapping[str, Any],
    out: rich.console.Console,
) -> None:
    """Prints the settings of each model, the best first, with the test table of the chosen one."""
    of = {member.name: member for member in members}
    for name, own in _by_model(found, members).items():
        head, body = _table(own, chosen, _own(of[name], own))
        more = f"{len(body) - SHOWN} more in settings.csv" if len(body) > SHOWN else ""
        tables.say(out, f"{name}: {wording.count(len(body), 'setting')}", head, body[:SHOWN], more)
        for seed, table in chosen.get(name, {}).get("test", {}).items():
            caption = f"{name}, setting {chosen[name]['number']}, seed {seed}, test split"
            tables.put(out, tables.per_behavior({"test": table}, caption=caption))
    for sentence in notes(found, members, chosen):
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)


def notes(runs: Sequence[records.Record], members: Sequence[plans.Member], chosen: Mapping[str, Any]) -> list[str]:
    """What a reader should know, a sentence each."""
    plan, found = members[0].plan, []
    budget = f"{plan.search} settings of each model, chosen by search" if plan.search else "a grid"
    if plan.minutes:
        budget = f"{plan.minutes:g} minutes of each model, its own settings first and then others drawn at random"
    seeds = wording.count(len(members[0].seeds), "seed")
    monitors = dict.fromkeys(record.monitor for record in runs)
    found.append(f"{budget}, {seeds} each; the best mean of {' and '.join(monitors)} on validation pairs is chosen.")
    if len(monitors) > 1:
        found.append("The models are judged by different metrics: their validation columns do not compare.")
    for member in members:
        if plan.minutes:
            own = {record.number for record in runs if record.model == member.name}
            found.append(f"{member.name}: {wording.count(len(own), 'setting')} tried.")
        ended = sorted({record.number for record in runs if record.model == member.name and record.cut})
        if ended:
            which = f"setting{'s' if len(ended) > 1 else ''} {', '.join(map(str, ended))}"
            found.append(f"{member.name}: the time ended the training of {which}.")
        if member.lacks:
            found.append(f"{member.name} has no {', '.join(member.lacks)}: its runs go without.")
        tested = chosen.get(member.name, {}).get("tested", [])
        if len(tested) > 1:
            found.append(
                f"{member.name}: the test split has been read for {len(tested)} settings "
                f"({', '.join(map(str, tested))}), since the sweep grew."
            )
        elif tested:
            found.append(f"{member.name}: the test split was read once, for setting {tested[0]}.")
        else:
            found.append(
                f"{member.name}: no setting finished under all seeds; none is chosen, the test split is unread."
            )
    if len({record.fingerprint for record in runs if record.fingerprint}) > 1:
        found.append("The runs are on different states of the data set: their values do not compare.")
    states = [record.state for record in runs]
    counts = [f"{states.count(state)} {state}" for state in records.STATES if state in states]
    again = (
        " To make a failed one again, delete its file in records/ and its folder in runs/."
        if "failed" in states
        else ""
    )
    found.append(f"Runs: {', '.join(counts)}.{again}")
    return found


def _by_model(found: Sequence[records.Record], members: Sequence[plans.Member]) -> dict[str, list[records.Line]]:
    lines = records.lines(found, members[0].seeds)
    return {member.name: own for member in members if (own := [line for line in lines if line.model == member.name])}


def _own(member: plans.Member, lines: Sequence[records.Line]) -> dict[str, str]:
    """Field -> text of the model's own value, of the fields that vary."""
    values = member.config({}, member.seeds[0]).values()
    varied = dict.fromkeys(field for line in lines for field in line.setting if field in values)
    return {field: config.show(values[field]) for field in varied}


def _table(lines: Sequence[records.Line], chosen: Mapping[str, Any], own: Mapping[str, str]):
    """Head and lines, the best first, those without a value last; a field that a setting leaves has the model's own."""
    fields = list(dict.fromkeys(field for line in lines for field in line.setting))
    ordered = sorted(lines, key=lambda line: (not line.is_whole, -(line.mean if line.is_whole else 0.0), line.number))
    body = []
    for line in ordered:
        is_chosen = chosen.get(line.model, {}).get("number") == line.number
        epochs = sorted({run.epoch + 1 for run in line.runs if run.epoch is not None})
        body.append(
            [
                str(line.number),
                *(line.setting.get(field, own.get(field, "")) for field in fields),
                report.cell(line.mean, line.deviation),
                "-".join(map(str, dict.fromkeys(epochs[:1] + epochs[-1:]))),
                f"{sum(run.seconds for run in line.runs):.1f}",
                "chosen" if is_chosen else STATES[line.state],
            ]
        )
    return ["setting", *fields, "validation", "epoch", "seconds", ""], body


def _tested(name: str, chosen: Mapping[str, Any]) -> list[str]:
    if name not in chosen:
        return []
    rows = {f"seed {seed}": table for seed, table in chosen[name]["test"].items()}
    return [f"Test split, setting {chosen[name]['number']}:", tables.markdown(rows)]


def _run_row(record: records.Record) -> dict[str, Any]:
    row: dict[str, Any] = {"model": record.model, "setting": record.number, "seed": record.seed}
    row |= dict(record.setting) | {"state": record.state, "monitor": record.monitor, "value": record.value}
    row |= {"epoch": record.epoch, "seconds": record.seconds, "error": record.error}
    return row | {"valid": record.table}


def _setting_row(line: records.Line, chosen: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"model": line.model, "setting": line.number} | dict(line.setting)
    row |= {"runs": len(line.runs), "finished": len(line.values), "state": line.state}
    row |= {"monitor": line.runs[0].monitor, "mean": line.mean, "sd": line.deviation}
    return row | {"chosen": chosen.get(line.model, {}).get("number") == line.number}


def _plain(cell: Any) -> str:
    return config.show(cell) if cell is not None else ""
