"""Funnel's parts: several ablations and seeds trained on one preparation, with a results file for each run.

    python benchmarks/funnel_parts.py taobao [--seeds=0,1,2] [--parts=full,linear] [--protocol=honest] [--out=results]

No times: what is prepared for a seed is made once, with all families of numbers, and each run takes the columns that it
sees. The numbers are those of ``mbjax train --model=funnel --ablation=PART``, which makes everything anew.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
from typing import Any

import jax.numpy as jnp
import numpy as np

from mbjax import config, data, models
from mbjax.config import files
from mbjax.experiment import training
from mbjax.features import extent, prepared, table, teaching, whole

FULL = "full"  # without an ablation
APART = ("wo_cross_fitting", "user_alone", "wo_added_users", "unsmoothed")
"""Parts whose lessons or statistics are others than the model's."""


class Shared:
    """Stands in for ``prepared.prepare`` and makes the same for runs that differ in columns, sources and networks."""

    def __init__(self) -> None:
        self.prepare, self.kept = prepared.prepare, {}

    def __call__(self, settings: Any, info: Any, evidence: Any) -> prepared.Prepared:
        """What a run of these settings would have made."""
        rest = (settings.penalty, settings.new_items, settings.folds, settings.taught_folds, settings.max_lists)
        rest += (settings.added_users,)
        lessons = (settings.cross_fitting, settings.left_out, evidence.seed) if evidence.teach else None
        usual = evidence.seed if evidence.joined else None  # who says what is usual is drawn
        key = (evidence.teach, lessons, rest, evidence.events is None, usual)
        if key not in self.kept:
            for old in [k for k in self.kept if k[0] == evidence.teach]:
                del self.kept[old]
            everything = settings.model_copy(update={"features": table.FAMILIES, "sources": ("folds", "valid")})
            self.kept[key] = self.prepare(everything, info, evidence)
        return self._taken(settings, info, evidence, self.kept[key])

    def _taken(self, settings: Any, info: Any, evidence: Any, made: prepared.Prepared) -> prepared.Prepared:
        device, taught, timed = {}, {}, evidence.events is not None
        for behavior in info.behaviors:
            device[behavior] = dict(made.device[behavior])
            for part in made.lists[behavior]:
                names = table.names(info.behaviors, behavior, familiar=part == "familiar", timed=timed)
                seen = set(whole.shown(settings.features, names))
                columns = np.flatnonzero([name in seen for name in names])
                of = device[behavior][part] = dict(device[behavior][part])
                if columns.size < len(names):
                    of["x"] = jnp.asarray(np.asarray(of["x"])[:, columns])
                    of["scale"] = {name: value[columns] for name, value in of["scale"].items()}
                if made.lessons and (behavior, part) in made.lessons.lists:
                    given = made.lessons.lists[behavior, part]
                    taught[behavior, part] = [one._replace(x=one.x[:, columns]) for one in given]
        lessons = made.lessons
        if lessons is not None:
            has_folds = "folds" in settings.sources
            lessons = teaching.Lessons(taught, lessons.counts) if has_folds else teaching.Lessons({}, {})
        return made._replace(device=device, lessons=lessons)


def main(arguments: list[str] | None = None) -> int:
    """Runs all parts of all seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--parts", default=None, help="comma-separated; 'full' is the model itself. Default: all")
    parser.add_argument("--protocol", default="honest")
    parser.add_argument("--out", default="results", help="folder of the results files")
    parser.add_argument("--runs", default=None, help="folder that keeps the run folders; default: none is kept")
    options = parser.parse_args(arguments)
    entry = models.entry("funnel")
    names = [FULL, *files.model_file("funnel")["ablations"]] if options.parts is None else options.parts.split(",")
    out = pathlib.Path(options.out)
    prepared.prepare, dataset = Shared(), None
    # What shares its lessons with its neighbors is made once.
    names.sort(key=lambda name: name in APART and APART.index(name) + 1)
    for seed in map(int, options.seeds.split(",")):
        for name in names:
            ablation = None if name == FULL else name
            settings = config.load(
                "funnel", options.dataset, entry.config, protocol=options.protocol, ablation=ablation, seed=seed
            )
            if dataset is None:
                dataset = data.load(settings.dataset, settings.data)
            if name == "wo_time" and not extent.is_timed(settings.model, dataset.info):
                print(f"{name}: left out, since times of {options.dataset} are not looked at")
                continue
            label = "-".join(["funnel", pathlib.Path(options.dataset).name, *_words(options, ablation), f"seed{seed}"])
            with tempfile.TemporaryDirectory() as folder:
                workdir = pathlib.Path(options.runs or folder, label)
                training.train(settings, workdir, record=out / f"{label}.json", dataset=dataset)
    return 0


def _words(options: argparse.Namespace, ablation: str | None) -> list[str]:
    return [*([] if options.protocol == "honest" else [options.protocol]), *([] if ablation is None else [ablation])]


if __name__ == "__main__":
    sys.exit(main())
