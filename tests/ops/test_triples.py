"""Triples: positives are the user's, negatives never are, both uniform, and the same on however many devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import scipy.stats
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import types
from mbjax.ops import sampling, triples

NUM_ITEMS = 9
# No item, one, three, six, all but item 4, all.
ROWS = [[], [7], [1, 4, 8], [0, 2, 3, 5, 6, 8], [0, 1, 2, 3, 5, 6, 7, 8], list(range(9))]
PER_USER = 4
COUNTS = [0, 1, 3, 4, 4, 0]  # of triples; who has all items has no negative


NUM_DRAWS = 18_000  # rows of every draw, so that it compiles once


def csr(rows):
    ptr = np.cumsum([0, *map(len, rows)])
    items = np.full(len(ROWS) * NUM_ITEMS, NUM_ITEMS)
    items[: ptr[-1]] = [i for row in rows for i in row]
    return jnp.asarray(ptr, jnp.int32), jnp.asarray(items, jnp.int32)


@jax.jit
def compiled(rows, users, everyone, noise, stream, known):
    return triples.draw(
        *rows,
        users,
        everyone,
        noise,
        known=known,
        stream=stream,
        per_user=PER_USER,
        longest=NUM_ITEMS,
        num_items=NUM_ITEMS,
    )


def draw(users, rows=ROWS, known=None, stream=0, seed=0):
    """Draws for some users, on the host."""
    number = len(users)
    padded = jnp.pad(jnp.asarray(users, jnp.int32), (0, NUM_DRAWS - number), constant_values=-1)
    noise = jax.random.bits(jax.random.key(seed), (NUM_DRAWS, 2), jnp.uint32)
    drawn = compiled(csr(rows), padded, padded, noise, stream, csr(known or rows))
    return types.Triples(*(np.asarray(x)[:number] for x in (drawn.positive, drawn.negative, drawn.weight)), drawn.total)


def many(user, **options):
    """Draws for copies of one user."""
    return draw([user] * NUM_DRAWS, **options)


def is_uniform(*values, among):
    """Chi-square test of a joint uniform distribution; the keys are fixed, so the answer is too."""
    places = [np.searchsorted(kind, value) for value, kind in zip(values, among, strict=True)]
    counts = np.zeros([len(kind) for kind in among])
    np.add.at(counts, tuple(places), 1)
    return scipy.stats.chisquare(counts.ravel()).pvalue > 0.01


def test_positives_are_the_users_and_negatives_never():
    for seed in range(5):
        drawn = draw([0, 1, 2, 3, 4, 5, -1], seed=seed)
        assert drawn.weight.sum(axis=1).tolist() == [*COUNTS, 0]  # min(M, n); padding gives none
        assert (np.diff(drawn.weight, axis=1) <= 0).all()  # real ones first
        assert drawn.total == sum(COUNTS)
        for user, row in enumerate(ROWS):
            real = drawn.weight[user] > 0
            assert set(drawn.positive[user][real]) <= set(row)
            assert set(drawn.negative[user][real]) <= set(range(NUM_ITEMS)) - set(row)
        padding = drawn.weight == 0
        assert not drawn.positive[padding].any() and not drawn.negative[padding].any()


def test_who_has_all_items_but_one_always_gets_that_one():
    drawn = many(4)
    assert (drawn.negative == 4).all() and (drawn.weight == 1).all()


@pytest.mark.parametrize("user", [2, 3])
def test_uniform_and_independent(user):
    drawn = many(user)
    has = ROWS[user]
    has_not = sorted(set(range(NUM_ITEMS)) - set(has))
    real = drawn.weight[0] > 0
    positive, negative = drawn.positive[:, real], drawn.negative[:, real]
    assert is_uniform(positive, negative, among=(has, has_not))
    # With replacement: two positives of a user, and two negatives, are independent.
    assert is_uniform(positive[:, 0], positive[:, 1], among=(has, has))
    assert is_uniform(negative[:, 0], negative[:, 2], among=(has_not, has_not))
    # Another name draws otherwise, from the same noise.
    other = many(user, stream=1).positive[:, real]
    assert is_uniform(positive[:, 0], other[:, 0], among=(has, has))


def test_the_chi_square_test_notices_a_bias():
    drawn = many(3)
    skewed = np.where(drawn.negative == 1, 7, drawn.negative)
    assert not is_uniform(skewed, among=([1, 4, 7],))


def test_known_items_are_no_negatives_either():
    known = [[], [7], [1, 2, 4, 8], [0, 2, 3, 5, 6, 7, 8], list(range(9)), list(range(9))]
    drawn = many(3, known=known)
    assert set(drawn.positive.ravel()) == set(ROWS[3])
    assert is_uniform(drawn.negative, among=([1, 4],))
    counted = draw(range(6), known=known)
    assert counted.weight.sum(axis=1).tolist() == [0, 1, 3, 4, 0, 0]  # user 4 knows all items
    assert counted.total == 8


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.integers(0, NUM_ITEMS - 1)), min_size=6, max_size=6), st.integers(0, 99))
def test_any_histories(rows, seed):
    drawn = draw(range(6), rows=[sorted(row) for row in rows], seed=seed)
    for user, row in enumerate(rows):
        real = drawn.weight[user] > 0
        assert real.sum() == (min(PER_USER, len(row)) if len(row) < NUM_ITEMS else 0)
        assert set(drawn.positive[user][real]) <= row
        assert set(drawn.negative[user][real]).isdisjoint(row)
        assert drawn.negative[user].max() < NUM_ITEMS
    assert drawn.total == max(drawn.weight.sum(), 1)


def test_every_rank_of_not_among():
    for row in ROWS[:5]:
        ranks = jnp.arange(NUM_ITEMS - len(row))
        item = jnp.asarray([5, *row, 5], jnp.int32)  # neighbors that are not of the row
        found = triples.not_among(item, jnp.int32(1), jnp.int32(len(row)), ranks, longest=len(row))
        assert found.tolist() == sorted(set(range(NUM_ITEMS)) - set(row))


# Through the sampler, on toy data.

PAIRS = {
    "cart": types.PairSet("cart"),
    "cart_without_view": types.PairSet("cart", without="view"),
    "buy": types.PairSet("buy", known=("view", "cart")),
}
SPEC = types.BatchSpec(8, triples=PAIRS, per_user=5)


@pytest.fixture(scope="module")
def source():
    return toy.dataset()


def drawn_batches(spec, source, key, num_devices=1):
    """Every batch of an epoch: a list of the slices of the devices."""
    sampler, store = sampling.user_sampler(spec, source.train, num_devices)
    plan = sampler.plan(key, 0)
    batch = jax.jit(lambda place, device: sampler.batch(store, plan, key, place, device))
    places = range(sampler.steps_per_epoch)
    return [[jax.device_get(batch(p, d)) for d in range(num_devices)] for p in places]


@pytest.fixture(scope="module")
def whole(source):
    return drawn_batches(SPEC, source, jax.random.key(8))


def dense(source, name):
    return source.train[name].toarray() > 0


def test_an_epoch_draws_for_every_user_what_the_user_has(source, whole):
    positives = {name: dense(source, PAIRS[name].behavior) for name in PAIRS}
    positives["cart_without_view"] &= ~dense(source, "view")
    forbidden = positives | {"buy": dense(source, "buy") | dense(source, "view") | dense(source, "cart")}
    for name in PAIRS:
        seen = np.zeros(23, int)
        for (batch,) in whole:
            drawn = batch.triples[name]
            real = drawn.weight > 0
            user = np.broadcast_to(batch.user[:, None], real.shape)[real]
            assert positives[name][user, drawn.positive[real]].all()
            assert not forbidden[name][user, drawn.negative[real]].any()
            assert drawn.total == max(real.sum(), 1)
            np.add.at(seen, user, 1)
        np.testing.assert_array_equal(seen, np.minimum(positives[name].sum(axis=1), 5), err_msg=name)
    assert (~positives["cart"].any(axis=1)).any()  # the data have a user without, who gave none


def test_the_same_draws_on_any_number_of_devices(source, whole):
    parts = drawn_batches(SPEC, source, jax.random.key(8), num_devices=4)
    for (one,), four in zip(whole, parts, strict=True):
        for name in PAIRS:
            for field in ("positive", "negative", "weight"):
                joined = np.concatenate([getattr(part.triples[name], field) for part in four])
                np.testing.assert_array_equal(joined, getattr(one.triples[name], field))
            assert {float(part.triples[name].total) for part in four} == {float(one.triples[name].total)}


@pytest.mark.exhaustive
def test_several_negatives_and_positives_that_every_device_is_told(source):
    spec = SPEC._replace(negatives=3, told=("buy",))
    ((one,),), (four,) = (drawn_batches(spec, source, jax.random.key(8), n)[:1] for n in (1, 4))
    drawn, bought = one.triples["buy"], dense(source, "buy")
    number = drawn.positive.shape[1]
    assert drawn.negative.shape == (len(one.user), 3 * number) and drawn.everyone is None
    for b, m in np.argwhere(drawn.weight > 0):
        assert not bought[one.user[b], drawn.negative[b, m::number]].any()
    real = drawn.weight > 0
    assert not drawn.negative[~np.tile(real, 3)].any() and len(np.unique(drawn.negative[real[:, 0], ::number])) > 5
    for part in four:
        assert part.triples["cart"].everyone is None
        np.testing.assert_array_equal(part.triples["buy"].everyone, np.where(real, drawn.positive, -1))


def test_a_set_without_pairs_gives_nothing(source, key):
    train = {**source.train, "cart": scipy.sparse.csr_array(source.train["cart"].shape, dtype=np.uint8)}
    sampler, store = sampling.user_sampler(SPEC._replace(triples={"cart": PAIRS["cart"]}), train)
    batch = jax.jit(lambda: sampler.batch(store, sampler.plan(key, 0), key, 0))()
    assert not batch.triples["cart"].weight.any()
    assert batch.triples["cart"].total == 1  # a mean over nothing divides by this


def test_pairs_without_those_of_another_behavior(source):
    found = sampling.pairs_of(PAIRS["cart_without_view"], source.train)
    np.testing.assert_array_equal(found.toarray(), dense(source, "cart") & ~dense(source, "view"))
    assert found.nnz == found.toarray().sum()  # no stored zeros


def plans(source, epochs=3, **options):
    sampler, _ = sampling.user_sampler(SPEC._replace(**options), source.train)
    plan = jax.jit(sampler.plan)
    return sampler, [np.asarray(plan(jax.random.key(3), epoch)) for epoch in range(epochs)]


def test_users_per_epoch(source):
    sampler, found = plans(source, users_per_epoch=10)
    assert sampler.steps_per_epoch == 2  # batches of 8 and 2
    for plan in found:
        assert plan.shape == (16,) and plan.max() < 23
        assert len(set(plan[:10])) == 10 and (plan[:10] >= 0).all() and (plan[10:] == -1).all()
    assert len({tuple(sorted(plan[:10])) for plan in found}) == 3  # other users in another epoch


def test_more_users_per_epoch_than_there_are_is_all(source):
    sampler, found = plans(source, users_per_epoch=10_000)
    assert sampler.steps_per_epoch == 3
    assert all(sorted(plan[:23]) == list(range(23)) for plan in found)


def test_steps_per_epoch_goes_over_the_users_again(source):
    sampler, found = plans(source, steps_per_epoch=7)
    assert sampler.steps_per_epoch == 7
    for plan in found:
        assert plan.shape == (56,)
        orders = plan[:23], plan[23:46]
        assert all(sorted(order) == list(range(23)) for order in orders) and (orders[0] != orders[1]).any()
        assert len(set(plan[46:])) == 10
