"""Times of an experiment's own programs: the chunk that trains, the pass that evaluates, the products of its graphs."""

from __future__ import annotations

import dataclasses

import jax

from mbjax import types
from mbjax.bench import timing
from mbjax.experiment import wiring
from mbjax.ops import graph
from mbjax.train import loop

LONG_TRAINING = 1000
"""Epochs of a training whose chunks are measured, where their length goes by their time."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Seconds of training.

    Attributes:
      compile: of the first chunk and the first order of users, beyond their usual times.
      step: of a step, the median of chunks.
      step_best: the same of the fastest chunk.
      order: of drawing the order of users for an epoch.
      epoch: of an epoch, order + steps x step; evaluations are not in it.
      steps_per_epoch: steps of an epoch.
      chunk_steps: steps of a chunk, which is one compiled call.
      chunks: chunks that were timed.
    """

    compile: float
    step: float
    step_best: float
    order: float
    epoch: float
    steps_per_epoch: int
    chunk_steps: int
    chunks: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Seconds of a pass over a split: encoding, ranking all items for all its users, all metrics.

    Attributes:
      compile: of the first pass, beyond the usual time.
      full_pass: of a pass, the median.
      best: the fastest.
      behaviors: behavior -> users that were ranked for.
    """

    compile: float
    full_pass: float
    best: float
    behaviors: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Product:
    """Seconds of a graph's product with a dense matrix.

    Attributes:
      graph: its name in the model.
      rows: R.
      columns: C.
      nnz: stored entries.
      width: D, of the dense matrix [C, D].
      forward: of A @ x.
      forward_and_gradient: of A @ x and A^T @ y.
    """

    graph: str
    rows: int
    columns: int
    nnz: int
    width: int
    forward: float
    forward_and_gradient: float


def training(
    experiment: wiring.Experiment,
    state: types.TrainState,
    *,
    repeat: int = timing.REPEAT,
    limit: float = timing.LIMIT,
    advance: loop.Advance | None = None,
) -> tuple[Training, types.TrainState]:
    """Trains on from a state, with the very chunks of a run.

    Args:
      experiment: with something to train.
      state: consumed.
      repeat: chunks that are timed, after a first one.
      limit: seconds; see ``timing.repeated``.
      advance: ``experiment.advance()``, where it is compiled already: ``compile`` tells nothing then.

    Returns:
      The times and the state that the training came to.
    """
    advance, placement = advance or experiment.advance(), experiment.placement
    steps = advance.steps_per_epoch
    held, plans = [placement.put(state)], []
    done = 0

    def draw():
        plans.append(advance.plan(held[0], len(plans)))
        return plans[-1]

    order = timing.repeated(draw, repeat, limit)
    compiling = order.compile
    if advance.pace:
        # The lengths that a long training settles on.
        place = 0
        while not advance.pace.is_settled:
            length = advance.pace.next(place)

            def unit(place=place, length=length):
                held[0], logged = advance.chunk(held[0], plans[-1], place, length)
                return logged

            advance.pace.told(timing.once(unit), LONG_TRAINING * steps)
            place = (place + length) % steps
        compiling += advance.pace.compiling
    length = min(advance.pace.long if advance.pace else advance.chunk_steps, steps)
    turns = -(-steps // length)

    def chunk():
        nonlocal done
        # A chunk of the same length at the end of an epoch that is no multiple of it: the short last batch is in it.
        first = min(done % turns * length, steps - length)
        held[0], logged = advance.chunk(held[0], plans[done // turns % len(plans)], first, length)
        done += 1
        return logged

    times = timing.repeated(chunk, repeat, limit)
    step = times.median / length
    found = Training(
        compile=times.compile + compiling,
        step=step,
        step_best=times.best / length,
        order=order.median,
        epoch=order.median + steps * step,
        steps_per_epoch=steps,
        chunk_steps=length,
        chunks=len(times.rest),
    )
    return found, placement.kept(held[0])


def evaluation(
    experiment: wiring.Experiment,
    params: types.Params,
    split: str = "test",
    *,
    repeat: int = timing.REPEAT,
    limit: float = timing.LIMIT,
) -> Evaluation:
    """Times whole passes over a split, as training and ``eval.py`` make them."""
    evaluator, graphs = experiment.evaluator(split), experiment.graphs_for(split)
    (params, graphs), tables = experiment.placement.placed(params, graphs), []

    def full_pass():
        tables.append(evaluator(experiment.model, params, graphs).table)

    times = timing.repeated(full_pass, repeat, limit)
    users = {behavior: row["users"] for behavior, row in tables[-1].items()}
    return Evaluation(times.compile, times.median, times.best, users)


def products(
    graphs: types.Graphs, width: int, *, repeat: int = timing.REPEAT, limit: float = timing.LIMIT
) -> list[Product]:
    """Times ``ops.graph.spmm`` for each graph, with random matrices of ``width`` columns."""
    found = []
    for name, one in graphs.items():
        if not isinstance(one, types.Graph):  # what a model prepared
            continue
        rows, columns = one.matrix.shape
        dense = jax.random.normal(jax.random.key(0), (columns, width))
        times = [
            median(lambda x, one: graph.spmm(one, x), dense, one, repeat=repeat, limit=limit)
            for median in (timing.median_seconds, timing.median_seconds_with_gradients)
        ]
        found.append(Product(name, rows, columns, one.matrix.nse, width, *times))
    return found
