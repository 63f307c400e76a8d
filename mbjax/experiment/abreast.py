"""Several runs in one program: they differ by the seed alone, go on step by step together, and end each for itself."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from mbjax import abreast, errors, parallel
from mbjax.experiment import run, wiring
from mbjax.train import loop, step

Ending = str | errors.TrainingDivergedError
"""Why a run ended: a reason of ``loop.fit``, or what went wrong."""


def advance(experiment: wiring.Experiment, among: abreast.Abreast) -> loop.Advance:
    """How the states of several runs move on together; each draws for itself, as it would alone."""
    sampler, store = experiment.draws()
    graphs, store = parallel.Placement(among.devices).everywhere((experiment.graphs, store))
    given = experiment.model, sampler, experiment.optimizer(), experiment.config.train.precision
    chunk = step.make_chunk(*given, by_row=experiment.by_row)
    compiled, plan = among.compile_chunk(chunk), among.compile_plan(sampler.plan)
    return step.advance(
        lambda state, epoch: plan(state.key, epoch),
        lambda state, order, first, length: compiled(state, graphs, store, order, first, length),
        sampler.steps_per_epoch,
        experiment.config.train.chunk_steps,
    )


def fit(runs: Sequence[run.Run], among: abreast.Abreast) -> list[Ending]:
    """Trains runs that are open, at most as many as ``among`` has room for; returns why each ended.

    A run that has ended is computed on until the others have, and what comes of it is dropped: no program is compiled
    anew. Runs that stand at different steps, as a kill between two saves leaves them, go on in groups.
    """
    endings: dict[int, Ending] = {
        place: "patience" if made.has_waited else "time"
        for place, made in enumerate(runs)
        if made.has_waited or made.is_out_of_time()
    }
    for at in sorted({made.position.step for place, made in enumerate(runs) if place not in endings}):
        places = [n for n, made in enumerate(runs) if n not in endings and made.position.step == at]
        for place, ending in zip(places, _fit([runs[n] for n in places], among), strict=True):
            endings[place] = ending
        if "signal" in endings.values():
            endings |= {place: "signal" for place in range(len(runs)) if place not in endings}
    return [endings[place] for place in range(len(runs))]


def _fit(runs: Sequence[run.Run], among: abreast.Abreast) -> list[Ending]:
    first, endings = runs[0], {}
    positions = [made.position for made in runs]
    # Those of the epoch begun; what fills the states up adds to none.
    fill = [*positions, *positions[-1:] * (among.size - len(runs))]
    sums = {name: np.array([p.sums[name] for p in fill]) for name in positions[0].sums}
    position = loop.Position(positions[0].step, sums, sum(p.seconds for p in positions))
    state = among.put([made.state for made in runs])
    for made in runs:
        made.state = None

    def going():
        return [(place, made) for place, made in enumerate(runs) if place not in endings]

    def end(place, ending, state, position):
        """Keeps the last state of a run."""
        made, endings[place] = runs[place], ending
        made.state, made.position = among.part(state, place), position
        try:
            made.keeper.save(made.state, position)
        except errors.TrainingDivergedError as error:
            endings[place] = made.diverged(error)

    def check(losses, at, epoch):
        for place, made in going():
            try:
                loop.check_finite(losses[place], at, epoch)
            except errors.TrainingDivergedError as error:
                endings[place] = made.diverged(error)

    with loop.signals() as should_stop, first.progress("mean of seeds, " if len(runs) > 1 else "") as bar:

        def on_chunk(new, position):
            bar.chunk(position.step % first.steps_per_epoch / first.steps_per_epoch)

        def on_epoch(epoch, new, position):
            losses, evaluated = [], False
            for place, made in going():
                own = position.of(place, len(runs))
                losses.append(own.sums["loss"])
                params = among.part(new.params, place) if made.is_due(epoch, own.seconds) else None
                try:
                    evaluated = made.end_epoch(epoch, own, params)
                    made.keep(position.step, functools.partial(among.part, new, place))
                except errors.TrainingDivergedError as error:
                    endings[place] = made.diverged(error)
                    continue
                if made.given_up or made.has_waited or made.is_out_of_time():
                    end(place, made.why("patience"), new, loop.Position(position.step))
            best = [made.best_value for made in runs]
            best = None if None in best else sum(best) / len(best)
            bar.epoch(sum(losses) / max(len(losses), 1), best=best, evaluated=evaluated)
            return not going()

        state, position, reason = loop.fit(
            state,
            position,
            first.advance,
            epochs=first.config.train.epochs,
            on_epoch=on_epoch,
            on_chunk=on_chunk,
            should_stop=should_stop,
            check=check,
        )
    for place, _ in going():
        end(place, reason, state, position.of(place, len(runs)))
    return [endings[place] for place in range(len(runs))]
