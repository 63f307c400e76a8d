"""Batches: every user once an epoch, true histories, and slices that add up to the whole."""

import chex
import jax
import numpy as np
import pytest
import scipy.sparse
import toy
import usual

from mbjax import types
from mbjax.ops import sampling

SPEC = types.BatchSpec(8, {"all": ("view", "cart", "buy"), "cart": ("cart",), "buy": ("buy",)})


@pytest.fixture(scope="module")
def source():
    return toy.dataset()


def test_an_epoch_visits_every_user_once(source, key):
    sampler, store = sampling.user_sampler(SPEC, source.train)
    draw, drawn = toy.compiled(sampler)
    plan = draw(key, 3)
    assert sampler.steps_per_epoch == 3  # 23 users in batches of 8
    seen = []
    for place in range(3):
        batch = drawn(store, plan, key, place)
        real = np.asarray(batch.weight) == 1
        assert batch.total == real.sum()
        seen += list(np.asarray(batch.user)[real])
    assert sorted(seen) == list(range(23))
    assert real.sum() == 7  # the last batch is short


def test_histories_are_the_training_rows(source, key):
    sampler, store = sampling.user_sampler(SPEC, source.train)
    draw, drawn = toy.compiled(sampler)
    plan = draw(key, 0)
    for place in range(3):
        batch = drawn(store, plan, key, place)
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
    plan, _ = toy.compiled(sampling.user_sampler(SPEC, source.train)[0])
    np.testing.assert_array_equal(plan(key, 1), plan(key, 1))
    assert np.any(plan(key, 1) != plan(key, 2))


@pytest.mark.parametrize("place", [0, 2])
def test_slices_of_devices_make_up_the_batch(source, key, place):
    whole, store = sampling.user_sampler(SPEC, source.train)
    plan, batch = toy.compiled(whole)
    plan = plan(key, 0)
    expected = batch(store, plan, key, place)
    sampler, store = sampling.user_sampler(SPEC, source.train, num_devices=4)
    _, part = toy.compiled(sampler)
    parts = [part(store, plan, key, place, device) for device in range(4)]
    for field in ("user", "weight", "noise"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(p, field) for p in parts]), np.asarray(getattr(expected, field))
        )
    for name in SPEC.histories:
        rows = np.concatenate([toy.dense(p.history[name], 31) for p in parts])
        np.testing.assert_array_equal(rows, toy.dense(expected.history[name], 31))
    assert all(p.total == expected.total and p.share == 0.25 for p in parts)


@pytest.mark.parametrize(
    ("rows", "places", "devices", "pass_over"),
    usual.cases([(23, 24, 2, "view"), (7, 8, 4, None)], lambda case: case[3] == "view"),
)
def test_padding_for_equal_slices_changes_no_batch(source, key, rows, places, devices, pass_over):
    """23 users in batches of 7, or of all: for several devices a place of each batch is empty."""
    spec = SPEC._replace(pass_over=pass_over)
    one, store = sampling.user_sampler(spec._replace(size=rows), source.train)
    many, _ = sampling.user_sampler(spec._replace(size=places), source.train, devices, rows)
    assert many.steps_per_epoch == one.steps_per_epoch
    (plan, whole), (padded, part) = map(toy.compiled, (one, many))
    plan, padded = plan(key, 1), padded(key, 1)
    for place in range(one.steps_per_epoch):
        expected = whole(store, plan, key, place)
        parts = [part(store, padded, key, place, device) for device in range(devices)]
        for field in ("user", "weight", "noise"):
            found = np.concatenate([getattr(p, field) for p in parts])
            np.testing.assert_array_equal(found[:rows], np.asarray(getattr(expected, field)))
        assert all(p.total == expected.total for p in parts) and not parts[-1].weight[-1]


def test_shapes_do_not_depend_on_the_draw(source, key):
    sampler, store = sampling.user_sampler(SPEC, source.train)
    plan, batch = toy.compiled(sampler)
    shapes = [jax.tree.map(np.shape, batch(store, plan(key, e), key, 0)) for e in range(2)]
    chex.assert_trees_all_equal(*shapes)


def test_a_behavior_without_pairs_gives_empty_rows(key):
    source = toy.dataset()
    train = dict(source.train)
    train["cart"] = train["cart"] * 0
    train["cart"].eliminate_zeros()
    sampler, store = sampling.user_sampler(SPEC, train)
    plan, batch = toy.compiled(sampler)
    batch = batch(store, plan(key, 0), key, 0)
    assert int(batch.history["cart"].ptr[-1]) == 0


def test_an_indivisible_batch_is_refused(source):
    with pytest.raises(ValueError, match="8 users cannot be divided among 3 devices"):
        sampling.user_sampler(SPEC, source.train, num_devices=3)


def test_known_items_are_no_negatives(key):
    # User 0 bought item 0 and met all but item 4; user 1 met everything and gives nothing; user 2 bought nothing.
    train = {
        "view": scipy.sparse.csr_array(np.array([[0, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]], np.uint8)),
        "buy": scipy.sparse.csr_array(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], np.uint8)),
    }
    pair_sets = {"own": types.PairSet("buy"), "any": types.PairSet("buy", known=("view",))}
    sampler, store = sampling.user_sampler(types.BatchSpec(3, triples=pair_sets, per_user=2), train)
    plan, seen = jax.jit(sampler.plan)(key, 0), {"own": {0: set(), 1: set()}, "any": {0: set(), 1: set()}}
    order = np.asarray(plan)
    draw = jax.jit(lambda key: sampler.batch(store, plan, key, 0).triples)
    for step in range(40):
        triples = draw(jax.random.fold_in(key, step))
        for name, found in seen.items():
            drawn = triples[name]
            for row, user in enumerate(order):
                real = np.asarray(drawn.weight)[row] > 0
                assert real.sum() == {0: 1, 1: name == "own", 2: 0}[user]
                found.setdefault(user, set()).update(np.asarray(drawn.negative)[row][real].tolist())
                assert set(np.asarray(drawn.positive)[row][real].tolist()) <= {0 if user == 0 else 4}
            assert drawn.total == (2 if name == "own" else 1)
    assert seen["own"] == {0: {1, 2, 3, 4}, 1: {0, 1, 2, 3}, 2: set()}
    assert seen["any"] == {0: {4}, 1: set(), 2: set()}


def test_an_epoch_can_be_counted_in_pairs_of_a_behavior(source, key):
    pairs = source.train["buy"].nnz
    for size in (8, pairs, pairs + 1):
        spec = types.BatchSpec(size, triples={"buy": types.PairSet("buy")}, pass_over="buy")
        sampler, _ = sampling.user_sampler(spec, source.train)
        assert sampler.steps_per_epoch == pairs // size + 1
    sampler, _ = sampling.user_sampler(
        types.BatchSpec(8, triples={"buy": types.PairSet("buy")}, pass_over="buy"), source.train
    )
    plan = np.asarray(jax.jit(sampler.plan)(key, 0))
    assert plan.shape == (8 * (pairs // 8 + 1),) and sorted(plan[:23]) == list(range(23)) == sorted(plan[23:46])


def test_users_without_pairs_of_the_behavior_are_not_drawn(key):
    """Users 1 and 3 of five have a pair; a batch of two is both of them, whatever the number of devices."""
    train = {"buy": scipy.sparse.csr_array((np.ones(3), ([1, 1, 3], [0, 2, 2])), shape=(5, 3))}
    spec = types.BatchSpec(2, triples={"buy": types.PairSet("buy")}, per_user=1, pass_over="buy")
    for devices in (1, 2):
        sampler, store = sampling.user_sampler(spec, train, devices)
        plan, draw = toy.compiled(sampler)
        plan = plan(key, 0)
        assert sampler.steps_per_epoch == 2 and plan.shape == (4,)
        for place in range(2):
            drawn = [draw(store, plan, key, place, device) for device in range(devices)]
            assert sorted(np.concatenate([batch.user for batch in drawn]).tolist()) == [1, 3]
            assert all(sorted(batch.everyone.tolist()) == [1, 3] and batch.total == 2 for batch in drawn)
            assert all(batch.triples["buy"].total == 2 for batch in drawn)


@pytest.mark.parametrize(
    ("steps", "pass_over", "size", "times"),
    usual.cases([(3, None, 16, 2), (0, None, 16, 1), (0, "buy", 48, 4)], lambda case: case[3] > 1),
)
def test_a_batch_has_all_pairs_of_a_user_who_is_in_it_twice(key, steps, pass_over, size, times):
    """Orders of all users are put end to end: the seam may lie in a batch, and the longest history may be his."""
    lengths = np.array([300] + 19 * [1])
    rows, items = np.repeat(np.arange(20), lengths), np.concatenate([np.arange(n) for n in lengths])
    train = {"buy": scipy.sparse.csr_array((np.ones(rows.size, np.float32), (rows, items)), shape=(20, 400))}
    spec = types.BatchSpec(size, {"buy": ("buy",)}, steps_per_epoch=steps, pass_over=pass_over)
    assert sampling.most_times(spec, train) == times
    sampler, store = sampling.user_sampler(spec, train)
    order, draw = toy.compiled(sampler)
    heaviest = 0
    for epoch in range(8):
        plan = order(key, epoch)
        for place in range(sampler.steps_per_epoch):
            batch = draw(store, plan, key, place)
            users = np.asarray(batch.everyone)
            needed = lengths[users[users >= 0]].sum()
            heaviest = max(heaviest, needed)
            assert (np.asarray(batch.history["buy"].item) < 400).sum() == batch.history["buy"].ptr[-1] == needed
    assert (heaviest > 2 * 300) == (times > 1)  # he was in one twice
