"""The precision of matrix products: training as the configuration says, whatever makes scores in full. Traced only."""

from __future__ import annotations

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import batching, models, precision, topk
from mbjax import config as configuration
from mbjax.experiment import wiring
from mbjax.train import step

FULL = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)


def experiment(model="bvae", **overrides):
    given = {"train.batch_size": 8} | {name.replace("__", "."): value for name, value in overrides.items()}
    section = models.MODELS[model].config
    config = configuration.load(model, "demo", section, protocol="paper", overrides=given)
    return wiring.build(config, toy.dataset())


def products(program):
    """The precision of every product of matrices in a traced program, in its loops and branches too."""
    found = []
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            found.append(equation.params["precision"])
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: isinstance(x, jax.extend.core.ClosedJaxpr)
        ):
            if isinstance(inner, jax.extend.core.ClosedJaxpr):
                found += products(inner.jaxpr)
            elif isinstance(inner, jax.extend.core.Jaxpr):
                found += products(inner)
    return found


def training(made):
    """A chunk of three steps, traced as a run traces it."""
    sampler, store = made.draws()
    chunk = step.make_chunk(made.model, sampler, made.optimizer(), made.config.train.precision)
    state = jax.eval_shape(made.start)
    plan = jax.eval_shape(lambda: sampler.plan(jax.random.key(0), 0))
    traced = jax.jit(chunk, static_argnums=(5, 6)).trace(state, made.graphs, store, plan, jnp.int32(0), 3, None)
    return products(traced.jaxpr.jaxpr)


@pytest.mark.parametrize(
    "model",
    ["bvae", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("copf", "pkef", "ngcf", "neumf"))],
)
def test_training_is_as_precise_as_asked(model):
    """Of the products of a step and of its gradient."""
    usual, full = training(experiment(model)), training(experiment(model, train__precision="float32"))
    assert len(usual) == len(full) > 3
    assert set(full) == {FULL} and FULL not in usual


def test_the_default_is_whatever_is_set():
    with jax.default_matmul_precision("tensorfloat32"), precision.of("default"):
        assert jax.config.jax_default_matmul_precision == "tensorfloat32"
    with precision.of("float32"):
        assert jax.config.jax_default_matmul_precision == "float32"
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize("asked", ["default", "float32"])
def test_scores_are_always_in_full(asked):
    made = experiment(train__precision=asked)
    model, info = made.model, made.dataset.info
    params = jax.eval_shape(model.init, jax.random.key(0), made.graphs)
    tables = jax.eval_shape(model.encode, params, made.graphs)
    left_out = (False,) * len(jax.tree.leaves(tables))
    encoded = topk._encode.trace(params, made.graphs, encode=model.encode, left_out=left_out)
    queries = batching.prepare(np.arange(5), made.dataset.train[info.target], 3).replace(places=None)
    options = {"behaviors": (0,), "num_items": info.num_items, "k": 3, "item_tile": 5, "specs": ()}
    ranked = topk._rank.trace(params, tables, (queries,), batching.Limits(), score=model.score, **options)
    found = [precision for traced in (encoded, ranked) for precision in products(traced.jaxpr.jaxpr)]
    assert found and set(found) == {FULL}


@pytest.mark.exhaustive
def test_a_cpu_knows_no_difference():
    """The same bits, since float32 is all that it has."""
    found = []
    for asked in ("default", "float32"):
        made = experiment(train__precision=asked, train__chunk_steps=3)
        advance, state = made.advance(), made.start()
        state, logged = advance.chunk(state, advance.plan(state, 0), 0, 3)
        found.append((jax.device_get(logged["loss"]).tolist(), jax.device_get(state.params)))
    assert found[0][0] == found[1][0]
    jax.tree.map(np.testing.assert_array_equal, found[0][1], found[1][1])
