"""R-GCN: two nodes by hand, the formula on dense matrices with each switch."""

from __future__ import annotations

import jax
import numpy as np
import pytest


def test_two_nodes_by_hand(tiny):
    # A user (1) and an item (3) that he met: 2 * 3 + 10 * 1 = 16, and 5 * 1 + 10 * 3 = 35.
    params = {"maps_1": [[[2.0]], [[5.0]]], "self_1": [[10.0]]}
    (made,) = tiny([[1]]).encode([[1.0], [3.0]], params, name="rgcn", num_layers=1)
    np.testing.assert_allclose(made, [[16.0], [35.0]], rtol=1e-6)
    # Negative sums vanish between layers and not in the last: 16 and 0, then -(2 * 0 + 10 * 16) and -(5 * 16).
    params |= {"maps_1": [[[2.0]], [[-50.0]]], "maps_2": [[[-2.0]], [[-5.0]]], "self_2": [[-10.0]]}
    (made,) = tiny([[1]]).encode([[1.0], [3.0]], params, name="rgcn", num_layers=2)
    np.testing.assert_allclose(made, [[-160.0], [-80.0]], rtol=1e-6)


def literal(source, base, params, num_layers, options):
    """Z, written out."""
    num = len(source.matrices)
    left = [source.adjacency(k, "left") for k in range(num)]
    if options.get("divisor") == "all":
        raw = [(matrix > 0).astype(float) for matrix in left]
        degree = np.maximum(sum(raw).sum(axis=1, keepdims=True), 1)
        left = [matrix / degree for matrix in raw]
    state, layers = base, [base]
    for n in range(1, num_layers + 1):
        total = state @ params[f"self_{n}"]
        for k in range(num):
            for side, rows in enumerate((slice(None, 3), slice(3, None))):
                place = k if options.get("directions") == "tied" else 2 * k + side
                if options.get("bases"):
                    pairs = zip(params[f"shares_{n}"][place], params[f"bases_{n}"], strict=True)
                    kernel = sum(share * matrix for share, matrix in pairs)
                else:
                    kernel = params[f"maps_{n}"][place]
                total[rows] += (left[k] @ state)[rows] @ kernel
        state = total if n == num_layers else np.maximum(total, 0)
        layers.append(state)
    return np.mean(layers, axis=0) if options.get("output") == "mean" else state


@pytest.mark.parametrize(
    "options", [{}, {"directions": "tied", "output": "mean"}, {"divisor": "all"}, {"bases": 3}, {"num_layers": 0}]
)
def test_it_is_the_formula(drawn, options):
    source, rng = drawn(3), np.random.default_rng(4)
    base, params = rng.normal(size=(6, 2)), {}
    options = {"num_layers": 2} | options
    relations = 3 if options.get("directions") == "tied" else 6
    for n in range(1, options["num_layers"] + 1):
        params[f"self_{n}"] = rng.normal(size=(2, 2))
        if options.get("bases"):
            params |= {f"shares_{n}": rng.normal(size=(relations, 3)), f"bases_{n}": rng.normal(size=(3, 2, 2))}
        else:
            params[f"maps_{n}"] = rng.normal(size=(relations, 2, 2))
    expected = literal(source, base, params, options["num_layers"], options)
    for made in source.encode(base, params, name="rgcn", **options):
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.exhaustive
def test_a_nodes_own_part_is_dropped_while_training_alone(tiny, key):
    # Without pairs there is nothing else.
    module, graphs = tiny([[0, 0], [0, 0]]).module(name="rgcn", num_layers=1, dropout_rate=0.5)
    rows = jax.random.normal(key, (4, 16))
    params = module.init(key, graphs, rows)
    still, dropped = (module.apply(params, graphs, rows, rngs=r).behaviors[0] for r in ({}, {"dropout": key}))
    gone = np.asarray(dropped == 0)
    assert 0.2 < gone.mean() < 0.8 and not np.any(still == 0)
    np.testing.assert_allclose(np.asarray(dropped)[~gone], 2 * np.asarray(still)[~gone], rtol=1e-5)
