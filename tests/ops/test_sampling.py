"""Batches: every user once an epoch, true histories, and slices that add up to the whole."""

import chex
import jax
import numpy as np
import pytest
import toy

from mbjax import types
from mbjax.ops import sampling

SPEC = types.BatchSpec(8, {"all": ("view", "cart", "buy"), "cart": ("cart",), "buy": ("buy",)})


@pytest.fixture(scope="module")
def source():
    return toy.dataset()


def test_an_epoch_visits_every_user_once(source, key):
    sampler, store = sampling.user_sampler(SPEC, source.train)
    plan = sampler.plan(key, 3)
    assert sampler.steps_per_epoch == 3  # 23 users in batches of 8
    seen = []
    for place in range(3):
        batch = sampler.batch(store, plan, key, place)
        real = np.asarray(batch.weight) == 1
        assert batch.total == real.sum()
        seen += list(np.asarray(batch.user)[real])
    assert sorted(seen) == list(range(23))
    assert real.sum() == 7  # the last batch is short


def test_histories_are_the_training_rows(source, key):
    sampler, store = sampling.user_sampler(SPEC, source.train)
    plan = sampler.plan(key, 0)
    for place in range(3):
        batch = sampler.batch(store, plan, key, place)
        weight, user = np.asarray(batch.weight)[:, None], np.asarray(batch.user)
        union = sum(source.train[b].toarray() for b in ("view", "cart", "buy"))[user] > 0
        np.testing.assert_array_equal(toy.dense(batch.history["all"], 31), weight * union)
        for name in ("cart", "buy"):
            np.testing.assert_array_equal(
                toy.dense(batch.history[name], 31), weight * source.train[name].toarray()[user]
            )
            entries = int(batch.history[name].ptr[-1])
            assert (np.asarray(batch.history[name].item)[entries:] == 31).all()
            assert (np.asarray(batch.history[name].row)[entries:] == 8).all()


def test_orders_differ_by_epoch_and_repeat_by_key(source, key):
    sampler, _ = sampling.user_sampler(SPEC, source.train)
    np.testing.assert_array_equal(sampler.plan(key, 1), sampler.plan(key, 1))
    assert np.any(sampler.plan(key, 1) != sampler.plan(key, 2))


@pytest.mark.parametrize("place", [0, 2])
def test_slices_of_devices_make_up_the_batch(source, key, place):
    whole, store = sampling.user_sampler(SPEC, source.train)
    plan = whole.plan(key, 0)
    expected = whole.batch(store, plan, key, place)
    sampler, store = sampling.user_sampler(SPEC, source.train, num_devices=4)
    parts = [sampler.batch(store, plan, key, place, device) for device in range(4)]
    for field in ("user", "weight", "noise"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(p, field) for p in parts]), np.asarray(getattr(expected, field))
        )
    for name in SPEC.histories:
        rows = np.concatenate([toy.dense(p.history[name], 31) for p in parts])
        np.testing.assert_array_equal(rows, toy.dense(expected.history[name], 31))
    assert all(p.total == expected.total and p.share == 0.25 for p in parts)


def test_shapes_do_not_depend_on_the_draw(source, key):
    sampler, store = sampling.user_sampler(SPEC, source.train)
    shapes = [jax.tree.map(np.shape, sampler.batch(store, sampler.plan(key, e), key, 0)) for e in range(2)]
    chex.assert_trees_all_equal(*shapes)


def test_a_behavior_without_pairs_gives_empty_rows(key):
    source = toy.dataset()
    train = dict(source.train)
    train["cart"] = train["cart"] * 0
    train["cart"].eliminate_zeros()
    sampler, store = sampling.user_sampler(SPEC, train)
    batch = sampler.batch(store, sampler.plan(key, 0), key, 0)
    assert int(batch.history["cart"].ptr[-1]) == 0


def test_an_indivisible_batch_is_refused(source):
    with pytest.raises(ValueError, match="8 users cannot be divided among 3 devices"):
        sampling.user_sampler(SPEC, source.train, num_devices=3)
