"""Batches of lists: losses by hand, what a store keeps and how it weighs it, orders of a sampler, slices of devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import usual

from mbjax.ops import listwise


def drawn(positive, mask=None, weight=None):
    positive = jnp.asarray(positive, jnp.float32)
    mask = jnp.ones(positive.shape, bool) if mask is None else jnp.asarray(mask, bool)
    weight = jnp.zeros(positive.shape) if weight is None else jnp.asarray(weight, jnp.float32)
    x, place = jnp.zeros((positive.size, 1)), jnp.arange(positive.size).reshape(positive.shape)
    return listwise.Drawn(
        x, place, positive, weight, mask, jnp.zeros(len(positive), jnp.int32), jnp.ones(len(positive))
    )


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
    return found, dict(zip(np.asarray(found.group).tolist(), rows_of(found), strict=True))


def rows_of(store):
    """The rows of each list, in the order of the store."""
    return [np.arange(a, a + n) for a, n in zip(np.asarray(store.begin), np.asarray(store.length), strict=True)]


@pytest.mark.parametrize("parts", [(LENGTHS,), (LENGTHS[:1], LENGTHS[1:]), (LENGTHS[:2], LENGTHS[2:])])
@pytest.mark.parametrize("longest", [8, 100])
def test_a_store_keeps_all_answers_and_whole_lists_where_it_can(longest, parts):
    found, rows = stored(longest, np.random.default_rng(0), parts)
    padding, ends = found.x.shape[0] - 1, np.cumsum(LENGTHS)
    x, positive = np.asarray(found.x)[:, 0], np.asarray(found.positive)
    assert padding == np.minimum(LENGTHS, longest).sum()  # what no list has is not kept
    assert x[padding] == positive[padding] == found.weight[padding] == 0
    assert (np.diff(found.length) >= 0).all() and sorted(rows) == [0, 1, 2, 3]
    for number, (length, end) in enumerate(zip(LENGTHS, ends, strict=True)):
        mine = rows[number]
        kept = np.sort(x[mine])
        assert np.unique(kept).size == kept.size == min(length, longest)
        assert end - length < kept[0] and kept[-1] <= end
        answers = x[mine][positive[mine] > 0]
        assert sorted(answers) == list(range(end - length + 1, end - length + 1 + min(length, 2)))
        if length <= longest:
            assert not np.asarray(found.weight)[mine].any()


def test_a_sample_stands_for_what_it_was_drawn_from():
    """38 wrong candidates, six of them taken: the weighted sum of any number of them is that of all, on average."""
    sums = []
    number = np.random.default_rng(3).random(52)
    for seed in range(400):
        found, rows = stored(8, np.random.default_rng(seed))
        is_answer = np.asarray(found.positive)[rows[1]] > 0
        weight = np.exp(np.asarray(found.weight)[rows[1]])
        np.testing.assert_allclose(weight, np.where(is_answer, 1, 38 / 6), rtol=1e-6)
        sums.append((weight * number[np.asarray(found.x)[rows[1], 0].astype(int)] * ~is_answer).sum())
    assert np.mean(sums) == pytest.approx(number[6:44].sum(), abs=4 * np.std(sums) / 20)


def sampler_of(sizes, num_devices, steps, lengths=None):
    lengths = {name: np.ones(count, int) for name, (count, _) in sizes.items()} if lengths is None else lengths
    return listwise.ListSampler(sizes, num_devices, steps, lengths)


def test_every_list_of_a_span_is_visited_once_a_pass(key):
    draw, _ = toy.compiled(sampler_of({"a": (6, 3), "b": (7, 3), "c": (5, 5)}, 1, 7))
    plan = draw(key, 0)
    spans = {"a": [{0, 1}, {2, 3}, {4, 5}], "b": [{0, 1}, {2, 3}, {4, 5, 6}], "c": [{0}, {1}, {2}, {3}, {4}]}
    for name, of in spans.items():
        assert plan[name].shape == (7, len(of))
        for column, span in zip(np.asarray(plan[name]).T, of, strict=True):
            for start in range(0, 8 - len(span), len(span)):
                assert set(column[start : start + len(span)]) == span
    assert not np.array_equal(plan["b"], draw(key, 1)["b"])
    np.testing.assert_array_equal(plan["b"], draw(key, 0)["b"])


def test_each_list_is_drawn_as_often_as_any(key):
    draw, _ = toy.compiled(sampler_of({"a": (40, 4)}, 1, 30))
    plan = np.concatenate([draw(key, epoch)["a"].ravel() for epoch in range(40)])
    assert (np.bincount(plan, minlength=40) == 30 * 4 * 40 // 40).all()


@pytest.mark.parametrize(("count", "size", "steps"), [(3, 2, 2), (7, 4, 2), (10, 4, 6), (5, 5, 3)])
@pytest.mark.parametrize("num_devices", [1, 2])
def test_lists_count_alike_where_some_are_drawn_more_often(key, count, size, steps, num_devices):
    """Spans of one list and of two: who is alone in his span is drawn in every step, and counts half as much."""
    found = listwise.store([Part(np.ones((count, 1)), np.arange(count + 1), np.ones(count))], np.arange(count), 8, None)
    draw, batch = toy.compiled(sampler_of({"a": (count, size)}, num_devices, steps))
    plan, sums = draw(key, 0), np.zeros(count)
    for step in range(steps):
        for device in range(num_devices):
            drawn = batch(({"a": found}, {}), plan, key, step, device).lists["a"]
            np.add.at(sums, np.asarray(drawn.group), np.asarray(drawn.worth * drawn.mask.any(axis=1)))
    np.testing.assert_allclose(sums, steps / count, rtol=1e-6)


def test_a_batch_has_the_rows_of_its_lists_and_little_else(key):
    found, rows = stored(100, np.random.default_rng(0))  # lists 3, 0, 2, 1 by length: 1, 3, 7, 40
    plan, batch = toy.compiled(sampler_of({"a": (4, 2)}, 1, 2, {"a": np.asarray(found.length)}))
    batch = batch(({"a": found}, {}), plan(key, 0), key, 0).lists["a"]
    assert batch.x.shape == (3 + 40, 1) and batch.place.shape == (2, 40)
    values = np.asarray(listwise.spread(batch.x.T, batch))[0]
    for line, group in enumerate(np.asarray(batch.group)):
        mine = np.asarray(found.x)[rows[group], 0]
        np.testing.assert_array_equal(values[line, : mine.size], mine)
        assert not values[line, mine.size :].any() and not batch.positive[line, mine.size :].any()
        assert np.flatnonzero(batch.mask[line]).tolist() == list(range(mine.size))


@pytest.mark.parametrize("size", usual.cases([4, 6, 3], {6, 3}.__contains__))
def test_slices_of_devices_add_up(key, size):
    """A batch that four devices cannot share equally too: the last slices are padded."""
    found, _ = stored(8, np.random.default_rng(0), (LENGTHS, LENGTHS))
    everything, lengths = {"users": jnp.ones(3)}, {"a": np.asarray(found.length)}

    def losses(num_devices):
        plan, drawn = toy.compiled(sampler_of({"a": (8, size)}, num_devices, 2, lengths))
        total = []
        for device in range(num_devices):
            batch = drawn(({"a": found}, everything), plan(key, 0), key, 1, device)
            assert batch.count["a"] == 8
            lists = batch.lists["a"]
            assert len(lists.place) == -(-size // num_devices)
            logits = listwise.spread(lists.x[:, 0] / 50, lists)
            total.append((listwise.softmax_loss(logits, lists).sum(), batch.share))
        return np.array(total).sum(axis=0)

    np.testing.assert_allclose(losses(4), losses(1), rtol=1e-6)


def test_a_long_list_of_right_answers_alone_keeps_as_many_as_there_is_room_for():
    part = Part(np.zeros((9, 1), np.float16), np.array([0, 7, 9]), np.ones(9, np.float32))
    found = listwise.store([part], np.zeros(2, int), 4, np.random.default_rng(0))
    assert found.x.shape[0] - 1 == 4 and not np.asarray(found.weight).any()
    assert np.asarray(found.length).tolist() == [2, 2] and np.asarray(found.positive)[:4].all()


def test_shapes_in_common_cost_little():
    """Rows and places: 1,500, 1,470, 1,000 of width 2, and 1,500 of width 3, of which 341 may be padding."""
    shapes = {"a": (900, 10, 60), "b": (910, 8, 70), "c": (500, 10, 50), "d": (900, 10, 60)}
    found = listwise.alike(shapes, {"a": 2, "b": 2, "c": 2, "d": 3})
    assert found["a"] == found["b"] == (910, 10, 70)  # 110 and 140 more
    assert found["c"] == shapes["c"] and found["d"] == shapes["d"]  # another width, and 1,220 more
    assert listwise.alike({"a": (3, 1, 3)}, {"a": 5}) == {"a": (3, 1, 3)}


def test_what_fills_a_shape_up_says_nothing(key):
    """Lists of 1 to 40 rows beside ones of 1 to 38, in batches of four, on one device and on two."""
    stores = {"a": stored(100, np.random.default_rng(0), (LENGTHS,) * 2)[0]}
    stores["b"] = stored(38, np.random.default_rng(0), (LENGTHS,) * 2)[0]
    lengths = {name: np.asarray(of.length) for name, of in stores.items()}
    for num_devices in (1, 2):
        sizes = {"a": (8, 4), "b": (8, 4)}
        draw, batch = toy.compiled(sampler_of(sizes, num_devices, 2, lengths))
        plan = draw(key, 0)
        for device in range(num_devices):
            together = batch((stores, {}), plan, key, 1, device).lists
            assert together["a"].x.shape == together["b"].x.shape
            for name in sizes:
                _, batch_of = toy.compiled(sampler_of({name: sizes[name]}, num_devices, 2, lengths))
                alone = batch_of((stores, {}), plan, key, 1, device).lists[name]
                for loss in (listwise.softmax_loss, listwise.pointwise_loss):
                    given, wanted = (
                        (loss(listwise.spread(of.x[:, 0] / 50 + 3, of), of) * of.worth).sum()
                        for of in (together[name], alone)
                    )
                    assert wanted > 0
                    np.testing.assert_allclose(given, wanted, rtol=1e-6)
