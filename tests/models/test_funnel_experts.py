"""The networks of funnel before training."""

import chex
import jax
import numpy as np

from mbjax.models import funnel_experts


def drawn(widths, hidden, seed=0):
    """Of N experts of two sources with three members each."""
    keys = jax.random.split(jax.random.key(seed), (len(widths), 2, 3))
    return jax.jit(lambda keys: funnel_experts.first(funnel_experts.Expert(hidden, 1.0), keys, widths))(keys)


def test_each_is_what_it_would_be_without_wider_ones():
    alone, beside = drawn([5, 5], 4), drawn([5, 9], 4)
    chex.assert_trees_all_equal(alone[0], beside[0])
    for expert in beside[1]:
        shapes = jax.tree.map(lambda leaf: leaf.shape, expert["params"])
        assert shapes["hidden"] == {"kernel": (3, 9, 4), "bias": (3, 4)}
        assert shapes["linear"] == {"kernel": (3, 9, 1)} and shapes["out"] == {"kernel": (3, 4, 1)}
    kernels = [np.asarray(e["params"]["hidden"]["kernel"])[member] for e in beside[0] for member in range(3)]
    assert all((a != b).any() for place, a in enumerate(kernels) for b in kernels[:place])


def test_deviations_are_lecuns():
    widths = [50, 200]
    for width, each in zip(widths, drawn(widths, 64), strict=True):
        for expert in each:
            kernel = np.asarray(expert["params"]["hidden"]["kernel"])
            np.testing.assert_allclose(kernel.std(axis=(1, 2)), width**-0.5, rtol=0.05)
            assert np.abs(kernel).max() <= 2.001 * width**-0.5 / funnel_experts.TRUNCATED
            assert not np.any(expert["params"]["linear"]["kernel"])


def test_without_a_hidden_layer():
    assert drawn([3], 0)[0][0].keys() == {"params"} and drawn([3], 0)[0][0]["params"].keys() == {"linear"}


def test_squares_by_hand():
    params = {"linear": {"kernel": np.ones((2, 3, 1))}, "hidden": {"kernel": np.full((2, 3, 4), 2.0)}}
    params["out"] = {"kernel": np.full((2, 4, 1), 3.0)}
    # 6 of 1, 24 of 4, and 8 of 9, each for 4 hidden units
    assert float(funnel_experts.squares({"params": params})) == 6 + 24 * 4 + 4 * 8 * 9
