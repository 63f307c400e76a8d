"""Units and losses of pointwise models in numpy, for one user and one item at a time, as the papers write them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import toy

from mbjax import types


def unit(kind: str, params: dict[str, Any], p: np.ndarray, q: np.ndarray) -> float:
    """f(u, i) of one pair: h^T tower of the concatenated input; towers have a kernel and a bias for each layer."""
    hidden = np.concatenate({"gmf": [p * q], "mlp": [p, q], "neumf": [p, q, p * q]}[kind])
    for layer in range(sum(name.startswith("kernel") for name in params)):
        hidden = hidden @ params[f"kernel_{layer}"] + params.get(f"bias_{layer}", 0.0)
        hidden = np.maximum(hidden, 0.0)
    return float(hidden @ params["output"])


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def log_loss(logit: float, label: float) -> float:
    """-y ln(yhat) - (1 - y) ln(1 - yhat)."""
    return -label * np.log(sigmoid(logit)) - (1 - label) * np.log(1 - sigmoid(logit))


def randomized(params, seed: int = 0):
    """Params of the same shapes with all values random and of size 1, also those that start from zero; and as numpy."""
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape, scale=0.7).astype(np.float32), params)
    return params, jax.tree.map(lambda x: x.astype(np.float64), params["params"])


def rows(batch: types.UserBatch):
    """The rows of a batch one by one: user, item, labels of all behaviors (0 for negatives), place in its group."""
    points = batch.points
    for b, user in enumerate(np.asarray(batch.user)):
        for m, item in enumerate(np.asarray(points.item)[b]):
            if points.weight[b, m]:
                label = np.asarray(points.label)[b] if m == 0 else np.zeros(points.label.shape[1])
                yield int(user), int(item), label, m


def checked_batch(model: types.Model, source, key) -> types.UserBatch:
    """A short batch: the last one of an epoch, with padding in it."""
    place = -(-_pairs(model, source) // model.batch.size) - 1
    batch = toy.batch(model, source, key, place)
    assert 0 < batch.total < model.batch.size
    return jax.device_get(batch)


def _pairs(model, source):
    spec = model.batch.points
    if spec.levels:
        return sum(source.train[b].nnz for b in spec.behaviors)
    return int((sum(source.train[b].toarray() for b in spec.behaviors) > 0).sum())


def assert_ranks(model: types.Model, params, literal, behavior: int, rtol: float = 1e-4) -> None:
    """Scores of all users for a tile of items are those of the pairs one by one."""
    users, start, size = np.arange(model.info.num_users), 5, 11
    score = jax.jit(lambda p, users, start: model.score(p, model.encode(p, {}), users, start, size, behavior))
    found = score(params, users, start)
    expected = [[literal(u, i) for i in range(start, start + size)] for u in users]
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
