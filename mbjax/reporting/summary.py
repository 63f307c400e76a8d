"""Two tables over all data sets: every model by its honest run beside the anchors, and our runs beside the papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mbjax import kinds
from mbjax.config import about, files
from mbjax.reporting import literature, report, tables
from mbjax.reporting.report import Record

TITLES = {"taobao": "Taobao", "jd": "JD", "retail_rocket": "Retail Rocket"}
"""Data sets of the tables, in their order."""
METRIC = "hr@10"
LEARNS = ("untrained", "closed_form", "alternating", "target", "all")
"""What models learn from (``config.about``), in the order of the tables."""
NEAR = 0.05
"""A run whose metric differs from the paper's by no more than this share has reached it."""

Found = Mapping[tuple[str, str], Sequence[Record]]


class Column(NamedTuple):
    """Of the summary: all held-out pairs of a data set, or a part of them (None: all)."""

    dataset: str
    part: str | None
    title: str


def front(records: Sequence[Record]) -> str:
    """``honest`` without the models that the front page has no room for; their numbers count, where the best is marked.

    Which these are their files say (``config.about``).
    """
    return honest(records, without=[name for name in files.model_names() if not about.of(name).front])


def honest(records: Sequence[Record], *, without: Sequence[str] = ()) -> str:
    """How many users of 100 have a hit among the first ten, of every model that has an honest run.

    The model is as it ships, or an ablation that its file has shown; epochs, learning rate and the like may have been
    chosen by hand. Of several such runs the longest counts. Visited and unvisited pairs stand beside where a data set
    has both.
    """
    found = {
        place[:2]: group for place, group in _own(records, "honest").items() if place[1] in TITLES and not place[2]
    }
    columns = [column for dataset in TITLES for column in _columns(dataset, found)]
    models = _models(found)
    numbers = {model: [_percentage(found.get((model, c.dataset)), c.part) for c in columns] for model in models}
    best = [max((n for n in column if n is not None), default=None) for column in zip(*numbers.values(), strict=True)]
    lines = [["ranked by", "learns from", *(column.title for column in columns), "epochs"]]
    lines.append(["---", "---", *["---:"] * (len(columns) + 1)])
    for model in models:
        if model in without:
            continue
        cells = []
        for column, number, highest in zip(columns, numbers[model], best, strict=True):
            text = "" if number is None else f"{number:.1f}"
            text = f"**{text}**" if text and number == highest else text
            is_marked = text and column.dataset in about.of(model).chosen_on_test
            cells.append(text + "\\*" if is_marked else text)
        lines.append([name_of(model), _learns_from(model, found), *cells, _epochs(model, found)])
    notes = [
        f"\\* The {what} of `{model}` for {TITLES[dataset]} was chosen on the test split."
        for model in models
        for dataset, what in about.of(model).chosen_on_test.items()
        if (model, dataset) in found
    ]
    left_out = sorted(set(models) & set(without))
    if left_out:
        notes.append(f"Not shown: {', '.join(f'`{model}`' for model in left_out)}.")
    return "\n\n".join([tables.join(lines), *([" ".join(notes)] if notes else [])])


class Shares(NamedTuple):
    """How many users of 100 have a hit, over all held-out pairs of the target and over the parts of them."""

    model: str
    is_trained: bool
    all: float | None
    visited: float | None
    unvisited: float | None


def shares(records: Sequence[Record], dataset: str) -> list[Shares]:
    """The numbers of ``honest`` for one data set, a line for each model that has them, in the order of the table."""
    found = {place: group for place, group in _honest(records).items() if place[1] == dataset}
    parts = (None, *kinds.IN_ONE_LIST)
    return [
        Shares(model, _is_trained(model, found), *(_percentage(found[model, dataset], part) for part in parts))
        for model in _models(found)
    ]


def papers(records: Sequence[Record]) -> str:
    """Our runs of the models as they ship under their papers' rules, beside what the papers print."""
    head = ["data set", "model", "metric", "published", "ours", "to paper", "epochs", "seeds", "epoch of"]
    lines = [head, ["---", "---", "---", "---:", "---:", "---:", "---:", "---:", "---"]]
    for row in _beside_papers(records):
        cells = [TITLES.get(row.dataset, row.dataset), row.name, f"{row.behavior} {tables.title(row.metric)}"]
        cells += [report.cell(row.published), report.cell(row.mean, row.deviation)]
        cells += [report.deviation(row.mean, row.published), report.epochs(row.group), str(len(row.group))]
        lines.append([*cells, report.epoch_of(row.group, row.selection)])
    return tables.join(lines)


def reached(records: Sequence[Record]) -> str:
    """One paragraph: which models come near to their papers' numbers in every behavior, and which do not."""
    worst: dict[tuple[str, str], BesidePaper] = {}
    for row in _beside_papers(records):
        place = row.name, row.dataset
        if place not in worst or abs(row.ratio) > abs(worst[place].ratio):
            worst[place] = row
    near = [row for row in worst.values() if abs(row.ratio) <= NEAR]
    far = sorted((row for row in worst.values() if abs(row.ratio) > NEAR), key=lambda row: -row.ratio)
    words = [f"{row.name} on {TITLES.get(row.dataset, row.dataset)}" for row in near]
    text = f"Within {100 * NEAR:.0f} % of the published NDCG: {', '.join(words) or 'none'}."
    words = [
        f"{row.name} ({report.deviation(row.mean, row.published)}, {report.epochs(row.group)} epochs)" for row in far
    ]
    return text + (f" Further off: {', '.join(words)}." if far else "")


class BesidePaper(NamedTuple):
    """A behavior of a run under its paper's rules and what the paper has of it."""

    dataset: str
    name: str
    behavior: str
    metric: str
    published: float
    mean: float
    deviation: float | None
    selection: str
    group: Sequence[Record]

    @property
    def ratio(self) -> float:
        """How far ours is from the paper's, as a share of the paper's."""
        return self.mean / self.published - 1


def _beside_papers(records: Sequence[Record]) -> list[BesidePaper]:
    rows = []
    found = _own(records, "paper")
    for model, dataset, start in sorted(found, key=lambda place: (place[1], place[0], place[2])):
        group = found[model, dataset, start]
        published = literature.find_of(group[0])
        names = report.selections(group)
        selection = "best_test_late" if "best_test_late" in names else names[0]
        for behavior in report.behaviors({}, group):
            values = report.values(group, selection, behavior)
            row = published.get(behavior, {}).get("metrics", {})
            metric = next((name for name in row if name.startswith("ndcg")), None)
            if values and metric is not None:
                name = name_of(model) + (" after pre-training" if start else "")
                numbers = row[metric], *report.average(values, metric)
                rows.append(BesidePaper(dataset, name, behavior, metric, *numbers, selection, group))
    return rows


def _own(records: Sequence[Record], protocol: str) -> dict[tuple[str, str, str], list[Record]]:
    """(model, data set, run that it starts from) -> its longest runs of a protocol, as ``honest`` takes them."""
    found: dict[tuple[str, str, str], list[Record]] = {}
    for group in report.groups([record for record in records if record["protocol"]["name"] == protocol]):
        record = group[0]
        by_hand = record.get("overrides") or {}
        name = known_as(record)
        if name is None or not all(p.startswith("train.") for p in set(by_hand) - set(report.HARMLESS)):
            continue
        place = name, record["dataset"], by_hand.get("train.init_from", "")
        if place not in found or _length(group) > _length(found[place]):
            found[place] = group
    return found


def _honest(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """(model, data set) -> its honest runs that start from nothing."""
    return {p[:2]: group for p, group in _own(records, "honest").items() if p[1] in TITLES and not p[2]}


def _models(found: Found) -> list[str]:
    """Anchors first, then by what they learn from; by name among those."""

    def place(name: str) -> tuple[int, int, str]:
        model = name.partition(", ")[0]
        kind = LEARNS.index(about.of(model).learns)
        return (0, report.ANCHORS.index(model), name) if model in report.ANCHORS else (1, kind, name)

    return sorted({model for model, _ in found}, key=place)


def _length(group: Sequence[Record]) -> int:
    return max(record["epochs"] for record in group)


def _values(group: Sequence[Record]) -> list[Mapping]:
    """The metrics of the target, as ``report.judged``."""
    return report.judged(group, report.behaviors({}, group)[0])


def _percentage(group: Sequence[Record] | None, part: str | None) -> float | None:
    """One decimal is what the table shows, so what is equal in it is equal."""
    rows = [row if part is None else row.get(part) or {} for row in _values(group)] if group else []
    mean, _ = report.average(rows, METRIC)
    return None if mean is None else round(100 * mean, 1)


def _columns(dataset: str, found: Found) -> list[Column]:
    rows = [row for (_, name), group in found.items() if name == dataset for row in _values(group)]
    pairs = next(({p: row[p]["pairs"] for p in kinds.IN_ONE_LIST} for row in rows if "visited" in row), {})
    if not rows:
        return []
    if not pairs or not all(pairs.values()):
        return [Column(dataset, None, TITLES[dataset])]
    shares = {part: f"{100 * number / sum(pairs.values()):.0f} %" for part, number in pairs.items()}
    return [
        Column(dataset, None, TITLES[dataset]),
        *(Column(dataset, part, f"{part} ({share})") for part, share in shares.items()),
    ]


def known_as(record: Record) -> str | None:
    """The name of a run in tables of all models; None where it has a part taken away, or another reading."""
    model, ablation = record["model"], record.get("ablation")
    if not ablation:
        return model
    return f"{model}, {ablation}" if ablation in about.of(model).shown else None


def name_of(model: str) -> str:
    """A model, or one of its readings after a comma, as tables write it."""
    name, comma, variant = model.partition(", ")
    return tables.model_title(f"`{name}`", "reconstructed" if about.of(name).reconstructed else "") + comma + variant


def _is_trained(model: str, found: Found) -> bool:
    return any(_length(group) for (name, _), group in found.items() if name == model)


def _learns_from(model: str, found: Found) -> str:
    learns = about.of(model.partition(", ")[0]).learns
    if learns in ("closed_form", "alternating"):
        return {"closed_form": "all, in closed form", "alternating": "all, side by side"}[learns]
    if not _is_trained(model, found):
        return "not trained"
    return "purchases" if learns == "target" else "all"


def _epochs(model: str, found: Found) -> str:
    """Of the data sets in turn."""
    if not _is_trained(model, found):
        return ""
    groups = [found.get((model, dataset)) for dataset in TITLES]
    return " / ".join(report.epochs(group) if group else "-" for group in groups)
