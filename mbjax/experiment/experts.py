"""How a trained multi-task head uses its experts: mean gate weights over pairs, as PKEF and COPF plot them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from scipy import sparse

from mbjax import errors, heads, types
from mbjax.experiment import wiring
from mbjax.models import compose_config, composed

SPLITS = ("train", "valid", "test")


def expert_use(
    experiment: wiring.Experiment, params: types.Params, *, split: str = "test", sample: int = 10_000, seed: int = 0
) -> pl.DataFrame:
    """The mean gate weight of each expert of each task, over pairs of the task's behavior.

    ``expert_use(*restore(workdir)[:2])`` is that of a run.

    Args:
      experiment: the data set and the model.
      params: its parameters.
      split: whose pairs: ``"train"``, ``"valid"`` or ``"test"``. Often the last two hold pairs of the target only.
      sample: most pairs of a task, drawn without replacement.
      seed: of the draw.

    Returns:
      One row for each task and expert, in the order of the gate: ``task``, ``expert``, ``pairs`` (how many),
      ``mean`` and ``sd`` (population) of the weight. The means of a task sum to 1.

    Raises:
      ConfigError: a model without gates, an unknown split, a split without pairs of the tasks, or ``sample`` below 1.
    """
    config, info = experiment.config.model, experiment.dataset.info
    if split not in SPLITS:
        raise errors.unknown("split", split, SPLITS)
    if sample < 1:
        raise errors.ConfigError(f"sample is {sample}: it is at least 1.")
    if not isinstance(config, compose_config.ComposedConfig):
        raise _no_gates(f"model '{experiment.config.model_name}'")
    module = composed.Composed(config, info)
    head = heads.HEADS[config.head.name](config.head, info, compose_config.width(config, info))
    pairs: dict[str, sparse.csr_array] = getattr(experiment.dataset, split)
    rng, rows = np.random.default_rng(seed), []
    for task in experiment.model.tasks:
        if task not in pairs or not pairs[task].nnz:
            continue
        drawn = np.sort(rng.permutation(pairs[task].nnz)[:sample])
        user, item = (jnp.asarray(side[drawn], jnp.int32) for side in pairs[task].nonzero())
        index = info.behaviors.index(task)
        bound = functools.partial(module.apply, task=index, method=composed.Composed.pair_gates)
        weights = jax.jit(bound)(params, experiment.graphs, user, item)
        if weights is None:
            raise _no_gates(f"head '{config.head.name}'")
        for expert, values in zip(head.slots(index), np.asarray(weights, np.float64).T, strict=True):
            row = {"task": task, "expert": expert, "pairs": len(drawn)}
            rows.append(row | {"mean": float(values.mean()), "sd": float(values.std())})
    if not rows:
        raise errors.ConfigError(
            f"split '{split}' of data set '{info.name}' holds no pairs of {', '.join(experiment.model.tasks)}; "
            "choose split='train'."
        )
    return pl.DataFrame(rows)


def _no_gates(what: str) -> errors.ConfigError:
    return errors.ConfigError(
        f"{what} has no gates. Those of composed models with the heads dfme, pme, mesi, mmoe and ple can be asked for."
    )
