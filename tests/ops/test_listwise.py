"""Batches of lists: losses by hand, what a store keeps and how it weighs it, orders of a sampler, slices of devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax.ops import listwise


def drawn(positive, mask=None, weight=None):
    positive = jnp.asarray(positive, jnp.float32)
    mask = jnp.ones(positive.shape, bool) if mask is None else jnp.asarray(mask, bool)
    weight = jnp.zeros(positive.shape) if weight is None else jnp.asarray(weight, jnp.float32)
    return listwise.Drawn(jnp.zeros((*positive.shape, 1)), positive, weight, mask, jnp.zeros(len(positive), jnp.int32))


def test_softmax_loss_by_hand():
    """Two answers do not compete; padding and lists without an answer say nothing; one wrong item stands for five."""
    logits = jnp.array([[1.0, 2.0, 0.0, -1.0], [0.5, 0.2, 7.0, 7.0], [3.0, 1.0, 1.0, 1.0]])
    lists = drawn(
        [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]],
        mask=[[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]],
        weight=[[0, 0, 0, np.log(5)], [0] * 4, [0] * 4],
    )
    wrong = 1 + 5 * np.exp(-1)
    first = np.mean([np.log1p(wrong / np.exp(1)), np.log1p(wrong / np.exp(2))])
    wanted = [first, np.log1p(np.exp(0.2 - 0.5)), 0]
    np.testing.assert_allclose(listwise.softmax_loss(logits, lists), wanted, rtol=1e-6)
    gradient = jax.grad(lambda x: listwise.softmax_loss(x, lists).sum())(logits)
    assert np.isfinite(gradient).all() and not gradient[1, 2:].any() and not gradient[2].any()


def test_pointwise_loss_by_hand():
    logits = jnp.array([[1.0, -2.0, 9.0], [1.0, 1.0, 1.0]])
    lists = drawn([[1, 0, 0], [0, 0, 0]], mask=[[1, 1, 0], [1, 1, 1]], weight=[[0, np.log(3), 0], [0, 0, 0]])
    wanted = [np.log1p(np.exp(-1)) + 3 * np.log1p(np.exp(-2)), 0]
    np.testing.assert_allclose(listwise.pointwise_loss(logits, lists), wanted, rtol=1e-6)


def test_log_softmax_of_lists_sums_to_one():
    row = jnp.array([0, 0, 2, 2, 2, 3])
    logits = jnp.array([1.0, 2.0, -80.0, 5.0, 90.0, -3.0])
    found = np.asarray(listwise.log_softmax(logits, row, 5))
    np.testing.assert_allclose(found[:2], np.log(np.exp([1, 2]) / np.exp([1, 2]).sum()), rtol=1e-6)
    np.testing.assert_allclose(np.bincount(row, np.exp(found), minlength=5), [1, 0, 1, 1, 0], rtol=1e-6)


LENGTHS = (3, 40, 7, 1)


class Part(NamedTuple):
    x: np.ndarray
    ptr: np.ndarray
    positive: np.ndarray


def stored(longest, rng, parts=(LENGTHS,)):
    """Rows are numbered from 1 in their one column, through all parts; the first two of each list are answers."""
    given, end = [], 1
    for lengths in parts:
        ptr = np.concatenate([[0], np.cumsum(lengths)])
        positive = np.concatenate([(np.arange(n) < 2).astype(np.float32) for n in lengths])
        given.append(Part(np.arange(end, end + ptr[-1], dtype=np.float32)[:, None], ptr, positive))
        end += ptr[-1]
    found = listwise.store(given, np.arange(sum(map(len, parts))), longest, rng)
    return found, np.asarray(found.x)[np.asarray(found.place), 0].astype(int)


@pytest.mark.parametrize("parts", [(LENGTHS,), (LENGTHS[:1], LENGTHS[1:]), (LENGTHS[:2], LENGTHS[2:])])
@pytest.mark.parametrize("longest", [8, 100])
def test_a_store_keeps_all_answers_and_whole_lists_where_it_can(longest, parts):
    found, value = stored(longest, np.random.default_rng(0), parts)
    padding, ends = found.x.shape[0] - 1, np.cumsum(LENGTHS)
    assert found.place.shape == (4, min(longest, 40)) and not found.x[padding].any() and found.positive[padding] == 0
    assert padding == np.minimum(LENGTHS, longest).sum()  # what no list has is not kept
    for row, (values, length, end) in enumerate(zip(value, LENGTHS, ends, strict=True)):
        kept = np.sort(values[values > 0])
        assert np.unique(kept).size == kept.size == min(length, longest)
        assert end - length < kept[0] and kept[-1] <= end
        is_answer = np.asarray(found.positive)[np.asarray(found.place)[row]] > 0
        assert sorted(values[is_answer]) == list(range(end - length + 1, end - length + 1 + min(length, 2)))
        if length <= longest:
            assert not found.weight[row].any()


def test_a_sample_stands_for_what_it_was_drawn_from():
    """38 wrong candidates, six of them taken: the weighted sum of any number of them is that of all, on average."""
    sums = []
    number = np.random.default_rng(3).random(52)
    for seed in range(400):
        found, value = stored(8, np.random.default_rng(seed))
        is_answer = np.asarray(found.positive)[np.asarray(found.place)[1]] > 0
        weight = np.exp(np.asarray(found.weight)[1])
        np.testing.assert_allclose(weight, np.where(is_answer, 1, 38 / 6), rtol=1e-6)
        sums.append((weight * number[value[1]] * ~is_answer).sum())
    assert np.mean(sums) == pytest.approx(number[6:44].sum(), abs=4 * np.std(sums) / 20)


def test_every_list_is_visited_once_a_pass(key):
    sampler = listwise.ListSampler({"a": (6, 4), "b": (5, 3)}, 1, 6)
    plan = sampler.plan(key, 0)
    assert plan["a"].shape == (6, 4) and plan["b"].shape == (6, 3)
    for name, (count, _) in sampler.sizes.items():
        order = np.asarray(plan[name]).ravel()
        for start in range(0, order.size - count + 1, count):
            assert sorted(order[start : start + count]) == list(range(count))
    assert not np.array_equal(plan["a"], sampler.plan(key, 1)["a"])
    np.testing.assert_array_equal(plan["a"], sampler.plan(key, 0)["a"])


@pytest.mark.parametrize("size", [4, 6, 3])
def test_slices_of_devices_add_up(key, size):
    """A batch that four devices cannot share equally too: the last slices are padded."""
    found, *_ = stored(8, np.random.default_rng(0))
    everything = {"users": jnp.ones(3)}

    def losses(num_devices):
        sampler = listwise.ListSampler({"a": (4, size)}, num_devices, 2)
        total = []
        for device in range(num_devices):
            batch = sampler.batch(({"a": found}, everything), sampler.plan(key, 0), key, 1, device)
            assert batch.total["a"] == size and batch.count["a"] == 4
            lists = batch.lists["a"]
            assert lists.x.shape[0] == -(-size // num_devices)
            total.append((listwise.softmax_loss(lists.x[..., 0] / 50, lists).sum(), batch.share))
        return np.array(total).sum(axis=0)

    np.testing.assert_allclose(losses(4), losses(1), rtol=1e-6)


def test_a_long_list_of_right_answers_alone_keeps_as_many_as_there_is_room_for():
    part = Part(np.zeros((9, 1), np.float16), np.array([0, 7, 9]), np.ones(9, np.float32))
    found = listwise.store([part], np.zeros(2, int), 4, np.random.default_rng(0))
    assert found.x.shape[0] - 1 == 4 and not np.asarray(found.weight).any()
    assert np.asarray(found.positive)[np.asarray(found.place)].sum(axis=1).tolist() == [2, 2]
