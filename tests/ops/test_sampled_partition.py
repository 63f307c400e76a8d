"""The sum over some candidates: the whole sum where all are drawn, without bias over draws, gradients as written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax.ops import contrastive, sampled_partition

RNG = np.random.default_rng(0)
ANCHOR, CANDIDATES = (jnp.asarray(RNG.normal(size=(12, 3)), jnp.float32) for _ in range(2))
WEIGHT = jnp.asarray([2.0, 0, 0, 3, 1, 0, 1, 0, 0, 0, 0, 0.5])
ROWS = jnp.arange(12)


def sampled(anchor, candidates, drawn, begin, size):
    inside = sampled_partition.is_in(ROWS, drawn, begin, 12)
    given = anchor, candidates, candidates[drawn], inside, WEIGHT, 12 / size
    return contrastive.sampled_info_nce(*given, 0.3, "cosine")


def drawn(size, seed=0):
    return sampled_partition.draw(jax.random.key(seed), size, 12)


def many(size, number):
    """Many draws and where their strata begin, on the host."""
    return zip(*map(np.asarray, jax.jit(jax.vmap(lambda seed: drawn(size, seed)))(jnp.arange(number))), strict=True)


def test_draws_are_distinct_and_each_row_is_as_likely():
    counts = np.zeros(12)
    for rows, _ in many(5, 3000):
        counts[rows] += 1
        assert len(set(rows.tolist())) == 5
    # 1250 of each are expected, with a deviation of at most sqrt(1250).
    assert np.abs(counts - 3000 * 5 / 12).max() < 5 * 36
    rows, begin = drawn(5)
    found = sampled_partition.is_in(ROWS, rows, begin, 12)
    np.testing.assert_array_equal(np.flatnonzero(found), np.sort(rows))


def test_all_candidates_are_the_whole_sum():
    rows, begin = drawn(12)
    whole = jax.value_and_grad(lambda a, c: contrastive.info_nce(a, c, WEIGHT, 0.3), argnums=(0, 1))
    some = jax.value_and_grad(lambda a, c: sampled(a, c, rows, begin, 12), argnums=(0, 1))
    value, gradients = jax.jit(whole)(ANCHOR, CANDIDATES)
    found, others = jax.jit(some)(ANCHOR, CANDIDATES)
    np.testing.assert_allclose(found, value, rtol=1e-5)
    for one, other in zip(others, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_part_is_the_estimate_as_written_with_its_gradients():
    rows, begin = drawn(4)

    def plain(anchor, candidates):
        anchor, candidates = (x / jnp.linalg.norm(x, axis=1, keepdims=True) for x in (anchor, candidates))
        logits = anchor @ candidates.T / 0.3
        taken = jnp.zeros(12).at[rows].set(1.0) * (1 - jnp.eye(12))  # the own one apart
        total = jnp.exp(jnp.diag(logits)) + 3.0 * jnp.sum(taken * jnp.exp(logits), axis=1)
        return jnp.sum(WEIGHT * (jnp.log(total) - jnp.diag(logits)))

    both = (
        jax.jit(jax.value_and_grad(function, argnums=(0, 1)))(ANCHOR, CANDIDATES)
        for function in (lambda a, c: sampled(a, c, rows, begin, 4), plain)
    )
    (value, gradients), (expected, others) = both
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for one, other in zip(gradients, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_sum_is_without_bias_and_its_logarithm_from_below():
    logits = np.asarray(contrastive.normalize(ANCHOR) @ contrastive.normalize(CANDIDATES).T) / 0.3
    own, found = np.diag(logits), []
    for rows, _ in many(4, 4000):
        inside = np.isin(np.arange(12), rows)
        found.append(np.exp(own) + 3.0 * (np.exp(logits[:, rows]).sum(axis=1) - inside * np.exp(own)))
    found, whole = np.asarray(found), np.exp(logits).sum(axis=1)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - whole) < 5 * error + 1e-4 * whole).all()
    below = np.log(whole) - np.log(found).mean(axis=0)
    assert (below > 0).all() and below.mean() < 0.25


@pytest.mark.parametrize("size", [1, 5])
def test_rows_without_weight_cost_nothing(size):
    rows, begin = drawn(size)
    gradient = jax.jit(jax.grad(lambda a: sampled(a, CANDIDATES, rows, begin, size)))(ANCHOR)
    np.testing.assert_array_equal(np.asarray(gradient)[np.asarray(WEIGHT) == 0], 0.0)
