"""What a run is about to take of memory: refused before it is taken, where it does not fit.

Sizes of arrays come from shapes, that of the first program from compiling it (``ahead.Memory``); neither allocates
anything. What a model prepares of the data (``types.Model.prepare``) it tells beforehand (``preparing``); one that does
not refuses for itself.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax

from mbjax import config as configuration
from mbjax import errors, parallel, types
from mbjax.experiment import gathering, wiring
from mbjax.ops import graph, memory
from mbjax.train import loop

PREPARING = "preparing it"
LARGE = 2**26
"""Bytes of resident arrays from which on a run is asked, before its first step, whether it fits."""
GB = 1e9


class Part(NamedTuple):
    """A part of the memory.

    Attributes:
      name: in words.
      bytes: its size.
      note: what decides it.
    """

    name: str
    bytes: int
    note: str = ""


def is_told(model: types.Model) -> bool:
    """Whether it is known beforehand what stands among a model's graphs."""
    return model.prepare is None or model.preparing is not None


def foretold(experiment: wiring.Experiment) -> tuple[types.Graphs, types.Preparation | None]:
    """Shapes of all that stands among the graphs, and what preparing takes; None: nothing is prepared."""
    model, dataset = experiment.model, experiment.dataset
    graphs = graph.shapes(model.graphs, dataset.train)
    if model.prepare is None:
        return graphs, None
    found = model.preparing(gathering.evidence(dataset, experiment.config))
    return graphs | dict(found.made), found


def resident(experiment: wiring.Experiment, graphs: types.Graphs, state: types.TrainState) -> list[Part]:
    """Graphs, parameters and optimizer, as arrays or shapes."""
    asked = {name: graphs[name] for name in experiment.model.graphs}
    entries = sum(one.matrix.nse for one in asked.values() if isinstance(one, types.Graph))
    of_params = size_of(state.params)
    found = [Part("graphs", size_of(asked), f"{len(asked)}, of {entries:,} entries")] if asked else []
    if prepared := size_of(graphs) - size_of(asked):
        found.append(Part("what is prepared", prepared))
    number = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    found.append(Part("parameters", of_params, f"{number:,} numbers"))
    if experiment.is_trained:
        found.append(Part("optimizer", size_of(state.opt_state), experiment.config.train.optimizer))
    return found


def refuse_beginning(experiment: wiring.Experiment) -> None:
    """Refuses a run whose arrays alone do not fit, before its graphs are made.

    Small ones are not asked, nor are those of several devices.

    Raises:
      IncompatibleError: with the bytes of each part.
    """
    model, dataset = experiment.model, experiment.dataset
    if experiment.placement.size > 1 or not is_told(model):
        return
    pairs = sum(matrix.nnz for matrix in dataset.train.values())
    is_small = 4 * pairs + 256 * (dataset.info.num_users + dataset.info.num_items) < LARGE
    if is_small and model.prepare is None:
        return
    graphs, preparation = foretold(experiment)
    if is_small and size_of(graphs) + preparation.beside < LARGE:
        return
    state = jax.eval_shape(lambda graphs: dataclasses.replace(experiment, graphs=graphs).start(), graphs)
    parts = resident(experiment, graphs, state)
    if experiment.is_trained:
        parts.append(Part("gradients", size_of(state.params)))
    if preparation is not None:
        parts.append(Part(PREPARING, preparation.beside, preparation.note))
    _refuse(experiment.config, parts, memory.available(), preparation)


def refuse_first_step(experiment: wiring.Experiment, state: types.TrainState, advance: loop.Advance) -> None:
    """Refuses a training whose program does not fit beside the arrays that are there, before its first step.

    The program is compiled for it, and is the one that then runs. Small trainings are not asked.

    Raises:
      IncompatibleError: with the bytes of each part.
    """
    parts = resident(experiment, experiment.graphs, state)
    if advance.ahead is None or sum(part.bytes for part in parts) < LARGE:
        return
    free = memory.available()
    found = advance.ahead(state)
    if found is None or free is None or found.total <= free:
        return
    program = Part("a training step", found.total)
    _refuse(experiment.config, [*parts, program], free + sum(part.bytes for part in parts))


def _refuse(
    config: configuration.Config, parts: list[Part], free: int | None, preparation: types.Preparation | None = None
) -> None:
    needed = sum(part.bytes for part in parts)
    if free is None or needed <= free:
        return
    of = ", ".join(f"{part.name} {part.bytes / GB:.1f}" for part in sorted(parts, key=lambda part: -part.bytes))
    where = "memory" if jax.default_backend() == "cpu" else "memory of the accelerator"
    raise errors.IncompatibleError(
        f"model '{config.model_name}' on '{config.dataset}' takes {needed / GB:,.1f} GB ({of}); {free / GB:,.1f} GB of "
        f"{where} are free. {remedy(config, parts, preparation)}"
    )


def remedy(config: configuration.Config, parts: list[Part], preparation: types.Preparation | None = None) -> str:
    """What would make the largest of some parts smaller, as a sentence."""
    if preparation is not None and preparation.remedy:
        return f"Use {preparation.remedy}."
    largest = max(parts, key=lambda part: part.bytes).name
    has = configuration.known_fields(type(config.model))
    if largest == "graphs":
        return "Use fewer behaviors (--data.behaviors) or users with more pairs (--log.min_user_count)."
    ways = [f"a smaller {path}" for path in ("model.embedding_size",) if path in has]
    ways += [f"fewer {path}" for path in ("model.backbone.layers", "model.backbone.num_layers") if _has(config, path)]
    if largest == "optimizer" and config.train.optimizer == "adam":
        ways.append("--train.optimizer=sgd, which keeps nothing")
    ways.append("fewer users and items (--log.min_user_count, --log.min_item_count)")
    return f"Use {' or '.join(ways)}."


def _has(config: configuration.Config, path: str) -> bool:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return bool(value)


def shape_of(x: Any) -> jax.ShapeDtypeStruct:
    """An array's shape."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def size_of(tree: Any) -> int:
    """Bytes of all arrays or shapes of a tree, each once."""
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(tree)}.values()
    return sum(math.prod(leaf.shape) * (8 if parallel.is_key(leaf) else leaf.dtype.itemsize) for leaf in leaves)
