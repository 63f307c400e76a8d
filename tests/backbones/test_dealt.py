"""Propagation along a part of the pairs: against dense products, and on average."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from mbjax import types
from mbjax.backbones import base, dealt
from mbjax.ops import adjacency, graph

PARTS = 3


def parts_of(source, name="buy, symmetric", parts=PARTS):
    """Dense matrices of the parts, float [parts, U + I, U + I], and that of all pairs."""
    module, graphs = source.module(name="lightgcn", graph_parts=parts)
    made = graph.from_train(module.graphs(module.config, module.info), source.train)
    assert set(made) == set(graphs)
    each = [np.asarray(made[f"{name}, part {part + 1} of {parts}"].matrix.todense()) for part in range(parts)]
    return np.array(each), np.asarray(made[name].matrix.todense())


def test_each_pair_is_in_one_part_both_ways(drawn):
    each, whole = parts_of(drawn(2))
    np.testing.assert_array_equal((each != 0).sum(axis=0), whole != 0)
    np.testing.assert_allclose(each.mean(axis=0), whole, rtol=1e-6)
    for part in each:
        np.testing.assert_array_equal(part, part.T)


def test_parts_are_about_equal():
    rng = np.random.default_rng(0)
    matrix = scipy.sparse.csr_array((rng.random((60, 50)) < 0.4).astype(np.float32))
    spec = types.GraphSpec(("buy",), "bipartite", "symmetric")
    sizes = [adjacency.assemble(one, {"buy": matrix}).nnz for one in dealt.specs({"buy": spec}, 4).values()]
    assert sum(sizes) == 2 * matrix.nnz and max(sizes) - min(sizes) < 0.2 * matrix.nnz


@pytest.mark.parametrize("name", ["lightgcn", "lightgcn_m"])
def test_a_step_goes_along_another_part_in_each_layer(drawn, name):
    source, table = drawn(2), np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    module, graphs = source.module(name=name, graph_parts=PARTS, num_layers=2)
    matrix = next(iter(graphs))
    each = [np.asarray(graphs[f"{matrix}, part {part + 1} of {PARTS}"].matrix.todense()) for part in range(PARTS)]
    possible = []
    for first in range(PARTS):
        one = each[first] @ table
        two = each[(first + 1) % PARTS] @ one
        possible.append((table + one + two) / 3)
    found = set()
    for seed in range(12):
        made = module.apply({}, graphs, table, rngs={base.DROPOUT: jax.random.key(seed)}).behaviors[0]
        chex.assert_shape(made, (6, 2))
        found.add(int(np.argmin([np.abs(made - one).max() for one in possible])))
        assert min(np.abs(made - one).max() for one in possible) < 1e-5
    assert found == set(range(PARTS))


def test_ranking_goes_along_all_pairs(drawn):
    source, table = drawn(3), np.random.default_rng(1).normal(size=(6, 2))
    for name in ("lightgcn", "lightgcn_m"):
        made, expected = (source.encode(table, name=name, graph_parts=parts) for parts in (PARTS, 1))
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_gradients_go_back_along_the_same_part(drawn):
    source = drawn(2)
    module, graphs = source.module(name="lightgcn", graph_parts=PARTS, num_layers=1)
    key = jax.random.key(3)

    def total(table):
        return jnp.sum(module.apply({}, graphs, table, rngs={base.DROPOUT: key}).behaviors[0] * weights)

    weights = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)
    jacobian = np.asarray(jax.grad(total)(jnp.zeros((6, 2))))
    each, _ = parts_of(source)
    possible = [(weights + part.T @ weights) / 2 for part in each]
    assert min(np.abs(jacobian - one).max() for one in possible) < 1e-6


def test_only_bipartite_graphs_have_parts():
    spec = types.GraphSpec(("buy",), parts=2)
    with pytest.raises(ValueError, match="user_item.*no parts"):
        adjacency.assemble(spec, {"buy": scipy.sparse.csr_array(np.eye(3, dtype=np.float32))})


def test_shapes_are_told_before_graphs_are_made(drawn):
    source = drawn(2)
    module, graphs = source.module(name="lightgcn", graph_parts=PARTS)
    told = graph.shapes(module.graphs(module.config, module.info), source.train)
    assert set(told) == set(graphs)
    for name, made in graphs.items():
        assert [x.shape for x in jax.tree.leaves(told[name])] == [x.shape for x in jax.tree.leaves(made)]
