"""What was named on the command line, read: run folders, results files, and per-user values that belong to them.

A run folder is evaluated again from its checkpoint, which gives the values of every user. A results file holds means
only, unless a Parquet file that ``eval.py --per-user`` wrote for the same run follows it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from mbjax import config, errors, program, seeds
from mbjax.reporting import report, results, selections, tables
from mbjax.train import logging, run_folder

if TYPE_CHECKING:
    from mbjax import types
    from mbjax.experiment import wiring

CHECKPOINTS = {"valid": "best", "last": "last"}
"""Selections that a run folder keeps -> checkpoint."""
NO_USERS = "a results file without a Parquet file of per-user values after it"
"""Why the run of a results file is in no test."""
TOLERANCE = 10.0**-results.DIGITS
"""Means of per-user values may differ by this much from those in a results file, which are rounded."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run at one selected epoch.

    Attributes:
      source: folder or file, as it was named.
      record: as in a results file; of a run folder too, where ``selection`` may be empty.
      selection: a key of ``report.SELECTIONS``.
      table: behavior -> metrics; those of the split that was asked for.
      per_user: rows of ``evaluate.Result.per_user``, or None.
      untested: why there are no per-user values, as a phrase; empty if there are.
      values: the whole configuration, dotted path -> value; None for a results file, which does not hold it.
      config: of a run folder.
    """

    source: str
    record: report.Record
    selection: str
    table: Mapping[str, Mapping[str, Any]]
    per_user: pl.DataFrame | None = None
    untested: str = ""
    values: Mapping[str, Any] | None = None
    config: config.Config | None = None

    @property
    def is_trained(self) -> bool:
        """False for anchors, which have no epochs to select from."""
        return bool(self.record.get("epochs"))


@dataclasses.dataclass
class _Found:
    """A run before its epoch is selected."""

    path: pathlib.Path
    record: report.Record
    config: config.Config | None = None
    per_user: pathlib.Path | None = None
    kept: tuple[str, ...] = ()  # selections with a checkpoint
    is_empty: bool = False  # a training that ended before its first checkpoint


def read(
    words: Sequence[str],
    *,
    split: str = "test",
    selection: str | None = None,
    ks: Iterable[int] = (),
    behaviors: Sequence[str] = (),
    tests: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[Run], list[str]]:
    """Reads runs.

    Args:
      words: run folders, results files, folders of either, and Parquet files, each after the run it belongs to.
      split: ``"test"`` or ``"valid"``.
      selection: the epoch to show; None takes ``valid``, or ``last`` of a run without it. Anchors have only ``last``.
      ks: cut-offs to evaluate run folders at beside their own.
      behaviors: those that any run has to have.
      tests: False: nothing is evaluated unless it must be, and no run has per-user values.
      say: is told about each evaluation before it begins.

    Returns:
      The runs in the order given, and what a reader should know, one sentence each.

    Raises:
      ConfigError: a word that is no run, a behavior that no run has, or no run is left. DataError: a damaged file, or
      per-user values of another run. CheckpointError: as ``experiment.restore``.
    """
    if selection is not None and selection not in report.SELECTIONS:
        raise errors.unknown("selection", selection, report.SELECTIONS)
    runs, notes, every = [], [], _find(words)
    known = dict.fromkeys(name for found in every for name in (*found.record.get("behaviors", ()), *_tabled(found)))
    for behavior in behaviors:  # before anything is evaluated
        if behavior not in known:
            raise errors.unknown("behavior", behavior, known)
    for found in every:
        if found.is_empty and found.path not in map(pathlib.Path, words):  # of a folder, as of a sweep one that failed
            notes.append(f"{found.path} has neither checkpoint nor results and is left out.")
            continue
        chosen = _choose(found, selection)
        if chosen is None:
            notes.append(f"{found.path} has no selection '{selection}' and is left out.")
        elif split == "valid" and found.config is None:
            notes.append(f"{found.path} is left out: a results file holds numbers of the test split only.")
        elif split == "valid" and found.config and chosen not in CHECKPOINTS:
            raise errors.ConfigError(f"--selection={chosen} has no checkpoint that --split=valid could be measured on.")
        else:
            runs.append(_run(found, chosen, split, tuple(ks), tests, say))
    if not runs:
        raise errors.ConfigError(" ".join(["no run is left to compare.", *notes]))
    return runs, notes


def _tabled(found: _Found) -> list[str]:
    return [name for table in found.record["selection"].values() for name in table]


def _find(words: Sequence[str]) -> list[_Found]:
    """The runs behind the words of the command line; folders of runs and of results files are opened."""
    found: list[_Found] = []
    for before, word in zip(["", *words], words, strict=False):
        path = pathlib.Path(word)
        if path.suffix == ".parquet":
            if not found or pathlib.Path(before) != found[-1].path:
                raise errors.ConfigError(f"{word}: per-user values stand right after the run that they belong to.")
            found[-1].per_user = path
        elif path.suffix == ".json":
            found.append(_Found(path, report.read_file(path)))
        elif run_folder.RunFolder(path).has_run():
            found.append(_folder(path))
        else:
            some = _inside(path)
            if not some:
                raise errors.ConfigError(
                    f"{word}: no run. Give run folders, results files (.json), or folders of them."
                )
            found += some
    return found


def _inside(path: pathlib.Path) -> list[_Found]:
    """The runs and results files of a folder of them, of a folder of seeds, or of a sweep."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    if any(below.name == seeds.FILE for below in inside):
        inside = [seeds.member(path, seed) for seed in seeds.read(path)]
    elif (path / "runs").is_dir():  # a sweep
        return _inside(path / "runs")
    found = []
    for below in inside:
        if run_folder.RunFolder(below).has_run():
            found.append(_folder(below))
        elif below.suffix == ".json":
            found.append(_Found(below, report.read_file(below)))
        elif (below / seeds.FILE).is_file():
            found += _inside(below)
    return found


def _folder(path: pathlib.Path) -> _Found:
    from mbjax import models  # late: results files need none

    folder = run_folder.RunFolder(path)
    text, data = folder.config_text(), folder.dataset()
    settings = config.parse(text, models.entry(config.peek(text)).config, str(folder.config_file))
    file = folder.results_file
    finished = report.read_file(file) if file.is_file() else {}
    rows = logging.read_rows(folder.metrics_file) if folder.metrics_file.is_file() else []
    overrides = {key: value for key, value in config.portable(settings).items() if key not in results.PRIVATE}
    record = {
        "model": settings.model_name,
        "dataset": data["name"],
        "ablation": settings.ablation,
        "overrides": json.loads(json.dumps(overrides)),  # lists, as a results file has them
        "seed": settings.seed,
        "protocol": {
            "name": settings.protocol,
            "valid": data["valid_rule"],
            "mask": settings.evaluate.mask,
            "mask_valid": data["mask_valid"],
        },
        "behaviors": data["behaviors"],
        "dataset_fingerprint": data["fingerprint"],
        "epochs": len(rows),
        "selection": finished.get("selection", {}),
    }
    kept = tuple(name for name, place in CHECKPOINTS.items() if run_folder.checkpoint_steps(path / place))
    is_trained = models.entry(settings.model_name).chosen == "epoch"
    is_empty = is_trained and not kept and not record["selection"]
    return _Found(path, record, settings, kept=kept if rows or is_empty else ("last",), is_empty=is_empty)


def _choose(found: _Found, selection: str | None) -> str | None:
    """The selection to show; None if the run does not have it."""
    have = {*found.kept, *found.record["selection"]}
    if not found.record.get("epochs") and not found.is_empty:
        return "last"
    if selection is not None:
        return selection if selection in have else None
    for name in CHECKPOINTS:
        if name in have:
            return name
    if have:
        raise errors.DataError(
            f"{found.path} has results of epochs chosen on the test split alone: --selection={sorted(have)[0]} shows "
            "them."
        )
    raise errors.DataError(f"{found.path} has neither checkpoint nor results; was the run stopped before its first?")


def _run(found: _Found, selection: str, split: str, ks: tuple[int, ...], tests: bool, say) -> Run:
    table, frame, untested = found.record["selection"].get(selection), None, "" if tests else "--no-tests"
    can_restore = found.config is not None and selection in CHECKPOINTS
    if found.per_user is not None:
        if split != "test" or not table:
            raise errors.ConfigError(
                f"{found.per_user}: {found.path} has no {split} results at selection '{selection}' to check it by; "
                "leave it out."
            )
        frame = _per_user(found.per_user, found.path, table)
    elif can_restore and (tests or split == "valid" or not table or set(ks) - set(tables.cut_offs({"": table}))):
        say(f"evaluating {found.path} ({CHECKPOINTS[selection]}) on the {split} split")
        table, frame = _evaluate(found, selection, split, ks)
    elif tests:
        untested = f"no checkpoint is kept of '{selection}'"
        if found.config is None:
            untested = NO_USERS
    return Run(
        source=str(found.path),
        record=found.record,
        selection=selection,
        table=table or {},
        per_user=frame if tests else None,
        untested=untested,
        values=None if found.config is None else found.config.values(),
        config=found.config,
    )


def _evaluate(found: _Found, selection: str, split: str, ks: tuple[int, ...]):
    from mbjax import experiment  # late, likewise

    which = CHECKPOINTS[selection] if found.record.get("epochs") else None  # an anchor has none
    made, params, _ = experiment.restore(found.path, found.config, which=which)
    return measure(made, params, split, ks)


def measure(
    made: wiring.Experiment, params: types.Params, split: str, ks: Iterable[int]
) -> tuple[selections.Table, pl.DataFrame]:
    """The table of an experiment and its per-user values, at its own cut-offs and at ``ks``."""
    evaluator = made.evaluator(split, ks=tuple(dict.fromkeys([*made.config.evaluate.ks, *ks])))
    result = evaluator(made.model, params, made.graphs_for(split, evaluator.users), per_user=True)
    return result.table, result.per_user


def _per_user(file: pathlib.Path, run: pathlib.Path, table: selections.Table) -> pl.DataFrame:
    """Per-user values from a file, if their means are those of the run."""
    try:
        frame = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise errors.DataError(f"{file} cannot be read: {error}.") from error
    for column in ("behavior", "raw_user"):
        if column not in frame.columns:
            raise errors.DataError(
                f"{file}: no column '{column}'; is this a file of {program.command('eval')} --per-user?"
            )
    shared = 0
    for (behavior,), rows in frame.group_by("behavior"):
        row = table.get(behavior, {})
        for metric in [name for name in rows.columns if row.get(name) is not None and "@" in name]:
            shared += 1
            mean = float(rows[metric].to_numpy().mean())
            if abs(mean - row[metric]) > TOLERANCE or len(rows) != row.get("users", len(rows)):
                raise errors.DataError(
                    f"{file} is not of {run}: {metric} of {behavior} is {mean:.6f} over {len(rows)} users there, and "
                    f"{row[metric]:.6f} over {row.get('users', len(rows))} here. Was it another checkpoint or seed?"
                )
    if not shared:
        raise errors.DataError(f"{file} has no behavior and metric in common with {run}.")
    return frame
