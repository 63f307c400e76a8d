"""What a backbone is: graphs in, one table of user and item rows for each behavior out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pydantic
from flax import linen as nn

from mbjax import errors, types
from mbjax.ops import graph

XAVIER = nn.initializers.glorot_uniform()
DROPOUT = "dropout"  # the stream of random numbers that a training step gives


class Encoding(NamedTuple):
    """Representations of all nodes, users first: float [U + I, D] each.

    Attributes:
      behaviors: Z, one table for each behavior in funnel order.
      parallel: P, tables of a second stream that is trained beside it and not used to rank; () if there is none.
      alignment: two tables that a model may align, anchors and candidates; () if there are none.
      views: K tables, one for each behavior, that the star-shaped term aligns; (): those of ``behaviors``.
      regularized: the rows that ``l2_on="encoded"`` squares; None: those of the trained behaviors.
      merged: one table for all behaviors, where the encoder makes one beside those of each; None: it does not.
    """

    behaviors: tuple[types.Array, ...]
    parallel: tuple[types.Array, ...] = ()
    alignment: tuple[types.Array, ...] = ()
    views: tuple[types.Array, ...] = ()
    regularized: types.Array | None = None
    merged: types.Array | None = None


class Section(pydantic.BaseModel):
    """Base of the configurations of backbones and heads."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Backbone(nn.Module):
    """Base of the backbones; ``graphs`` says which matrices ``__call__`` receives.

    Attributes:
      config: the section of the configuration.
      info: sizes and behaviors.
    """

    config: Any
    info: types.DatasetInfo

    # Of the embedding tables, which the model owns.
    base_init = staticmethod(XAVIER)

    @staticmethod
    def graphs(config: Any, info: types.DatasetInfo) -> Mapping[str, types.GraphSpec]:
        """The matrices that it needs."""
        raise NotImplementedError

    @staticmethod
    def width(config: Any, info: types.DatasetInfo, size: int) -> int:
        """The width of its tables, where that of the embedding tables is ``size``."""
        del config, info
        return size

    def __call__(self, graphs: types.Graphs, base: types.Array) -> Encoding:
        """Encodes all nodes; ``base`` is E0, float [U + I, D]."""
        raise NotImplementedError

    def penalty(self) -> types.Array | float:
        """The sum of squares of its regularized weights, the embedding tables not counted."""
        return 0.0

    def drop(self, rows: types.Array, rate: float) -> types.Array:
        """Inverted dropout of entries [N, D] while training; in evaluation the rows as they are.

        The masks are drawn from the step's key, so that all devices draw the same.
        """
        if not rate or not self.has_rng(DROPOUT):
            return rows
        keep = jax.random.bernoulli(self.make_rng(DROPOUT), 1.0 - rate, rows.shape)
        return jnp.where(keep, rows / (1.0 - rate), 0.0)

    def thin(self, matrix: types.Graph, rate: float) -> types.Graph:
        """Inverted dropout of a matrix's entries while training, as ``drop``; degrees are left to the caller."""
        if not rate or not self.has_rng(DROPOUT):
            return matrix
        return graph.thinned(matrix, self.make_rng(DROPOUT), rate)

    def of_users(self) -> types.Array | float:
        """The part of ``penalty`` that is a sum over users."""
        return 0.0


def per_behavior(values: Sequence[int], info: types.DatasetInfo, field: str) -> tuple[int, ...]:
    """One value for each behavior; a single one is for all.

    Raises:
      ConfigError: another number of values.
    """
    if len(values) == 1:
        return tuple(values) * info.num_behaviors
    if len(values) != info.num_behaviors:
        raise errors.ConfigError(
            f"model.{field}={','.join(map(str, values))} has {len(values)} values for {info.num_behaviors} behaviors "
            f"({', '.join(info.behaviors)}): give one for each, or a single one for all, with --{field}=..."
        )
    return tuple(values)


def own_graphs(info: types.DatasetInfo, normalization: str, **more: Any) -> dict[str, types.GraphSpec]:
    """The bipartite matrix of each behavior by itself, under the behavior's name."""
    return {name: types.GraphSpec((name,), "bipartite", normalization, **more) for name in info.behaviors}


def matrix_name(behaviors: Sequence[str], normalization: str, entries: str = "union") -> str:
    """A name that tells a matrix from the left-normalized ones, which heads ask for by the bare names of behaviors."""
    marks = [mark for mark, usual in ((entries, "union"), (normalization, "left")) if mark != usual]
    return ", ".join(["+".join(behaviors), *marks])


def named_graphs(info: types.DatasetInfo, normalization: str) -> dict[str, types.GraphSpec]:
    """``own_graphs`` under names that tell them from those that heads ask for."""
    return {matrix_name((name,), normalization): spec for name, spec in own_graphs(info, normalization).items()}


def initial(std: float) -> nn.initializers.Initializer:
    """Normal initial values of a standard deviation; 0: XAVIER."""
    return nn.initializers.normal(std) if std else XAVIER


def uniform(inputs: int) -> nn.initializers.Initializer:
    """Uniform initial values within sqrt(3 / inputs), so that their variance is 1 / inputs."""
    limit = float((3.0 / inputs) ** 0.5)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -limit, limit)


def users_items(table: types.Array, info: types.DatasetInfo) -> tuple[types.Array, types.Array]:
    """Cuts a table [U + I, D] into its users [U, D] and items [I, D]."""
    user, item = jnp.split(table, [info.num_users])  # whose gradients are put together, where slices are padded
    return user, item


def mean(tables: Sequence[types.Array]) -> types.Array:
    """The mean of tables of one shape."""
    return sum(tables[1:], start=tables[0]) / jnp.float32(len(tables))
