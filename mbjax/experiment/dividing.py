"""An experiment whose users are divided among its devices: ``--shard=tables``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
import scipy.sparse

from mbjax import data, errors, hosts, parallel, shards, types
from mbjax.ops import divided_graph, divided_sampling, graph
from mbjax.train import lazy, loop, step


def check(model: types.Model, name: str, section: Any) -> None:
    """Raises IncompatibleError for a model that has nothing to divide, or draws for all users at once."""
    backbone = getattr(section, "backbone", None)
    if rates := [field for field in ("dropout_rate", "edge_dropout_rate") if getattr(backbone, field, 0)]:
        raise errors.IncompatibleError(
            f"--shard=tables: the dropout masks of model '{name}' are drawn for all users at once. "
            f"Leave --shard out, or set {' and '.join(f'--model.backbone.{field}=0' for field in rates)}."
        )
    if model.batch is not None and model.batch.undivided:
        raise errors.IncompatibleError(
            f"--shard=tables divides batches by user; the loss of model '{name}' is of a batch as a whole. "
            "Leave --shard out."
        )
    if model.batch is not None and model.prepare is None and model.teach is None:
        return
    what = "is not trained" if model.batch is None else "computes a closed form of all users at once"
    raise errors.IncompatibleError(
        f"--shard=tables divides user tables, graphs and histories; model '{name}' {what}. Leave --shard out."
    )


def divide(
    make: Callable[[int], types.Model],
    info: types.DatasetInfo,
    placement: parallel.Placement,
    optimizer: optax.GradientTransformation,
) -> shards.Shards:
    """How the users of a data set are divided among some devices.

    Args:
      make: number of users -> the model, built for so many.
      info: of the data set.
      placement: the devices.
      optimizer: of the training.
    """
    block = -(-info.num_users // placement.size)
    states, tables = zip(
        *(_shapes(make(number), number, optimizer) for number in (block * placement.size, block)), strict=True
    )
    given = {"devices": placement.devices, "backend": placement.backend, "hosts": placement.hosts}
    return shards.Shards(
        **given, model=make(block), num_users=info.num_users, block=block, states=states, tables=tables
    )


def _shapes(model: types.Model, num_users: int, optimizer: optax.GradientTransformation) -> tuple[Any, Any]:
    graphs = probe(model, num_users)
    state = jax.eval_shape(lambda graphs: step.init_state(model, graphs, optimizer, 0), graphs)
    return state, jax.eval_shape(model.encode, state.params, graphs)


def probe(model: types.Model, num_users: int) -> types.Graphs:
    """Graphs of one pair: initial values depend on the shapes of graphs alone."""
    one = scipy.sparse.csr_array(([1.0], ([0], [0])), shape=(num_users, model.info.num_items), dtype=np.float32)
    return graph.from_train(model.graphs, dict.fromkeys(model.info.behaviors, one))


def start(model: types.Model, num_users: int, optimizer: optax.GradientTransformation, seed: int) -> types.TrainState:
    """The state before the first step, in the host's memory: no device needs to hold all of it."""
    with jax.default_device(hosts.memory()):
        return step.init_state(model, probe(model, num_users), optimizer, seed)


def graphs(placement: shards.Shards, model: types.Model, dataset: data.Dataset) -> types.Graphs:
    """The graphs that a model asks for, each device's part on it."""
    return divided_graph.from_train(model.graphs, dataset.train, placement.block, placement)


def advance(
    placement: shards.Shards,
    model: types.Model,
    train: Mapping[str, scipy.sparse.csr_array],
    graphs: types.Graphs,
    optimizer: optax.GradientTransformation,
    chunk_steps: int,
    products: str,
    by_row: lazy.ByRow | None = None,
) -> loop.Advance:
    """How training moves a divided state on; the batches are those of one device.

    Programs differ by the rows of a device's batch: a longer one is compiled when an epoch needs it.

    Args:
      placement: how the users are divided.
      model: of all users.
      train: the training pairs.
      graphs: divided.
      optimizer: of the training.
      chunk_steps: longest chunk; 0: automatic.
      products: precision of matrix products.
      by_row: updates tables by row; None: as a whole.
    """
    sampler, store = divided_sampling.user_sampler(model.batch, train, placement.block, placement)
    draw = placement.compile_plan(sampler.plan)
    programs: dict[int, Callable[..., Any]] = {}
    own = placement.own

    def plan(state, epoch):
        order = draw(state.key, epoch)
        rows = max(sampler.needed(parallel.whole(order), placement.size), *programs, 0)
        if rows not in programs:
            given = placement.model, sampler._replace(rows=rows), optimizer, products, own
            chunk = step.make_chunk(*given, by_row)
            programs[rows] = placement.compile_divided(chunk)
        return order, programs[rows]

    def chunk(state, order, first, length):
        places, program = order
        return program(state, graphs, store, places, first, length)

    return step.advance(plan, chunk, sampler.steps_per_epoch, chunk_steps)
