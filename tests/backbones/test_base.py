"""What all backbones share: shapes, gradients, and names of matrices that no head uses for another."""

from __future__ import annotations

import itertools
import typing

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import usual

from mbjax import backbones, errors, heads, types
from mbjax.backbones import base

INFO = types.DatasetInfo("toy", 3, 4, ("view", "cart", "buy"))


def sections(union):
    """The section classes of a discriminated union."""
    return typing.get_args(typing.get_args(union)[0])


@pytest.mark.parametrize(
    ("name", "num_behaviors"),
    usual.cases(
        itertools.product(backbones.BACKBONES, (1, 2, 3, 4)),
        # One, two, three or four behaviors, in turn.
        lambda case: case[0] not in usual.ALONE and (list(backbones.BACKBONES).index(case[0]) + case[1]) % 4 == 0,
    ),
)
def test_a_table_for_each_behavior_and_finite_gradients(drawn, key, name, num_behaviors):
    source = drawn(num_behaviors)
    module, graphs = source.module(name=name)
    rows = module.base_init(key, (6, 4))
    params = module.init(key, graphs, rows)
    made = module.apply(params, graphs, rows)
    assert len(made.behaviors) == num_behaviors and len(made.parallel) in (0, num_behaviors)
    for table in (*made.behaviors, *made.parallel):
        chex.assert_shape(table, (6, backbones.BACKBONES[name].width(module.config, source.info, 4)))
        chex.assert_type(table, jnp.float32)

    def loss(params, rows):
        return sum(jnp.sum(jnp.sin(table)) for table in module.apply(params, graphs, rows).behaviors)

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, rows)
    chex.assert_tree_all_finite(gradients)
    assert np.any(gradients[1] != 0)


@pytest.mark.parametrize("name", usual.cases(backbones.BACKBONES, lambda name: name not in usual.ALONE))
def test_it_is_indifferent_to_the_order_of_nodes(drawn, key, name):
    # Users and items in another order give the same rows in that order.
    source = drawn(3)
    users, items = np.array([2, 0, 1]), np.array([1, 2, 0])
    nodes = np.concatenate([users, 3 + items])
    other = type(source)(*(m[users][:, items] for m in source.matrices))
    (module, graphs), (_, moved) = source.module(name=name), other.module(name=name)
    rows = jax.random.normal(key, (6, 4))
    params = module.init(key, graphs, rows)
    for table, expected in zip(
        module.apply(params, moved, rows[nodes]).behaviors, module.apply(params, graphs, rows).behaviors, strict=True
    ):
        np.testing.assert_allclose(table, expected[nodes], rtol=1e-5, atol=1e-6)


def test_no_backbone_and_head_give_one_name_to_two_matrices():
    def matrices(config, owner):
        for name, spec in owner.graphs(config, INFO).items():
            # How one behavior becomes a matrix does not depend on how several would.
            yield name, spec._replace(entries="union") if len(spec.behaviors) == 1 else spec

    for backbone in sections(backbones.BackboneConfig):
        own = dict(matrices(backbone(), backbones.BACKBONES[backbone().name]))
        for head in sections(heads.HeadConfig):
            for name, spec in matrices(head(), heads.HEADS[head().name]):
                assert own.get(name, spec) == spec, (backbone, head, name)


def test_every_section_is_registered_under_its_name():
    assert {section().name for section in sections(backbones.BackboneConfig)} == set(backbones.BACKBONES)


def test_names_of_matrices():
    assert base.matrix_name(("view",), "left") == "view"
    assert base.matrix_name(("view", "buy"), "symmetric", "count") == "view+buy, count, symmetric"


def test_a_list_that_does_not_fit_names_the_behaviors():
    assert base.per_behavior((2,), INFO, "backbone.layers") == (2, 2, 2)
    assert base.per_behavior((1, 5, 3), INFO, "backbone.layers") == (1, 5, 3)
    with pytest.raises(errors.ConfigError, match=r"backbone.layers=1,2 has 2 values for 3 behaviors \(view, cart, buy"):
        base.per_behavior((1, 2), INFO, "backbone.layers")


@pytest.mark.parametrize("name", ["mf", "lightgcn", "lightgcn_m", "mbcgcn"])
def test_initial_values_are_xaviers_or_normal(tiny, key, name):
    source = tiny([[1]])
    adapter = pydantic.TypeAdapter(backbones.BackboneConfig)
    normal = backbones.BACKBONES[name](adapter.validate_python({"name": name, "init_std": 0.01}), source.info)
    drawn = np.asarray(normal.base_init(key, (400, 64)))
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [0.0, 0.01], atol=2e-4)
    assert drawn.max() > 0.03  # not truncated, not uniform
    xavier = backbones.BACKBONES[name](adapter.validate_python({"name": name}), source.info)
    limit = np.sqrt(6 / (400 + 64))
    assert 0.99 * limit < np.asarray(xavier.base_init(key, (400, 64))).max() <= limit
