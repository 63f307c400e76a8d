"""The parameters of another run as the start of this one: pre-training, and going on with other settings."""

from __future__ import annotations

import collections
import pathlib

import jax

from mbjax import errors, types
from mbjax.experiment import runs, wiring
from mbjax.reporting import printout

MOST_NAMED = 12  # arrays in the line that says where a run starts from


def apply(experiment: wiring.Experiment, state: types.TrainState, workdir: str | pathlib.Path) -> types.TrainState:
    """Puts the trained parameters of a run in place of the random ones that have the same name.

    Models that share their tables alone, such as a LightGCN of views and MB-CGCN, share just these. What has no
    counterpart stays random, which is said, what the data decide (``Model.measured``) is this run's, and the optimizer
    starts from nothing.

    Args:
      experiment: what is about to be trained.
      state: its state before the first step.
      workdir: the other run's folder. Its best checkpoint is taken, where it has none the last.

    Raises:
      ConfigError: there is no run in the folder.
      CheckpointError: it has no sound checkpoint, or its data set has changed since.
      IncompatibleError: it has other users or items, no parameter in common, or one of another shape.
    """
    source = runs.build(workdir, *runs.locate(workdir, None, None), prepared=False)
    trained, where = runs.restore_params(workdir, source)
    for kind in ("users", "items"):
        if getattr(source.dataset, kind) != getattr(experiment.dataset, kind):
            raise errors.IncompatibleError(
                f"train.init_from={workdir}: that run is of data set '{source.dataset.info.name}', which has other "
                f"{kind} than '{experiment.dataset.info.name}'. Name a run of the same users and items."
            )
    there = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(trained)}
    leaves, structure = jax.tree_util.tree_flatten_with_path(state.params)
    measured = experiment.model.measured
    params, taken, random, own = [], [], [], []
    for path, leaf in leaves:
        name = _name(path)
        if name.split("/")[0] in measured:
            own.append(name)
            params.append(leaf)
            continue
        found = there.get(name)
        (random if found is None else taken).append(name)
        if found is not None and found.shape != leaf.shape:
            raise errors.IncompatibleError(
                f"train.init_from={workdir}: {name} is {_shape(found)} there and {_shape(leaf)} here. Give both runs "
                "the same sizes, such as --embedding_size."
            )
        params.append(leaf if found is None else found)
    if not taken:
        raise errors.IncompatibleError(
            f"train.init_from={workdir}: {source.config.model_name} and {experiment.config.model_name} have no "
            f"parameter in common. There: {', '.join(sorted(there)) or 'none'}."
        )
    rest = f"; at random: {_listed(random)}" if random else ""
    rest += f"; of these data: {_listed(own)}" if own else ""
    printout.say(f"start from {workdir} ({where['checkpoint']}, step {where['step']:,}): {_listed(taken)}{rest}")
    return state.replace(params=jax.tree_util.tree_unflatten(structure, params))


def _name(path: jax.tree_util.KeyPath) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/").removeprefix("params/")


def _listed(names: list[str]) -> str:
    """All of a few; of many, how many there are of each kind."""
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    kinds = collections.Counter(name.split("/")[0] for name in names)
    return ", ".join(name if number == 1 else f"{name} ({number} arrays)" for name, number in kinds.items())


def _shape(leaf: types.Array) -> str:
    return " x ".join(map(str, leaf.shape))
