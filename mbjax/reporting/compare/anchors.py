"""The anchors that stand in every comparison, whether they were named or not: popularity and own_items.

A number says little alone, so nothing is compared without them. They are looked for beside the results files that were
named, and computed, which takes seconds, where a run folder tells the data.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence

from mbjax import config, errors, program
from mbjax.reporting import report
from mbjax.reporting.compare import groups, sources
from mbjax.train import run_folder


def missing(
    runs: Sequence[sources.Run],
    *,
    split: str = "test",
    ks: Iterable[int] = (),
    tests: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[sources.Run], list[str]]:
    """The anchors that a data set of the comparison lacks.

    Args:
      runs: what was named.
      split, ks, tests, say: as for ``sources.read``.

    Returns:
      Their runs, and a sentence for each data set that stays without one.
    """
    found, notes = [], []
    for dataset in dict.fromkeys(run.record["dataset"] for run in runs):
        here = [run for run in runs if run.record["dataset"] == dataset]
        absent = [name for name in report.ANCHORS if not any(_is_plain(run.record, name) for run in here)]
        if all(len(run.record.get("behaviors", ())) == 1 for run in here):
            absent = [name for name in absent if name != "own_items"]  # it would be popularity once more
        for name in absent:
            recorded = functools.partial(_recorded, name, here, tests)
            computed = functools.partial(_computed, name, here, split, ks, tests, say)
            # Per-user values come from an evaluation only; means may as well be read.
            first, second = (computed, recorded) if tests else (recorded, computed)
            made = first() or second()
            if made is None:
                notes.append(
                    f"{name} is not shown: no results file of it lies beside those of {dataset}. This makes one: "
                    f"{program.command('train')} --model={name} --dataset={dataset} --record"
                )
            else:
                found.append(made)
    return found, notes


def _is_plain(record: report.Record, name: str) -> bool:
    by_hand = [path for path in record.get("overrides") or {} if path.startswith("model.")]
    return record["model"] == name and not record.get("ablation") and not by_hand


def _recorded(name, here, tests) -> sources.Run | None:
    """From a results file in the folder of one that was named: same data, same candidates."""
    for run in here:
        if not run.source.endswith(".json"):
            continue
        files = sorted(pathlib.Path(run.source).parent.glob(f"{name}-*.json"))
        beside = [sources.Run(str(path), report.read_file(path), "last", {}) for path in files]
        fits = [other for other in beside if _is_plain(other.record, name) and _compares(other, run)]
        # Among several, the one whose training pairs are the same too.
        fits.sort(key=lambda other: other.record["protocol"] != run.record["protocol"])
        if fits:
            reason = sources.NO_USERS if tests else "--no-tests"
            return dataclasses.replace(fits[0], table=fits[0].record["selection"]["last"], untested=reason)
    return None


def _compares(one: sources.Run, other: sources.Run) -> bool:
    if one.record["dataset"] != other.record["dataset"]:
        return False
    try:
        groups.check([one, other], "test")
    except errors.IncompatibleError:
        return False
    return "last" in one.record["selection"]


def _computed(name, here, split, ks, tests, say) -> sources.Run | None:
    """Evaluated on the data set of a run folder, with its candidates."""
    run = next((run for run in here if run.config is not None), None)
    if run is None:
        return None
    from mbjax import models  # late, as in sources
    from mbjax.experiment import wiring

    given = {path: value for path, value in run.record["overrides"].items() if path.startswith(("data.", "evaluate."))}
    by_name = not pathlib.Path(run.config.dataset).is_absolute()
    where = {"data.dirs": run.config.data.dirs} if by_name and run.config.data.dirs else {}
    section, protocol = models.entry(name).config, run.config.protocol
    settings = config.load(name, run.config.dataset, section, protocol=protocol, overrides=where)
    sections = {"data": run.config.data, "evaluate": run.config.evaluate}
    experiment = wiring.build(settings.model_copy(update=sections))
    run_folder.RunFolder(run.source).check_same(experiment.dataset)
    say(f"evaluating {name} on the {split} split of {run.record['dataset']}")
    table, frame = sources.measure(experiment, experiment.start().params, split, ks)
    shared = ("dataset", "protocol", "behaviors", "dataset_fingerprint")
    record = {"model": name, "ablation": None, "overrides": given, "seed": 0, "epochs": 0, "selection": {}}
    record |= {key: run.record[key] for key in shared}
    source = f"{name} on the data of {run.source}"
    return sources.Run(source, record, "last", table, frame if tests else None, "" if tests else "--no-tests")
