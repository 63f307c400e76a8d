"""GNMR: two nodes by hand, the formula node by node, what is regularized, heads that do not divide, the loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax import errors, types
from mbjax.backbones import gnmr as encoder
from mbjax.models import gnmr
from mbjax.ops import graph

softmax = lambda x: np.exp(x) / np.exp(x).sum()  # noqa: E731
INFO = types.DatasetInfo("toy", 3, 4, ("view", "buy"))


def test_two_nodes_by_hand(tiny):
    # One behavior, so that attention and gate choose the only message. User 1, item 3, two channels.
    params = {"joined": [[10.0], [1.0]], "joined_bias": [0.5]}
    for side in ("user_1", "item_1"):
        params |= {f"{side}_channels": [[[1.0, -1.0]]], f"{side}_channels_bias": [[1.0, 0.0]]}
        params |= {f"{side}_matrices": [[2.0], [7.0]], f"{side}_gate": [[1.0]], f"{side}_gate_bias": [0.0]}
        params |= {f"{side}_query": [[1.0]], f"{side}_key": [[1.0]], f"{side}_value": [[-1.0]]}
        params |= {f"{side}_gate_unit": [[1.0]]}
    options = {"name": "gnmr", "num_layers": 1, "channels": 2, "attention_heads": 1}
    (made,) = tiny([[1]]).encode([[1.0], [3.0]], params, **options)
    # User: n = 3, a = relu(4, -3) = (4, 0), z = 3 (4 * 2) = 24, e' = -24, of length 1: -1; item: n = 1, a = (2, 0), -4.
    # relu(10 * 1 - 1 + 0.5) and relu(30 - 1 + 0.5).
    np.testing.assert_allclose(made, [[9.5], [29.5]], rtol=1e-5)


SIZE, CHANNELS, HEADS = 4, 3, 2


def drawn_params(rng, num, num_layers, separate):
    params = {"joined": rng.normal(size=(SIZE * (num_layers + 1), SIZE)), "joined_bias": rng.normal(size=SIZE)}
    shapes = {
        "channels": (num, SIZE, CHANNELS),
        "channels_bias": (num, CHANNELS),
        "matrices": (CHANNELS, SIZE * SIZE),
        **dict.fromkeys(("query", "key", "value"), (SIZE, SIZE)),
        "gate": (SIZE, SIZE // 2),
        "gate_bias": (SIZE // 2,),
        "gate_unit": (SIZE // 2, 1),
    }
    for layer in range(1, num_layers + 1):
        for side in ("user", "item"):
            params |= {f"{side}_{layer}_{name}": 0.4 * rng.normal(size=shape) for name, shape in shapes.items()}
    if separate:
        params |= {f"own_{side}": rng.normal(size=(3, SIZE)) for side in ("user", "item")}
    return params


def node(sums, weight):
    """A node's next row from its sums over neighbors, one for each behavior; ``weight(name)`` of its side."""
    messages = []
    for k, total in enumerate(sums):
        strength = np.maximum(total @ weight("channels")[k] + weight("channels_bias")[k], 0)
        matrix = (strength @ weight("matrices")).reshape(SIZE, SIZE)  # the node's own, as the program has it
        messages.append(total @ matrix)
    messages, mixed, part = np.array(messages), [], SIZE // HEADS
    for query in messages @ weight("query"):
        row = []
        for h in range(HEADS):
            own = slice(h * part, (h + 1) * part)
            logits = (messages @ weight("key"))[:, own] @ query[own] / (SIZE / HEADS)
            row.append(softmax(logits) @ (messages @ weight("value"))[:, own])
        mixed.append(np.concatenate(row))
    logits = [(np.maximum(z @ weight("gate") + weight("gate_bias"), 0) @ weight("gate_unit"))[0] for z in mixed]
    return softmax(np.array(logits)) @ np.array(mixed)


def literal(source, base, params, num_layers, separate):
    """Z, one node after another."""
    state = base
    layers = [np.concatenate([params["own_user"], params["own_item"]]) if separate else base]
    for layer in range(1, num_layers + 1):
        rows = []
        for n in range(6):
            side = "user" if n < 3 else "item"
            of_node = [m[n] @ state[3:] if n < 3 else m[:, n - 3] @ state[:3] for m in source.matrices]
            rows.append(node(of_node, lambda name, side=side, layer=layer: params[f"{side}_{layer}_{name}"]))
        state = np.array(rows)
        layers.append(state / (np.sqrt(np.square(state).sum(axis=1, keepdims=True) + 1e-6) + 1e-6))
    return np.maximum(np.concatenate(layers, axis=1) @ params["joined"] + params["joined_bias"], 0)


@pytest.mark.parametrize(
    ("num_behaviors", "tables"), [(3, "separate"), pytest.param(2, "shared", marks=pytest.mark.exhaustive)]
)
def test_it_is_the_formula(drawn, num_behaviors, tables):
    source, rng = drawn(num_behaviors), np.random.default_rng(4)
    base, params = rng.normal(size=(6, SIZE)), drawn_params(rng, num_behaviors, 2, tables == "separate")
    expected = literal(source, base, params, 2, tables == "separate")
    for made in source.encode(base, params, name="gnmr", num_layers=2, channels=CHANNELS, tables=tables):
        np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-4)


def test_matrices_are_regularized_and_biases_and_the_tables_of_layer_0_are_not(drawn):
    params = drawn_params(np.random.default_rng(4), 2, 1, True)
    module, _ = drawn(2).module(name="gnmr", num_layers=1, channels=CHANNELS, tables="separate")
    free = ("own_user", "own_item", "joined_bias")
    free += tuple(f"{side}_1_{kind}_bias" for side in ("user", "item") for kind in ("channels", "gate"))
    expected = sum(np.square(value).sum() for name, value in params.items() if name not in free)
    found = module.apply({"params": params}, method=encoder.Gnmr.penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_heads_divide_the_size():
    assert encoder.Gnmr.width(encoder.GnmrConfig(attention_heads=2), INFO, 6) == 6
    with pytest.raises(errors.ConfigError, match="attention_heads=2 does not divide model.embedding_size=5: give one"):
        encoder.Gnmr.width(encoder.GnmrConfig(attention_heads=2), INFO, 5)


@pytest.mark.exhaustive
def test_the_loss_is_a_sum_of_hinges_over_users(key):
    source = toy.dataset(2)
    model = gnmr.build(gnmr.GnmrConfig(embedding_size=4, pairs_per_user=3), source.info, 8)
    assert model.tasks == ("buy",)
    graphs = graph.from_train(model.graphs, source.train)
    params = jax.tree.map(lambda x: x + 0.3, jax.jit(model.init)(key, graphs))
    batch = toy.batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, graphs, batch, key, 0)
    tables = jax.jit(model.encode)(params, graphs)
    scores = model.score(params, tables, jnp.arange(23), 0, 31, 1)
    drawn, total = batch.triples["buy"], 0.0
    for b, m in np.argwhere(np.asarray(drawn.weight) > 0):
        user = batch.user[b]
        total += max(0.0, 1 - scores[user, drawn.positive[b, m]] + scores[user, drawn.negative[b, m]])
    np.testing.assert_allclose(parts["hinge_buy"], total / 8, rtol=1e-4)
    inside, head = params["params"], params["params"]["head"]
    kept = [inside["user"], inside["item"], head["kernel"], head["unit"]]
    kept += [x for n, x in inside["backbone"].items() if not n.endswith("_bias") and not n.startswith("own_")]
    np.testing.assert_allclose(parts["l2"], 0.05 * sum(jnp.sum(x**2) for x in kept), rtol=1e-5)
