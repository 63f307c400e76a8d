"""Units against their formula, pair by pair; blocks equal pairs, in tiles of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pointwise
import pytest

from mbjax import errors
from mbjax.models import ncf_units

CASES = [("gmf", 0), ("gmf", 1), ("mlp", 1), ("mlp", 3), ("neumf", 1), ("neumf", 2)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def trial(request):
    kind, layers = request.param
    module = ncf_units.Unit(kind, 8, layers)
    rng = np.random.default_rng(3)
    p, q = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(7, 8)).astype(np.float32)
    sides = ncf_units.Unit.sides
    params = module.init(jax.random.key(0), p, q, method=sides)
    params, literal = pointwise.randomized(params)

    def apply(method, *arguments):
        return jax.jit(lambda params, *args: module.apply(params, *args, method=method))(params, *arguments)

    expected = np.array([[pointwise.unit(kind, literal, u, i) for i in q.astype(float)] for u in p.astype(float)])
    return module, p, q, apply, expected


def test_a_block_is_the_formula(trial):
    _, p, q, apply, expected = trial

    def block(module, p, q):
        return module.block((p, q), module.sides(p, q))

    np.testing.assert_allclose(apply(block, p, q), expected, rtol=1e-4, atol=1e-4)


def test_pairs_are_the_formula(trial):
    _, p, q, apply, expected = trial
    items = np.array([[0, 6, 3], [1, 1, 2], [5, 0, 4], [6, 2, 0], [3, 4, 5]])

    def pairs(module, p, q):
        rows = p[:, None], q[items]
        return module.pairs(rows, module.sides(*rows))

    np.testing.assert_allclose(apply(pairs, p, q), np.take_along_axis(expected, items, axis=1), rtol=1e-4, atol=1e-4)


def test_tiles_are_the_whole(trial, monkeypatch):
    _, p, q, apply, expected = trial
    monkeypatch.setattr(ncf_units, "USERS_AT_ONCE", 2)
    monkeypatch.setattr(ncf_units, "ITEMS_AT_ONCE", 3)

    def whole(module, p, q):
        mine, theirs = module.sides(p, q)

        def block(user, item):
            assert user[0].shape[0] <= 2 and item[0].shape[0] <= 3
            return module.block((user[0], item[0]), (user[1], item[1]))

        return ncf_units.tiled(block, (p, mine), (q, theirs))

    np.testing.assert_allclose(apply(whole, p, q), expected, rtol=1e-4, atol=1e-4)


def test_shapes_and_initial_values():
    def made(*args, **options):
        module = ncf_units.Unit(*args, **options)
        rows = jnp.zeros((1, args[1]))
        return jax.tree.map(np.asarray, module.init(jax.random.key(2), rows, rows, method="sides"))["params"]

    neumf = made("neumf", 64, 2)
    assert {name: value.shape for name, value in neumf.items()} == {
        "kernel_0": (192, 96), "bias_0": (96,), "kernel_1": (96, 48), "bias_1": (48,), "output": (48,)
    }  # fmt: skip
    assert {name: value.shape for name, value in made("gmf", 64, 1).items()} == {"kernel_0": (64, 64), "output": (64,)}
    assert {name: value.shape for name, value in made("gmf", 64, 0).items()} == {"output": (64,)}
    # Uniform up to sqrt(3 / inputs); biases are zero.
    for name, inputs in (("kernel_0", 192), ("kernel_1", 96), ("output", 48)):
        limit = np.sqrt(3 / inputs)
        assert 0.9 * limit < np.abs(neumf[name]).max() <= limit
    assert not neumf["bias_0"].any()
    assert np.abs(made("mlp", 4, 1, output_inputs=300)["output"]).max() <= 0.1


@pytest.mark.parametrize(("kind", "layers", "most"), [("mlp", 4, 3), ("neumf", 0, 3), ("neumf", 4, 3)])
def test_a_tower_must_have_layers_and_width(kind, layers, most):
    with pytest.raises(errors.ConfigError, match=rf"model.layers={layers} halves .*; choose 1 to {most}\."):
        ncf_units.check_layers(kind, 4, layers)
    ncf_units.check_layers(kind, 4, most)
    ncf_units.check_layers("gmf", 4, layers)
