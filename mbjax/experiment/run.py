"""One training run in its folder: epochs, evaluations, checkpoints, and the tables at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

from mbjax import config as configuration
from mbjax import errors, files, hosts, machine, types, wording
from mbjax.experiment import beginning, folders, footprint, keeper, outcomes, warm_start, wiring
from mbjax.ops import memory
from mbjax.reporting import printout, selections
from mbjax.train import logging, loop, progress, run_folder

Watch = Callable[[int, float], bool]
"""Is told the epoch and the monitored value of each evaluation on the way; True gives the run up."""


class Run:
    """One training run in its folder: ``open``, ``fit`` and ``conclude``; ``close`` in any case.

    Making one writes nothing and computes nothing, and refuses what cannot go well; its graphs are made in a folder
    that is free to be written to.

    Args:
      experiment: planned.
      like: a run whose experiment this one is of another seed of (``Experiment.of_seed``): its evaluators serve, and
        if it is open also what it has prepared and compiled; what it has said is not said again.
      make_advance: how training moves the state on.
    """

    def __init__(
        self,
        experiment: wiring.Experiment,
        like: Run | None = None,
        make_advance: Callable[[wiring.Experiment], loop.Advance] = lambda experiment: experiment.advance(),
    ):
        self.experiment, self.like, self.make_advance = experiment, like, make_advance
        self.commit = machine.commit()
        config = self.config = experiment.config
        # The split that is looked at on the way; none where the number of epochs was settled by another run.
        settled = config.protocol == "honest" and experiment.dataset.valid_rule == "into_train"
        self.split = None if settled else "test" if config.protocol == "paper" else "valid"
        if not experiment.dataset.test:
            experiment.evaluator("test")  # raises with the reason, which no other choice of validation pairs mends
        if (
            experiment.is_trained
            and self.split == "valid"
            and not any(m.nnz for m in experiment.dataset.valid.values())
        ):
            raise errors.IncompatibleError(
                "protocol 'honest' selects the epoch on validation pairs, and there are none: "
                f"{experiment.dataset.empty['valid']}, or --protocol=paper."
            )
        # They refuse behaviors without held-out pairs.
        splits = dict.fromkeys([self.split, "test"] if experiment.is_trained and self.split else ["test"])
        self.evaluators = like.evaluators if like else {split: experiment.evaluator(split) for split in splits}
        self.sampled = config.evaluate.sample_users or experiment.model.few
        if not like and experiment.is_trained and self.split and self.sampled:
            self.evaluators["sample"] = experiment.evaluator(self.split, sample_users=self.sampled)
        if experiment.is_trained and self.split:
            evaluated = self.evaluators[self.split].behaviors
            _check_monitor(config.train.monitor, self.split, evaluated, experiment.dataset.info.behaviors)
        if like is None:
            footprint.refuse_beginning(experiment)
        self.position, self.steps_per_epoch = loop.Position(), 1
        self.compiling = 0.0  # seconds, before the first step
        self.before = 0.0  # seconds that count toward train.max_minutes beside those of epochs
        self.keeper: keeper.Keeper | None = None
        self.log: logging.RunLog | logging.Unwritten | None = None
        self.watch: Watch = lambda epoch, value: False
        self.given_up = False

    @property
    def is_open(self) -> bool:
        """Whether it was opened, be it over by now."""
        return self.log is not None

    @property
    def takes_steps(self) -> bool:
        """Whether there is a step to take; of 0 epochs a run is what it begins with."""
        return self.experiment.is_trained and self.config.train.epochs > 0

    def open(self, folder: run_folder.RunFolder, resume: bool) -> None:
        """Begins in a folder that is claimed, or goes on where its last checkpoint stands."""
        if resume and hosts.is_first():  # before minutes go into what would not be used
            folder.check_settings(**folders.differing(self.config))
        follows = self.like is not None and self.like.is_open
        shared = follows and self.experiment.is_of_any_seed
        if not shared:
            few = self.experiment.model.few
            asked = self.evaluators["sample"].users if self.split == "valid" and few else None
            teach = self.takes_steps or bool(few)  # of few users graphs are made as they are for training alone
            self.experiment = self.experiment.with_graphs(teach=teach, asked=asked)
        experiment, config = self.experiment, self.config
        self.folder, self.state = folder, self._start(folder, resume)
        if self.takes_steps:
            self.advance = self.like.advance if shared else self.make_advance(experiment)
            self.steps_per_epoch = self.advance.steps_per_epoch
            if not shared:
                began = time.perf_counter()
                footprint.refuse_first_step(experiment, self.state, self.advance)
                self.compiling = time.perf_counter() - began
        text = configuration.dump(config)
        if resume:
            self._check_epochs()
            if hosts.is_first():
                folder.resume(text, experiment.dataset, **folders.differing(config))
        else:
            lines = beginning.notes(experiment)
            if not follows:
                beginning.say(lines, said=experiment.dataset.warned)
            with files.then("start again"):
                model = experiment.model
                chosen = {} if model.choices is None else model.choices(self.state.params, experiment.graphs)
                if hosts.is_first():
                    folder.create(text, experiment.dataset, lines, chosen)
        if experiment.is_trained:
            self.keeper = keeper.Keeper(folder, self.steps_per_epoch, keep_best=self.split == "valid")
            if resume and self.takes_steps:  # else it is what it begins with, which may have changed since
                self.state, self.position = self.keeper.restore(self.state)
                done = self.position.step
                where = f"after {self._epochs(done)}" if done else "from the beginning: no checkpoint was written yet"
                printout.note(f"run folder {folder.path}: goes on {where}")
        from_epoch = self.position.step // self.steps_per_epoch
        self.log = logging.Unwritten()
        if hosts.is_first():
            self.log = logging.RunLog(folder.path, from_epoch=from_epoch, missing=self._missing)
        if resume and self._goes_further() and hosts.is_first():
            folder.reopen()

    def _goes_further(self) -> bool:
        """Whether a run that goes on has steps to take."""
        left = self.takes_steps and self.position.step < self.config.train.epochs * self.steps_per_epoch
        return left and not self.has_waited and not self.is_out_of_time()

    def _missing(self, error: errors.WriteError) -> None:
        """Says what could not be written and is not needed to go on."""
        printout.warn(f"{error.reason}: {error.lost} was not written; the run goes on without it")

    def _start(self, folder: run_folder.RunFolder, resume: bool) -> types.TrainState:
        """The state before the first step; where a checkpoint is about to replace it, the other run is not needed."""
        state, source = self.experiment.start(), self.config.train.init_from
        if not source or (resume and self.takes_steps and run_folder.checkpoint_steps(folder.last)):
            return state
        return warm_start.apply(self.experiment, state, source)

    def _check_epochs(self) -> None:
        """Refuses to go on to an epoch that is over: what would be tested is not what that epoch came to."""
        done = max(run_folder.checkpoint_steps(self.folder.last), default=0)
        epochs = self.config.train.epochs
        if done > epochs * self.steps_per_epoch:
            raise errors.CheckpointError(
                f"run folder {self.folder.path} stands after {self._epochs(done)}; train.epochs={epochs} is fewer. "
                f"Give {-(-done // self.steps_per_epoch)} or more, or choose another --workdir."
            )

    def _epochs(self, step: int) -> str:
        whole, steps = divmod(step, self.steps_per_epoch)
        return wording.count(whole, "epoch") + (f" and {wording.count(steps, 'step')}" if steps else "")

    def fit(self) -> str:
        """Trains; returns why it ended."""
        if not self.experiment.is_trained:
            return "finished"
        placement = self.experiment.placement
        if self.has_waited:
            return "patience"
        if self.position.step and self.is_out_of_time():  # one epoch there is in any case
            return "time"
        if not self.takes_steps:
            self.keeper.save(self.state, self.position)
            return "finished"
        state = placement.put(self.state)
        self.state = None  # donated from here on
        with loop.signals() as should_stop, self.progress() as bar:

            def on_chunk(state, position):
                bar.chunk(position.step % self.steps_per_epoch / self.steps_per_epoch)

            def on_epoch(epoch, state, position):
                evaluated = self.end_epoch(epoch, position, state.params)
                bar.epoch(position.sums["loss"], best=self.best_value, evaluated=evaluated)
                self.keep(position.step, lambda: placement.kept(state))
                return self.given_up or self.has_waited or self.is_out_of_time()

            try:
                state, self.position, reason = loop.fit(
                    state,
                    self.position,
                    self.advance,
                    epochs=self.config.train.epochs,
                    on_epoch=on_epoch,
                    on_chunk=on_chunk,
                    should_stop=lambda: hosts.any_of(should_stop()),
                )
                self.state = placement.kept(state)
                self.keeper.save(self.state, self.position)
            except errors.TrainingDivergedError as error:
                raise self.diverged(error) from None
        return self.why(reason)

    def why(self, reason: str) -> str:
        """Why training ended, of a reason of ``loop.fit``."""
        return "time" if reason == "patience" and not (self.given_up or self.has_waited) else reason

    @property
    def has_waited(self) -> bool:
        """Whether there were as many evaluations without a better value as the configuration waits for."""
        patience = self.config.train.patience
        return bool(patience) and self.keeper.best.waited >= patience

    def is_out_of_time(self, seconds: float = 0.0) -> bool:
        """Whether what counts so far, and ``seconds`` more, have taken what ``train.max_minutes`` allows."""
        limit = 60 * self.config.train.max_minutes
        return bool(limit) and hosts.told(self.before + _total_seconds(self.log.rows()) + seconds >= limit)

    @property
    def best_value(self) -> float | None:
        """The best monitored value so far."""
        return self.keeper.best.value if self.keeper.best.epoch >= 0 else None

    def progress(self, prefix: str = "") -> progress.Progress:
        """What shows that it goes on; ``prefix`` before the name of the monitored metric."""
        metric = self.config.train.monitor
        metric = metric if "@" in metric else f"{metric}@{self.config.evaluate.ks[0]}"
        monitor = f"{prefix}{self.split} {metric}{self._sampled()}" if self.split else ""
        done = self.position.step // self.steps_per_epoch
        return progress.Progress(self.config.train.epochs, done=done, best=self.best_value, monitor=monitor)

    def _sampled(self) -> str:
        is_sample = "sample" in self.evaluators and self.evaluators["sample"].is_sample
        return f" of {self.sampled:,} sampled users" if is_sample else ""

    def is_due(self, epoch: int, seconds: float) -> bool:
        """Whether an epoch that took so long to train ends with an evaluation."""
        section = self.config.train
        due = section.eval_every and (epoch + 1) % section.eval_every == 0
        due = due or epoch + 1 == section.epochs
        return self.split is not None and bool(due or self.is_out_of_time(seconds))

    def end_epoch(self, epoch: int, position: loop.Position, params: types.Params) -> bool:
        """Logs an epoch that is over, with its sums still in the position; evaluates where that is due, and says so.

        Raises:
          TrainingDivergedError: a score is not finite.
        """
        config = self.config
        row = {"epoch": epoch, "step": position.step, "seconds": round(position.seconds, 4)}
        row |= {"loss": position.sums["loss"]}
        row |= {"loss_parts": {k: v for k, v in position.sums.items() if k != "loss"}}
        due = self.is_due(epoch, position.seconds)
        if due:
            start = time.perf_counter()
            table = self._evaluate(params, epoch, position.step)
            row |= {self.split: table, "eval_seconds": round(time.perf_counter() - start, 4)}
            value = selections.monitored(table, config.train.monitor, config.evaluate.ks[0])
            self.keeper.judge(epoch, position.step, value, self.experiment.placement.kept_params(params))
            self.given_up = self.watch(epoch, value)
        self.log.epoch(row)
        return due

    def keep(self, step: int, kept: Callable[[], types.TrainState]) -> None:
        """Saves the state after an epoch that is over, where that is due. Raises TrainingDivergedError."""
        if self.keeper.is_due(self.config.train.save_minutes):
            # The epoch is over: a resumed run starts the next one with empty sums.
            self.keeper.save(kept(), loop.Position(step))

    def diverged(self, error: errors.TrainingDivergedError) -> errors.TrainingDivergedError:
        """The same error, with where to go on."""
        return errors.TrainingDivergedError(f"{error}; {self.keeper.last_finite()}")

    def _evaluate(self, params: types.Params, epoch: int, step: int) -> outcomes.Table:
        try:
            return self._judge(params)
        except errors.TrainingDivergedError:
            raise errors.TrainingDivergedError(
                f"scores are not finite after step {step - 1} (epoch {epoch + 1})"
            ) from None

    def _judge(self, params: types.Params) -> outcomes.Table:
        evaluator = self.evaluators.get("sample", self.evaluators[self.split])
        graphs = self.experiment.graphs_for(self.split, evaluator.users)
        return evaluator(self.experiment.model, params, graphs).table

    def _release(self) -> None:
        """Gives back what checkpoints took on the host, where that is much."""
        if footprint.size_of(self.state.params) > footprint.LARGE:
            memory.release()

    def conclude(self, reason: str, *, let_go: bool = True) -> outcomes.Outcome:
        """Reads the test split once, at the selected epoch, at the last one too if that is asked for; finishes the log.

        ``let_go``: whether no other run needs what this one was trained with.
        """
        experiment = self.experiment
        evaluator = self.evaluators["test"]
        groups = self.config.evaluate.groups

        def test(params):
            return evaluator(
                experiment.model, params, experiment.graphs_for("test", evaluator.users), groups=groups, details=True
            )

        self.state = self.state.replace(opt_state=())  # no step follows
        self._release()
        best = self.keeper.best_params(self.state) if self.keeper else None
        model, told = experiment.model, (self.state.params if best is None else best, experiment.graphs)
        findings = () if model.findings is None else tuple(model.findings(*told))
        chosen = {} if model.choices is None else model.choices(*told)
        if let_go:
            self.advance = None  # with all that batches are drawn from
            experiment.let_go()
        self._release()
        epochs = {"last": max(self.position.step // self.steps_per_epoch - 1, 0)}
        found = test(self.state.params if best is None else best)
        tables = {"last" if best is None else "valid": found.table}
        if best is not None:
            epochs["valid"] = self.keeper.best.epoch
            if self.config.evaluate.last:
                is_same = self.keeper.best.step == self.position.step
                tables["last"] = found.table if is_same else test(self.state.params).table
        self.log.finish(experiment.dataset.info.behaviors)
        rows = self.log.rows()
        times = {"test_pass": found.seconds, "total": _total_seconds(rows)}
        if len(rows) > 1:
            times["compile"] = self.compiling + max(0.0, rows[0]["seconds"] - rows[1]["seconds"])
        return outcomes.Outcome(
            self.folder.path,
            reason,
            tables,
            epochs,
            rows,
            times,
            self.commit,
            sum(leaf.size for leaf in jax.tree.leaves(self.state.params)),
            findings=findings,
            chosen=chosen,
            learned_valid=model.judged is not None,
            reliability=found.reliability,
        )

    def close(self) -> None:
        """Waits for checkpoints on their way to the disk, and closes the files, as far as there are any."""
        if self.log:
            self.log.close()
        if self.keeper:
            self.keeper.close()


def _check_monitor(monitor: str, split: str, evaluated: tuple[str, ...], behaviors: tuple[str, ...]) -> None:
    """Raises ConfigError if the monitored behavior is none of those that are evaluated."""
    behavior = configuration.MONITOR.fullmatch(monitor)["behavior"]
    if behavior == "mean" or behavior in evaluated:
        return
    if behavior in behaviors:
        raise errors.ConfigError(
            f"train.monitor={monitor}: no pairs of '{behavior}' are evaluated on the {split} split. "
            f"Choose one of mean, {', '.join(evaluated)}."
        )
    raise errors.unknown("behavior in train.monitor", behavior, ["mean", *evaluated])


def _total_seconds(rows: list[dict[str, Any]]) -> float:
    """Training and evaluation of all epochs, those before a resumption included."""
    return sum(row["seconds"] + row.get("eval_seconds", 0.0) for row in rows)
