"""GHCF: two nodes by hand, the formula on dense matrices with each switch, dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

leaky = lambda x: np.where(x > 0, x, 0.2 * x)  # noqa: E731


def test_two_nodes_by_hand(tiny):
    # A user (2) and an item (-6) that he met; the matrix swaps them.
    params = {"relation": [[0.5]], "node_1": [[4.0]], "turn_1": [[3.0]]}
    (made,) = tiny([[1]]).encode([[2.0], [-6.0]], params, name="ghcf", num_layers=1)
    # E^1: user lrelu(-6 * 0.5 * 4) = -2.4, item lrelu(2 * 0.5 * 4) = 4; means -0.2 and -1. r: (0.5 + 1.5) / 2 = 1.
    np.testing.assert_allclose(made, [[-0.2], [-1.0]], rtol=1e-5)


def literal(source, base, params, num_layers, weights, activation):
    """Z of every behavior, written out."""
    num = len(source.matrices)
    matrices = [source.adjacency(k, "symmetric") for k in range(num)]
    relations, nodes, turned = params["relation"], [base], [params["relation"]]
    for n in range(1, num_layers + 1):
        state, kernel = nodes[-1], params[f"node_{n}"]
        messages = [weights[k] * ((matrices[k] @ state) * relations[k]) @ kernel for k in range(num)]
        if activation == "each":
            messages = [leaky(message) for message in messages]  # weights are not negative: inside or outside
        total = np.sum(messages, axis=0)
        nodes.append(total if activation == "each" else leaky(total))
        relations = relations @ params[f"turn_{n}"]
        turned.append(relations)
    node, relation = np.mean(nodes, axis=0), np.mean(turned, axis=0)
    return [np.concatenate([node[:3] * relation[k], node[3:]]) for k in range(num)], node


@pytest.mark.parametrize("num_behaviors", [1, 3])
@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, None),
        ({"weights": (0.5, 0.0, 2.0)}, (0.5, 0.0, 2.0)),
        ({"aggregate": "sum", "activation": "sum"}, (1.0, 1.0, 1.0)),
    ],
)
def test_it_is_the_formula(drawn, num_behaviors, options, weights):
    source, rng = drawn(num_behaviors), np.random.default_rng(4)
    base = rng.normal(size=(6, 2))
    params = {"relation": rng.normal(size=(num_behaviors, 2))}
    params |= {f"{name}_{n}": rng.normal(size=(2, 2)) for n in (1, 2) for name in ("node", "turn")}
    if "weights" in options:
        options = options | {"weights": weights[:num_behaviors]}
    weights = (weights or (1 / num_behaviors,) * 3)[:num_behaviors]
    expected, node = literal(source, base, params, 2, weights, options.get("activation", "each"))
    made = source.encode(base, params, name="ghcf", num_layers=2, **options)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    module, graphs = source.module(name="ghcf", num_layers=2, **options)
    params = {"params": {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}}
    encoding = module.apply(params, graphs, jnp.asarray(base, jnp.float32))
    np.testing.assert_allclose(encoding.regularized, node, rtol=1e-4, atol=1e-5)


def test_entries_are_dropped_while_training_alone(drawn, key):
    module, graphs = drawn(2).module(name="ghcf", num_layers=1, dropout_rate=0.5)
    rows = jax.random.normal(key, (6, 8))
    params = module.init(key, graphs, rows)
    still, dropped = (
        module.apply(params, graphs, rows, rngs=rngs).regularized - rows / 2 for rngs in ({}, {"dropout": key})
    )
    gone = np.isclose(dropped, 0, atol=1e-6) & ~np.isclose(still, 0, atol=1e-6)
    assert 0.2 < gone.mean() < 0.8
    np.testing.assert_allclose(np.asarray(dropped)[~gone], 2 * np.asarray(still)[~gone], rtol=1e-4, atol=1e-5)
