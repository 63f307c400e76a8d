"""A model's component study: what each of its named ablations reaches beside the whole model, on every data set."""

from __future__ import annotations

from collections.abc import Sequence

from mbjax import errors
from mbjax.config import files
from mbjax.reporting import report, tables
from mbjax.reporting.report import Record
from mbjax.reporting.summary import TITLES

WHOLE = "(the model)"


def table(model: str, records: Sequence[Record]) -> str:
    """Honest runs with default settings: the model in the first line, then differences of each ablation from it.

    A difference is that of the same seeds, which have their draws in common, so that less of it is chance. Of a data
    set with one ranked behavior, hit rate and NDCG; of one with several, the NDCG of each.

    Raises:
      DataError: there is no run of the model itself.
    """
    names = [None, *files.model_file(model).get("ablations", {})]
    own = [r for r in records if r["model"] == model and r["protocol"]["name"] == "honest" and not r.get("overrides")]
    groups = {(g[0]["dataset"], g[0].get("ablation")): g for g in report.groups(own)}
    columns = [(d, *column) for d in TITLES if (d, None) in groups for column in _columns(groups[d, None])]
    if not columns:
        raise errors.DataError(f"results:parts:{model}: no honest run of '{model}' with default settings.")
    head = ["`--ablation=`", *(f"{TITLES[d]}, {behavior} {tables.title(metric)}" for d, behavior, metric in columns)]
    lines = [head, ["---", *["---:"] * len(columns)]]
    for name in names:
        cells = [WHOLE if name is None else f"`{name}`"]
        for dataset, behavior, metric in columns:
            group, whole = groups.get((dataset, name), []), groups[dataset, None]
            if name is None:
                cells.append(report.cell(_mean(whole, behavior, metric)))
                continue
            seeds = {record["seed"] for record in group} & {record["seed"] for record in whole}
            pair = [_mean([r for r in each if r["seed"] in seeds], behavior, metric) for each in (group, whole)]
            cells.append("" if None in pair else f"{pair[0] - pair[1]:+.4f}")
        if any(cells[1:]):
            lines.append(cells)
    seeds = sorted({f"{TITLES[d]} {len(groups[d, None])}" for d, _, _ in columns})
    return (
        f"{tables.join(lines)}\n\nSeeds of the model: {', '.join(seeds)}; differences are of the seeds of the ablation."
    )


def _columns(group: Sequence[Record]) -> list[tuple[str, str]]:
    behaviors = report.behaviors({}, group)
    metric = next(m for m in report.metrics({}, group) if m.startswith("ndcg"))
    metrics = [metric.replace("ndcg", "hr"), metric] if len(behaviors) == 1 else [metric]
    return [(behavior, metric) for behavior in behaviors for metric in metrics]


def _mean(group: Sequence[Record], behavior: str, metric: str) -> float | None:
    """At the epoch that validation chose, or of what is not trained."""
    return report.average(report.judged(group, behavior), metric)[0]
