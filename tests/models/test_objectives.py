"""The alignment loss against the literal formula: who is a candidate, padding, devices, directions and items."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from mbjax import types
from mbjax.backbones import base
from mbjax.models import objectives

USERS, ITEMS, TEMPERATURE = 7, 5, 0.4
INFO = types.DatasetInfo("toy", USERS, ITEMS, ("view", "buy"))
# Padding holds user 0, who must not count in the first batch and must count once in the second.
BATCHES = {"without_user_0": (3, 5, 2, -1, 6, -1), "with_user_0": (3, 0, 2, -1, 6, -1)}
batches = pytest.mark.parametrize("everyone", BATCHES.values(), ids=BATCHES)


def encoding() -> base.Encoding:
    """Random tables; those of the behaviors have nothing to do with the two that are aligned."""
    tables = np.float32(np.random.default_rng(0).normal(size=(4, USERS + ITEMS, 3)))
    return base.Encoding(tuple(tables[:2]), alignment=tuple(tables[2:]))


def make_batch(everyone, rows=slice(None)) -> types.UserBatch:
    """A device's rows of a global batch, with two triples of each behavior for a user, but one buy for the last."""
    everyone = np.array(everyone, np.int32)
    weight = np.float32(everyone >= 0)
    weights = {name: np.stack([weight, weight], axis=1) for name in INFO.behaviors}
    weights["buy"][4, 1] = 0.0
    items = {
        "view": np.array([[4, 4], [4, 4], [4, 4], [0, 0], [4, 4], [0, 0]]),
        "buy": np.array([[1, 2], [2, 2], [3, 1], [0, 0], [2, 0], [0, 0]]),
    }
    triples = {
        name: types.Triples(
            positive=np.int32(items[name][rows]),
            negative=np.full(items[name][rows].shape, 4, np.int32),
            weight=weights[name][rows],
            total=weights[name].sum(),
        )
        for name in INFO.behaviors
    }
    return types.UserBatch(
        user=np.maximum(everyone, 0)[rows],
        weight=weight[rows],
        everyone=everyone,
        noise=np.zeros((len(weight[rows]), 2), np.uint32),
        history={},
        total=weight.sum(),
        share=np.float32(len(weight[rows]) / len(weight)),
        triples=triples,
    )


BOUGHT = [1, 2, 2, 2, 3, 1, 2]  # the positives of real triples of the target, in the order of the batch


@functools.partial(jax.jit, static_argnames=("side", "symmetric", "weight"))
def align(alignment, batch, **options):
    """The loss of the two tables beside any others."""
    config = objectives.AlignmentConfig(temperature=TEMPERATURE, **options)
    return objectives.align(config, encoding()._replace(alignment=alignment), INFO, batch)


def expected(anchors, candidates, everyone, side="user"):
    """One direction, one row after another."""

    def mean_surprise(rows, others):
        total = 0.0
        for row in rows:
            cosines = {}
            for other in others:
                x, y = anchors[row], candidates[other]
                cosines[other] = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
            shares = sum(np.exp(cosine / TEMPERATURE) for cosine in cosines.values())
            total -= np.log(np.exp(cosines[row] / TEMPERATURE) / shares)
        return total / len(rows)

    users = [user for user in everyone if user >= 0]
    loss = mean_surprise(users, users)
    if side == "both":
        loss += mean_surprise([USERS + item for item in BOUGHT], range(USERS, USERS + ITEMS))
    return loss


def test_two_users_by_hand():
    # Cosines 1 with the own row and 0 with the other: ln(e^(1 / 0.4) + 1) - 1 / 0.4 each. Lengths, items and users who
    # are not in the batch (their rows are of ones) change nothing.
    anchors, candidates = np.ones((2, USERS + ITEMS, 3), np.float32)
    anchors[[3, 6]] = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    candidates[[3, 6]] = [[5.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    value = align((anchors, candidates), make_batch((3, -1, -1, -1, 6, -1)))
    np.testing.assert_allclose(value, np.log(np.exp(2.5) + 1.0) - 2.5, rtol=1e-5)
    # Against nobody else a user costs nothing.
    np.testing.assert_allclose(align((anchors, candidates), make_batch((3, -1, -1, -1, -1, -1))), 0.0, atol=1e-6)


@pytest.mark.parametrize("side", ["user", "both"])
@batches
def test_it_is_the_formula(everyone, side):
    tables, batch = encoding().alignment, make_batch(everyone)
    anchors, candidates = (np.float64(table) for table in tables)
    forward, backward = expected(anchors, candidates, everyone, side), expected(candidates, anchors, everyone, side)
    assert abs(forward - backward) > 0.01
    np.testing.assert_allclose(align(tables, batch, side=side), forward, rtol=1e-4)
    np.testing.assert_allclose(align(tables, batch, side=side, symmetric=True), (forward + backward) / 2, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"side": "both", "symmetric": True}])
@batches
def test_the_parts_of_devices_add_up_to_the_whole_batch(everyone, options):
    # The second device has one real user, who is held against those of the first too.
    tables = encoding().alignment
    parts = [align(tables, make_batch(everyone, rows), **options) for rows in (slice(0, 3), slice(3, 6))]
    assert all(part > 0.01 for part in parts)
    np.testing.assert_allclose(sum(parts), align(tables, make_batch(everyone), **options), rtol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_only_users_of_the_batch_get_gradients(symmetric):
    gradients = jax.jit(jax.grad(functools.partial(align, symmetric=symmetric)))
    for everyone in BATCHES.values():
        for gradient in gradients(encoding().alignment, make_batch(everyone)):
            rows = np.flatnonzero(np.any(np.asarray(gradient) != 0, axis=1))
            np.testing.assert_array_equal(rows, sorted(user for user in everyone if user >= 0))
            assert np.isfinite(gradient).all()


def test_the_weight_is_left_to_the_model():
    tables, batch = encoding().alignment, make_batch(BATCHES["without_user_0"])
    np.testing.assert_array_equal(align(tables, batch), align(tables, batch, weight=3.0))
