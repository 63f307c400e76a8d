"""The primal form against the dual one, which is held against regressions solved one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy
import usual

from mbjax.ops import platforms, primal, ridge

BEHAVIORS, ITEMS = 3, 31
WEIGHTS = {"of behaviors": np.array([0.3, 1.0, 2.0]), "of columns": np.random.default_rng(3).uniform(0.2, 1.5, (3, 31))}


def blocks() -> list[scipy.sparse.csr_array]:
    return [matrix.astype(np.float32) for matrix in toy.dataset(BEHAVIORS).train.values()]


def predictions(train, weights, leave: str, targets, users, start=0, size=ITEMS):
    """Of both forms for some targets, [B, size] each."""
    graphs, tile = ridge.place(train), slice(start, start + size)
    dual, form = ridge.invert(train, weights, 0.3), primal.invert(train, weights, 0.3)
    assert float(form.penalty) == float(dual.penalty)
    grams = ridge.gram(train, dual), primal.gram(form)
    both = [
        (ridge.coefficients(grams[0], t, leave, weights)[tile], primal.coefficients(grams[1], t, leave, weights)[tile])
        for t in targets
    ]

    @jax.jit
    def made():
        mine = ridge.entries(graphs, users, start, size)
        rows, columns = ridge.rows(dual, graphs, users, start, size), primal.rows(form, graphs, users, start, size)
        return [
            (mine[t] - dual.penalty * ridge.combine(rows, k, t), mine[t] + primal.combine(columns, c))
            for t, (k, c) in zip(targets, both, strict=True)
        ]

    return jax.device_get(made())


@pytest.mark.parametrize(
    ("which", "leave"),
    usual.cases(
        itertools.product(WEIGHTS, ["own", "all"]), set(zip(WEIGHTS, itertools.cycle(["own", "all"]))).__contains__
    ),
)
def test_both_forms_agree(which, leave):
    users = jnp.arange(23, dtype=jnp.int32)
    for by_users, by_columns in predictions(blocks(), WEIGHTS[which], leave, range(BEHAVIORS), users):
        np.testing.assert_allclose(by_columns, by_users, atol=1e-4)
        assert np.ptp(by_users) > 0.1


def test_a_tile_an_accelerators_way_and_long_histories(monkeypatch):
    users = jnp.array([4, 4, 0], jnp.int32)
    monkeypatch.setattr(primal, "ENTRIES", 3)  # histories take several turns
    ((by_users, by_columns),) = predictions(blocks(), WEIGHTS["of columns"], "all", (2,), users, 5, 9)
    np.testing.assert_allclose(by_columns, by_users, atol=1e-4)
    form, graphs = primal.invert(blocks(), np.ones(3), 0.3), ridge.place(blocks())
    whole = primal.rows(form, graphs, users, 5, 9)
    np.testing.assert_allclose(primal.rows(form, graphs, users, 5, 9, chosen=(2, 0)), whole[jnp.array([2, 0])])
    monkeypatch.setattr(platforms, "choose", lambda cpu, default: default())
    np.testing.assert_allclose(primal.rows(form, graphs, users, 5, 9), whole, atol=1e-5)


def test_a_behavior_without_weight_is_left_to_the_dual_form():
    with pytest.raises(ValueError, match="weight above 0"):
        primal.invert(blocks(), [1, 1, 0], 1.0)
