"""Result tables in Markdown files, made from results files and set beside the published numbers.

A file says where by markers; what stands between them is replaced::

    <!-- results:bvae-jd -->     BVAE on JD: paper, our runs at each selection, popularity; every behavior
    <!-- /results -->
    <!-- results:jd -->          all models and variants on JD, one line each
    <!-- /results -->

Runs that differ by nothing but the seed are one line: mean and population standard deviation.
"""

from __future__ import annotations

import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mbjax import errors, literature, tables
from mbjax.config import schema

Record = Mapping[str, Any]

MARKER = re.compile(r"(<!-- results:(?P<name>\S+) -->\n)(?P<old>.*?)(<!-- /results -->)", re.DOTALL)
SELECTIONS = {
    "valid": "best epoch on validation",
    "last": "last epoch",
    "best_test": "best epoch on test (oracle)",
    "best_test_late": "best late epoch on test (oracle)",
    "test_per_behavior": "each behavior's best epoch on test (oracle)",
}
ANCHORS = get_args(schema.Anchor)
"""Models without training that stand in every table and comparison."""
HARMLESS = ("train.eval_every", "train.patience", "evaluate.ks", "evaluate.batch_size", "evaluate.item_tile")
"""Overrides with which a run still counts as the model's own configuration."""


def read(folder: str | pathlib.Path) -> list[Record]:
    """All results files in a folder, by name. Raises DataError for a file that is none."""
    return [read_file(path) for path in sorted(pathlib.Path(folder).glob("*.json"))]


def read_file(path: str | pathlib.Path) -> Record:
    """One results file. Raises DataError for a file that is none."""
    try:
        record = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        missing = [key for key in ("model", "dataset", "seed", "protocol", "selection") if key not in record]
    except (OSError, ValueError, TypeError) as error:
        raise errors.DataError(f"{path} is no results file: {error}.") from error
    if missing:
        raise errors.DataError(f"{path} is no results file: '{missing[0]}' is missing.")
    return record


def update(text: str, records: Sequence[Record], *, source: str = "the file") -> str:
    """Replaces what stands between the markers.

    Raises:
      DataError: a marker without its end, or one that asks for what neither a results file nor a paper has.
    """
    if len(MARKER.findall(text)) != text.count("<!-- results:"):
        raise errors.DataError(f"{source}: a '<!-- results:NAME -->' line without a '<!-- /results -->' line after it.")
    return MARKER.sub(lambda match: f"{match[1]}\n{render(match['name'], records, source)}\n\n{match[4]}", text)


def render(name: str, records: Sequence[Record], source: str = "the file") -> str:
    """The Markdown of one marker: ``MODEL-DATASET`` or ``DATASET``."""
    if any(record["dataset"] == name for record in records):
        return _overview(name, records)
    model, _, dataset = name.partition("-")
    own = [r for r in records if (r["model"], r["dataset"]) == (model, dataset) and _is_plain(r)]
    if not own and not literature.find(model, None, dataset):
        known = {f"{r['model']}-{r['dataset']}" for r in records if _is_plain(r)} | {r["dataset"] for r in records}
        raise errors.DataError(
            f"{source}: no results for the marker '{name}'. There are: {', '.join(sorted(known)) or 'none'}."
        )
    return _model_table(model, dataset, own, records)


def _is_plain(record: Record) -> bool:
    # An honest run chooses its epoch among those it had; the table's footer says how many.
    harmless = {*HARMLESS, "train.epochs"} if record["protocol"]["name"] == "honest" else set(HARMLESS)
    return not record.get("ablation") and set(record.get("overrides") or {}) <= harmless


def _groups(records: Sequence[Record]) -> list[list[Record]]:
    """Records that differ by nothing but the seed, in order of first appearance."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        settings = [record["model"], record.get("ablation"), record.get("overrides"), record["protocol"]]
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(record)
    return list(groups.values())


def _model_table(model: str, dataset: str, own: Sequence[Record], records: Sequence[Record]) -> str:
    paper = literature.find(model, None, dataset, cut_offs=set().union(*map(literature.cut_offs_of, own)))
    anchors = [
        group
        for name in ANCHORS
        if name != model
        for group in _groups([r for r in records if (r["model"], r["dataset"]) == (name, dataset) and _is_plain(r)])[:1]
    ]
    groups = _groups(own)
    # Comparable with the paper first, then the honest run, then the anchors.
    groups.sort(key=lambda group: group[0]["protocol"]["name"] != "paper")
    metrics = _metrics(paper, own)
    main = next((m for m in metrics if m.startswith("ndcg")), metrics[0])
    head = ["behavior", "run", "epoch of", "seeds", *map(tables.title, metrics), f"{tables.title(main)} to paper"]
    lines = [head, ["---", "---", "---", "---:", *["---:"] * (len(metrics) + 1)]]
    for behavior in _behaviors(paper, own):
        block = []
        if behavior in paper:
            row = paper[behavior]
            cells = [cell(row["metrics"].get(m), row.get("sd", {}).get(m)) for m in metrics]
            block.append([f"published, {row['paper']}", "as published", "", *cells, ""])
        for group in [*groups, *anchors]:
            for selection in _selections(group):
                values = [_of(record, selection, behavior) for record in group]
                values = [value for value in values if value]
                if not values:
                    continue
                label = f"`--protocol={group[0]['protocol']['name']}`"
                if group[0]["model"] != model or model in tables.RECONSTRUCTED:
                    label = tables.model_title(group[0]["model"], label if group[0]["model"] == model else "")
                means = [average(values, metric) for metric in metrics]
                reference = paper.get(behavior, {}).get("metrics", {}).get(main)
                ratio = _ratio(average(values, main)[0], reference)
                block.append([label, _epoch_of(group, selection), str(len(values)), *(cell(*m) for m in means), ratio])
        lines += [["" if number else behavior, *cells] for number, cells in enumerate(block)]
    notes = [_how(group) for group in groups]
    notes += [f"- published: {next(iter(paper.values()))['protocol']}"] if paper else []
    return "\n\n".join(part for part in (tables.join(lines), "\n".join(notes)) if part)


def _overview(dataset: str, records: Sequence[Record]) -> str:
    here = [record for record in records if record["dataset"] == dataset]
    behaviors = _behaviors({}, here)
    metric = next(m for m in _metrics({}, here) if m.startswith("ndcg"))
    head = ["model", "variant", "protocol", "epoch of", "epochs", "seeds"]
    head += [f"{behavior} {tables.title(metric)} (paper)" for behavior in behaviors]
    lines = [head, ["---", "---", "---", "---", "---:", "---:", *["---:"] * len(behaviors)]]
    for group in _groups(here):
        record = group[0]
        paper = literature.find_of(record)
        selection = "test_per_behavior" if "test_per_behavior" in record["selection"] else _selections(group)[0]
        epochs = sorted({r["epochs"] for r in group})
        cells = [
            tables.model_title(record["model"], backbone=(record.get("overrides") or {}).get("model.backbone.name")),
            _variant(record),
            record["protocol"]["name"],
            _epoch_of(group, selection),
        ]
        cells += ["-".join(f"{n:,}" for n in dict.fromkeys((epochs[0], epochs[-1]))), str(len(group))]
        for behavior in behaviors:
            values = [value for r in group if (value := _of(r, selection, behavior))]
            reference = paper.get(behavior, {}).get("metrics", {}).get(metric)
            beside = "" if reference is None else f" ({reference:.4f})"
            cells.append(cell(*average(values, metric)) + (beside if values else ""))
        lines.append(cells)
    return tables.join(lines)


def _epoch_of(group: Sequence[Record], selection: str) -> str:
    return SELECTIONS[selection] if any(record["epochs"] for record in group) else "no training"


def _variant(record: Record) -> str:
    parts = [record["ablation"]] if record.get("ablation") else []
    return ", ".join(parts + [f"{key}={value}" for key, value in (record.get("overrides") or {}).items()])


def _of(record: Record, selection: str, behavior: str) -> Mapping[str, Any] | None:
    return record["selection"].get(selection, {}).get(behavior)


def _selections(group: Sequence[Record]) -> list[str]:
    order = ["test_per_behavior", "best_test", "best_test_late", "valid", "last"]
    return [name for name in order if any(name in record["selection"] for record in group)]


def _behaviors(paper: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """The target first, then the others in funnel order."""
    funnel = list(dict.fromkeys(name for record in records for name in record.get("behaviors", ())))
    names = {name for record in records for table in record["selection"].values() for name in table}
    ordered = dict.fromkeys([*funnel[-1:], *funnel[:-1], *paper, *sorted(names)])
    return [name for name in ordered if name in names or name in paper]


def _metrics(paper: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    if paper:
        return list(next(iter(paper.values()))["metrics"])
    each = {str(n): table for n, record in enumerate(records) for table in record["selection"].values()}
    smallest = tables.cut_offs(each)[:1]
    return [f"{kind}@{k}" for k in smallest for kind in ("prec", "rec", "ndcg", "hr")]


def average(values: Sequence[Mapping[str, Any]], metric: str) -> tuple[float | None, float | None]:
    """Mean and population standard deviation of a metric over runs; None for what there is not."""
    numbers = [value[metric] for value in values if value.get(metric) is not None]
    if not numbers:
        return None, None
    return statistics.fmean(numbers), statistics.pstdev(numbers) if len(numbers) > 1 else None


def cell(mean: float | None, deviation: float | None = None) -> str:
    """A number of a table, ``"0.0743 ± 0.0002"``, or a dash."""
    if mean is None:
        return "-"
    return f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _ratio(ours: float | None, reference: float | None) -> str:
    return "" if ours is None or not reference else f"{100 * (ours / reference - 1):+.1f} %"


def _how(group: Sequence[Record]) -> str:
    """One line: command, seeds, epochs, times, memory, machine, versions, date."""
    first, last = group[0], group[-1]
    command = re.sub(r" --seed[= ]\d+", "", first["command"])
    seeds = ", ".join(str(record["seed"]) for record in group)
    parts = [f"- `{command}`, seed{'s' if len(group) > 1 else ''} {seeds}"]
    parts.append(f"{_median(group, 'epochs'):,.0f} epochs")
    for key, text in (("train_epoch", "training epoch"), ("test_pass", "test pass")):
        found = [record["seconds"][key] for record in group if key in record.get("seconds", {})]
        parts += [f"{statistics.median(found):.2f} s a {text}"] if found else []
    memory = [record["peak_memory_mib"] for record in group if record.get("peak_memory_mib")]
    parts += [f"{max(memory):,} MiB at most"] if memory else []
    parts += [first["machine"], f"JAX {first['versions'].get('jax', '?')}", last.get("date", "")]
    return "; ".join(filter(None, parts))


def _median(group: Sequence[Record], key: str) -> float:
    return statistics.median(record[key] for record in group)
