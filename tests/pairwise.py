"""Heads on random representations, held against formulas that are written for one pair, in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

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

    def scores(self, task: int) -> np.ndarray:
        """Those of all pairs, [U, I]."""

        def block(head):
            return head.score(task, head.sides(self.encoding, {}, task), pairs.Block())

        with few_terms():
            return np.asarray(jax.jit(lambda: self.call(block))())

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

    shapes = jax.eval_shape(lambda: _initial(head, encoding))
    return Trial(head, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), shapes), encoding)


def initial(case: Trial) -> Any:
    """The parameters that training starts from."""
    return jax.jit(lambda: _initial(case.head, case.encoding))()


def _initial(head, encoding):
    def one_task(head):  # a task alone creates the parameters of all
        return head.score(0, head.sides(encoding, {}, 0, BATCH), pairs.Pairs(DRAWN))

    return head.init(jax.random.key(0), method=one_task).get("params", {})


def few_terms() -> contextlib.AbstractContextManager:
    """A sum of a block is compiled in a moment; tests/ops/test_pairs.py has the one of full length."""
    return mock.patch.object(pairs, "LEAKY_TERMS", 2)


def tasks(case: Trial) -> range:
    return range(len(case.encoding.behaviors))


def everything(formula: Callable[[int, int, int], Any], task: int) -> np.ndarray:
    """A formula for a pair, for all of them: [U, I, ...]."""
    return np.array([[formula(task, u, v) for v in range(ITEMS)] for u in range(USERS)])


def check_scores(case: Trial, formula: Callable[[int, int, int], float]) -> None:
    """``formula(task, u, v)`` against the scores of sampled pairs and of a block, for all tasks."""

    def scores(head, task):
        drawn = head.score(task, head.sides(case.encoding, {}, task, BATCH), pairs.Pairs(DRAWN))
        return drawn, head.score(task, head.sides(case.encoding, {}, task), pairs.Block())

    with few_terms():
        found = jax.jit(lambda: [case.call(scores, task) for task in tasks(case)])()
    for task, (drawn, block) in enumerate(found):
        expected = everything(formula, task)
        np.testing.assert_allclose(block, expected, **TOLERANCE)
        np.testing.assert_allclose(drawn, expected[BATCH[:, None], DRAWN], **TOLERANCE)


def check_gates(case: Trial, formula: Callable[[int, int, int], np.ndarray]) -> None:
    """``formula(task, u, v)``, the weights in the order of the slots, against ``gates``."""

    def gates(head, task):
        drawn = head.gates(task, head.sides(case.encoding, {}, task, BATCH), pairs.Pairs(DRAWN))
        return drawn, head.gates(task, head.sides(case.encoding, {}, task), pairs.Block())

    found = jax.jit(lambda: [case.call(gates, task) for task in tasks(case)])()
    for task, (drawn, block) in enumerate(found):
        expected = everything(formula, task)
        chex.assert_shape(block, (USERS, ITEMS, len(case.head.slots(task))))
        np.testing.assert_allclose(block.sum(axis=-1), np.ones((USERS, ITEMS)), **TOLERANCE)
        np.testing.assert_allclose(block, expected, **TOLERANCE)
        np.testing.assert_allclose(drawn, expected[BATCH[:, None], DRAWN], **TOLERANCE)


def check_gradients(config, num_behaviors: int) -> None:
    """Those of sampled pairs are finite where rows are zero, and those of the same pairs taken from a block."""
    case = trial(config, num_behaviors, empty=True)

    def total(head, encoding, pairing):
        loss = 0.0
        for task in range(num_behaviors):
            scores = head.score(task, head.sides(encoding, {}, task, BATCH), pairing)
            if isinstance(pairing, pairs.Block):
                scores = jnp.take_along_axis(scores, DRAWN, axis=1)
            loss += jnp.sum(jnp.sin(scores))
        return loss

    def gradients(pairing):
        def loss(params, tables):
            return case._replace(params=params).call(total, backbones.Encoding(tables), pairing)

        with few_terms():
            return jax.jit(jax.grad(loss, (0, 1)))(case.params, case.encoding.behaviors)

    found = gradients(pairs.Pairs(DRAWN))
    chex.assert_tree_all_finite(found)
    chex.assert_trees_all_close(found, gradients(pairs.Block()), rtol=2e-3, atol=2e-4)


def squares(case: Trial, *names: str) -> float:
    """The sum of squares of some parameters, the rest being free."""
    return sum(float(np.sum(case.param(name) ** 2)) for name in names)


def penalty(case: Trial) -> float:
    return float(case.call(lambda head: jnp.asarray(head.penalty())))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)
