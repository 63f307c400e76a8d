"""What is inside a composed model: how its gates use experts, and whether its tasks pull parameters the same way."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from mbjax import config as configuration
from mbjax import errors, models, types
from mbjax.models import compose_config
from mbjax.reporting.figures import drawing

BATCHES = 8
"""Batches whose gradients are compared."""


def experts(runs: Sequence[pathlib.Path]) -> drawing.Drawn:
    """Mean weights of the experts in the gate of each task, over test pairs (training pairs where a task has none).

    PKEF, Figure 7: a panel for each run.
    """
    from mbjax.experiment import experts as use
    from mbjax.experiment import runs as stored

    tables, panels = [], []
    for place in runs:
        experiment, params, _ = stored.restore(place)
        try:
            found = use.expert_use(experiment, params, split=_split_of_all(experiment))
        except errors.ConfigError as error:
            raise errors.ConfigError(f"run {place}: {error}") from None
        tables.append(found.select(pl.lit(place.name).alias("run"), pl.all()))
        tasks = list(dict.fromkeys(found["task"]))
        names = list(dict.fromkeys(found["expert"]))
        means = {(row["task"], row["expert"]): row["mean"] for row in found.to_dicts()}
        series = {name: [means.get((task, name), np.nan) for task in tasks] for name in names}
        panels.append(drawing.Bars(place.name, tasks, series, "task", "mean weight in the gate"))
    note = "A task that believes its own expert alone learns nothing from the others; equal weights tell none apart."
    return drawing.Drawn(pl.concat(tables), panels, "which experts a task believes", note)


def _split_of_all(experiment) -> str:
    test = experiment.dataset.test
    return "test" if all(task in test and test[task].nnz for task in experiment.model.tasks) else "train"


def conflict(runs: Sequence[pathlib.Path]) -> drawing.Drawn:
    """Cosine of the gradients of two tasks' ranking losses, by what they are gradients of, at a run's parameters.

    With a DFME head both with the target's gradient stopped in other tasks (``stop_gradient=target``) and without:
    what decoupling does about conflicts (COPF, section 3.4). Mean over the first batches of an epoch.
    """
    from mbjax.experiment import runs as stored

    rows, panels = [], []
    for place in runs:
        experiment, params, _ = stored.restore(place)
        config = experiment.config
        if not isinstance(config.model, compose_config.ComposedConfig) or len(experiment.model.tasks) < 2:
            raise errors.ConfigError(
                f"run {place}: gradients of tasks are compared of composed models with several tasks, such as copf and "
                f"pkef; '{config.model_name}' is none."
            )
        readings = {"": experiment.model}
        if config.model.head.name == "dfme":
            readings = {f"stop_gradient={way}": _rebuilt(experiment, way) for way in ("none", "target")}
        groups: list[str] = []
        series: dict[str, list[float]] = {}
        for reading, model in readings.items():
            for (first, second), cosines in _cosines(experiment, model, params).items():
                groups = list(cosines)
                series[f"{first}, {second}" + (f" ({reading})" if reading else "")] = list(cosines.values())
                rows += [
                    {"run": place.name, "reading": reading or "as trained", "first": first, "second": second}
                    | {"parameters": group, "cosine": value}
                    for group, value in cosines.items()
                ]
        panels.append(drawing.Bars(place.name, groups, series, "parameters", "cosine of gradients"))
    note = "Below 0 a step that helps one task harms the other; 0 where one of them does not reach the parameters."
    return drawing.Drawn(pl.DataFrame(rows), panels, "do tasks pull the same way?", note)


def _rebuilt(experiment, way: str) -> types.Model:
    config = configuration.override(experiment.config, {"model.head.stop_gradient": way})
    return models.entry(config.model_name).build(config.model, experiment.dataset.info, experiment.rows)


def _cosines(experiment, model: types.Model, params: Any) -> dict[tuple[str, str], dict[str, float]]:
    """Two tasks -> what the gradients are of -> mean cosine."""
    sampler, store = experiment.draws()
    key = jax.random.key(experiment.config.seed)
    tasks = list(model.tasks)

    @jax.jit
    def cosines(place):
        batch = sampler.batch(store, sampler.plan(key, 0), key, place)

        def part(params, task):
            parts = model.loss(params, experiment.graphs, batch, key, place)[1]
            return parts[f"bpr_{task}"]

        gradients = [_grouped(jax.grad(part)(params, task)) for task in tasks]
        return {
            (tasks[a], tasks[b]): {name: _cosine(gradients[a][name], gradients[b][name]) for name in gradients[a]}
            for a, b in itertools.combinations(range(len(tasks)), 2)
        }

    number = min(BATCHES, sampler.steps_per_epoch)
    found = [jax.device_get(cosines(jnp.int32(place))) for place in range(number)]
    return {  # in funnel order, which a dict loses on its way through JAX
        pair: {name: float(np.mean([one[pair][name] for one in found])) for name in found[0][pair]}
        for pair in itertools.combinations(tasks, 2)
    }


def _grouped(gradient: Any) -> dict[str, types.Array]:
    """User table, item table, backbone, head: all entries of each, flat; what has none is left out."""
    tree = gradient.get("params", gradient)
    return {
        name: jnp.concatenate([leaf.ravel() for leaf in leaves])
        for name, leaves in ((name, jax.tree.leaves(below)) for name, below in sorted(tree.items()))
        if leaves
    }


def _cosine(first: types.Array, second: types.Array) -> types.Array:
    below = jnp.linalg.norm(first) * jnp.linalg.norm(second)
    return jnp.where(below > 0, jnp.vdot(first, second) / jnp.where(below > 0, below, 1.0), 0.0)
