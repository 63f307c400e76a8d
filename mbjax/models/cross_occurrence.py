r"""Cross-occurrence: items that a user met by any behavior speak for items of the ranked one, by the users they share.

After the correlated cross-occurrence of Apache Mahout, which compares the items of one action with those of another;
here with the damped cosine of ``itemknn``. Nothing is learned. With R^a [U, I] of ones where a user met an item by
behavior a, x^a_j its columns, and N^a_t(i) the items of behavior a most similar to item i of the ranked behavior t, i
itself left out:

.. math::
    s^{a \to t}_{ij} = \frac{(x^a_j)^T x^t_i}{|x^a_j|\,|x^t_i| + \sigma}, \qquad
    y^t_{ui} = \sum_a w_a \sum_{j \in N^a_t(i)} s^{a \to t}_{ij} R^a_{uj}

"Who viewed j bought i" is another statement than "who bought j bought i", and a weaker one of which there are more:
w_a = 1 for the ranked behavior itself and ``others`` for the others, unless ``weights`` names the behavior. Of the
ranked behavior alone (``others=0``) it is ``itemknn`` with ``history="behavior"``.

An item does not speak for itself: that someone viewed it is what ``own_items`` ranks by. Similarities: K of [I, N] for
each ranked behavior, 8 bytes an entry (``mbjax/ops/neighbors.py``).

Differences: Mahout keeps the pairs of items with the largest log-likelihood ratio. Here they are kept and weighed by
the cosine, so that the ranked behavior's own part is what ``itemknn`` computes.
"""

from __future__ import annotations

from typing import Annotated

import jax.numpy as jnp
import pydantic

from mbjax import errors, types
from mbjax.models import untrained
from mbjax.ops import adjacency, neighbors

Weight = Annotated[float, pydantic.Field(ge=0)]


class CrossOccurrenceConfig(pydantic.BaseModel):
    """Neighborhoods, and how much each behavior has to say."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    neighbors: int = pydantic.Field(
        100, ge=1, description="most similar items kept for each item, from each behavior [items]"
    )
    shrinkage: float = pydantic.Field(
        10.0, ge=0, description="added to the denominator of the cosine, against similarities of few users [users]"
    )
    others: Weight = pydantic.Field(
        0.1, description="weight of what a user met by another behavior than the ranked one, whose own is 1"
    )
    weights: dict[str, Weight] = pydantic.Field(
        {}, description="weight of single behaviors, whichever is ranked: BEHAVIOR=WEIGHT, ...; not named: 1 or others"
    )


def build(config: CrossOccurrenceConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: its neighborhoods and weights.
      info: sizes and behaviors.
      batch_size: unused; there is nothing to train.

    Raises:
      ConfigError: a behavior that the data set does not have, or one for which nothing speaks.
    """
    del batch_size
    for name in config.weights:
        if name not in info.behaviors:
            raise errors.unknown("behavior in model.weights", name, info.behaviors)
    weights = {ranked: _weights(config, info, ranked) for ranked in info.behaviors}
    specs = {name: types.GraphSpec((name,)) for name in info.behaviors}

    def prepare(evidence):
        """For each ranked behavior what each behavior's items have to say."""
        matrices = {name: adjacency.assemble(spec, evidence.train) for name, spec in specs.items()}
        histories = {name: adjacency.assemble(spec, evidence.train, evidence.passive) for name, spec in specs.items()}
        return {
            f"{name} to {ranked}": neighbors.told(
                neighbors.nearest(matrices[ranked], matrices[name], config.neighbors, config.shrinkage),
                histories[name],
            )
            for ranked, speaking in weights.items()
            for name in speaking
        }

    def preparing(evidence):
        matrices, shapes, needed = evidence.train, {}, 0
        for ranked, speaking in weights.items():
            for name in speaking:
                pair = matrices[ranked], matrices[name], config.neighbors
                shapes[f"{name} to {ranked}"] = neighbors.told_shapes(*pair)
                needed = max(needed, neighbors.bytes_needed(*pair))
        needed += 8 * sum(matrix.nnz for matrix in matrices.values())
        return types.Preparation(shapes, needed, "on the host", "a smaller model.neighbors")

    def encode(graphs):
        """The same with the histories of all users."""

        def between(ranked, name):
            history = graphs[name].row_ptr, graphs[name].matrix.indices[:, 1]
            return neighbors.spread(graphs[f"{name} to {ranked}"], history)

        return {ranked: {name: between(ranked, name) for name in speaking} for ranked, speaking in weights.items()}

    def score(tables, users, start, size, behavior):
        ranked = info.behaviors[behavior]
        return sum(
            weight * neighbors.scores(tables[ranked][name], users, start, size)
            for name, weight in weights[ranked].items()
        )

    def shares(params, tables, user, item, behavior):
        ranked, nothing = info.behaviors[behavior], jnp.zeros(info.num_items, jnp.float32)
        return jnp.stack(
            [
                weights[ranked][name] * neighbors.shares(tables[ranked][name], user, item)
                if name in weights[ranked]
                else nothing
                for name in info.behaviors
            ]
        )

    explanation = types.Explanation(tuple((name,) for name in info.behaviors), shares)
    return untrained.model(info, specs, encode, score)._replace(
        prepare=prepare, preparing=preparing, explanation=explanation, all_items=True
    )


def _weights(config: CrossOccurrenceConfig, info: types.DatasetInfo, ranked: str) -> dict[str, float]:
    """Behavior -> w_a where a behavior is ranked; those of weight 0 are left out."""
    given = {name: config.weights.get(name, 1.0 if name == ranked else config.others) for name in info.behaviors}
    found = {name: weight for name, weight in given.items() if weight}
    if not found:
        raise errors.ConfigError(
            f"model.weights and model.others leave nothing that speaks for '{ranked}': every weight is 0. Give one of "
            f"{', '.join(info.behaviors)} a weight above 0."
        )
    return found
