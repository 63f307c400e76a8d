"""The star-shaped term: two users by hand, the formula row by row, parts of devices, temperatures that do not fit."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mbjax import errors, types
from mbjax.backbones import base
from mbjax.models import star_term

INFO = types.DatasetInfo("toy", 4, 5, ("view", "cart", "buy"))
USERS, ITEMS = np.array([2, 0, 3, -1]), np.array([[1, 4], [1, 0], [2, 2], [0, 0]])
WEIGHT = np.float32([[1, 1], [1, 0], [1, 1], [0, 0]])  # the second user has one positive, the last row is padding


def batch(rows=slice(None)) -> types.UserBatch:
    """Rows of the batch, those of a device if not all."""
    told = None if rows == slice(None) else np.where(WEIGHT > 0, ITEMS, -1).astype(np.int32)
    drawn = types.Triples(np.int32(ITEMS[rows]), np.int32(ITEMS[rows]), WEIGHT[rows], np.float32(5), told)
    return types.UserBatch(
        user=np.int32(np.maximum(USERS, 0)[rows]),
        weight=np.float32(USERS >= 0)[rows],
        everyone=np.int32(USERS),
        noise=np.zeros((4, 2), np.uint32)[rows],
        history={},
        total=np.float32(3),
        share=np.float32(0.5),
        triples={"buy": drawn},
    )


def encoding(seed=0) -> base.Encoding:
    tables = np.float32(np.random.default_rng(seed).normal(size=(6, 9, 3)))
    return base.Encoding(tuple(tables[:3]), views=tuple(tables[3:]))


CONFIG = star_term.StarConfig(weight=1.0, user_temperature=(0.5, 2.0), item_temperature=(0.3,))
loss = jax.jit(lambda encoding, batch: star_term.loss(CONFIG, encoding, INFO, batch))


def expected(views) -> float:
    def surprise(anchors, candidates, rows, temperature):
        total = 0.0
        for row in rows:
            cosines = [
                anchors[row] @ candidates[other] / np.linalg.norm(anchors[row]) / np.linalg.norm(candidates[other])
                for other in rows
            ]
            own = anchors[row] @ candidates[row] / np.linalg.norm(anchors[row]) / np.linalg.norm(candidates[row])
            total -= np.log(np.exp(own / temperature) / np.exp(np.array(cosines) / temperature).sum())
        return total / len(rows)

    target, total = np.float64(views[-1]), 0.0
    for view, of_users in zip(views[:-1], (0.5, 2.0), strict=True):
        for rows, temperature in (([2, 0, 3], of_users), ([5, 8, 5, 6, 6], 0.3)):  # item 1 twice, item 2 twice
            view = np.float64(view)
            total += 0.5 * surprise(target, view, rows, temperature) + 0.5 * surprise(view, target, rows, temperature)
    return total


def test_it_is_the_formula():
    made = encoding()
    np.testing.assert_allclose(loss(made, batch()), expected(made.views), rtol=1e-5)
    # A backbone without views: its representations.
    np.testing.assert_allclose(loss(made._replace(views=()), batch()), expected(made.behaviors), rtol=1e-5)


def test_equal_rows_by_hand():
    # All cosines are 1: a user has three candidates alike, an item five, for either of two behaviors.
    same = base.Encoding(tuple(np.ones((3, 9, 2), np.float32)))
    np.testing.assert_allclose(loss(same, batch()), 2 * (np.log(3) + np.log(5)), rtol=1e-6)


def test_the_parts_of_devices_add_up():
    made = encoding(1)
    parts = [loss(made, batch(rows)) for rows in (slice(0, 2), slice(2, 4))]
    np.testing.assert_allclose(sum(parts), loss(made, batch()), rtol=1e-5)


def test_a_temperature_for_each_auxiliary_behavior():
    star_term.check(CONFIG, INFO)
    config = star_term.StarConfig(weight=1.0, item_temperature=(0.1, 0.2, 0.3))
    with pytest.raises(errors.ConfigError, match=r"star.item_temperature=0.1,0.2,0.3 has 3 .* view, cart: give"):
        star_term.check(config, INFO)
