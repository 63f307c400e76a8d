"""The seeds of a run: trained side by side or one after another, with one load of the data, each in its own run folder.

Whichever way, a run is what it would be alone: the same initial values, orders, draws and files. On a CPU it has the
same bits too, as long as each seed has a device for itself or its turn (``Way``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shlex
from collections.abc import Sequence
from typing import NamedTuple

import jax

from mbjax import abreast as programs
from mbjax import config as configuration
from mbjax import data, errors, files, hosts, parallel, paths, program, wording
from mbjax import seeds as seed_names
from mbjax.experiment import abreast, closing, folders, outcomes, references, retraining, run, runs, seed_table, wiring
from mbjax.reporting import printout, results
from mbjax.train import run_folder, seed_folder

LONGER = {"train.epochs", "train.eval_every", "train.patience", "train.max_minutes"}
SETTLED = tuple(set(run_folder.MAY_CHANGE) - LONGER)
"""Fields with which a run that is over stays over."""


class Way(NamedTuple):
    """How the seeds are trained.

    Attributes:
      size: seeds of a program; 1: one after another.
      devices: that they are divided among; 1 also where the devices share each of them in turn.
      why: in words.
    """

    size: int
    devices: int
    why: str


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What the seeds came to.

    Attributes:
      workdir: the folder of the seeds.
      reason: ``"finished"``, or ``"signal"`` (it can go on).
      runs: seed -> outcome, of those that this call trained.
    """

    workdir: pathlib.Path
    reason: str
    runs: dict[int, outcomes.Outcome]

    @property
    def exit_code(self) -> int:
        """0, or 130 when a signal ended it."""
        return 130 if self.reason == "signal" else 0


def train_seeds(
    config: configuration.Config,
    seeds: Sequence[int],
    workdir: pathlib.Path | None = None,
    *,
    resume: bool = False,
    retrain: bool = False,
    record: bool | pathlib.Path = False,
    dataset: data.Dataset | None = None,
) -> Outcomes:
    """Runs an experiment under several seeds, with a run folder for each, and prints mean and standard deviation.

    A seed that diverges is said and left, and the others go on.

    Args:
      config: from ``mbjax.config.load``; its own seed does not matter.
      seeds: different ones, at least one; with ``resume`` those of the folder, and maybe more.
      workdir: the folder of the run folders; None names one under ``runs/`` after the configuration.
      resume: go on with the seeds of the folder that are not over.
      retrain: train each again afterward, see ``retrain``.
      record: write a results file for each, to the default place or to the given one.
      dataset: instead of the one that the configuration names.

    Raises:
      MbjaxError: see ``mbjax.errors``; of a TrainingDivergedError, all other seeds are over.
    """
    seeds = _checked(seeds)
    if hosts.is_several():
        raise errors.IncompatibleError(
            f"--seeds on {hosts.count()} hosts: they train one run together. Give --seed, or use one host."
        )
    work = _Work({seed: configuration.override(config, {}, seed=seed) for seed in seeds}, retrain, record)
    base = paths.absolute(workdir or folders.default_name(config, "seeds"))
    if resume:
        base = base if workdir else seed_folder.newest(base)
        work.going_on(base, dataset)
    else:
        work.begin(dataset)
    where = seed_folder.old(base, seeds) if resume else seed_folder.new(base, seeds, is_named=workdir is not None)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(where)
        command = f"{program.command('train')} --resume --workdir={shlex.quote(str(folder))}"
        stack.enter_context(files.then(f"go on with `{command}`"))
        if not work.run(folder):
            printout.say(f"stopped, all saved. Go on with: {command}")
            return Outcomes(folder, "signal", work.outcomes)
        work.conclude(folder)
    return Outcomes(folder, "finished", work.outcomes)


def choose(experiment: wiring.Experiment, number: int) -> Way:
    """How so many seeds of an experiment are trained.

    ``train.side_by_side`` decides, and where it is ``"auto"``: with several devices one seed on each; on an accelerator
    all in one program; on a CPU one after another, which has the bits of a run alone, and where one program was slower
    for two models of three (benchmarks/README.md).
    """
    config, devices = experiment.config, experiment.config.devices
    asked = config.train.side_by_side
    turn = Way(1, 1, "")
    if number == 1:
        return turn
    if not experiment.is_trained:
        return turn._replace(why="there is nothing to train")
    if not experiment.is_of_any_seed:
        return turn._replace(why=f"{config.model_name} prepares something for each")
    if config.train.shard != "none":
        return turn._replace(why=f"--shard={config.train.shard} divides each among the devices")
    if asked == "never":
        return turn._replace(why="train.side_by_side=never")
    on_cpu = jax.default_backend() == "cpu"
    if devices > 1:
        devices = min(devices, number)
        each = 1 if on_cpu and asked == "auto" else -(-number // devices)
        return Way(devices * each, devices, f"{wording.count(each, 'seed')} on each of {devices} devices")
    if asked == "always" or not on_cpu:
        return Way(number, 1, "in one program")
    return turn._replace(why="on one CPU a program of all is seldom faster, and has other last bits")


class _Work:
    """The seeds of one call.

    Args:
      configs: seed -> its configuration.
      retrain, record: as for ``train_seeds``.
    """

    def __init__(self, configs: dict[int, configuration.Config], retrain: bool, record: bool | pathlib.Path):
        self.configs, self._retrain, self._record = configs, retrain, record
        self.outcomes: dict[int, outcomes.Outcome] = {}
        self._failed: dict[int, errors.TrainingDivergedError] = {}
        self._over: set[int] = set()
        self._beside: dict[str, outcomes.Table] = {}
        self._joined: data.Dataset | None = None  # with validation pairs among those of training

    def begin(self, dataset: data.Dataset | None) -> None:
        """Loads the data, and refuses what cannot go well; nothing is written."""
        experiment = wiring.plan(next(iter(self.configs.values())), dataset, steps=False)
        self._way = choose(experiment, len(self.configs))
        is_alone = self._way.devices > 1  # each run is one of one device, and all devices evaluate it
        if is_alone:
            self.configs = {seed: self._alone(config) for seed, config in self.configs.items()}
        experiment = wiring.plan(next(iter(self.configs.values())), experiment.dataset)
        if is_alone:
            experiment = dataclasses.replace(experiment, others=parallel.Placement(self._way.devices))
        self._experiment = experiment
        self._first = run.Run(experiment, make_advance=self._make_advance())

    def going_on(self, folder: pathlib.Path, dataset: data.Dataset | None) -> None:
        """The same for a folder of seeds that goes on. Raises ConfigError if it is none, or has a seed more."""
        stored = seed_names.read(folder)
        if stored is None:
            raise errors.ConfigError(f"no seeds in '{folder}': {seed_names.FILE} is missing.")
        left = [seed for seed in stored if seed not in self.configs]
        if left:
            raise errors.ConfigError(
                f"--seeds={','.join(map(str, self.configs))}: {folder} has seed {left[0]} too. Name all of its seeds, "
                "and maybe more."
            )
        begun = [run_folder.RunFolder(seed_names.member(folder, seed)) for seed in self.configs]
        begun = [found for found in begun if found.has_run()]
        if begun:
            dataset = runs.as_trained(begun[0], next(iter(self.configs.values())), dataset)
        self.begin(dataset)
        self._over = {seed for seed in self.configs if self._is_over(folder, seed)}

    def _alone(self, config: configuration.Config) -> configuration.Config:
        return config.model_copy(update={"devices": 1})

    def _make_advance(self):
        if self._way.size == 1:
            return wiring.Experiment.advance
        self._among = programs.Abreast(self._way.size, self._way.devices)
        return lambda experiment: abreast.advance(experiment, self._among)

    def _is_over(self, folder: pathlib.Path, seed: int) -> bool:
        config, found = self.configs[seed], run_folder.RunFolder(seed_names.member(folder, seed))
        wanted = (found.path, found.retrained) if self._retrain else (found.path,)
        if not found.has_run() or any(seed_table.result(place) is None for place in wanted):
            return False
        before = configuration.parse(found.config_text(), type(config.model))
        lines = configuration.difference(before, config)
        if any(line.split(":", 1)[0].strip() not in SETTLED for line in lines):
            return False
        found.check_same(self._experiment.dataset)
        return True

    def run(self, folder: pathlib.Path) -> bool:
        """Trains what is not over; False if a signal stopped it."""
        pending = [seed for seed in self.configs if seed not in self._over]
        self._say(pending)
        for place in range(0, len(pending), self._way.size):
            if not self._wave(folder, pending[place : place + self._way.size]):
                return False
        return True

    def _say(self, pending: Sequence[int]) -> None:
        if self._over:
            printout.note(f"over: {_listed(self._over)}")
        if len(pending) > 1:
            how = "side by side" if self._way.size > 1 else "one after another"
            printout.note(f"{_listed(pending)}: {how} ({self._way.why})")

    def _wave(self, folder: pathlib.Path, seeds: Sequence[int]) -> bool:
        """Trains seeds that go together, and tests them; False if a signal stopped it."""
        made: dict[int, run.Run] = {}
        with contextlib.ExitStack() as stack:
            for seed in seeds:
                made[seed] = self._opened(folder, seed, stack)
            if self._way.size > 1:
                endings = abreast.fit(list(made.values()), self._among)
            else:
                endings = [_ending(each) for each in made.values()]
            for (seed, each), ending in zip(made.items(), endings, strict=True):
                if isinstance(ending, errors.TrainingDivergedError):
                    self._failed[seed] = ending
                    printout.warn(f"seed {seed} failed: {ending}")
                elif ending != "signal":
                    outcome = self.outcomes[seed] = each.conclude(ending, let_go=not each.experiment.is_of_any_seed)
                    closing.final(each.experiment, outcome, self._path(seed), beside=self._beside)
                each.state = None
        if "signal" in endings:
            return False
        return not self._retrain or all(self._again(seed) for seed in seeds if seed in self.outcomes)

    def _opened(self, folder: pathlib.Path, seed: int, stack: contextlib.ExitStack) -> run.Run:
        config, first = self.configs[seed], self._first
        path = seed_names.member(folder, seed)
        resume = run_folder.RunFolder(path).has_run()
        claimed = stack.enter_context(folders.claimed(config, path, resume))
        if first.config.seed == seed and not first.is_open:
            made = first
        else:
            made = run.Run(first.experiment.of_seed(config), first, first.make_advance)
        stack.callback(made.close)
        made.open(claimed, resume)
        if not first.is_open:
            self._first = made
        return made

    def _path(self, seed: int, second: str = "") -> bool | pathlib.Path:
        """Where the results file of a seed goes; with ``second`` that of its second training."""
        record = self._record
        if isinstance(record, pathlib.Path) and record.suffix == ".json":
            return record.with_stem("-".join(part for part in (record.stem, f"seed{seed}", second) if part))
        return record

    def _again(self, seed: int) -> bool:
        """Trains a seed on training and validation pairs together; False if a signal stopped it."""
        config = configuration.override(self.configs[seed], {"data.valid": "into_train"})
        if self._joined is None:
            self._joined = data.load(config.dataset, config.data)
        given = {"record": self._path(seed), "dataset": self._joined}
        outcome = retraining.retrain(self.configs[seed], self.outcomes[seed], **given)
        return outcome.reason != "signal"

    def conclude(self, folder: pathlib.Path) -> None:
        """Prints and writes the table of means. Raises the error of the first seed that failed, if any did."""
        title = printout.title(self._first.config)
        for name in ("", run_folder.RETRAINED) if self._retrain else ("",):
            found = {seed: seed_table.result(seed_names.member(folder, seed) / name) for seed in self.configs}
            found = {seed: record for seed, record in found.items() if record is not None and seed not in self._failed}
            if not found:
                continue
            if not self._beside:
                table = next(iter(next(iter(found.values()))["selection"].values()))
                self._beside = references.measured(self._experiment, "test", tuple(table))
            for seed in self._over & set(found) if self._record else ():
                printout.say(f"results file: {results.put(found[seed], self._path(seed, name))}")
            seed_table.write(files.make_folder(folder / name), found, title, self._beside)
        printout.say(f"folder of the seeds: {folder} ({wording.count(len(self.configs), 'run folder')}, seeds.csv)")
        for error in self._failed.values():
            raise error


def _ending(made: run.Run) -> abreast.Ending:
    try:
        return made.fit()
    except errors.TrainingDivergedError as error:
        return error


def _checked(seeds: Sequence[int]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise errors.ConfigError(
            f"--seeds={','.join(map(str, seeds))}: must be different whole numbers from 0 upwards, such as 0,1,2."
        )
    return tuple(seeds)


def _listed(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, sorted(seeds)))}"
