"""Observed pairs and their negatives: a pass over all pairs, true labels, exact negatives, slices that add up."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy

from mbjax import types
from mbjax.ops import points, sampling

UNION = types.BatchSpec(16, points=types.PointSpec(("view", "cart", "buy"), 4))
LEVELS = types.Levels(("view", "cart", "buy"), (0.25, 0.5, 1.0), 0.0)


@pytest.fixture(scope="module")
def source():
    return toy.dataset()


def csr(rows):
    matrix = scipy.sparse.csr_array(np.array(rows, np.uint8))
    matrix.sort_indices()
    return matrix


def drawing(spec, train, num_devices=1):
    """The sampler, and ``(key, epoch)`` -> all batches of an epoch as numpy, those of the devices side by side."""
    sampler, store = sampling.user_sampler(spec, train, num_devices)

    @jax.jit
    def all_batches(key, epoch):
        plan = sampler.plan(key, epoch)

        def one(place):
            keys = jax.random.fold_in(key, place)
            parts = [sampler.batch(store, plan, keys, place, device) for device in range(num_devices)]
            return jax.tree.map(lambda *x: jnp.stack(x), *parts)

        return jax.lax.map(one, jnp.arange(sampler.steps_per_epoch))

    return sampler, lambda key, epoch=0: jax.device_get(all_batches(key, epoch))  # [steps, devices, ...]


def drawn(spec, train, key, num_devices=1):
    """The sampler and the batches of the first epoch."""
    sampler, draw = drawing(spec, train, num_devices)
    return sampler, draw(key)


def flat(array):
    return array.reshape(-1, *array.shape[3:])


def test_an_epoch_is_a_pass_over_the_union_with_true_labels(source, key):
    sampler, draw = drawing(UNION, source.train)
    found = draw(key)
    matrices = [source.train[b].toarray() for b in ("view", "cart", "buy")]
    union = sum(matrices) > 0
    assert sampler.steps_per_epoch == -(-union.sum() // 16)
    real = flat(found.weight) > 0
    user, item, label = flat(found.user)[real], flat(found.points.item)[real, 0], flat(found.points.label)[real]
    assert sorted(zip(user, item, strict=True)) == list(map(tuple, np.argwhere(union)))
    np.testing.assert_array_equal(label, np.stack([m[user, item] for m in matrices], axis=1))
    # Padding is all zeros, and the totals are of what is real: 5 rows for each pair.
    assert (flat(found.points.weight)[~real] == 0).all() and (flat(found.points.label)[~real] == 0).all()
    assert (flat(found.points.weight)[real] == 1).all()
    np.testing.assert_array_equal(found.points.total[:, 0], 5 * (found.weight > 0).sum(axis=(1, 2)))
    other = draw(key, 1)
    assert np.any(other.user != found.user) and np.any(other.points.item != found.points.item)


def test_negatives_are_outside_the_union_and_uniform(source, key):
    union = sum(source.train[b].toarray() for b in source.info.behaviors) > 0
    counts = np.zeros(union.shape)
    _, draw = drawing(UNION, source.train)
    for epoch in range(4):
        found = draw(key, epoch)
        user, points, weight = flat(found.user), flat(found.points.item), flat(found.points.weight)
        np.add.at(counts, (user[:, None], points[:, 1:]), weight[:, 1:])
    assert (counts[union] == 0).all()
    # Each user's counts are multinomial with equal chances: chi-squared has mean and half variance of its freedom.
    expected = counts.sum(axis=1, keepdims=True) / (~union).sum(axis=1, keepdims=True)
    chi = np.where(union, 0, (counts - expected) ** 2 / expected).sum()
    freedom = (~union).sum() - len(union)
    assert abs(chi - freedom) < 5 * np.sqrt(2 * freedom)


def test_a_user_with_all_items_but_one_or_all(key):
    train = {"view": csr([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1]]), "buy": csr([[1, 0, 0, 0], [0, 1, 1, 0], [0] * 4])}
    spec = types.BatchSpec(4, points=types.PointSpec(("view", "buy"), 3))
    _, found = drawn(spec, train, key)
    user, item, weight = flat(found.user), flat(found.points.item), flat(found.points.weight)
    real = weight[:, 0] > 0
    assert (item[real & (user == 0), 1:] == 2).all()
    assert (weight[real & (user == 1), 1:] == 0).all() and (weight[real & (user != 1)] == 1).all()
    np.testing.assert_array_equal(found.points.total[:, 0], weight.reshape(2, -1).sum(axis=1))


@pytest.mark.parametrize("spec", [UNION, UNION._replace(points=types.PointSpec(("view", "buy"), 2, LEVELS))])
def test_slices_of_devices_make_up_the_batch(source, key, spec):
    one, four = drawn(spec, source.train, key)[1], drawn(spec, source.train, key, num_devices=4)[1]
    for name in ("item", "label", "weight"):
        np.testing.assert_array_equal(flat(getattr(one.points, name)), flat(getattr(four.points, name)))
    np.testing.assert_array_equal(flat(one.user), flat(four.user))
    np.testing.assert_array_equal(np.broadcast_to(one.points.total, four.points.total.shape), four.points.total)
    np.testing.assert_array_equal(np.broadcast_to(one.everyone, four.everyone.shape), four.everyone)


def graded(levels, source, key, behaviors=("view", "cart", "buy"), negatives=40):
    """Where negatives come from: level of the observed pair -> user -> the strongest levels of its negatives.

    A strongest level of 0 is unobserved, of 1 view, 2 cart, 3 buy.
    """
    spec = types.BatchSpec(16, points=types.PointSpec(behaviors, negatives, levels))
    sampler, found = drawn(spec, source.train, key)
    assert sampler.points.num_pairs == sum(source.train[b].nnz for b in behaviors)
    strongest = np.max([(k + 1) * source.train[b].toarray() for k, b in enumerate(levels.behaviors)], axis=0)
    real = flat(found.weight) > 0
    user, item, label = flat(found.user)[real], flat(found.points.item)[real], flat(found.points.label)[real]
    assert (label.sum(axis=1) == 1).all()
    for k, name in enumerate(behaviors):
        own = label[:, k] > 0
        pairs = zip(user[own], item[own, 0], strict=True)
        assert sorted(pairs) == list(map(tuple, np.argwhere(source.train[name].toarray())))
    kinds = strongest[user[:, None], item[:, 1:]]
    return {
        name: {u: kinds[(label[:, k] > 0) & (user == u)].ravel() for u in np.unique(user)}
        for k, name in enumerate(behaviors)
    }


def test_levels_give_negatives_of_weaker_levels_only(source, key):
    found = graded(LEVELS, source, key)
    strongest = np.max([(k + 1) * source.train[b].toarray() for k, b in enumerate(LEVELS.behaviors)], axis=0)
    for level, name in enumerate(LEVELS.behaviors):
        for user, kinds in found[name].items():
            assert (kinds <= level).all()
            # beta is 0: an unobserved item stands only where a level that counts for the user has nothing.
            weaker = [(strongest[user] == k + 1).any() for k, b in enumerate(LEVELS.behaviors[:level])]
            counts = [source.train[b].toarray()[user].any() for b in LEVELS.behaviors[:level]]
            if weaker == counts and any(counts):
                assert (kinds > 0).all()
            if not any(counts):
                assert (kinds == 0).all()


def test_shares_of_levels_and_of_unobserved_items(key):
    # A user with 6 views, of them 1 bought and 1 in the cart, 3 carts, 2 buys; 20 items.
    rows = {"view": [0, 1, 2, 3, 4, 5], "cart": [4, 6, 7], "buy": [5, 8]}
    train = {b: csr([[i in items for i in range(20)]]) for b, items in rows.items()}
    levels = types.Levels(("view", "cart", "buy"), (0.25, 0.5, 1.0), 0.3)
    spec = types.BatchSpec(2, points=types.PointSpec(("buy",), 4000, levels))
    _, found = drawn(spec, train, key)
    item = flat(found.points.item)[:, 1:].ravel()
    assert len(item) == 8000
    # Views 6 / 4, carts 3 / 2: equal shares of what is not unobserved.
    for part, chance in (([0, 1, 2, 3], 0.35), ([4, 6, 7], 0.35), (list(range(9, 20)), 0.3)):
        shares = np.array([(item == i).mean() for i in part])
        np.testing.assert_allclose(shares, chance / len(part), atol=5 * np.sqrt(chance / len(part) / 8000))
    assert set(item) == {0, 1, 2, 3, 4, 6, 7, *range(9, 20)}


def test_levels_without_anything_fall_back_to_unobserved_items(key):
    # All views of the user are bought, and there are no carts: the shares say view, which has nothing.
    train = {"view": csr([[1, 1, 0, 0]]), "cart": csr([[0, 0, 0, 0]]), "buy": csr([[1, 1, 0, 0]])}
    spec = types.BatchSpec(2, points=types.PointSpec(("buy",), 30, LEVELS))
    _, found = drawn(spec, train, key)
    assert set(flat(found.points.item)[:, 1:].ravel()) == {2, 3}
    alone = types.Levels(("buy",), (1.0,), 0.0)
    _, found = drawn(spec._replace(points=types.PointSpec(("buy",), 30, alone)), {"buy": train["buy"]}, key)
    assert set(flat(found.points.item)[:, 1:].ravel()) == {2, 3}


def test_no_pairs_make_an_empty_batch(key):
    train = {"buy": csr([[0, 0, 0]])}
    sampler, found = drawn(types.BatchSpec(2, points=types.PointSpec(("buy",), 1)), train, key)
    assert sampler.steps_per_epoch == 1
    assert (found.points.weight == 0).all() and (found.points.total == 1).all()


def test_shapes_do_not_depend_on_the_draw(source, key):
    sampler, store = sampling.user_sampler(UNION, source.train)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def batch(epoch, place):
        return sampler.batch(store, sampler.plan(key, epoch), key, place)

    assert batch(0, 0).points.item.shape == batch(3, sampler.steps_per_epoch - 1).points.item.shape == (16, 5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (types.PointSpec(("buy",), 0), "points with 0 negatives"),
        (types.PointSpec(("buy", "like"), 1, LEVELS), "points of buy, like with levels view, cart, buy only"),
        (types.PointSpec(("buy",), 1, LEVELS._replace(weights=(1.0, 1.0))), "3 levels with the weights"),
        (types.PointSpec(("buy",), 1, LEVELS._replace(unobserved=1.5)), "a probability of 1.5"),
    ],
)
def test_what_cannot_be_drawn_is_refused(source, spec, message):
    with pytest.raises(ValueError, match=message):
        points.prepare(spec, source.train, sampling.union(source.train, ("buy",)))


def test_pairs_have_no_histories(source):
    with pytest.raises(ValueError, match="no histories"):
        sampling.user_sampler(UNION._replace(histories={"buy": ("buy",)}), source.train)
