"""Tiny graphs given as 0/1 matrices, with their dense normalized forms in numpy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import scipy.sparse
import toy

from mbjax import backbones, types
from mbjax.ops import graph


class Tiny:
    """One 0/1 matrix [U, I] for each behavior, funnel order."""

    def __init__(self, *matrices):
        self.matrices = [np.array(m, np.float64) for m in matrices]
        num_users, num_items = self.matrices[0].shape
        self.info = types.DatasetInfo("tiny", num_users, num_items, toy.BEHAVIORS[len(matrices)])
        self.train = {
            name: scipy.sparse.csr_array(m.astype(np.uint8))
            for name, m in zip(self.info.behaviors, self.matrices, strict=True)
        }

    def module(self, **config) -> tuple[backbones.Backbone, types.Graphs]:
        """A backbone of these switches and its graphs."""
        section = pydantic.TypeAdapter(backbones.BackboneConfig).validate_python(config)
        kind = backbones.BACKBONES[section.name]
        return kind(section, self.info), graph.from_train(kind.graphs(section, self.info), self.train)

    def encode(self, base, params=None, **config) -> list[np.ndarray]:
        """Z of each behavior from E0 [U + I, D] and parameters, those of nested lists."""
        module, graphs = self.module(**config)
        params = {name: jnp.asarray(value, jnp.float32) for name, value in (params or {}).items()}
        made = module.apply({"params": params} if params else {}, graphs, jnp.asarray(base, jnp.float32))
        return [np.asarray(table) for table in made.behaviors]

    def adjacency(self, behavior: int, kind: str) -> np.ndarray:
        """The dense bipartite matrix [U + I, U + I], "symmetric" or "left"."""
        return normalized(self.matrices[behavior], kind)


def normalized(matrix, kind: str) -> np.ndarray:
    """The bipartite form of R, users first, divided by degrees; rows of degree 0 are 0."""
    matrix = np.asarray(matrix, np.float64)
    users, items = matrix.shape
    whole = np.block([[np.zeros((users, users)), matrix], [matrix.T, np.zeros((items, items))]])
    degree = whole.sum(axis=1)
    for row, column in np.argwhere(whole):
        whole[row, column] /= degree[row] if kind == "left" else np.sqrt(degree[row] * degree[column])
    return whole


@pytest.fixture
def tiny():
    """The class ``Tiny`` (a fixture, because test folders import nothing from one another)."""
    return Tiny


@pytest.fixture
def drawn():
    """``drawn(K)``: Tiny with 3 users, 3 items and K random matrices; user 2 and item 0 have no pair of the first."""

    def make(num_behaviors: int, seed: int = 0) -> Tiny:
        rng = np.random.default_rng(seed)
        matrices = (rng.random((num_behaviors, 3, 3)) < 0.6).astype(int)
        matrices[0, 2, :] = matrices[0, :, 0] = 0
        matrices[0, 0, 1] = matrices[-1, 1, 2] = 1
        return Tiny(*matrices)

    return make
