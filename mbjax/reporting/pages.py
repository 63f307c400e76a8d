"""Result tables in Markdown files, between markers: what stands there is replaced by ``python -m mbjax.results FILE``.

::

    <!-- results:bvae-jd -->     BVAE on JD: paper, our runs at each selection, popularity; every behavior
    <!-- /results -->
    <!-- results:jd -->          all models and variants on JD, one line each
    <!-- /results -->
    <!-- results:jd:honest -->   those of one protocol
    <!-- /results -->
    <!-- results:summary -->     every model on every data set by its honest run, with the anchors (see ``summary``)
    <!-- /results -->
    <!-- results:front -->       the same with fewer models, for the front page
    <!-- /results -->
    <!-- results:papers -->      our runs under the papers' rules beside what they print
    <!-- /results -->
    <!-- results:reached -->     the same in a sentence
    <!-- /results -->
    <!-- results:rows:COPF:3:taobao:25 --> a table of a paper beside runs of 25 epochs, and their orders
    <!-- /results -->
    <!-- results:leaderboard:taobao:5 --> every model by its honest run, those of five minutes before the longer ones
    <!-- /results -->
    <!-- results:parts:funnel --> what a model loses without each of its parts, on every data set
    <!-- /results -->
    <!-- results:parts:funnel:parts --> the same of the files in a folder beside the results, ``parts`` here
    <!-- /results -->

Runs that differ by nothing but the seed are one line: mean and population standard deviation.
"""

from __future__ import annotations

import pathlib
import re
import statistics
from collections.abc import Sequence

from mbjax import errors
from mbjax.config import about
from mbjax.reporting import components, leaderboard, literature, orders, report, summary, tables
from mbjax.reporting.report import Record

MARKER = re.compile(r"(<!-- results:(?P<name>\S+) -->\n)(?P<old>.*?)(<!-- /results -->)", re.DOTALL)
WHOLE = {"summary": summary.honest, "front": summary.front, "papers": summary.papers, "reached": summary.reached}
"""Markers for what goes over all data sets."""
PARTS, ROWS, LEADERBOARD = "parts:", "rows:", "leaderboard:"


def update(
    text: str, records: Sequence[Record], *, source: str = "the file", folder: str | pathlib.Path | None = None
) -> str:
    """Replaces what stands between the markers; ``folder`` has the records, and folders of others.

    Raises:
      DataError: no marker, one without its end, or one that asks for what neither a results file nor a paper has.
    """
    if len(MARKER.findall(text)) != text.count("<!-- results:"):
        raise errors.DataError(f"{source}: a '<!-- results:NAME -->' line without a '<!-- /results -->' line after it.")
    if not MARKER.search(text):
        raise errors.DataError(
            f"{source}: no place for a table: a line '<!-- results:NAME -->', and '<!-- /results -->'."
        )
    return MARKER.sub(lambda m: f"{m[1]}\n{render(m['name'], records, source, folder)}\n\n{m[4]}", text)


def render(
    name: str, records: Sequence[Record], source: str = "the file", folder: str | pathlib.Path | None = None
) -> str:
    """The Markdown of one marker: ``MODEL-DATASET``, ``DATASET``, ``DATASET:PROTOCOL``, or a key of ``WHOLE``."""
    if name in WHOLE:
        return WHOLE[name](records)
    if name.startswith(PARTS):
        model, _, apart = name.removeprefix(PARTS).partition(":")
        return components.table(model, _of_folder(folder, apart, source) if apart else records)
    if name.startswith(LEADERBOARD):
        return leaderboard.table(name, records)
    if name.startswith(ROWS):
        return orders.table(name, records)
    dataset, _, protocol = name.partition(":")
    here = [r for r in records if r["dataset"] == dataset and protocol in ("", r["protocol"]["name"])]
    if here:
        return _overview(here, with_protocol=not protocol)
    model, _, dataset = name.partition("-")
    own = [r for r in records if (r["model"], r["dataset"]) == (model, dataset) and report.is_plain(r)]
    if not own and not literature.find(model, None, dataset):
        known = {f"{r['model']}-{r['dataset']}" for r in records if report.is_plain(r)}
        known |= {r["dataset"] for r in records}
        raise errors.DataError(
            f"{source}: no results for the marker '{name}'. There are: {', '.join(sorted(known)) or 'none'}."
        )
    return _model_table(model, dataset, own, records)


def _of_folder(folder: str | pathlib.Path | None, name: str, source: str) -> list[Record]:
    """The records of a folder beside the results."""
    found = report.read(pathlib.Path(folder, name)) if folder is not None else []
    if not found:
        raise errors.DataError(f"{source}: no results files (*.json) in a folder '{name}' beside the results.")
    return found


def _model_table(model: str, dataset: str, own: Sequence[Record], records: Sequence[Record]) -> str:
    paper = literature.find(model, None, dataset, cut_offs=set().union(*map(literature.cut_offs_of, own)))
    anchors = []
    for name in report.ANCHORS:
        found = [r for r in records if (r["model"], r["dataset"]) == (name, dataset) and report.is_plain(r)]
        anchors += report.groups(found)[:1] if name != model else []
    groups = report.groups(own)
    # Comparable with the paper first, then the honest run, then the anchors.
    groups.sort(key=lambda group: group[0]["protocol"]["name"] != "paper")
    metrics = report.metrics(paper, own)
    main = next((m for m in metrics if m.startswith("ndcg")), metrics[0])
    head = ["behavior", "run", "epoch of", "seeds", *map(tables.title, metrics), f"{tables.title(main)} to paper"]
    lines = [head, ["---", "---", "---", "---:", *["---:"] * (len(metrics) + 1)]]
    for behavior in report.behaviors(paper, own):
        block = []
        if behavior in paper:
            row = paper[behavior]
            cells = [report.cell(row["metrics"].get(m), row.get("sd", {}).get(m)) for m in metrics]
            block.append([f"published, {row['paper']}", "as published", "", *cells, ""])
        for group in [*groups, *anchors]:
            for selection in report.selections(group):
                values = report.values(group, selection, behavior)
                if not values:
                    continue
                label = f"`--protocol={group[0]['protocol']['name']}`"
                if group[0]["model"] != model or about.of(model).reconstructed:
                    label = tables.model_title(group[0]["model"], label if group[0]["model"] == model else "")
                means = [report.average(values, metric) for metric in metrics]
                reference = paper.get(behavior, {}).get("metrics", {}).get(main)
                ratio = report.deviation(report.average(values, main)[0], reference)
                chosen = report.epoch_of(group, selection)
                block.append([label, chosen, str(len(values)), *(report.cell(*m) for m in means), ratio])
        lines += [["" if number else behavior, *cells] for number, cells in enumerate(block)]
    notes = [_how(group) for group in groups]
    notes += [f"- published: {next(iter(paper.values()))['protocol']}"] if paper else []
    return "\n\n".join(part for part in (tables.join(lines), "\n".join(notes)) if part)


def _overview(here: Sequence[Record], *, with_protocol: bool) -> str:
    behaviors = report.behaviors({}, here)
    metrics = [m for m in report.metrics({}, here) if m.startswith("ndcg")]
    # Of one behavior there is room for the share of users with a hit as well.
    metrics = [m.replace("ndcg", "hr") for m in metrics] + metrics if len(behaviors) == 1 else metrics
    columns = [(behavior, metric) for behavior in behaviors for metric in metrics]
    head = ["model", "variant", *["protocol"][: int(with_protocol)], "epoch of", "epochs", "seeds"]
    aligned = ["---"] * (len(head) - 2) + ["---:"] * (2 + len(columns))
    lines = [head + [f"{behavior} {tables.title(metric)} (paper)" for behavior, metric in columns], aligned]
    for group in report.groups(here):
        record = group[0]
        paper = literature.find_of(record)
        selection = report.selections(group)[0]
        backbone = (record.get("overrides") or {}).get("model.backbone.name")
        cells = [tables.model_title(record["model"], backbone=backbone), report.variant(record)]
        cells += [record["protocol"]["name"]] if with_protocol else []
        cells += [report.epoch_of(group, selection), report.epochs(group), str(len(group))]
        for behavior, metric in columns:
            values = report.values(group, selection, behavior)
            reference = paper.get(behavior, {}).get("metrics", {}).get(metric)
            beside = "" if reference is None else f" ({reference:.4f})"
            cells.append(report.cell(*report.average(values, metric)) + (beside if values else ""))
        lines.append(cells)
    return tables.join(lines)


def _how(group: Sequence[Record]) -> str:
    """One line: command, seeds, epochs, times, memory, machine, versions, date."""
    first, last = group[0], group[-1]
    command = re.sub(r" --seed[= ]\d+", "", first["command"])
    seeds = ", ".join(str(record["seed"]) for record in group)
    parts = [f"- `{command}`, seed{'s' if len(group) > 1 else ''} {seeds}"]
    parts.append(f"{statistics.median(record['epochs'] for record in group):,.0f} epochs")
    for key, text in (("train_epoch", "training epoch"), ("test_pass", "test pass")):
        found = [record["seconds"][key] for record in group if key in record.get("seconds", {})]
        parts += [f"{statistics.median(found):.2f} s a {text}"] if found else []
    memory = [record["peak_memory_mib"] for record in group if record.get("peak_memory_mib")]
    parts += [f"{max(memory):,} MiB at most"] if memory else []
    parts += [first["machine"], f"JAX {first['versions'].get('jax', '?')}", last.get("date", "")]
    return "; ".join(filter(None, parts))
