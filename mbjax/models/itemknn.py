r"""Item-based nearest neighbors: items like those that the user met, by the users that they share.

Deshpande, Karypis: "Item-based top-N recommendation algorithms", ACM TOIS 22 (2004), with the damped cosine of implicit
feedback. Nothing is learned. With R [U, I] of ones where a user met an item, x_i its columns, and N(i) the items most
similar to i, itself left out:

.. math::
    s_{ij} = \frac{x_i^T x_j}{|x_i|\,|x_j| + \sigma}, \qquad y_{ui} = \sum_{j \in N(i)} s_{ij} R_{uj}

sigma: ``shrinkage``, size of N: ``neighbors``. R unites the behaviors of ``behaviors``, or is that of the behavior
ranked (``history="behavior"``). Similarities: ``mbjax/ops/neighbors.py``.

Differences: the paper keeps, for each item that a user met, the items most similar to it. Here N(i) belongs to the
candidate, so that every candidate has equally many chances, and a tile of candidates can be scored by itself.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import pydantic

from mbjax import errors, types
from mbjax.models import untrained
from mbjax.ops import adjacency, neighbors


class ItemknnConfig(pydantic.BaseModel):
    """Neighborhoods and what they are made from."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    neighbors: int = pydantic.Field(100, ge=1, description="most similar items kept for each item [items]")
    shrinkage: float = pydantic.Field(
        10.0, ge=0, description="added to the denominator of the cosine, against similarities of few users [users]"
    )
    history: Literal["union", "behavior"] = pydantic.Field(
        "union",
        description="whose pairs make similarities and histories; union: those of model.behaviors united, for every "
        "ranking; behavior: those of the behavior that is ranked",
    )
    behaviors: tuple[str, ...] | None = pydantic.Field(
        None, min_length=1, description="behaviors that history=union unites; none: all"
    )

    @pydantic.model_validator(mode="after")
    def _one_choice(self) -> ItemknnConfig:
        if self.behaviors is not None and self.history == "behavior":
            raise ValueError("behaviors are chosen only with history=union")
        return self


def build(config: ItemknnConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: its neighborhoods.
      info: sizes and behaviors.
      batch_size: unused; there is nothing to train.

    Raises:
      ConfigError: a behavior that the data set does not have.
    """
    del batch_size
    for name in config.behaviors or ():
        if name not in info.behaviors:
            raise errors.unknown("behavior in model.behaviors", name, info.behaviors)
    if config.history == "behavior":
        specs = {name: types.GraphSpec((name,)) for name in info.behaviors}
        source = info.behaviors  # the graph of each ranking
    else:
        specs = {"history": types.GraphSpec(config.behaviors or info.behaviors)}
        source = ("history",) * info.num_behaviors

    def prepare(evidence):
        """What the items have to say, for each graph."""
        found = {}
        for name, spec in specs.items():
            matrix = adjacency.assemble(spec, evidence.train)
            near = neighbors.nearest(matrix, matrix, config.neighbors, config.shrinkage)
            histories = adjacency.assemble(spec, evidence.train, evidence.passive)
            found[f"{name} neighbors"] = neighbors.told(near, histories)
        return found

    def preparing(evidence):
        shapes, needed = {}, 0
        for name, spec in specs.items():
            matrix = adjacency.assemble(spec, evidence.train)
            shapes[f"{name} neighbors"] = neighbors.told_shapes(matrix, matrix, config.neighbors)
            needed = max(needed, 8 * matrix.nnz + neighbors.bytes_needed(matrix, matrix, config.neighbors))
        return types.Preparation(shapes, needed, "on the host", "a smaller model.neighbors")

    def encode(graphs):
        """The same with the histories of all users."""
        return {
            name: neighbors.spread(
                graphs[f"{name} neighbors"], (graphs[name].row_ptr, graphs[name].matrix.indices[:, 1])
            )
            for name in specs
        }

    def score(tables, users, start, size, behavior):
        return neighbors.scores(tables[source[behavior]], users, start, size)

    def shares(params, tables, user, item, behavior):
        found = neighbors.shares(tables[source[behavior]], user, item)
        if config.history == "union":
            return found[None]
        return jnp.zeros((info.num_behaviors, info.num_items), jnp.float32).at[behavior].set(found)

    united = (specs["history"].behaviors,) if config.history == "union" else tuple((b,) for b in info.behaviors)
    model = untrained.model(info, specs, encode, score)
    return model._replace(
        prepare=prepare, preparing=preparing, all_items=True, explanation=types.Explanation(united, shares)
    )
