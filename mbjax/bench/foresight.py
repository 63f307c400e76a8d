"""The memory of a run without running it: ``python -m mbjax.bench MODEL DATASET --memory``.

Sizes of arrays come from shapes, those of programs from compiling them; nothing is trained. What a model prepares of
the data it tells beforehand (``types.Model.preparing``), or estimates (``foreseen``); of one that does neither, nothing
is told. Programs of training with batches that a model draws itself (``teach``) are not counted but for the latter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax

from mbjax import ahead, errors, evaluate, machine, parallel, types
from mbjax import config as configuration
from mbjax.experiment import anchors, footprint, gathering, run, wiring
from mbjax.ops import graph, memory
from mbjax.train import pace, step

ASSEMBLY = 40
"""Bytes that the host takes for a stored entry of a graph while it is put together, beside the graph itself."""
DETAILS = 24
"""Bytes that the host takes for a training pair where familiar items are told from new ones."""
KEPT = 2
"""How many times a training state stands on the host while it is written to a checkpoint, beside itself."""
LATER = 100 * 2**20
"""Bytes of what a run that is trained loads when it first needs it, such as fonts and the writer of checkpoints."""

PROGRAMS = 350 * 10**6
"""Likewise of one that prepares much: it has compiled more, and threads have heaps."""


@dataclasses.dataclass(frozen=True)
class Footprint:
    """The memory of a run.

    Attributes:
      held: what stays from before the first step on.
      programs: what is taken beside it, one at a time.
      unknown: what is not counted.
      available: bytes that were free where arrays go before anything was made; None: nobody tells.
      process: bytes that this process has on the host, with the data; None: nobody tells.
    """

    held: tuple[footprint.Part, ...]
    programs: tuple[footprint.Part, ...]
    unknown: tuple[str, ...]
    available: int | None
    process: int | None

    @property
    def largest(self) -> footprint.Part | None:
        """The program that takes most."""
        return max(self.programs, key=lambda part: part.bytes, default=None)

    def record(self) -> dict[str, Any]:
        """As plain values, in bytes."""
        parts = {kind: {part.name: part.bytes for part in getattr(self, kind)} for kind in ("held", "programs")}
        told = {"process": self.process, "peak": self.peak, "available": self.available}
        return {**parts, **told, "not_counted": list(self.unknown)}

    @property
    def arrays(self) -> int:
        """Bytes where arrays go: all that stays and the largest program."""
        return sum(part.bytes for part in self.held) + (self.largest.bytes if self.programs else 0)

    @property
    def peak(self) -> int | None:
        """Bytes of the process at most, on a CPU; None: nobody tells, or not all is counted."""
        return None if self.process is None or self.unknown else self.process + self.arrays


def foresee(config: configuration.Config) -> Footprint:
    """Reads the data, compiles what a run would run, and adds up; nothing is trained.

    Raises:
      IncompatibleError: several devices.
      MbjaxError: what ``wiring.plan`` refuses.
    """
    if config.devices > 1:
        raise errors.IncompatibleError(
            f"--memory with --devices={config.devices}: it is told for one device, and each of several takes at most "
            "as much. Leave --devices out."
        )
    made = run.Run(wiring.plan(config))
    experiment, model = made.experiment, made.experiment.model
    free = memory.available()
    if model.foreseen is not None:
        return _estimated(made, free)
    if not footprint.is_told(model):
        what = f"what {config.model_name} prepares of the data before it is trained or ranks, and all programs after it"
        return Footprint((), (), (what,), free, _process(LATER))
    graphs, preparation = footprint.foretold(experiment)
    state = jax.eval_shape(lambda graphs: dataclasses.replace(experiment, graphs=graphs).start(), graphs)
    held, programs, unknown = footprint.resident(experiment, graphs, state), [], ()
    if preparation is not None:
        programs.append(footprint.Part(footprint.PREPARING, preparation.beside, preparation.note))
    if entries := max((graphs[name].matrix.nse for name in model.graphs), default=0):
        programs.append(
            footprint.Part("making of the largest graph", ASSEMBLY * entries, f"{entries:,} entries, on the host")
        )
    if experiment.is_trained:
        size = KEPT * footprint.size_of((state.params, state.opt_state))
        programs.append(footprint.Part("writing of a checkpoint", size, "copies on the host"))
    copies = 0
    if model.teach is not None:
        unknown = ("training, whose batches the model draws by itself",)
    elif experiment.is_trained:
        sampler, store = experiment.draws()
        store = jax.tree.map(footprint.shape_of, store)
        held.append(footprint.Part("pairs that batches are drawn from", footprint.size_of(store)))
        found = _chunk(experiment, sampler).memory(
            state, graphs, store, jax.eval_shape(sampler.plan, state.key, 0), _first(config, sampler.steps_per_epoch)
        )
        takes = found.total if found else 0
        programs.append(footprint.Part("training step", takes, f"{experiment.rows:,} rows of a batch"))
    if experiment.is_trained and made.split == "valid":
        copies = footprint.size_of(state.params)
    evaluator = made.evaluators["test"]
    note = "its tables" + (", parameters of the best epoch" if copies else "") + " and its largest program"
    passed = copies + _pass(evaluator, model, state.params, graphs)
    pairs = sum(matrix.nnz for matrix in experiment.dataset.train.values())
    programs.append(footprint.Part("test pass", passed + DETAILS * pairs, note))
    programs += list(_anchors(experiment, evaluator))
    later = LATER if experiment.is_trained else 0
    return Footprint(tuple(held), tuple(programs), unknown, free, _process(later))


def _estimated(made: run.Run, free: int | None) -> Footprint:
    """Of a model whose sizes only preparing decides; graphs are not made, and its program is compiled without them."""
    experiment, process = made.experiment, _process(PROGRAMS)  # before anything is compiled
    model, dataset, config = experiment.model, experiment.dataset, experiment.config
    joined = gathering.joins(model, dataset)
    before = gathering.evidence(dataset, config, times=model.times, teach=True, passing=joined)
    asked = made.evaluators["test"].users if model.few else None
    after = gathering.evidence(dataset, config, times=model.times, joined=joined, asked=asked)
    found = model.foreseen(before, after)
    state = jax.eval_shape(lambda: dataclasses.replace(experiment, graphs={}).start())
    given = state, {}, found.store, jax.eval_shape(found.sampler.plan, state.key, 0)
    step = _chunk(experiment, found.sampler).memory(*given, _first(config, found.sampler.steps_per_epoch))
    of_training = found.held + footprint.size_of(found.store)
    programs = [footprint.Part(name, round(size), "estimated") for name, size in found.stages.items()]
    takes = round(of_training) + (step.total if step else 0)
    programs.append(footprint.Part("training", takes, "lists, estimated, and a step, compiled"))
    held = tuple(footprint.resident(experiment, {}, state))
    return Footprint(held, tuple(programs), (), free, process)


def _pass(evaluator: evaluate.Evaluator, model: types.Model, params: types.Params, graphs: types.Graphs) -> int:
    """Bytes of an evaluation: its tables and the largest of its programs."""
    tables, passes = evaluator.programs(model, params, graphs)
    found = {name: ahead.memory(one.compile()) for name, one in passes.items()}
    encoding = found["encode"]  # returns the tables but for what stands among the graphs as it is
    made = encoding.results if encoding else footprint.size_of(tables)
    return made + max((one.temporary for one in found.values() if one), default=0)


def _anchors(experiment: wiring.Experiment, evaluator: evaluate.Evaluator) -> Iterator[footprint.Part]:
    """The models without training whose tables stand beside that of the run; their graphs are made for them alone."""
    for name in experiment.config.evaluate.anchors:
        model = anchors.build(name, experiment.dataset.info)
        if name != experiment.config.model_name and model.prepare is None:
            graphs = graph.shapes(model.graphs, experiment.dataset.train)
            params = jax.eval_shape(model.init, jax.random.key(0), graphs)
            size = footprint.size_of(graphs) + _pass(evaluator, model, params, graphs)
            yield footprint.Part(f"test pass of {name}", size, "an anchor of the final table")


def _process(later: int) -> int | None:
    now = machine.resident_memory()
    return None if now is None else now + later


def _chunk(experiment: wiring.Experiment, sampler: Any) -> ahead.Program:
    given = experiment.model, sampler, experiment.optimizer(), experiment.config.train.precision
    chunk = step.make_chunk(*given, by_row=experiment.by_row)
    return ahead.Program(parallel.ONE.compile_chunk(chunk))


def _first(config: configuration.Config, steps: int) -> int:
    if config.train.chunk_steps:
        return step.chunk_length(steps, config.train.chunk_steps)
    return pace.first_unit(steps, jax.default_backend())
