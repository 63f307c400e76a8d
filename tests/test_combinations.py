"""Every backbone with every head, for any number of behaviors: shapes; and a step of some that cover all."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
import usual

from mbjax import backbones, heads, types
from mbjax.models import compose, compose_config, composed, objectives
from mbjax.ops import adjacency, graph

SIZE = 4
NUM_BEHAVIORS = (1, 2, 3, 4)
GRID = list(itertools.product(backbones.BACKBONES, heads.HEADS))
KEPT = {("mf", "residual"), *((backbone, "inner_product") for backbone in backbones.BACKBONES)}
dataset = functools.cache(toy.dataset)


def longest_cover():
    """Pairs of a backbone and a head in which each is at least once."""
    names = list(backbones.BACKBONES), list(heads.HEADS)
    return [tuple(kind[i % len(kind)] for kind in names) for i in range(max(map(len, names)))]


def is_usual(pair):
    return pair in KEPT or not usual.ALONE & set(pair)


def in_turn(backbone, head):
    return (list(backbones.BACKBONES).index(backbone) + list(heads.HEADS).index(head)) % 4


def is_kept(backbone, head):
    """Every second head of a backbone, of neighbors one after the other; and the pairs of all that stand for others."""
    places = list(backbones.BACKBONES).index(backbone), list(heads.HEADS).index(head)
    return (backbone, head) in KEPT or (places[0] // 2 + places[1]) % 2 == 0


def settings(backbone, head, **options):
    return compose_config.ComposedConfig.model_validate(
        {"backbone": {"name": backbone}, "head": {"name": head}, "embedding_size": SIZE} | options
    )


@functools.cache
def matrix(spec, num_behaviors):
    return graph.from_train({"": spec}, dataset(num_behaviors).train)[""]


def graphs_of(model):
    return {name: matrix(spec, model.info.num_behaviors) for name, spec in model.graphs.items()}


@pytest.mark.parametrize(
    ("backbone", "head", "num_behaviors"),
    # Half of the pairs with one number of behaviors each, each backbone and each head with several of them.
    usual.cases(
        [(*pair, k) for pair in GRID for k in NUM_BEHAVIORS],
        lambda case: is_usual(case[:2]) and case[2] == NUM_BEHAVIORS[in_turn(*case[:2])] and is_kept(*case[:2]),
    ),
)
def test_shapes(backbone, head, num_behaviors):
    config = settings(backbone, head)
    info = dataset(num_behaviors).info
    model, module = compose.build(config, info, 8), composed.Composed(config, info)
    graphs, batch = graphs_of(model), objectives.probe_batch(model.batch.triples)
    (loss, parts), params = jax.eval_shape(
        lambda: module.init_with_output(jax.random.key(0), graphs, batch, method=composed.Composed.loss)
    )
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert {f"bpr_{name}" for name in info.behaviors} <= set(parts)
    assert all((part.shape, part.dtype) == ((), jnp.float32) for part in parts.values())

    def scores(params, users):
        tables = model.encode(params, graphs)
        return [model.score(params, tables, users, jnp.int32(3), 7, k) for k in range(num_behaviors)]

    for score in jax.eval_shape(scores, params, jnp.zeros(5, jnp.int32)):
        assert (score.shape, score.dtype) == ((5, 7), jnp.float32)


@pytest.mark.parametrize(("backbone", "head"), usual.cases(GRID, is_usual))
def test_a_name_means_one_matrix(backbone, head):
    """Backbone and head name their matrices each for itself; what they name alike must be alike."""
    config = settings(backbone, head)
    for num_behaviors in NUM_BEHAVIORS:
        source = dataset(num_behaviors)
        ours = backbones.BACKBONES[backbone].graphs(config.backbone, source.info)
        theirs = heads.HEADS[head].graphs(config.head, source.info)
        for name in set(ours) & set(theirs):
            one, other = (adjacency.assemble(specs[name], source.train) for specs in (ours, theirs))
            np.testing.assert_array_equal(one.toarray(), other.toarray(), err_msg=name)


def any_batch(model):
    """Five users with three triples of each name."""
    rng = np.random.default_rng(0)

    def triples():
        positive, negative = (jnp.asarray(rng.integers(0, 31, (5, 3)), jnp.int32) for _ in range(2))
        return types.Triples(positive, negative, jnp.ones((5, 3)), jnp.float32(15))

    probe = objectives.probe_batch(model.batch.triples)
    users = jnp.array([3, 0, 9, 22, 5], jnp.int32)
    return probe.replace(
        user=users,
        everyone=users,
        weight=jnp.ones(5),
        noise=jnp.zeros((5, 2), jnp.uint32),
        total=jnp.float32(5),
        triples={name: triples() for name in probe.triples},
    )


# Usually each head once.
QUICK = [pair for pair in longest_cover()[: len(heads.HEADS)] if is_usual(pair)]


@pytest.mark.parametrize(
    ("backbone", "head", "num_behaviors"),
    # Of three behaviors all, usually of two.
    usual.cases([(*pair, 3) for pair in longest_cover()] + [(*pair, 2) for pair in QUICK], lambda case: case[2] == 2),
)
def test_a_step_lowers_the_loss(backbone, head, num_behaviors):
    config = settings(backbone, head, score_scale=2.0, contrastive={"weight": 0.1})
    if backbone == "crgcn":  # the slope of its bias where that begins is none to step along: see its Differences
        config = config.model_copy(update={"backbone": config.backbone.model_copy(update={"bias": False})})
    model = compose.build(config, dataset(num_behaviors).info, 8)
    graphs, batch = graphs_of(model), any_batch(model)

    @jax.jit
    def step(params):
        loss = jax.value_and_grad(model.loss, has_aux=True)
        (value, _), gradient = loss(params, graphs, batch, jax.random.key(0), jnp.int32(0))
        return value, gradient, jax.tree.map(lambda x, g: x - 1e-3 * g, params, gradient)

    params = jax.jit(model.init)(jax.random.key(1), graphs)
    before, gradient, params = step(params)
    after, *_ = step(params)
    assert after < before
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all() and np.any(leaf), jax.tree_util.keystr(path)
