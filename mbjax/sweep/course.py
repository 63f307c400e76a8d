"""The runs of a sweep in their order, what they came to, and what is chosen."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mbjax import errors, files
from mbjax.sweep import attempts, axes, board, proposals, records
from mbjax.sweep import plan as plans
from mbjax.train import loop, run_folder

LOOK = 0.2
"""Seconds between two looks at whether a signal came, while runs go on in other processes."""


class Chain(NamedTuple):
    """Runs of a setting that follow one another: of a grid one, of a search those of all seeds."""

    member: plans.Member
    number: int
    setting: plans.Setting
    seeds: tuple[int, ...]
    proposed: proposals.Proposals


def most(members: Sequence[plans.Member]) -> int | None:
    """Runs that a sweep has at most; None where time alone decides."""
    plan = members[0].plan
    if plan.minutes:
        return None
    return sum(len(member.seeds) * (plan.search or len(axes.product(member.axes))) for member in members)


class Sweep:
    """A sweep in its folder.

    Args:
      plan: what was asked for.
      members: its models.
      folder: of the sweep, with its ``sweep.json``.
    """

    def __init__(self, plan: plans.Plan, members: Sequence[plans.Member], folder: pathlib.Path):
        self.plan, self.members, self.folder = plan, members, folder
        self._found: list[records.Record] = []
        self._lock = threading.RLock()
        self._ends = False

    @property
    def records(self) -> list[records.Record]:
        """Of all runs so far, in the order of the models, of the settings and of the seeds."""
        models = [member.name for member in self.members]
        seeds = {member.name: member.seeds for member in self.members}
        return sorted(
            self._found, key=lambda one: (models.index(one.model), one.number, seeds[one.model].index(one.seed))
        )

    def run(self, runner: attempts.Runner, say: Callable[[str], None]) -> bool:
        """Makes the runs that are not made yet, one after another; False if a signal stopped it.

        Raises:
          WriteError: nothing can be written.
        """
        return all(self._follow(chain, runner, say) for chain in self._chains())

    def run_together(self, runners: Sequence[attempts.Apart], shown: board.Board) -> bool:
        """Makes them several at once, each runner one; the order in which they begin is that of ``run``.

        A signal ends all of them where they can go on from, a second interrupt at once.
        """
        chains = self._chains()

        def work(runner: attempts.Apart) -> bool:
            while True:
                with self._lock:
                    chain = None if self._ends else next(chains, None)
                if chain is None:
                    return True
                if not self._follow(chain, runner, shown.say, shown):
                    return False

        pool = concurrent.futures.ThreadPoolExecutor(len(runners))
        with loop.signals() as should_stop:
            working = [pool.submit(work, runner) for runner in runners]
            left, asked = set(working), False
            try:
                while left:
                    over, left = concurrent.futures.wait(left, LOOK, concurrent.futures.FIRST_COMPLETED)
                    is_wrong = any(one.exception() for one in over)
                    if (should_stop() or is_wrong) and not asked:
                        asked = self._ends = True
                        shown.say("ending: each run saves where it is")
                        for runner in runners:
                            runner.interrupt()
            finally:
                self._ends = True
                if left:  # interrupted once more
                    for runner in runners:
                        runner.kill()
                pool.shutdown()
        return all([one.result() for one in working]) and not should_stop()

    def _chains(self) -> Iterator[Chain]:
        for member in self.members:
            proposed = proposals.of(member, self.folder)
            for number, setting in proposed:
                if self.plan.minutes and not self._has_time(member, number):
                    break
                is_one = self.plan.search or self.plan.minutes
                for seeds in [member.seeds] if is_one else [(seed,) for seed in member.seeds]:
                    yield Chain(member, number, setting, seeds, proposed)

    def _follow(
        self,
        chain: Chain,
        runner: attempts.Runner,
        say: Callable[[str], None],
        shown: board.Board | None = None,
    ) -> bool:
        """The runs of a chain; those of a search end with the first that fails or is given up. False after a signal."""
        found: list[records.Record] = []
        member, number, proposed = chain.member, chain.number, chain.proposed
        for place, seed in enumerate(chain.seeds):
            minutes = self._minutes(member, len(chain.seeds) - place)
            task = attempts.Task(member, number, chain.setting, seed, minutes)
            record = records.read(self.folder / "records", task.name)
            if record is None or (record.cut and self.plan.minutes > record.cut):
                say(f"{task.name}: {_shown(chain.setting)}")
                record = self._made(task, runner, proposed, shown)
                if record is None:
                    return False
                records.write(self.folder / "records", record)
                say(f"{task.name}: {_outcome(record)}")
            elif dict(record.setting) != dict(chain.setting):
                raise errors.DataError(
                    f"{self.folder / 'records' / task.name}.json is of {_shown(record.setting)}, and the sweep has "
                    f"{_shown(chain.setting)} there. Choose another --workdir."
                )
            elif shown:
                shown.end(task.name, is_new=False)
            found.append(record)
            with self._lock:
                self._found.append(record)
            if self.plan.search and record.state != "finished":
                break
        with self._lock:
            line = records.lines(found, chain.seeds)[0]
            proposed.tell(number, line.mean if line.is_whole else None, given_up=line.state == "given up")
        return True

    def _made(self, task, runner, proposed, shown) -> records.Record | None:
        """A run, shown while it goes on; None after a signal."""
        is_first = task.seed == task.member.seeds[0]
        epochs = task.config().train.epochs if shown else 0

        def watch(epoch: int, value: float) -> bool:
            if shown:
                shown.evaluated(task.name, epoch, epochs, value)
            with self._lock:
                return is_first and proposed.gives_up(task.number, epoch, value)

        if not shown:
            return runner.attempt(task, watch)
        shown.begin(task.name, epochs)
        try:
            return runner.attempt(task, watch)
        finally:
            shown.end(task.name)

    def _spent(self, member: plans.Member, number: int | None = None) -> float:
        """Seconds of a model's runs, or of those of a setting."""
        own = [r for r in self._found if r.model == member.name and number in (None, r.number)]
        return sum(max(r.wall, r.seconds) for r in own)

    def _has_time(self, member: plans.Member, number: int) -> bool:
        """Whether a setting would be over in time, if it took as long as the first; one that has begun is, too."""
        begun = self.folder / "runs" / records.name(member.name, number, member.seeds[0])
        if number == 0 or begun.exists():
            return True
        return self._spent(member) + self._spent(member, 0) <= 60 * self.plan.minutes

    def _minutes(self, member: plans.Member, runs: int) -> float | None:
        """What each of so many runs may take of the time that is left to a model; None where nothing limits it."""
        if not self.plan.minutes or not member.is_trained or "train.max_minutes" in member.fields:
            return None
        return max(0.001, self.plan.minutes - self._spent(member) / 60) / runs

    def effort(self, model: str) -> dict[str, Any]:
        """What a choice was made from: settings tried, those that finished, the limit and the time spent [minutes]."""
        member = next(member for member in self.members if member.name == model)
        lines = [line for line in records.lines(self.records, member.seeds) if line.model == model]
        found = {"settings": len(lines), "finished": sum(line.is_whole for line in lines)}
        return found | {"limit": self.plan.minutes, "minutes": round(self._spent(member) / 60, 3)}

    def choose(self, runner: attempts.Runner, say: Callable[[str], None]) -> dict[str, Any]:
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
            tasks = [attempts.Task(member, line.number, line.setting, run.seed) for run in line.runs]
            tests = [run_folder.RunFolder(self.folder / "runs" / task.name).results_file for task in tasks]
            # Also where the run has been made again, or has gone on, since.
            if old is None or old["number"] != line.number or not all(file.is_file() for file in tests):
                say(f"{member.name}: setting {line.number} is chosen on validation; the test split is read for it")
                test = {str(task.seed): runner.tested(task) for task in tasks}
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
