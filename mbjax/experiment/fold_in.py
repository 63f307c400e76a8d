"""Users whom training has not seen, ranked by a trained model from their events alone.

They join the model as passive users (``ops.graph.from_train``), so that nothing changes for anybody else. Where the
model has a table with a row for each user, such as the embeddings of a graph model, theirs is of zeros: what it says of
them is what propagation brings from the items that they met. A known user with newer events keeps his trained row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import errors, models, precision, types
from mbjax.data import moments
from mbjax.experiment import gathering, wiring
from mbjax.ops import graph

ABLE = ("funnel", "ease", "itemknn", "bvae", "copf")
"""Models that an error names to one whose model cannot; there are more."""


class Extended(NamedTuple):
    """A model of U + N users, the last N of whom are passive.

    Attributes:
      model: built for U + N users.
      params: with rows for them.
      graphs: with rows for them.
    """

    model: types.Model
    params: types.Params
    graphs: types.Graphs


def can(model: types.Model) -> bool:
    """Whether a model ranks for users whom training has not seen."""
    return model.fold_in in (types.EXACT, types.PROPAGATED)


def describe(experiment: wiring.Experiment) -> str:
    """How exact the lists of such users are, or why there are none, in a few words."""
    name, how = experiment.config.model_name, experiment.model.fold_in
    if how == types.EXACT:
        return f"exact for {name}"
    if how == types.PROPAGATED:
        return f"approximate for {name}: by propagation from the items, without what training would learn of the user"
    return f"{name} cannot: {how}"


def extend(
    experiment: wiring.Experiment,
    params: types.Params,
    passive: Mapping[str, sparse.csr_array],
    known: np.ndarray | None = None,
    *,
    alone: bool = False,
    events: Mapping[str, moments.Moments] | None = None,
) -> Extended:
    """Adds passive users to a model.

    Args:
      experiment: the data set that it was trained on, and the model.
      params: the trained parameters.
      passive: behavior -> CSR [N, I], the pairs of the users; of every behavior of the data set.
      known: int [N], users of the data set whose trained rows are taken; -1: zeros. None: all zeros.
      events: when the pairs of the users happened; where that is not known, they do so at the end of all that is.
      alone: only the passive users are going to be ranked; what is prepared need not serve the others.

    Raises:
      IncompatibleError: the model cannot.
    """
    if not can(experiment.model):
        raise errors.IncompatibleError(
            f"model '{experiment.config.model_name}' cannot rank for users whom it was not trained on: "
            f"{experiment.model.fold_in}. Train again with them, or choose a model that can, such as {', '.join(ABLE)}."
        )
    info, config = experiment.dataset.info, experiment.config
    number = next(iter(passive.values())).shape[0]
    known = np.full(number, -1) if known is None else np.asarray(known)
    whole = info._replace(num_users=info.num_users + number, passive=number)
    size = config.train.batch_size if experiment.model.batch is None else experiment.model.batch.size
    model = models.entry(config.model_name).build(config.model, whole, size)
    graphs = graph.from_train(model.graphs, experiment.dataset.train, passive)
    if model.prepare is not None:
        joined = gathering.joins(experiment.model, experiment.dataset)
        more = {"passive": passive, "known": known, "alone": alone, "times": model.times, "passive_events": events}
        graphs |= precision.full(model.prepare)(gathering.evidence(experiment.dataset, config, joined=joined, **more))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), graphs))

    def grow(leaf: types.Array, wanted: jax.ShapeDtypeStruct) -> types.Array:
        """Rows for the passive users, along the axis that the users are on."""
        if leaf.shape == wanted.shape:
            return leaf
        (axis,) = (a for a, (old, new) in enumerate(zip(leaf.shape, wanted.shape, strict=True)) if old != new)
        if (leaf.shape[axis], wanted.shape[axis]) != (info.num_users, whole.num_users):
            raise ValueError(f"a parameter of shape {leaf.shape} cannot become {wanted.shape} for {number} more users.")
        rows = jnp.take(leaf, jnp.maximum(known, 0), axis=axis)
        is_known = jnp.asarray(known >= 0).reshape([-1 if a == axis else 1 for a in range(leaf.ndim)])
        return jnp.concatenate([leaf, jnp.where(is_known, rows, 0)], axis=axis)

    return Extended(model, jax.tree.map(grow, params, shapes), graphs)
