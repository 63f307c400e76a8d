"""Data parallelism by pmap: the same step on four devices, to rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import config as configuration
from mbjax import errors, models, parallel
from mbjax.experiment import wiring


def experiment(devices):
    """BVAE with plain gradient descent, so that a step *is* the gradient."""
    overrides = {"train.batch_size": 8, "train.optimizer": "sgd", "train.learning_rate": 0.01, "train.chunk_steps": 1}
    overrides |= {"model.embedding_size": 4, "model.l2_weight": 0.01}
    config = configuration.load(
        "bvae", "demo", models.MODELS["bvae"].config, protocol="paper", devices=devices, overrides=overrides
    )
    return wiring.build(config, toy.dataset())


def test_loss_and_gradient_of_a_step_and_the_loss_of_twenty():
    losses, steps = {}, {}
    for devices in (1, 4):
        run = experiment(devices)
        advance, state = run.advance(), parallel.replicate(run.start(), devices)
        before = jax.tree.map(jnp.copy, parallel.single(state, devices).params)
        losses[devices] = []
        for number in range(20):
            epoch, place = divmod(number, 3)
            state, logged = advance.chunk(state, advance.plan(state, epoch), place, 1)
            losses[devices].append(float(logged["loss"][0]))
            if number == 0:
                after = parallel.single(state, devices).params
                steps[devices] = jax.tree.map(lambda a, b: np.asarray(a - b), after, before)
    np.testing.assert_allclose(losses[4][0], losses[1][0], rtol=1e-5)
    np.testing.assert_allclose(losses[4], losses[1], rtol=1e-3)
    assert losses[1][-1] < losses[1][0]
    for one, four in zip(*map(jax.tree.leaves, (steps[1], steps[4])), strict=True):
        # a difference of parameters carries their own rounding, 6e-8 of values up to .4
        np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-5 * np.abs(one).max() + 6e-8)


def test_more_devices_than_there_are():
    with pytest.raises(errors.ConfigError, match="--devices=64, but JAX sees 4"):
        parallel.check(64)


def test_a_batch_that_cannot_be_divided():
    config = experiment(1).config
    config = config.model_copy(update={"devices": 3})
    with pytest.raises(errors.IncompatibleError, match="train.batch_size=8 cannot be divided among --devices=3"):
        wiring.build(config, toy.dataset())


def test_replicas_and_back():
    state = experiment(1).start()
    there = parallel.replicate(state, 4)
    assert all(leaf.shape[0] == 4 for leaf in jax.tree.leaves(there.params))
    back = parallel.single(there, 4)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(back.params), strict=True):
        np.testing.assert_array_equal(a, b)
