"""VAE++: the loss on dense rows, the two parts taken away, behaviors that do not touch one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from mbjax.models import multivae, vaepp
from mbjax.ops import graph


def make(source, **options):
    config = vaepp.VaeppConfig(embedding_size=4, dropout_rate=0.0, **options)
    model = vaepp.build(config, source.info, 8)
    return model, graph.from_train(model.graphs, source.train), jax.jit(model.init)(jax.random.key(1), {})


@pytest.fixture
def silent(monkeypatch):
    """No noise in either autoencoder."""
    for module in (vaepp, multivae):
        monkeypatch.setattr(module.noise, "normal", lambda words, stream, shape: jnp.zeros((words.shape[0], *shape)))


def literal(params, rows, name, auxiliary, union):
    """Mean, ln sigma^2 and logits of a behavior from rows {behavior: [B, I]}, as printed; ``auxiliary``: its rows."""
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)  # noqa: E731
    affine = lambda layer, x: unit(x) @ params[layer]["kernel"] + params[layer]["bias"]  # noqa: E731
    own = affine(f"own_{name}", rows[name])
    united = affine(f"union_{name}", union)
    both = np.concatenate([own[:, :4], united], axis=1)
    gate = 1 / (1 + np.exp(-(both @ params[f"gate_{name}"]["kernel"] + params[f"gate_{name}"]["bias"])))
    mean = gate * own[:, :4] + (1 - gate) * united
    read = np.concatenate([mean, *(affine(f"other_{name}_{j}", x) for j, x in enumerate(auxiliary))], axis=1)
    if f"hidden_{name}" in params:
        read = read @ params[f"hidden_{name}"]["kernel"] + params[f"hidden_{name}"]["bias"]
    return mean, own[:, 4:], read @ params[f"decoder_{name}"]["kernel"].T + params[f"decoder_{name}"]["bias"]


OTHERS = {"auxiliary": "union", "union": "binary", "decoder": "two_layers", "l2_weight": 2.0}


@pytest.mark.parametrize("options", [{}, pytest.param(OTHERS, marks=pytest.mark.exhaustive)])
def test_it_is_the_formula(silent, key, options):
    source = toy.dataset()
    model, graphs, params = make(source, tasks="all", **options)
    assert model.tasks == ("view", "cart", "buy")
    batch = toy.batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, {}, batch, key, 5000)  # beta = 5000 / 200000
    dense = {name: matrix.toarray().astype(float) for name, matrix in source.train.items()}
    total = sum(dense.values())
    binary = options.get("union") == "binary"
    weights, picked = jax.tree.map(np.asarray, params["params"]), np.asarray(batch.user)
    tables = jax.jit(model.encode)(params, graphs)
    score = jax.jit(lambda p, t: [model.score(p, t, jnp.arange(23), 3, 20, k) for k in range(3)])
    for name, made in zip(model.tasks, score(params, tables), strict=True):
        rest = [dense[each] for each in model.tasks if each != name]
        auxiliary = [np.minimum(sum(rest), 1)] if binary else rest
        union = np.minimum(total, 1) if binary else total
        mean, log_variance, logits = literal(weights, dense, name, auxiliary, union)
        x = dense[name][picked]
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(parts[f"nll_{name}"], -(x * logs[picked]).sum() / 8, rtol=1e-5)
        kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1)
        np.testing.assert_allclose(parts[f"kl_{name}"], 0.025 * kl[picked].sum() / 8, rtol=1e-4)
        np.testing.assert_allclose(made, logits[:, 3:23], rtol=1e-4, atol=1e-5)
    if binary:
        squares = sum((x["kernel"] ** 2).sum() for n, x in weights.items() if not n.startswith(("gate", "hidden")))
        np.testing.assert_allclose(parts["l2"], 2.0 * squares, rtol=1e-5)


def test_one_user_by_hand():
    # Views 0 and 1, a purchase of 1: x^U = (1, 2) of length sqrt 5, not (1, 1).
    module = vaepp.Vaepp(vaepp.VaeppConfig(embedding_size=1, dropout_rate=0.0), toy.dataset(2).info)
    history = {"view": toy.ragged([[0, 1]], 31), "buy": toy.ragged([[1]], 31), "union": toy.ragged([[0, 1]], 31, 5)}
    made = vaepp._scales(module.config, module.info, history, "union")
    np.testing.assert_allclose(made[:2], [1 / np.sqrt(5), 2 / np.sqrt(5)], rtol=1e-6)
    np.testing.assert_array_equal(made[2:], 0)  # padding


@pytest.mark.exhaustive
def test_without_its_parts_it_is_the_autoencoder_of_the_target(silent, key):
    source = toy.dataset()
    model, graphs, params = make(source, use_tre=False, use_trr=False)
    assert model.batch.histories == {"buy": ("buy",)} and model.tasks == ("buy",)
    config = multivae.MultivaeConfig(embedding_size=4, dropout_rate=0.0)
    other = multivae.build(config, source.info, 8)
    same = {"params": {"encoder": params["params"]["own_buy"], "decoder": params["params"]["decoder_buy"]}}
    value, _ = jax.jit(model.loss)(params, {}, toy.batch(model, source, key), key, 5000)
    expected, _ = jax.jit(other.loss)(same, {}, toy.batch(other, source, key), key, 5000)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    theirs = other.encode(same, graph.from_train(other.graphs, source.train))
    np.testing.assert_allclose(model.encode(params, graphs)[0], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.exhaustive
def test_histories_and_what_shares_nothing(key):
    source = toy.dataset()
    model, _, _ = make(source)
    everything = {"view": ("view",), "cart": ("cart",), "buy": ("buy",), "union": ("view", "cart", "buy")}
    assert model.batch.histories == everything and model.graphs["union"].entries == "count"
    model, _, _ = make(source, auxiliary="union", union="binary")
    read = {"buy": ("buy",), "all but buy": ("view", "cart"), "union": ("view", "cart", "buy")}
    assert model.batch.histories == read and model.graphs["union"].entries == "union"
    model, _, params = make(source, tasks="all")
    batch = toy.batch(model, source, key)
    gradient = jax.jit(jax.grad(lambda p: model.loss(p, {}, batch, key, 9)[1]["nll_cart"]))(params)["params"]
    moved = {name for name, layer in gradient.items() if np.any(layer["kernel"])}
    assert moved == {name for name in gradient if name.split("_")[1] == "cart"}
