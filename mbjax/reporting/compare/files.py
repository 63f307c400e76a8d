"""A comparison as files: comparison.md, comparison.csv, and PNGs for each data set and metric: all pairs, and parts."""

from __future__ import annotations

import itertools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mbjax import files
from mbjax.reporting import fonts, report, tables
from mbjax.reporting.compare import blocks, chart, document
from mbjax.reporting.compare import groups as grouping
from mbjax.train import logging


def write(
    folder: str | pathlib.Path,
    sheets: Sequence[blocks.Sheet],
    groups: Mapping[str, Sequence[grouping.Group]],
    notes: Mapping[str, Sequence[str]],
    split: str,
) -> list[pathlib.Path]:
    """Writes everything, over older files of the same names.

    Args:
      folder: made if there is none.
      sheets: of all data sets.
      groups: data set -> its groups.
      notes: data set -> sentences; those under "" are of all.
      split: that was measured on.

    Returns:
      The files.
    """
    folder = files.make_folder(folder)
    text, made = ["# Runs side by side"], []
    text += [_list(notes[""])] if notes.get("") else []
    slugs: dict[str, str] = {}
    for dataset in dict.fromkeys(sheet.dataset for sheet in sheets):
        here = [sheet for sheet in sheets if sheet.dataset == dataset]
        text.append(f"## {dataset}")
        slug = _slug(dataset, slugs)
        for metric in dict.fromkeys(block.metric for sheet in here for block in sheet.blocks):
            for path, caption in _charts(folder / slug, here, groups[dataset], metric, split):
                text.append(f"![{caption}]({path.name})")
                made.append(path)
        for sheet in here:
            text += [f"### {document.title(sheet, split)}", document.markdown(document.results(sheet))]
            if any(block.best for block in sheet.blocks):
                text += ["Paired tests against the best:", document.markdown(document.tests(sheet))]
        unwritable = fonts.Lettering(chart.order(groups[dataset], (sheet.behavior for sheet in here))).note()
        text.append(_list([*notes.get(dataset, ()), *([unwritable] if unwritable else [])]))
    page, table = folder / "comparison.md", folder / "comparison.csv"
    content = "\n\n".join(filter(None, text)) + "\n"
    files.write_text(page, content)
    logging.write_csv(list(rows(sheets, split)), table)
    return [page, table, *made]


def _slug(dataset: str, taken: dict[str, str]) -> str:
    """The data set's name as the beginning of file names; two data sets never share one."""
    base = re.sub(r"[^\w.-]+", "_", dataset)
    names = itertools.chain([base], (f"{base}_{number}" for number in itertools.count(2)))
    return taken.setdefault(dataset, next(name for name in names if name not in taken.values()))


def _charts(base, sheets, groups, metric: str, split: str) -> Iterator[tuple[pathlib.Path, str]]:
    """Draws a metric over all pairs and, where there are both, over visited and unvisited ones; paths and captions."""
    dataset = sheets[0].dataset
    heading = f"{tables.title(metric)} on {dataset}"
    drawings = [
        ("", "", chart.whole(sheets, metric)),
        ("-visited", ", visited and unvisited pairs", chart.parts(sheets, metric)),
    ]
    for suffix, words, grid in drawings:
        if grid:
            path = base.with_name(f"{base.name}-{metric}{suffix}.png")
            chart.draw(grid, groups, path, heading=heading, subtitle=_subtitle(sheets, split))
            yield path, heading + words


def rows(sheets: Sequence[blocks.Sheet], split: str) -> Iterator[dict[str, Any]]:
    """A row for each data set, behavior, metric and group, with all that is known, unrounded.

    Columns: ``values`` are those of the seeds, in the order of ``seeds``; ``sd`` is that of the population;
    ``test/...`` are the fields of ``significance.Outcome``, empty in the row of the best and of what was not tested.
    """
    for sheet in sheets:
        for block in sheet.blocks:
            for line in block.lines:
                record = line.group.first.record
                row = {"dataset": sheet.dataset, "split": split, "behavior": sheet.behavior, "metric": block.metric}
                row |= {"run": line.group.label, "model": record["model"], "ablation": record.get("ablation")}
                row |= {"settings": json.dumps(line.group.settings, default=str)}
                row |= {"protocol": record["protocol"]["name"], "selection": line.group.first.selection}
                row |= {"seeds": _join(run.record["seed"] for run in line.group.runs), "values": _join(line.values)}
                row |= {"users": sheet.users, "pairs": sheet.pairs, "mean": line.mean, "sd": line.deviation}
                row |= {"paper": line.paper, "paper_sd": line.paper_deviation}
                for name, part in line.parts.items():
                    row |= {f"{name}_pairs": part.pairs, name: part.mean, f"{name}_sd": part.deviation}
                if line.test is not None:
                    row |= {"tested_against": block.best.label, "test": line.test._asdict()}
                yield row


def _subtitle(sheets: Sequence[blocks.Sheet], split: str) -> str:
    lines = [line for sheet in sheets for block in sheet.blocks for line in block.lines]
    trained = [line.group.first for line in lines if line.group.first.is_trained]
    words = [f"{split} split"]
    selections = dict.fromkeys(run.selection for run in trained)
    if selections:
        words.append("; ".join(report.SELECTIONS[name] for name in selections))
    if {run.record["protocol"]["name"] for run in trained} == {"paper"}:
        words.append("protocol 'paper'")
    return ", ".join(words)


def _join(values: Any) -> str:
    return " ".join(map(str, values))


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
