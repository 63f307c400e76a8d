"""Which runs are one thing under several seeds, what to call it, and which runs must not stand side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mbjax import config, errors
from mbjax.reporting import report, results, shipped, tables
from mbjax.reporting.compare import sources

IDLE = (*results.PRIVATE, "evaluate.batch_size", "evaluate.item_tile", "evaluate.groups")
"""Fields that decide no number."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ by nothing but the seed.

    Attributes:
      label: names it among the groups it is compared with, e.g. ``"bvae wo_tff"``.
      runs: one for each seed, ascending.
      settings: what was set by hand, and other fields by which it differs from a group of the same model.
    """

    label: str
    runs: tuple[sources.Run, ...]
    settings: Mapping[str, Any]

    @property
    def first(self) -> sources.Run:
        """The run of the smallest seed."""
        return self.runs[0]


def check(runs: Sequence[sources.Run], split: str) -> None:
    """Refuses runs on one data set whose numbers say nothing about each other.

    Raises:
      IncompatibleError: another state of the data set, other candidates, or, on validation pairs, other pairs.
    """
    for dataset in dict.fromkeys(run.record["dataset"] for run in runs):
        here = [run for run in runs if run.record["dataset"] == dataset]
        _same(here, lambda run: str(run.record.get("dataset_fingerprint"))[:12], "data", f"'{dataset}' in two states")
        _same(here, _candidates, "candidates", f"'{dataset}' with different items to rank")
        if split == "valid":
            _same(here, _held_out, "validation pairs", f"'{dataset}' with different validation pairs")


def _same(runs: Sequence[sources.Run], key: Callable[[sources.Run], str], what: str, problem: str) -> None:
    found: dict[str, str] = {}
    for run in runs:
        found.setdefault(key(run), run.source)
    if len(found) > 1:
        shown = "; ".join(f"{source}: {what} {value}" for value, source in found.items())
        raise errors.IncompatibleError(f"these runs are on {problem} ({shown}). Compare them apart.")


def _candidates(run: sources.Run) -> str:
    """Which items are ranked at test time, in words."""
    protocol = run.record["protocol"]
    is_inside = protocol["valid"] in ("file_inside_train", "random_one")
    words = [f"mask={protocol['mask']}"]
    # Validation pairs taken from training and masked all the same leave the candidates as they are without any; so do
    # pairs of their own files that are not masked.
    if protocol["valid"] == "into_train":
        words += [] if protocol["mask_valid"] else ["validation pairs in training"]
    elif protocol["valid"] != "none" and bool(protocol["mask_valid"]) != is_inside:
        words.append(f"mask_valid={protocol['mask_valid']} with {_held_out(run)}")
    if protocol["mask"] == "all_behaviors":
        words += [_held_out(run)] if is_inside else []  # other behaviors' validation pairs are never masked
        words.append(f"behaviors={','.join(sorted(run.record.get('behaviors', ())))}")
    return " ".join(words)


def _held_out(run: sources.Run) -> str:
    """The rule that chose the validation pairs, with what it depends on."""
    rule, overrides = run.record["protocol"]["valid"], run.record.get("overrides") or {}
    if rule != "random_one":
        return f"valid={rule}"
    return f"valid={rule} of {run.record.get('behaviors', ['?'])[-1]}, data.seed={overrides.get('data.seed', 0)}"


def group(runs: Iterable[sources.Run]) -> tuple[list[Group], list[str]]:
    """Runs of one data set by settings, in order of first appearance.

    Returns:
      Groups with labels that tell them apart, and notes on repeated runs, of which the first with per-user values
      is taken.
    """
    runs = list(runs)
    found: dict[str, list[sources.Run]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for run, own in zip(runs, _settings(runs), strict=True):
        record = run.record
        identity = [record["model"], record.get("ablation"), own, record["protocol"], run.selection]
        key = json.dumps(identity, sort_keys=True, default=str)
        found.setdefault(key, []).append(run)
        settings[key] = own
    notes, groups = [], []
    for key, members in found.items():
        seeds: dict[int, sources.Run] = {}
        for run in sorted(members, key=lambda run: run.per_user is None):
            kept = seeds.setdefault(run.record["seed"], run)
            if kept is not run:
                notes.append(f"{run.source} is left out: it repeats seed {run.record['seed']} of {kept.source}.")
        groups.append(Group("", tuple(seeds[seed] for seed in sorted(seeds)), settings[key]))
    named = [dataclasses.replace(g, label=label) for g, label in zip(groups, _labels(groups), strict=True)]
    return named, notes


def _settings(runs: Sequence[sources.Run]) -> list[dict[str, Any]]:
    """What was set by hand in each run, and defaults that changed between run folders of the same settings."""

    def mark(run: sources.Run) -> str:
        record = run.record
        return json.dumps([record["model"], record.get("ablation"), _by_hand(run), record["protocol"]], default=str)

    alike: dict[str, list[sources.Run]] = {}
    for run in runs:
        alike.setdefault(mark(run), []).append(run)
    found = []
    for run in runs:
        whole = [other.values for other in alike[mark(run)] if other.values is not None]
        fields = dict.fromkeys(path for values in whole for path in values if not path.startswith(_idle(run)))
        moved = [path for path in fields if any(values.get(path) != whole[0].get(path) for values in whole)]
        found.append(_by_hand(run) | {path: run.values.get(path) for path in moved if run.values is not None})
    return found


def _by_hand(run: sources.Run) -> dict[str, Any]:
    """What was set by hand; of a run folder, which has its whole configuration, nothing that says what holds anyway."""
    record, overrides = run.record, run.record.get("overrides") or {}
    own: Mapping[str, Any] = {}
    if run.values is not None and overrides:
        of = record["model"], record["dataset"], record["protocol"]["name"], record.get("ablation")
        with contextlib.suppress(errors.ConfigError):  # a run of an earlier version may name what is no longer there
            own = shipped.values(*of)
    return {
        path: value
        for path, value in sorted(overrides.items())
        if not path.startswith(_idle(run)) and not (path in own and config.show(own[path]) == config.show(value))
    }


def _idle(run: sources.Run) -> tuple[str, ...]:
    return IDLE if run.is_trained else (*IDLE, "train.")


def _labels(groups: Sequence[Group]) -> list[str]:
    """The shortest names that differ: what all trained groups share is left out, and what decides little."""
    trained = [g for g in groups if g.first.is_trained]
    common = set(shared(groups))
    protocols = {g.first.record["protocol"]["name"] for g in trained}

    def label(g: Group, detail: int) -> str:
        record = g.first.record
        words = [tables.model_title(record["model"], backbone=g.settings.get("model.backbone.name"))]
        words += [record["ablation"]] if record.get("ablation") else []
        for path, value in g.settings.items():
            if detail == 2 or (_text((path, value)) not in common and (detail or path not in report.HARMLESS)):
                words.append(_text((path if detail == 2 else path.rpartition(".")[2], value)))
        name = record["protocol"]["name"]
        # What is not trained has a protocol too: which pairs it counts.
        if detail == 2 or len(protocols) > 1 if g.first.is_trained else protocols and name not in protocols:
            words.append(f"({name})")
        if detail == 2:
            words += [f"valid={record['protocol']['valid']}", f"mask_valid={record['protocol']['mask_valid']}"]
            words.append(g.first.selection)
        return " ".join(words)

    names = [[label(g, detail) for detail in range(3)] for g in groups]
    short, medium, _ = (list(column) for column in zip(*names, strict=True))
    return [s if short.count(s) == 1 else m if medium.count(m) == 1 else full for s, m, full in names]


def shared(groups: Sequence[Group]) -> list[str]:
    """Settings that all trained groups have in common, as ``"train.epochs=60"``; labels leave them out.

    Where nothing is trained, those that all groups have.
    """
    trained = [g for g in groups if g.first.is_trained] or list(groups)
    if not trained:
        return []
    first = [_text(item) for item in trained[0].settings.items()]
    return [text for text in first if all(text in map(_text, g.settings.items()) for g in trained)]


def _text(item: tuple[str, Any]) -> str:
    path, value = item
    return f"{path}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
