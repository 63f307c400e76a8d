"""CML's encoder: two nodes by hand, the formula on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

logistic = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


def test_two_nodes_by_hand(tiny):
    # User (1) and item (3), met by view alone. Messages: view 3 and 1, buy 0; their mean 1.5 and 0.5.
    params = {"user_1": [[2.0]], "item_1": [[-1.0]], "user_joined": [[10.0]], "item_joined": [[1.0]]}
    view, buy = tiny([[1]], [[0]]).encode([[1.0], [3.0]], params, name="cml", num_layers=1)
    np.testing.assert_allclose(view, [[10 * logistic(6)], [logistic(-1)]], rtol=1e-6)
    np.testing.assert_allclose(buy, [[5.0], [0.5]], rtol=1e-6)


@pytest.mark.parametrize("normalization", ["none", "symmetric"])
def test_it_is_the_formula(drawn, normalization):
    source, rng = drawn(2), np.random.default_rng(4)
    base = rng.normal(size=(6, 2))
    params = {f"{side}_{n}": rng.normal(size=(2, 2)) for side in ("user", "item") for n in (1, 2)}
    params |= {f"{side}_joined": rng.normal(size=(4, 2)) for side in ("user", "item")}
    times = lambda x, name: np.concatenate([x[:3] @ params[f"user_{name}"], x[3:] @ params[f"item_{name}"]])  # noqa: E731
    zeros, matrices = np.zeros((3, 3)), []
    for k, matrix in enumerate(source.matrices):
        raw = np.block([[zeros, matrix], [matrix.T, zeros]])
        matrices.append(raw if normalization == "none" else source.adjacency(k, "symmetric"))
    state, merged, own = base, [], [[], []]
    for n in (1, 2):
        messages = [matrix @ state for matrix in matrices]
        state = logistic(times(sum(messages) / 2, n))
        merged.append(state)
        for states, message in zip(own, messages, strict=True):
            states.append(logistic(times(message, n)))
    options = {"name": "cml", "num_layers": 2, "normalization": normalization}
    made = source.encode(base, params, **options)
    np.testing.assert_allclose(made, [times(np.concatenate(x, 1), "joined") for x in own], rtol=1e-4, atol=1e-5)
    module, graphs = source.module(**options)
    whole = module.apply({"params": params}, graphs, base.astype(np.float32))
    np.testing.assert_allclose(whole.merged, times(np.concatenate(merged, 1), "joined"), rtol=1e-4, atol=1e-5)
    squares = sum((x**2).sum() for x in params.values())
    np.testing.assert_allclose(module.apply({"params": params}, method="penalty"), squares, rtol=1e-5)
