"""Heads on random representations, held against formulas that are written for one pair, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import toy

from mbjax import heads, types
from mbjax.backbones import base as backbones
from mbjax.ops import pairs

USERS, ITEMS, SIZE = 5, 9, 3
BATCH = jnp.array([3, 0, 3], jnp.int32)
DRAWN = jnp.array([[8, 0, 1, 1], [2, 5, 0, 7], [4, 8, 8, 3]], jnp.int32)
TOLERANCE = {"rtol": 3e-5, "atol": 3e-5}


class Trial(NamedTuple):
    """A head with all its parameters random, biases too, and the representations it gets."""

    head: heads.Head
    params: Any
    encoding: backbones.Encoding

    def call(self, method: Callable, *args):
        """A method of the bound head."""
        return self.head.apply({"params": self.params}, *args, method=method)

    def sides(self, task: int, users=None) -> heads.Sides:
        return self.call(lambda head: head.sides(self.encoding, {}, task, users))

    def pair(self, k: int, u: int, v: int) -> tuple[np.ndarray, np.ndarray]:
        """Z^k_u and Z^k_v."""
        table = np.asarray(self.encoding.behaviors[k], np.float64)
        return table[u], table[USERS + v]

    def product(self, k: int, u: int, v: int) -> np.ndarray:
        """q_k."""
        user, item = self.pair(k, u, v)
        return user * item

    def merged(self, u: int, v: int, weights=None) -> np.ndarray:
        """x, the weighted sums of the user's and of the item's rows, one after the other."""
        weights = weights or [1.0] * len(self.encoding.behaviors)
        both = [np.concatenate(self.pair(k, u, v)) for k in range(len(weights))]
        return sum(weight * row for weight, row in zip(weights, both, strict=True))

    def param(self, name: str) -> np.ndarray:
        return np.asarray(self.params[name], np.float64)


def trial(config, num_behaviors: int, empty: bool = False) -> Trial:
    """Makes one; ``empty``: user 0 and item 0 have zero rows in all tables."""
    rng = np.random.default_rng(num_behaviors)
    info = types.DatasetInfo("toy", USERS, ITEMS, toy.BEHAVIORS[num_behaviors])
    tables = rng.normal(size=(num_behaviors, USERS + ITEMS, SIZE)).astype(np.float32)
    if empty:
        tables[:, [0, USERS]] = 0.0
    encoding = backbones.Encoding(tuple(jnp.asarray(table) for table in tables))
    head = heads.HEADS[config.name](config, info, SIZE)

    def one_task(head):  # a task alone creates the parameters of all
        return head.score(0, head.sides(encoding, {}, 0, BATCH), pairs.Pairs(DRAWN))

    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), method=one_task)).get("params", {})
    return Trial(head, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), shapes), encoding)


def check_scores(case: Trial, formula: Callable[[int, int, int], float]) -> None:
    """``formula(task, u, v)`` against the scores of sampled pairs and of a block, for all tasks."""
    for task in range(len(case.encoding.behaviors)):
        drawn = case.call(lambda head, task=task: head.score(task, case.sides(task, BATCH), pairs.Pairs(DRAWN)))
        expected = [[formula(task, u, v) for v in row] for u, row in zip(BATCH.tolist(), DRAWN.tolist(), strict=True)]
        np.testing.assert_allclose(drawn, expected, **TOLERANCE)
        block = case.call(lambda head, task=task: head.score(task, case.sides(task), pairs.Block()))
        expected = [[formula(task, u, v) for v in range(ITEMS)] for u in range(USERS)]
        np.testing.assert_allclose(block, expected, **TOLERANCE)


def check_gates(case: Trial, formula: Callable[[int, int, int], np.ndarray]) -> None:
    """``formula(task, u, v)``, the weights in the order of the slots, against ``gates``."""
    for task in range(len(case.encoding.behaviors)):
        drawn = case.call(lambda head, task=task: head.gates(task, case.sides(task, BATCH), pairs.Pairs(DRAWN)))
        block = case.call(lambda head, task=task: head.gates(task, case.sides(task), pairs.Block()))
        chex.assert_shape(drawn, (*DRAWN.shape, len(case.head.slots(task))))
        np.testing.assert_allclose(jnp.sum(block, axis=-1), np.ones((USERS, ITEMS)), **TOLERANCE)
        np.testing.assert_allclose(drawn, block[BATCH[:, None], DRAWN], **TOLERANCE)
        expected = [[formula(task, u, v) for v in range(ITEMS)] for u in range(USERS)]
        np.testing.assert_allclose(block, expected, **TOLERANCE)


def check_gradients(config, num_behaviors: int) -> None:
    """Those of sampled pairs are finite where rows are zero, and those of the same pairs taken from a block."""
    case = trial(config, num_behaviors, empty=True)

    def loss(params, tables, of_block):
        other = case._replace(params=params, encoding=backbones.Encoding(tables))
        total = 0.0
        for task in range(num_behaviors):
            sides = other.sides(task, BATCH)
            pairing = pairs.Block() if of_block else pairs.Pairs(DRAWN)
            scores = other.call(lambda head, task=task, s=sides, p=pairing: head.score(task, s, p))
            if of_block:
                scores = jnp.take_along_axis(scores, DRAWN, axis=1)
            total += jnp.sum(jnp.sin(scores))
        return total

    found = jax.grad(loss, (0, 1))(case.params, case.encoding.behaviors, False)
    chex.assert_tree_all_finite(found)
    expected = jax.grad(loss, (0, 1))(case.params, case.encoding.behaviors, True)
    chex.assert_trees_all_close(found, expected, rtol=2e-3, atol=2e-4)


def squares(case: Trial, *names: str) -> float:
    """The sum of squares of some parameters, the rest being free."""
    return sum(float(np.sum(case.param(name) ** 2)) for name in names)


def penalty(case: Trial) -> float:
    return float(case.call(lambda head: jnp.asarray(head.penalty())))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)
