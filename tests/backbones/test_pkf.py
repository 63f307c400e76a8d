"""PKF against its equations on dense matrices, for every switch."""

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest
import toy

from mbjax import errors
from mbjax.backbones import cogcn, pkf
from mbjax.ops import graph

SIZE = 3


def encode(num_behaviors, e0=None, **options):
    """The encoding in numpy, its params, the embedding tables and the training pairs."""
    source, pairs = literal.pairs(num_behaviors)
    e0 = literal.table(source, SIZE) if e0 is None else e0
    config = pkf.PkfConfig(**options)
    module = pkf.Pkf(config, source.info)
    graphs = graph.from_train(pkf.Pkf.graphs(config, source.info), source.train)

    @jax.jit
    def run(e0):
        params = module.init(jax.random.key(3), graphs, e0)
        # Initial biases are zero; no weight shall be.
        params = jax.tree.map(lambda x: x + 0.1 * jnp.arange(x.size).reshape(x.shape) / x.size, params)
        return module.apply(params, graphs, e0), params, module.apply(params, method=pkf.Pkf.penalty)

    encoding, params, penalty = jax.device_get(run(jnp.float32(e0)))
    return encoding, params.get("params", {}), penalty, e0, pairs


def fusion(kind, params, num_behaviors, scale=0.3):
    """What the cascade takes in of the parallel stream, as the papers write it."""
    names = toy.BEHAVIORS[num_behaviors]

    def fuse(message, parallel, k, layer):
        name = f"{names[k]}_{layer}"
        if kind == "projection":
            return scale * literal.project(parallel, message)
        if kind == "summation":
            return parallel
        if kind == "linear":
            return parallel @ params[f"linear_{name}"]
        if kind == "vanilla":
            blocks = [message, parallel, message - parallel, message * parallel]
            logits = np.concatenate(blocks, axis=1) @ params[f"attention_{name}"] + params[f"attention_bias_{name}"]
            return np.einsum("nj,jnd->nd", literal.softmax(logits), blocks)
        return np.zeros_like(message)

    return fuse


@pytest.mark.parametrize(
    ("num_behaviors", "layers", "options"),
    [
        (1, (2,), {}),
        (2, (2, 1), {}),
        (3, (3, 0, 2), {}),
        (4, (2, 1, 1, 2), {}),
        (3, (2, 1, 1), {"proj_scale": 1.0}),
        (3, (2, 1, 1), {"proj_source": "message"}),
        (3, (2, 1, 1), {"self_loops": True}),
        (3, (2, 1, 1), {"fusion": "summation"}),
        (3, (2, 1, 1), {"fusion": "linear"}),
        (2, (2, 1), {"fusion": "vanilla"}),
        (2, (2, 1), {"fusion": "vanilla", "proj_source": "message"}),
        (3, (2, 1, 1), {"fusion": "none"}),
        (3, (2, 1, 1), {"fusion": "none", "parallel": False}),
        (3, (2, 1, 1), {"parallel": False}),
    ],
)
def test_the_literal_equations(num_behaviors, layers, options):
    encoding, params, _, e0, pairs = encode(num_behaviors, layers=layers, **options)
    fuse = fusion(options.get("fusion", "projection"), params, num_behaviors, options.get("proj_scale", 0.3))
    cascade, parallel = literal.pkf(
        e0, pairs, layers, fuse, options.get("proj_source", "layer_out"), options.get("self_loops", False)
    )
    for ours, theirs in zip(encoding.behaviors, cascade, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)
    for ours, theirs in zip(encoding.parallel, parallel if options.get("parallel", True) else (), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


def test_every_switch_matters():
    """Else the test above could pass with a switch that does nothing."""
    source, pairs = literal.pairs(3)
    e0, layers = literal.table(source, SIZE), (2, 1, 1)
    project = fusion("projection", {}, 3)
    default = literal.pkf(e0, pairs, layers, project)[0]
    for other in (
        literal.pkf(e0, pairs, layers, fusion("projection", {}, 3, scale=1.0)),
        literal.pkf(e0, pairs, layers, fusion("summation", {}, 3)),
        literal.pkf(e0, pairs, layers, fusion("none", {}, 3)),
        literal.pkf(e0, pairs, layers, project, source="message"),
        literal.pkf(e0, pairs, layers, project, self_loops=True),
    ):
        assert max(np.abs(a - b).max() for a, b in zip(default, other[0], strict=True)) > 0.1


@pytest.mark.parametrize("layers", [(4, 1), (4, 1, 1), (4, 1, 1, 1)])
def test_default_layers_are_four_then_one_each(layers):
    num = len(layers)
    _, pairs = literal.pairs(num)
    encoding, _, _, e0, _ = encode(num)
    cascade, _ = literal.pkf(e0, pairs, layers, fusion("projection", {}, num))
    np.testing.assert_allclose(encoding.behaviors[-1], cascade[-1], rtol=2e-4, atol=2e-3)


def test_without_projection_the_cascade_is_cogcn_on_own_graphs():
    encoding, _, _, e0, pairs = encode(3, layers=(2, 1, 1), proj_scale=0.0)
    source, _ = literal.pairs(3)
    config = cogcn.CogcnConfig(layers=(2, 1, 1), graph="own")
    graphs = graph.from_train(cogcn.Cogcn.graphs(config, source.info), source.train)
    strict_in = jax.jit(lambda e0: cogcn.Cogcn(config, source.info).apply({}, graphs, e0).behaviors)(jnp.float32(e0))
    for ours, theirs in zip(encoding.behaviors, strict_in, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_penalty_covers_kernels_and_not_biases():
    for kind, part in (("projection", None), ("linear", "linear"), ("vanilla", "attention")):
        _, params, penalty, *_ = encode(2, layers=(1, 1), fusion=kind)
        kernels = [value for name, value in params.items() if "bias" not in name]
        assert all(name.startswith(part) for name in params) and len(kernels) == (2 if part else 0)
        np.testing.assert_allclose(penalty, sum(np.square(value).sum() for value in kernels), rtol=1e-5)


def test_gradients_are_finite_at_nodes_without_neighbors():
    """A message of zero is a direction of length zero: nothing is taken in, and no gradient is NaN."""
    source, _ = literal.pairs(3)
    config = pkf.PkfConfig(layers=(2, 1, 1))
    graphs = graph.from_train(pkf.Pkf.graphs(config, source.info), source.train)

    def total(e0):
        encoding = pkf.Pkf(config, source.info).apply({}, graphs, e0)
        return sum(jnp.sum(jnp.sin(z)) for z in (*encoding.behaviors, *encoding.parallel)), encoding.behaviors[0]

    e0 = jnp.float32(literal.table(source, SIZE))
    gradient, view = jax.jit(jax.grad(total, has_aux=True))(e0)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(view[0], 3 * e0[0], rtol=1e-5)  # user 0 viewed nothing: three equal layers


def test_a_list_of_layers_of_another_length_is_refused():
    with pytest.raises(errors.ConfigError, match="backbone.layers=4,1 has 2 values for 3 behaviors"):
        encode(3, layers=(4, 1))
