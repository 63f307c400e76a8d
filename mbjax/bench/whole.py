"""A whole run measured: training, test pass and memory of one configuration, as a record."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import jax

from mbjax import config as configuration
from mbjax import machine, types
from mbjax.bench import measure as parts
from mbjax.bench import record, timing
from mbjax.experiment import wiring

WIDTH = 64  # columns of a dense matrix, for models without an embedding size


def measure(
    config: configuration.Config, repeat: int = timing.REPEAT, limit: float = timing.LIMIT
) -> tuple[dict[str, Any], wiring.Experiment, types.TrainState]:
    """Loads the data, trains for a while and evaluates.

    Args:
      config: from ``mbjax.config.load``.
      repeat: calls of each kind that are timed.
      limit: seconds that the calls of a kind may take together; see ``timing.repeated``.

    Returns:
      The record (plain values, times in seconds), the experiment, and the state that training came to.
    """
    found = record.heading(name(config), config)
    experiment = wiring.build(config)
    info, state = experiment.dataset.info, experiment.start()
    found |= {
        "users": info.num_users,
        "items": info.num_items,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "training": None,
    }
    memory = {"data, graphs and parameters": machine.peak_memory_mib()}
    if experiment.is_trained:
        training, state = parts.training(experiment, state, repeat=repeat, limit=limit)
        found["training"] = dataclasses.asdict(training)
        memory["and training"] = machine.peak_memory_mib()
    evaluation = parts.evaluation(experiment, state.params, repeat=repeat, limit=limit)
    memory["and the test pass"] = machine.peak_memory_mib()
    memory["on the accelerator"] = machine.peak_device_memory_mib()
    return found | {"evaluation": dataclasses.asdict(evaluation), "peak_memory_mib": memory}, experiment, state


def name(config: configuration.Config) -> str:
    """What a record of a run is called: the model and the data set."""
    return f"{config.model_name} on {os.path.basename(os.path.normpath(config.dataset))}"


def products(
    experiment: wiring.Experiment,
    width: int | None = None,
    repeat: int = timing.REPEAT,
    limit: float = timing.LIMIT,
) -> dict[str, Any]:
    """The part ``spmm`` of a record: the product of each graph; ``width`` None is the model's embedding size.

    None of graphs that ``--shard=tables`` divides: ``spmm_left_out`` says so.
    """
    if experiment.shards is not None:
        # A product of parts is no program of its own: it is one of several devices together.
        return {"spmm": [], "spmm_left_out": "sparse products of divided graphs (--shard=tables) are not timed alone"}
    width = width or getattr(experiment.config.model, "embedding_size", WIDTH)
    found = parts.products(experiment.graphs, width, repeat=repeat, limit=limit)
    return {"spmm": [dataclasses.asdict(one) for one in found]}
