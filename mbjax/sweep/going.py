"""A sweep going on: run after run in folders of their own, then the test split of the chosen setting, once.

::

    sweep.json          what was asked for
    runs/NAME/          run folders, as training leaves them, without results of the test split
    records/NAME.json   what each run came to on validation pairs; written when it is over, so that it is not run again
    search.sqlite       optuna's study; only of a search
    chosen.json         of each model: the chosen setting, its test tables, and settings that were tested before it
    runs.csv  settings.csv  sweep.md  MODEL.png
"""

from __future__ import annotations

import contextlib
import gc
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rich.console

from mbjax import config, errors, files, paths, program
from mbjax.sweep import plan as plans
from mbjax.sweep import proposals, records, summary
from mbjax.train import claim, run_folder

FATAL = (errors.WriteError,)
"""What ends a sweep: the next run would meet it too."""


def go(
    plan: plans.Plan,
    members: Sequence[plans.Member],
    workdir: str | pathlib.Path | None,
    experiment: Any,
    *,
    resume: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Begins a sweep or goes on with it, and prints what came of it; returns the exit code.

    Args:
      plan: what was asked for.
      members: its models.
      workdir: the folder; None names one under ``runs/``.
      experiment: the package ``mbjax.experiment``.
      resume: go on with the sweep of that folder.
      say: is told what goes on, a line each.

    Returns:
      0, 1 where a model has no setting that finished, 130 after a signal.

    Raises:
      ConfigError: the folder holds a sweep or a run already (a new one). CheckpointError: it is going on elsewhere.
      WriteError: the folder cannot be written to.
    """
    folder = _begin(plan, workdir, resume)
    command = f"{program.command('sweep')} --resume --workdir={shlex.quote(paths.short(folder))}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(claim.alone(run_folder.RunFolder(folder)))
        stack.enter_context(files.then(f"go on with `{command}`"))
        if resume:
            files.write_text(folder / "sweep.json", plan.text())
        sweep = Sweep(plan, members, folder, experiment, say)
        if not sweep.run():
            say(f"stopped; go on with `{command}`")
            return 130
        chosen = sweep.choose()
        made = summary.write(sweep.records, members, folder, chosen)
    out = rich.console.Console(highlight=False)
    if not sys.stdout.isatty():
        out = rich.console.Console(highlight=False, width=max(out.width, 120))
    summary.show(sweep.records, members, chosen, out)
    for path in made:
        out.print(f"written: {paths.short(path)}", markup=False, soft_wrap=True)
    runs = [records.name(name, found["number"], int(seed)) for name, found in chosen.items() for seed in found["test"]]
    if len(chosen) > 1:
        words = " ".join(shlex.quote(paths.short(folder / "runs" / name)) for name in runs)
        out.print(f"paired tests: `{program.command('compare')} {words}`", markup=False, soft_wrap=True)
    return 0 if len(chosen) == len(members) else 1


def _begin(plan: plans.Plan, workdir: str | pathlib.Path | None, resume: bool) -> pathlib.Path:
    """The folder of a sweep, with its ``sweep.json``."""
    if resume:
        return paths.absolute(workdir)
    if workdir is not None:
        folder = paths.absolute(workdir)
        run_folder.RunFolder(folder).check_unused()
        files.make_folder(folder)
        if not files.create(folder / "sweep.json", plan.text()):
            raise errors.ConfigError(
                f"{folder} holds a sweep already. Go on with it by --resume, or choose another --workdir."
            )
        return folder
    data = pathlib.PurePath(plan.dataset).name.split(".")[0]
    base, number = paths.absolute(pathlib.Path("runs") / f"sweep-{'-'.join(plan.models[:3])}-{data}"), 1
    while True:
        folder = files.make_folder(files.numbered(base, number))
        if files.create(folder / "sweep.json", plan.text()):
            return folder
        number += 1


class Sweep:
    """A sweep in its folder.

    Args:
      plan: what was asked for.
      members: its models.
      folder: of the sweep, with its ``sweep.json``.
      experiment: the package ``mbjax.experiment``.
      say: is told what goes on, a line each.
    """

    def __init__(
        self,
        plan: plans.Plan,
        members: Sequence[plans.Member],
        folder: pathlib.Path,
        experiment: Any,
        say: Callable[[str], None],
    ):
        self.plan, self.members, self.folder = plan, members, folder
        self._experiment, self._say = experiment, say
        self._loaded: tuple[Any, Any] = (None, None)
        self.records: list[records.Record] = []

    def run(self) -> bool:
        """Makes the runs that are not made yet; False if a signal stopped it.

        Raises:
          WriteError: nothing can be written.
        """
        for member in self.members:
            proposed = proposals.of(member, self.folder)
            for number, setting in proposed:
                if not self._try(member, number, setting, proposed):
                    return False
        return True

    def _try(self, member: plans.Member, number: int, setting: plans.Setting, proposed: proposals.Proposals) -> bool:
        """All seeds of a setting; those of a search end with the first that fails or is given up."""
        found: list[records.Record] = []
        for seed in member.seeds:
            name = records.name(member.name, number, seed)
            record = records.read(self.folder / "records", name)
            if record is None:
                watch = proposed.gives_up if seed == member.seeds[0] else None
                record = self._attempt(member, number, setting, seed, watch)
                if record is None:
                    return False
                records.write(self.folder / "records", record)
                self._say(f"{name}: {_outcome(record)}")
            elif dict(record.setting) != dict(setting):
                raise errors.DataError(
                    f"{self.folder / 'records' / name}.json is of {_shown(record.setting)}, and the sweep has "
                    f"{_shown(setting)} there. Choose another --workdir."
                )
            found.append(record)
            if self.plan.search and record.state != "finished":
                break
        self.records += found
        line = records.lines(found, member.seeds)[0]
        proposed.tell(number, line.mean if line.is_whole else None, given_up=line.state == "given up")
        return True

    def _attempt(self, member, number, setting, seed, watch) -> records.Record | None:
        """One run; None if a signal stopped it."""
        name = records.name(member.name, number, seed)
        folder = self.folder / "runs" / name
        settings = member.config(setting, seed)
        monitor, first = settings.train.monitor, settings.evaluate.ks[0]
        monitor = monitor if "@" in monitor else f"{monitor}@{first}"
        about = {"model": member.name, "number": number, "seed": seed, "setting": dict(setting), "monitor": monitor}
        self._say(f"{name}: {_shown(setting)}")
        dataset = self._dataset(settings)
        try:
            trial = self._experiment.attempt(
                settings,
                folder,
                resume=(folder / "config.yaml").is_file(),
                dataset=dataset,
                watch=None if watch is None else lambda epoch, value: watch(number, epoch, value),
            )
        except FATAL:
            raise
        except (errors.MbjaxError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            words = " ".join(str(error).split()) or "out of memory"
            return records.Record(**about, state="failed", error=f"{type(error).__name__}: {words}")
        finally:
            gc.collect()  # what the run held on the device
        if trial.reason == "signal":
            return None
        state = "given up" if trial.reason == "given up" else "finished"
        if trial.value is None or trial.value != trial.value or abs(trial.value) == float("inf"):
            return records.Record(
                **about, state="failed", error="no epoch was evaluated: train.eval_every, train.epochs"
            )
        return records.Record(
            **about,
            state=state,
            value=trial.value,
            epoch=trial.epoch,
            table=trial.table,
            seconds=round(trial.seconds, 3),
            fingerprint=trial.fingerprint,
        )

    def _dataset(self, settings: config.Config) -> Any:
        """The data set of a run, loaded again only where the runs differ in it."""
        key = (settings.dataset, settings.data)
        if self._loaded[0] != key:
            self._loaded = (None, None)
            self._loaded = (key, self._experiment.load_data(settings))
        return self._loaded[1]

    def choose(self) -> dict[str, Any]:
        """Reads the test split for the chosen setting of each model, unless that was done; returns ``chosen.json``.

        Of each model: ``number``, ``setting``, ``value`` on validation, ``test`` (seed -> table), and ``tested``, the
        numbers of all settings that the test split was ever read for.
        """
        file = self.folder / "chosen.json"
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        found: dict[str, Any] = {}
        for member in self.members:
            line, old = records.best(records.lines(self.records, member.seeds), member.name), before.get(member.name)
            if line is None:
                continue
            if old is None or old["number"] != line.number:
                self._say(
                    f"{member.name}: setting {line.number} is chosen on validation; the test split is read for it"
                )
                test = {}
                for run in line.runs:
                    settings = member.config(line.setting, run.seed)
                    folder = self.folder / "runs" / run.name
                    test[str(run.seed)] = self._experiment.tested(folder, dataset=self._dataset(settings))
                tested = [*(old or {}).get("tested", ()), line.number]
                old = {"test": test, "tested": list(dict.fromkeys(tested))}
            found[member.name] = {"number": line.number, "setting": dict(line.setting), "value": line.mean} | {
                "test": old["test"],
                "tested": old["tested"],
            }
        files.write_json(file, found)
        return json.loads(file.read_text(encoding="utf-8"))


def _shown(setting: plans.Setting) -> str:
    return ", ".join(f"{field}={text}" for field, text in setting.items()) or "as given"


def _outcome(record: records.Record) -> str:
    if record.state == "failed":
        return f"failed, {record.error}"
    return f"{record.state}, {record.monitor} {record.value:.4f} on validation"
