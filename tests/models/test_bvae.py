"""BVAE: the equations of its docstring, on numbers small enough to write out."""

import functools
import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import toy
import usual

from mbjax import config, errors, models, types
from mbjax.models import bvae
from mbjax.ops import graph, losses

SIZE = 5


@functools.cache
def graphs_of(num_behaviors):
    """The data and what every variant of the model reads of them."""
    source = toy.dataset(num_behaviors)
    return source, graph.from_train(bvae.build(bvae.BvaeConfig(), source.info, 8).graphs, source.train)


@functools.cache
def batch_of(num_behaviors, place=0):
    """Every variant of the model learns from the same batches."""
    source, _ = graphs_of(num_behaviors)
    return toy.batch(bvae.build(bvae.BvaeConfig(), source.info, 8), source, jax.random.key(20), place)


def make(num_behaviors=3, **options):
    source, graphs = graphs_of(num_behaviors)
    model = bvae.build(bvae.BvaeConfig(embedding_size=SIZE, **options), source.info, 8)
    plain = bvae.build(bvae.BvaeConfig(), source.info, 8)
    assert (model.graphs, model.batch) == (plain.graphs, plain.batch)
    shapes = jax.eval_shape(model.init, jax.random.key(1), graphs)
    return source, model, graphs, jax.tree_util.tree_map_with_path(drawn, shapes)


def drawn(path, leaf):
    """Three times what training starts from, so that no term is negligible; the same for the same name."""
    rng = np.random.default_rng(zlib.crc32(jax.tree_util.keystr(path).encode()))
    limit = np.sqrt(6 / sum(leaf.shape)) if leaf.ndim > 1 else 0.002
    return jnp.asarray(3 * rng.uniform(-limit, limit, leaf.shape) + 0.01, leaf.dtype)


def encode(model, params, graphs):
    return jax.jit(model.encode)(params, graphs)


def loss(model, params, batch, key, step=0):
    """The compiled loss: eager, every loop in it would be compiled on its own."""
    return jax.jit(lambda p: model.loss(p, {}, batch, key, step))(params)


def watched(model, params, batch, key, seen):
    """What a patched function put into ``seen`` while the loss was traced, as values."""
    return jax.jit(lambda p: (model.loss(p, {}, batch, key, 0), list(seen)))(params)[1]


def layer(params, name):
    return {k: np.asarray(v, np.float64) for k, v in params["params"][name].items()}


def union(source):
    return (sum(source.train[b].toarray().astype(float) for b in source.info.behaviors) > 0).astype(float)


def normalized(rows):
    return rows / np.sqrt(np.maximum((rows**2).sum(axis=1, keepdims=True), 1e-12))


@pytest.mark.parametrize(
    ("num_behaviors", "extra"),
    usual.cases(
        itertools.product([1, 2, 3, 4], [False, True]), {(1, True), (2, False), (3, True), (4, False)}.__contains__
    ),
)
def test_scores_are_the_number_of_behaviors_times_the_mean(num_behaviors, extra):
    source, model, graphs, params = make(num_behaviors, purchase_extra_latent=extra)
    tables = encode(model, params, graphs)
    encoder = layer(params, "mean_union")
    mean = normalized(union(source)) @ encoder["kernel"] + encoder["bias"]
    for k, name in enumerate(source.info.behaviors):
        times = num_behaviors + (extra and name == source.info.target)
        decoder = layer(params, f"decoder_{name}")
        expected = times * mean @ decoder["kernel"].T + decoder["bias"]
        scores = model.score(params, tables, jnp.arange(23), 0, 31, k)
        np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4)


def test_a_tile_of_items_is_a_slice_of_all():
    _, model, graphs, params = make()
    tables = encode(model, params, graphs)
    users = jnp.array([4, 0, 7])
    whole = model.score(params, tables, users, 0, 31, 1)
    np.testing.assert_allclose(model.score(params, tables, users, 10, 6, 1), whole[:, 10:16], rtol=1e-6)


def literal_loss(
    source, params, batch, step, kl_cap=0.2, anneal_steps=200_000, log_s_factor=1.0, inside=False, half=0.5, mean=True
):
    """The docstring's formulas without dropout and with sigma = 0 in z, in float64: sigma = exp(half (x W + b))."""
    behaviors = source.info.behaviors
    rows = {b: toy.dense(batch.history[b], 31) for b in behaviors}
    encoder = layer(params, "mean_union")
    mu = normalized(toy.dense(batch.history["union"], 31)) @ encoder["kernel"] + encoder["bias"]
    weight = np.asarray(batch.weight)
    beta, total = min(kl_cap, step / anneal_steps), 0.0
    for name in behaviors:
        deviation = layer(params, f"deviation_{name}")
        sigma = np.exp(half * (normalized(rows[name]) @ deviation["kernel"] + deviation["bias"]))
        decoder = layer(params, f"decoder_{name}")
        logits = len(behaviors) * mu @ decoder["kernel"].T + decoder["bias"]
        log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        nll = -(rows[name] * log_softmax).sum(axis=1)
        kl = 0.5 * (sigma**2 + mu**2 - 1 - 2 * np.log(sigma)).sum(axis=1)
        weighs = sigma.mean(axis=1, keepdims=True) if mean else sigma  # [B, 1] or [B, D]
        task = nll + (beta * kl if inside else 0.0)
        per_user = (task[:, None] / (2 * weighs**2) + log_s_factor * np.log(weighs**2)).mean(axis=1)
        per_user += 0.0 if inside else beta * kl
        total += (weight * per_user).sum() / weight.sum()
    return total


@pytest.mark.parametrize(
    ("options", "literal"),
    [
        ({}, {}),
        ({"kl_cap": 0.01}, {"kl_cap": 0.01}),
        # Each alone: the last one has all of them.
        pytest.param({"sdwl_regularizer": "logsigma"}, {"log_s_factor": 0.5}, marks=pytest.mark.exhaustive),
        pytest.param({"kl_outside_sdwl": False}, {"inside": True}, marks=pytest.mark.exhaustive),
        pytest.param({"log_of": "deviation"}, {"half": 1.0}, marks=pytest.mark.exhaustive),
        pytest.param({"uncertainty": "vector"}, {"mean": False}, marks=pytest.mark.exhaustive),
        (
            {"log_of": "deviation", "uncertainty": "vector", "kl_outside_sdwl": False, "sdwl_regularizer": "logsigma"},
            {"half": 1.0, "mean": False, "inside": True, "log_s_factor": 0.5},
        ),
    ],
)
@pytest.mark.parametrize("place", usual.cases([0, 2], {2}.__contains__))
def test_loss_is_the_literal_formula(monkeypatch, key, options, literal, place):
    # Without dropout and Gaussian noise the loss is deterministic; both are tested on their own.
    monkeypatch.setattr(bvae.noise, "normal", lambda words, stream, shape: jnp.zeros((words.shape[0], *shape)))
    source, model, _, params = make(dropout_rate=0.0, **options)
    batch = batch_of(3, place)
    value, parts = loss(model, params, batch, key, 9000)
    np.testing.assert_allclose(value, literal_loss(source, params, batch, 9000, **literal), rtol=1e-5)
    np.testing.assert_allclose(value, sum(parts.values()), rtol=1e-6)


@pytest.mark.exhaustive
def test_fixed_weights_replace_the_uncertainty(monkeypatch, key):
    monkeypatch.setattr(bvae.noise, "normal", lambda words, stream, shape: jnp.zeros((words.shape[0], *shape)))
    losses_by_weight = []
    for weights in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.0, 0.5)):
        source, model, _, params = make(dropout_rate=0.0, sdwl=False, behavior_weights=weights)
        batch = batch_of(3)
        value, parts = loss(model, params, batch, key, 9000)
        assert parts["uncertainty"] == 0.0
        losses_by_weight.append(float(value))
    np.testing.assert_allclose(losses_by_weight[2], np.mean(losses_by_weight[:2]), rtol=1e-5)


@pytest.mark.exhaustive
def test_identity_gates_have_no_effect_and_learned_ones_have(key):
    for mode, same in (("identity", True), ("behavior_softmax", False)):
        source, model, graphs, params = make(gate_mode=mode)
        moved = {
            name: jax.tree.map(lambda x: x + jax.random.normal(key, x.shape), value) if "gate" in name else value
            for name, value in params["params"].items()
        }
        a, b = (encode(model, p, graphs) for p in (params, {"params": moved}))
        assert np.allclose(a, b) is same
        batch = batch_of(3)
        values = [float(loss(model, p, batch, key)[0]) for p in (params, {"params": moved})]
        assert (values[0] == values[1]) is same


def test_softmax_gates_over_behaviors_sum_to_one():
    # With equal means the softmax-weighted sum is the mean itself, whatever the weights.
    _, model, graphs, params = make(gate_mode="behavior_softmax", use_gff=False)
    _, plain, _, _ = make(use_tff=False)
    np.testing.assert_allclose(encode(model, params, graphs), encode(plain, params, graphs), rtol=1e-5)


@pytest.mark.parametrize("encoder", ["mmoe", "cgc"])
def test_expert_gates_mix_experts(encoder):
    # Experts that all give the same constant leave the gates nothing to choose.
    _, model, graphs, params = make(encoder=encoder, use_tff=False)
    for name in params["params"]:
        if name.startswith("mean_") and "gate" not in name:
            params["params"][name] = {
                "kernel": jnp.zeros_like(params["params"][name]["kernel"]),
                "bias": jnp.arange(float(SIZE)),
            }
    np.testing.assert_allclose(encode(model, params, graphs), np.broadcast_to(np.arange(5.0), (3, 23, 5)), rtol=1e-6)


def test_own_encoders_read_their_own_history_only():
    source, model, graphs, params = make(encoder="own", use_tff=False)
    latents = encode(model, params, graphs)
    for k, name in enumerate(source.info.behaviors):
        encoder = layer(params, f"mean_{name}")
        expected = normalized(source.train[name].toarray().astype(float)) @ encoder["kernel"] + encoder["bias"]
        np.testing.assert_allclose(latents[k], expected, rtol=1e-4, atol=1e-5)


def test_exchange_has_one_deviation_for_all(monkeypatch, key):
    source, model, _, params = make(encoder="exchange")
    names = set(params["params"])
    assert "deviation_union" in names
    assert not names & {"mean_union", "deviation_buy"}
    seen = []
    monkeypatch.setattr(bvae.losses, "gaussian_kl", lambda m, lv: seen.append(lv) or jnp.zeros(lv.shape[:-1]))
    (log_variances,) = watched(model, params, batch_of(3), key, seen)
    for k in (1, 2):
        np.testing.assert_array_equal(log_variances[:, 0], log_variances[:, k])


def test_each_latent_has_its_own_mask_of_the_shared_mean(monkeypatch, key):
    source, model, _, params = make()
    seen = []
    monkeypatch.setattr(bvae.losses, "gaussian_kl", lambda m, lv: seen.append(m) or jnp.zeros(m.shape[:-1]))
    (means,) = watched(model, params, batch_of(3), key, seen)
    assert not np.allclose(means[:, 0], means[:, 1])


@pytest.mark.parametrize("shared", [False, True])
def test_noise_of_each_behavior_or_of_all(monkeypatch, key, shared):
    """Without dropout z - mu is epsilon sigma; sigma is 1 where the second encoders are 0."""
    seen = []
    source, model, _, params = make(dropout_rate=0.0, shared_noise=shared)
    zero = {name: jax.tree.map(jnp.zeros_like, p) if "deviation" in name else p for name, p in params["params"].items()}
    monkeypatch.setattr(bvae.Bvae, "combine", lambda self, latents: seen.append(latents) or latents)
    (latents,) = watched(model, {"params": zero}, batch_of(3), key, seen)
    noise = np.asarray(latents - latents[:, :1])  # the mean is the same for all behaviors
    assert noise.shape[1:] == (3, SIZE) and np.allclose(noise, 0.0) is shared


@pytest.mark.exhaustive
def test_resampling_draws_for_every_task(monkeypatch, key):
    inputs = []
    real = losses.multinomial_nll
    monkeypatch.setattr(bvae.losses, "multinomial_nll", lambda z, *rest: inputs.append(z) or real(z, *rest))
    for resample in (False, True):
        source, model, _, params = make(resample_per_task=resample)
        inputs.clear()
        first, second, _ = watched(model, params, batch_of(3), key, inputs)
        assert np.allclose(first, second) is not resample


def test_identical_init_starts_encoders_and_decoders_equal():
    source = toy.dataset()
    model = bvae.build(bvae.BvaeConfig(identical_init=True), source.info, 8)
    params = jax.jit(model.init)(jax.random.key(0), {})["params"]
    kernels = {name: np.asarray(value["kernel"]) for name, value in params.items() if "gate" not in name}
    encoders = [v for n, v in kernels.items() if not n.startswith("decoder")]
    decoders = [v for n, v in kernels.items() if n.startswith("decoder")]
    assert all((v == encoders[0]).all() for v in encoders)
    assert all((v == decoders[0]).all() for v in decoders)
    assert not (encoders[0] == decoders[0]).all()


def test_l2_counts_mean_encoders_and_decoders(key):
    source, model, _, params = make(l2_weight=0.5)
    _, parts = loss(model, params, batch_of(3), key, 0)
    names = ["mean_union", *(f"decoder_{b}" for b in source.info.behaviors)]
    expected = 0.5 * sum((layer(params, n)["kernel"] ** 2).sum() for n in names)
    np.testing.assert_allclose(parts["l2"], expected, rtol=1e-5)


def test_initial_scale_is_glorot():
    source = toy.dataset(num_items=400)
    model = bvae.build(bvae.BvaeConfig(embedding_size=20), source.info, 8)
    params = jax.jit(model.init)(jax.random.key(0), {})["params"]
    limit = np.sqrt(6 / 420)
    for name, value in params.items():
        if "gate" not in name:
            kernel, bias = np.abs(value["kernel"]), np.abs(value["bias"])
            assert 0.9 * limit < kernel.max() <= limit
            assert bias.max() <= 0.002


def test_wrong_number_of_weights_is_refused():
    for wrong in ((1.0, 2.0), (-1.0, -1.0, -1.0), (0.0, 0.0, 0.0)):
        with pytest.raises(
            errors.ConfigError, match=r"behavior_weights=.* for the 3 behaviors .*: give one of at least 0"
        ):
            make(sdwl=False, behavior_weights=wrong)
    with pytest.raises(errors.ConfigError, match="weighted by their uncertainty. Give --sdwl=false too"):
        make(behavior_weights=(1.0, 2.0, 3.0))
    with pytest.raises(pydantic.ValidationError, match="finite"):
        make(sdwl=False, behavior_weights=(1.0, 2.0, float("nan")))
    _, model, *_ = make(sdwl=False, behavior_weights=(0.0, 1.0, 2.0))
    assert model.tasks == model.info.behaviors[1:]  # what nothing teaches ranks nothing


@pytest.mark.parametrize("model", ["bvae", "vaepp"])
def test_a_behavior_called_as_what_is_made_of_all_is_refused(model):
    info = types.DatasetInfo("x", 5, 7, ("view", "union"))
    config_of, build = models.entry(model).config, models.entry(model).build
    with pytest.raises(errors.ConfigError, match="a behavior is called 'union'"):
        build(config_of(), info, 4)


@pytest.mark.parametrize("number", [3, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_experts_within_the_budget_have_as_many_parameters(number):
    """With one encoder of means, K of deviations and K decoders, (1 + 2 K) I d; MMOE has K for 1, CGC K + 1."""
    counts = {}
    for ablation in (None, "base_mmoe_budget", "base_cgc_budget"):
        made = config.load("bvae", "jd", bvae.BvaeConfig, ablation=ablation)
        info = types.DatasetInfo("x", 500, 20_000, tuple("abcd"[:number]))
        model = bvae.build(made.model, info, 8)
        shapes = jax.eval_shape(lambda key, model=model: model.init(key, {}), jax.random.key(0))
        counts[ablation] = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    own = counts.pop(None)
    assert all(abs(count / own - 1) < 0.05 for count in counts.values())
