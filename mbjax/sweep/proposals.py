"""Which setting comes next, and which is given up: a grid, all of it in order, draws, or a search by optuna.

A search keeps its study in an SQLite file: TPE (Bergstra, Bardenet, Bengio, Kegl, NIPS 2011) proposes, and a run whose
best value so far is below the median of the others' at the same epoch is given up. optuna is an extra of the
installation and imported only here, only for a search.
"""

from __future__ import annotations

import itertools
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from mbjax import config, errors
from mbjax.sweep import axes
from mbjax.sweep import plan as plans

MISSING = "--search needs optuna, which is not installed: pip install 'mbjax[search]'. --grid goes without."
RANDOM = 8
"""Settings that are drawn at random before the search goes by what it has seen; at most a third of all."""
TRIES = 100
"""Draws in a row that were had before, after which all settings are taken to be had."""
REPEATS = "repeats"
"""Of a trial that proposed a setting again: the number of the one that had it."""
SPARED = 4
"""So many settings are tried to their end before one is given up."""


class Proposals(Protocol):
    """What a sweep asks of a grid or a search."""

    def __iter__(self) -> Iterator[tuple[int, plans.Setting]]:
        """Number and setting, those of an earlier start first, under the same numbers."""

    def gives_up(self, number: int, epoch: int, value: float) -> bool:
        """Is told the best value of a run so far; whether to give the setting up."""

    def tell(self, number: int, value: float | None, *, given_up: bool = False) -> None:
        """Is told what a setting came to; None: it failed or was given up. Of one that it was told of, nothing."""


class Grid:
    """All combinations of a member's axes; nothing is given up, so that a chart shows every point."""

    def __init__(self, member: plans.Member):
        self._settings = axes.product(member.axes)

    def __iter__(self) -> Iterator[tuple[int, plans.Setting]]:
        yield from enumerate(self._settings)

    def gives_up(self, number: int, epoch: int, value: float) -> bool:
        return False

    def tell(self, number: int, value: float | None, *, given_up: bool = False) -> None:
        pass


class Draws:
    """The settings that a model ships with, then others at random from its spaces, until somebody stops or all are had.

    The n-th is drawn by a generator of its own, so that it does not depend on what the others came to. In the few
    settings that minutes allow, a search by what it has seen would still draw at random too.
    """

    def __init__(self, member: plans.Member):
        self._member = member

    def __iter__(self) -> Iterator[tuple[int, plans.Setting]]:
        member = self._member
        yield 0, {}
        if not member.spaces:
            return
        values = member.config({}, member.seeds[0]).values()
        had = {tuple(_own_text(space, values.get(space.field)) for space in member.spaces)}
        for number in itertools.count(1):
            rng = np.random.default_rng([member.plan.seed or 0, zlib.crc32(member.name.encode()), number])
            for _ in range(TRIES):
                drawn = tuple(space.text(_drawn(space, rng)) for space in member.spaces)
                if drawn not in had:
                    break
            else:
                return
            had.add(drawn)
            yield number, {space.field: text for space, text in zip(member.spaces, drawn, strict=True)}

    def gives_up(self, number: int, epoch: int, value: float) -> bool:
        return False

    def tell(self, number: int, value: float | None, *, given_up: bool = False) -> None:
        pass


def _drawn(space: axes.Space, rng: np.random.Generator) -> Any:
    """A value: of a range evenly, by its logarithm where that is due; whole numbers with both ends."""
    if space.choices:
        return space.choices[rng.integers(len(space.choices))]
    if space.is_whole and not space.is_log:
        return rng.integers(int(space.low), int(space.high) + 1)
    if space.is_log:
        value = float(np.exp(rng.uniform(np.log(space.low), np.log(space.high))))
        return round(value) if space.is_whole else value
    return rng.uniform(space.low, space.high)


def _own_text(space: axes.Space, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return space.text(value) if is_number and not space.choices else config.show(value)


class Search:
    """Settings that optuna proposes, the model's own values first.

    Args:
      member: the model.
      file: the SQLite file; made if there is none.
      optuna: the library.
    """

    def __init__(self, member: plans.Member, file: pathlib.Path, optuna: Any):
        self._member, self._optuna = member, optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        start = member.config({}, member.seeds[0])
        count = member.plan.search
        self._make = lambda seed: optuna.create_study(
            study_name=member.name,
            storage=f"sqlite:///{file}",
            load_if_exists=True,
            direction="maximize",
            # Another seed after every start: the same one would draw the same settings again.
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(RANDOM, max(1, count // 3))),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=SPARED, n_warmup_steps=start.train.epochs // 4),
        )
        seed = member.plan.seed or 0
        self._study = self._make(seed)
        done = len(self._study.trials)
        if done:
            self._study = self._make((seed + done) % 2**32)
        else:
            values = start.values()
            own = {space.field: values.get(space.field) for space in member.spaces}
            self._study.enqueue_trial(
                {
                    space.field: config.show(own[space.field]) if space.choices else own[space.field]
                    for space in member.spaces
                    if space.holds(own[space.field])
                }
            )

    def __iter__(self) -> Iterator[tuple[int, plans.Setting]]:
        had: dict[tuple[str, ...], int] = {}
        for trial in self._tried()[: self._member.plan.search]:
            setting = self._setting(trial.params)
            had[tuple(setting.values())] = trial.number
            yield trial.number, setting
        distributions = {space.field: self._distribution(space) for space in self._member.spaces}
        again = 0
        while len(had) < self._member.plan.search and again < TRIES:
            trial = self._study.ask(distributions)
            setting = self._setting(trial.params)
            if (first := had.setdefault(tuple(setting.values()), trial.number)) == trial.number:
                again = 0
                yield trial.number, setting
            else:
                again += 1
                self._told_again(trial, first)

    def _tried(self) -> list[Any]:
        """The trials of settings that were not had before."""
        waiting = self._optuna.trial.TrialState.WAITING
        return [t for t in self._study.trials if t.state != waiting and REPEATS not in t.user_attrs]

    def _told_again(self, trial: Any, first: int) -> None:
        """Tells the study what a setting came to that it proposes again; nothing is trained."""
        states = self._optuna.trial.TrialState
        trial.set_user_attr(REPEATS, first)
        before = self._study.trials[first]
        if before.state == states.COMPLETE:
            self._study.tell(trial, before.value)
        else:
            self._study.tell(trial, state=states.FAIL)

    def gives_up(self, number: int, epoch: int, value: float) -> bool:
        frozen = self._study.trials[number]
        if epoch in frozen.intermediate_values or frozen.state.is_finished():
            return False  # it was told before the run was stopped, and goes on
        trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
        trial.report(value, epoch)
        return trial.should_prune()

    def tell(self, number: int, value: float | None, *, given_up: bool = False) -> None:
        states = self._optuna.trial.TrialState
        if self._study.trials[number].state.is_finished():
            return
        if value is None:
            self._study.tell(number, state=states.PRUNED if given_up else states.FAIL)
        else:
            self._study.tell(number, value)

    def _distribution(self, space: axes.Space) -> Any:
        kinds = self._optuna.distributions
        if space.choices:
            return kinds.CategoricalDistribution(space.choices)
        if space.is_whole:
            return kinds.IntDistribution(int(space.low), int(space.high), log=space.is_log)
        return kinds.FloatDistribution(space.low, space.high, log=space.is_log)

    def _setting(self, params: Mapping[str, Any]) -> plans.Setting:
        return {space.field: space.text(params[space.field]) for space in self._member.spaces if space.field in params}


def library() -> Any:
    """optuna. Raises ConfigError, with how to install it, where it is not there."""
    try:
        import optuna
    except ImportError:
        raise errors.ConfigError(MISSING) from None
    return optuna


def of(member: plans.Member, folder: pathlib.Path) -> Proposals:
    """The proposals of a member's plan; a search keeps its study in the sweep's folder."""
    if member.plan.minutes is not None:
        return Draws(member)
    if member.plan.search is None:
        return Grid(member)
    return Search(member, folder / "search.sqlite", library())
