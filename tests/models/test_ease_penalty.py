"""The choice of the penalty on validation pairs."""

import numpy as np
import pytest
import scipy.sparse

from mbjax import types
from mbjax.models import ease_penalty

TOP = 10


def evidence(noise: float, seed: int = 0, users: int = 120, items: int = 25):
    """Users of five kinds with five items each, some pairs of others, one pair of each user held out."""
    rng = np.random.default_rng(seed)
    own = np.arange(items)[None, :] % 5 == np.arange(users)[:, None] % 5
    pairs = (own & (rng.random(own.shape) < 0.8)) | (rng.random(own.shape) < noise)
    held = np.zeros_like(pairs)
    for user in range(users):
        mine = np.flatnonzero(pairs[user] & own[user])
        held[user, rng.choice(mine, 1)] = len(mine) > 1
    csr = lambda x: scipy.sparse.csr_array(x.astype(np.float32))  # noqa: E731
    return types.Evidence({"buy": csr(pairs & ~held)}, valid={"buy": csr(held)})


def test_it_is_the_best_of_those_tried(monkeypatch):
    given, values = evidence(0.1), {}
    blocks, weights = [given.train["buy"]], np.ones((1, 25), np.float32)
    measured = ease_penalty._ndcg

    def seen(dual, *arguments):
        values[float(dual.penalty)] = measured(dual, *arguments)
        return values[float(dual.penalty)]

    monkeypatch.setattr(ease_penalty, "_ndcg", seen)
    monkeypatch.setattr(ease_penalty, "TOP", TOP)
    chosen = ease_penalty.choose(blocks, weights, given, "own")
    assert len(values) == len(ease_penalty.PENALTIES)
    best = max(values, key=values.get)
    assert dict(zip(sorted(values), ease_penalty.PENALTIES, strict=True))[best] == chosen
    # By hand: the list of a user is that of dense regressions, masked.
    x = blocks[0].toarray().astype(float)
    kernel = np.linalg.inv(x.T @ x + best * np.eye(25))
    scores = -x @ (kernel / np.diag(kernel) * (1 - np.eye(25)))
    scores[x > 0] = -np.inf
    truth = given.valid["buy"].toarray() > 0
    place = (-scores).argsort(axis=1).argsort(axis=1)[truth]
    assert values[best] == pytest.approx(np.where(place < TOP, 1 / np.log2(place + 2), 0).mean(), abs=1e-4)


def test_a_sample_of_users_is_enough_and_no_pairs_mean_the_default(monkeypatch):
    given = evidence(0.1)
    blocks, weights = [given.train["buy"]], np.ones((1, 25), np.float32)
    monkeypatch.setattr(ease_penalty, "USERS", 40)
    assert ease_penalty.choose(blocks, weights, given, "own") in ease_penalty.PENALTIES
    assert ease_penalty.choose(blocks, weights, given._replace(valid={}), "own") is None
    few = scipy.sparse.csr_array(given.valid["buy"].multiply(np.arange(120)[:, None] < 3))
    assert ease_penalty.choose(blocks, weights, given._replace(valid={"buy": few}), "own") in ease_penalty.PENALTIES
