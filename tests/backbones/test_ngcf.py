"""NGCF: two nodes by hand, the formula on dense matrices, its matrices, dropout while training alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import backbones, models
from mbjax.models import ngcf
from mbjax.ops import graph

leaky = lambda x: np.where(x > 0, x, 0.2 * x)  # noqa: E731


def test_two_nodes_by_hand(tiny):
    # A user (1) and an item (3) that he met: (D + I)^-1 (A + I) gives both the mean, 2.
    params = {"sum_kernel_1": [[2.0]], "sum_bias_1": [[-5.0]], "product_kernel_1": [[1.0]], "product_bias_1": [[0.0]]}
    (made,) = tiny([[1]]).encode([[1.0], [3.0]], params, name="ngcf", num_layers=1)
    # User: lrelu(4 - 5) + lrelu(1 * 2) = -0.2 + 2 = 1.8; item: -0.2 + 6 = 5.8. Either is of length 1 when stored.
    np.testing.assert_allclose(made, [[1.0, 1.0], [3.0, 1.0]], rtol=1e-6)


def drawn_params(rng, num_layers, layer):
    kinds = {"kernel": (2, 2), "bias": (1, 2)} if layer == "program" else {"kernel": (2, 2)}
    return {
        f"{part}_{kind}_{n}": rng.normal(size=shape)
        for n in range(1, num_layers + 1)
        for part in ("sum", "product")
        for kind, shape in kinds.items()
    }


def literal(source, k, base, params, num_layers, matrix, layer):
    """Z of the graph of behavior k, written out."""
    whole = np.block([[np.zeros((3, 3)), source.matrices[k]], [source.matrices[k].T, np.zeros((3, 3))]])
    loops, state, kept = whole + np.eye(6), base, [base]
    for n in range(1, num_layers + 1):
        kernel = {part: params[f"{part}_kernel_{n}"] for part in ("sum", "product")}
        if layer == "paper":
            side = source.adjacency(k, "symmetric") @ state
            state = leaky((side + state) @ kernel["sum"] + (side * state) @ kernel["product"])
        else:
            side = {
                "mean_loops": loops / loops.sum(axis=1, keepdims=True) @ state,
                "mean": source.adjacency(k, "left") @ state,
                "mean_plus_self": source.adjacency(k, "left") @ state + state,
            }[matrix]
            state = leaky(side @ kernel["sum"] + params[f"sum_bias_{n}"]) + leaky(
                (side * state) @ kernel["product"] + params[f"product_bias_{n}"]
            )
        kept.append(state / np.maximum(np.linalg.norm(state, axis=1, keepdims=True), 1e-12))
    return np.concatenate(kept, axis=1)


@pytest.mark.parametrize(
    ("matrix", "layer"),
    [("mean_loops", "program"), ("mean", "program"), ("mean_plus_self", "program"), ("mean_loops", "paper")],
)
def test_it_is_the_formula(drawn, matrix, layer):
    source, rng = drawn(2), np.random.default_rng(4)
    base, params = rng.normal(size=(6, 2)), drawn_params(rng, 2, layer)
    options = {"name": "ngcf", "num_layers": 2, "matrix": matrix, "layer": layer}
    for pairs, behaviors in (("target", (1, 1)), ("own", (0, 1))):
        made = source.encode(base, params, pairs=pairs, **options)
        expected = [literal(source, k, base, params, 2, matrix, layer) for k in behaviors]
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_entries_are_dropped_while_training_alone(drawn, key):
    module, graphs = drawn(1).module(name="ngcf", num_layers=1, dropout_rate=0.5)
    rows = jax.random.normal(key, (6, 8))
    params = module.init(key, graphs, rows)
    still = module.apply(params, graphs, rows).behaviors[0]
    dropped = module.apply(params, graphs, rows, rngs={"dropout": key}).behaviors[0]
    np.testing.assert_array_equal(dropped[:, :8], rows)
    gone = np.asarray(dropped[:, 8:] == 0)
    assert 0.2 < gone.mean() < 0.8 and not np.any(still[:, 8:] == 0)


def test_the_model_is_of_the_target_and_squares_its_final_rows(key):
    source = toy.dataset(2)
    config = ngcf.NgcfConfig(embedding_size=4, backbone=backbones.ngcf.NgcfConfig(dropout_rate=0.0))
    model = ngcf.build(config, source.info, 8)
    assert model.tasks == ("buy",) and [spec.behaviors for spec in model.graphs.values()] == [("buy",)]
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.jit(model.init)(key, graphs)
    batch = toy.batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    tables = jax.jit(model.encode)(params, graphs)[1]
    assert tables.user.shape == (23, 16)  # four layers of width 4
    drawn, rows = batch.triples["buy"], 0.0
    for b, user in enumerate(batch.user):
        nodes = (tables.user[user], tables.item[drawn.positive[b, 0]], tables.item[drawn.negative[b, 0]])
        rows += drawn.weight[b, 0] * sum(jnp.sum(jnp.square(x)) for x in nodes)
    np.testing.assert_allclose(parts["l2"], 1e-5 / 2 * rows / batch.total, rtol=1e-5)


def test_every_head_gets_the_width_of_all_layers():
    entry = models.MODELS["copf"].config
    config = entry.model_validate({"backbone": {"name": "ngcf", "num_layers": 2}, "embedding_size": 4})
    assert models.compose_config.width(config, toy.dataset(2).info) == 12
