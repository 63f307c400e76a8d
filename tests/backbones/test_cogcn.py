"""COGCN against its equations on dense matrices, for every switch."""

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest

from mbjax import errors
from mbjax.backbones import cogcn
from mbjax.ops import graph

SIZE = 3


def encode(num_behaviors, train=None, seed=0, **options):
    """Z of each behavior, with the embedding tables and training pairs they are of."""
    source, pairs = literal.pairs(num_behaviors)
    e0 = literal.table(source, SIZE, seed)
    config = cogcn.CogcnConfig(**options)
    graphs = graph.from_train(cogcn.Cogcn.graphs(config, source.info), train or source.train)
    encoding = jax.jit(lambda e0: cogcn.Cogcn(config, source.info).apply({}, graphs, e0))(jnp.float32(e0))
    assert encoding.parallel == ()
    return encoding.behaviors, e0, pairs


@pytest.mark.parametrize(
    ("num_behaviors", "layers", "options"),
    [
        (1, (2,), {}),
        (2, (1, 2), {}),
        (3, (2, 0, 1), {}),
        (4, (1, 2, 1, 1), {}),
        (2, (2, 1), {"cum_graph": "sum_of_normalized"}),
        (3, (1, 1, 2), {"cum_graph": "sum_of_normalized"}),
        (3, (1, 2, 1), {"graph": "own"}),
        (3, (1, 2, 1), {"graph": "all"}),
        (3, (1, 2, 1), {"start": "strict"}),
        (3, (1, 2, 1), {"start": "base"}),
        (3, (1, 2, 1), {"start": "strict", "graph": "own"}),
        (3, (1, 2, 1), {"start": "base", "graph": "all", "cum_graph": "sum_of_normalized"}),
        (3, (1, 2, 1), {"decouple": False}),
    ],
)
def test_the_literal_equations(num_behaviors, layers, options):
    found, e0, pairs = encode(num_behaviors, layers=layers, **options)
    expected = literal.cogcn(e0, pairs, layers, **options)
    assert len(found) == num_behaviors
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_every_switch_matters():
    """Else the test above could pass with a switch that does nothing."""
    _, pairs = literal.pairs(3)
    e0 = literal.table(literal.pairs(3)[0], SIZE)
    default = literal.cogcn(e0, pairs, (1, 2, 1))
    for option in (
        {"cum_graph": "sum_of_normalized"},
        {"graph": "own"},
        {"graph": "all"},
        {"start": "strict"},
        {"start": "base"},
        {"decouple": False},
    ):
        other = literal.cogcn(e0, pairs, (1, 2, 1), **option)
        assert max(np.abs(a - b).max() for a, b in zip(default, other, strict=True)) > 0.1, option


def test_one_number_of_layers_is_for_all():
    single, each = encode(3, layers=(2,))[0], encode(3, layers=(2, 2, 2))[0]
    for a, b in zip(single, each, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unrolled_residual():
    """A behavior starts from the embedding tables plus the last layers of all before it."""
    # With one layer Z = start + last, and without layers Z is the start.
    found, e0, _ = encode(4, layers=(1, 1, 1, 0))
    start, lasts = e0, []
    for z in found[:3]:
        lasts.append(np.asarray(z) - start)
        start = e0 + sum(lasts)
        assert np.abs(lasts[-1]).max() > 0.1
    np.testing.assert_allclose(found[3], start, rtol=1e-4, atol=1e-4)


def test_upstream_representations_do_not_depend_on_the_target():
    source, _ = literal.pairs(3)
    train = {**source.train, "buy": source.train["buy"][::-1].copy()}
    before, after = encode(3, layers=(2,))[0], encode(3, train, layers=(2,))[0]
    for k in (0, 1):
        np.testing.assert_array_equal(before[k], after[k])
    assert np.any(before[2] != after[2])


def test_a_node_without_pairs_keeps_its_row():
    """Without neighbors a layer adds nothing, so the layers are copies: Z = (L + 1) times the start."""
    found, e0, _ = encode(3, layers=(1, 2, 1))
    # The last item is in no behavior; starts are 1, 2 and 4 times its row.
    for z, factor in zip(found, (2, 6, 8), strict=True):
        np.testing.assert_allclose(z[-1], factor * e0[-1], rtol=1e-5)


def test_the_encoder_is_linear():
    """No activation and no normalization of rows: the encoding of a sum is the sum of the encodings."""
    source, _ = literal.pairs(3)
    config = cogcn.CogcnConfig(layers=(1, 2, 1))
    graphs = graph.from_train(cogcn.Cogcn.graphs(config, source.info), source.train)
    apply = jax.jit(lambda e0: cogcn.Cogcn(config, source.info).apply({}, graphs, e0).behaviors)
    a, b = (jnp.float32(literal.table(source, SIZE, seed)) for seed in (1, 2))
    for both, one, other in zip(apply(a - 2 * b), apply(a), apply(b), strict=True):
        np.testing.assert_allclose(both, one - 2 * other, rtol=1e-4, atol=1e-4)


def test_a_list_of_layers_of_another_length_is_refused():
    with pytest.raises(errors.ConfigError, match="backbone.layers=1,2 has 2 values for 3 behaviors"):
        encode(3, layers=(1, 2))
