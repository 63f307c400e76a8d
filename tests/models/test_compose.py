"""The loss of composed models, part by part, against the literal equations; what is trained; how it ranks."""

import functools

import jax
import jax.numpy as jnp
import literal
import numpy as np
import pytest

from mbjax import batching, errors, evaluate, models, seen, topk, types
from mbjax import config as configuration
from mbjax.experiment import wiring
from mbjax.heads import dfme
from mbjax.models import compose, compose_config, copf, objectives, pkef
from mbjax.ops import graph

SIZE, BATCH, DRAWS = 3, 6, 4
USERS, ITEMS = 23, 31
BUILD = {copf.CopfConfig: copf.build, pkef.PkefConfig: pkef.build}


def make(config, num_behaviors=3):
    """A model on the toy data with random params, larger than the initial ones so that no term is negligible."""
    source, pairs = literal.pairs(num_behaviors)
    config = config.model_copy(update={"embedding_size": SIZE})
    model = BUILD[type(config)](config, source.info, BATCH)
    graphs = graph.from_train(model.graphs, source.train)
    shapes = jax.eval_shape(model.init, jax.random.key(0), graphs)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape, scale=0.5).astype(np.float32), shapes)
    return source, pairs, model, graphs, params


def any_batch(model, seed=0):
    """Users, one of them twice, with any items: a loss does not ask whether they are positives.

    As if from four devices: ``share`` is a quarter, totals are larger than what is here; the last row is padding.
    """
    rng = np.random.default_rng(seed)
    drawn = {}
    for name in model.batch.triples:
        positive, negative = (jnp.asarray(rng.integers(0, ITEMS, (BATCH, DRAWS)), jnp.int32) for _ in range(2))
        weight = np.arange(DRAWS) < rng.integers(0, DRAWS + 1, BATCH)[:, None]
        weight[-1] = False
        drawn[name] = types.Triples(positive, negative, jnp.float32(weight), jnp.float32(weight.sum() + 30))
    users = jnp.array([7, 2, 22, 2, 0, 0], jnp.int32)
    return types.UserBatch(
        user=users,
        weight=jnp.array([1.0, 1, 1, 1, 1, 0]),
        everyone=users.at[-1].set(-1),
        noise=jnp.zeros((BATCH, 2), jnp.uint32),
        history={},
        total=jnp.float32(19),
        share=jnp.float32(0.25),
        triples=drawn,
    )


def loss_parts(model, graphs, params, batch):
    key, step = jax.random.key(0), jnp.int32(0)
    return jax.device_get(jax.jit(lambda p, b: model.loss(p, graphs, b, key, step))(params, batch))


def bpr(scores, drawn, users):
    """Mean over the triples, from the scores of all pairs, one triple after another."""
    total = 0.0
    for row, user in enumerate(users):
        for m in np.flatnonzero(drawn.weight[row]):
            total += literal.softplus(scores[user, drawn.negative[row, m]] - scores[user, drawn.positive[row, m]])
    return total / float(drawn.total)


def inner(table):
    return table[:USERS] @ table[USERS:].T


def expected_contrastive(config, tables, batch):
    """The contrastive term of COPF: every positive target pair of the batch; or a quarter of every node."""
    if config.reduction == "all_nodes":
        sides = (slice(None, USERS), USERS), (slice(USERS, None), ITEMS)
        means = [
            literal.info_nce(tables[-1][rows], table[rows], range(size), config.temperature) / size
            for table in tables[:-1]
            for rows, size in sides
        ]
        return config.weight * 0.25 * sum(means)
    drawn = batch.triples["buy"]
    real = drawn.weight > 0
    everyone = {"user": np.broadcast_to(batch.user[:, None], real.shape)[real], "item": drawn.positive[real]}
    loss = 0.0
    for table in tables[:-1]:
        for side, rows in (("user", slice(None, USERS)), ("item", slice(USERS, None))):
            if config.side in ("both", side):
                is_cosine = config.similarity == "cosine"
                loss += literal.info_nce(tables[-1][rows], table[rows], everyone[side], config.temperature, is_cosine)
    divisor = USERS if config.reduction == "pairs_over_users" else float(drawn.total)
    return config.weight * loss / divisor


def expected_unique(config, tables, weights, names, batch):
    """The unique-behavior loss of PKEF: for each ordered pair of behaviors (k, j)."""
    unique, parts = config.unique, {}
    for k, first in enumerate(names):
        for j, second in enumerate(names):
            if j == k or not weights[k] or {first, second} & set(unique.exclude):
                continue
            rest = unique.scale * (tables[j] - literal.PARALLEL[unique.coefficient](tables[j], tables[k]))
            pair_set = (first, second) if unique.direction == "code" else (second, first)
            name = "_without_".join(pair_set)
            term = bpr(config.score_scale * inner(rest), batch.triples[name], batch.user)
            parts[f"unique_{name}"] = config.loss_factor * unique.weight * weights[k] * term
    return parts


def expected_l2(config, params, batch, kernels):
    user, item = params["user"].astype(float), params["item"].astype(float)
    weights = sum(np.square(kernel).sum() for kernel in kernels)
    if config.l2_on == "parameters":
        everything = jax.tree.leaves(params)
        assert len(everything) > 2 + len(kernels)  # relation vectors and biases too
        return config.l2_weight * 0.25 * sum(np.square(x.astype(float)).sum() for x in everything)
    if config.l2_on == "tables":
        return config.l2_weight * 0.25 * (np.square(user).sum() + np.square(item).sum() + weights)
    rows = 0.0
    for drawn in batch.triples.values():
        for b, m in np.argwhere(drawn.weight > 0):
            rows += np.square(user[batch.user[b]]).sum()
            rows += np.square(item[drawn.positive[b, m]]).sum() + np.square(item[drawn.negative[b, m]]).sum()
    return config.l2_weight * 0.5 * (rows + 0.25 * weights) / 19


def check(parts, loss, expected):
    assert set(parts) == set(expected)
    for name, value in expected.items():
        assert abs(value) > 1e-3, name
        np.testing.assert_allclose(parts[name], value, rtol=2e-4, err_msg=name)
    np.testing.assert_allclose(loss, sum(expected.values()), rtol=2e-4)


SHARES = {2: (0.4, 0.6), 3: (1 / 3, 1 / 3, 1 / 3), 4: (0.0, 0.5, 0.2, 0.3)}


@pytest.mark.parametrize(
    ("num_behaviors", "options"),
    [
        (3, {}),
        (2, {"contrastive": {"weight": 0.7, "temperature": 0.4, "similarity": "inner_product"}, "l2_on": "batch"}),
        (4, {"contrastive": {"weight": 2.0, "reduction": "mean", "side": "user"}, "mean_over": "users"}),
        (3, {"contrastive": {"weight": 1.0, "side": "item"}, "l2_weight": 0.0}),
        (3, {"contrastive": {"weight": 1.0, "reduction": "all_nodes"}, "mean_over": "nothing", "l2_on": "parameters"}),
    ],
)
def test_loss_of_copf(num_behaviors, options):
    layers, fitted = (1, 2, 1, 1)[:num_behaviors], (1, 1, 2, 1)[:num_behaviors]
    given = {
        "backbone": {"name": "cogcn", "layers": layers},
        "head": {"name": "dfme", "layers": fitted, "alpha": 0.8, "beta": 0.3, "expert_scale": 2.0},
        "behavior_weights": None if num_behaviors == 3 else SHARES[num_behaviors],
        "score_scale": 2.0,
    }
    config = copf.CopfConfig.model_validate(given | options)
    source, pairs, model, graphs, params = make(config, num_behaviors)
    batch = any_batch(model)
    loss, parts = loss_parts(model, graphs, params, batch)

    batch, inside = jax.device_get(batch), params["params"]
    e0 = np.concatenate([inside["user"], inside["item"]]).astype(float)
    tables = literal.cogcn(e0, pairs, layers)
    expected = {}
    for task, (name, weight) in enumerate(zip(source.info.behaviors, SHARES[num_behaviors], strict=True)):
        if weight:
            scores = literal.dfme(
                tables, pairs, task, inside["head"], fitted, USERS, alpha=0.8, beta=0.3, expert_scale=2.0
            )
            drawn = batch.triples[name]
            total = float(drawn.total)
            over = {"triples": 1.0, "users": total / 19, "nothing": total}[config.mean_over]
            expected[f"bpr_{name}"] = 3.0 * weight * over * bpr(2.0 * scores, drawn, batch.user)
    expected["contrastive"] = expected_contrastive(config.contrastive, tables, batch)
    if config.l2_weight:
        kernels = [inside["head"]["gate"]["kernel"]]
        kernels += [value for name, value in inside["head"].items() if name.startswith("transition")]
        assert len(kernels) == (2 if max(fitted) == 2 else 1)
        expected["l2"] = expected_l2(config, inside, batch, kernels)
    check(parts, loss, expected)


@pytest.mark.parametrize(
    ("num_behaviors", "weights", "options"),
    [
        (3, (0.0, 2 / 3, 1 / 3), {}),
        (2, (0.4, 0.6), {"unique": {"weight": 0.5, "direction": "paper", "scale": 1.5}, "parallel_weight": 0.3}),
        (2, (0.4, 0.6), {"unique": {"weight": 0.5, "coefficient": "cosine", "scale": 1.5}, "parallel_weight": 0.0}),
        (4, (0.2, 0.3, 0.1, 0.4), {"unique": {"weight": 1.0, "exclude": ("cart", "view")}, "l2_on": "batch"}),
        (3, (0.2, 0.3, 0.5), {"unique": {"weight": 0.0}, "parallel_weight": 0.0}),
    ],
)
def test_loss_of_pkef(num_behaviors, weights, options):
    layers = (2, 1, 1, 0)[:num_behaviors]
    given = {
        "backbone": {"name": "pkf", "layers": layers},
        "head": {"name": "pme", "scale": 0.8},
        "behavior_weights": weights,
        "score_scale": 2.0,
        "unique": {"weight": 1.0, "scale": 0.7},
    }
    config = pkef.PkefConfig.model_validate(given | options)
    source, pairs, model, graphs, params = make(config, num_behaviors)
    batch = any_batch(model)
    loss, parts = loss_parts(model, graphs, params, batch)

    batch, inside = jax.device_get(batch), params["params"]
    e0 = np.concatenate([inside["user"], inside["item"]]).astype(float)
    tables, parallel = literal.pkf(e0, pairs, layers, lambda s, p, k, layer: 0.3 * literal.project(p, s))
    expected = {}
    for task, (name, weight) in enumerate(zip(source.info.behaviors, weights, strict=True)):
        if weight:
            scores = literal.pme(tables, task, inside["head"], USERS, scale=0.8)
            drawn = batch.triples[name]
            expected[f"bpr_{name}"] = 3.0 * weight * bpr(2.0 * scores, drawn, batch.user)
            if config.parallel_weight:
                second = bpr(2.0 * inner(parallel[task]), drawn, batch.user)
                expected[f"parallel_{name}"] = 3.0 * weight * config.parallel_weight * second
    if config.unique.weight:
        expected |= expected_unique(config, tables, weights, source.info.behaviors, batch)
    expected["l2"] = expected_l2(config, inside, batch, [inside["head"]["gate_0"]["kernel"]])
    check(parts, loss, expected)


# What is trained.


@functools.cache
@pytest.mark.exhaustive
def test_large_tables_are_trained_alike_with_some_candidates_drawn(monkeypatch):
    config = copf.CopfConfig(contrastive=objectives.ContrastiveConfig(weight=1.0, candidates=0))
    _, _, model, graphs, params = make(config)
    batch = any_batch(model)

    def gradients(model):
        given = graphs, batch, jax.random.key(3), jnp.int32(0)
        return jax.jit(jax.value_and_grad(lambda params: model.loss(params, *given), has_aux=True))(params)

    (loss, parts), expected = gradients(model)
    for module in (compose, dfme):
        monkeypatch.setattr(module, "LARGE", 10)
    for candidates, tolerance in ((0, 1e-4), (ITEMS - 1, 0.05)):
        config = copf.CopfConfig(contrastive=objectives.ContrastiveConfig(weight=1.0, candidates=candidates))
        (other, other_parts), found = gradients(make(config)[2])
        np.testing.assert_allclose(other, loss, rtol=tolerance)
        assert parts.keys() == other_parts.keys()
        assert (float(parts["contrastive"]) == float(other_parts["contrastive"])) == (candidates == 0)
        del other_parts["contrastive"]
        for name, value in other_parts.items():
            np.testing.assert_allclose(value, parts[name], rtol=1e-5)
        if not candidates:
            for one, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(one, exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())


def test_candidates_are_drawn_of_large_tables_alone_and_it_is_said():
    config = objectives.ContrastiveConfig(weight=1.0)
    small, large = (toy_info()._replace(num_users=users) for users in (60_000, 90_000))
    small, large = (info._replace(num_items=20_000) for info in (small, large))
    assert (config.drawn(small), config.drawn(large)) == (0, objectives.DRAWN)
    assert config.model_copy(update={"candidates": 7}).drawn(small) == 7
    assert config.model_copy(update={"candidates": 0}).drawn(large) == 0
    assert copf.build(copf.CopfConfig(), small, 4).notes == ()
    (note,) = copf.build(copf.CopfConfig(), large, 4).notes
    assert "4,096 users" in note and "contrastive.candidates=0" in note


def toy_info(num_behaviors=3):
    return literal.pairs(num_behaviors)[0].info


def test_a_behavior_of_weight_zero_is_not_trained_and_not_ranked():
    config = copf.CopfConfig(behavior_weights=(0.0, 1.0, 2.0), contrastive={"weight": 0.0})
    model = copf.build(config, toy_info(), BATCH)
    assert model.tasks == ("cart", "buy")
    assert dict(model.batch.triples) == {"cart": types.PairSet("cart"), "buy": types.PairSet("buy")}


def test_the_contrastive_term_needs_the_targets_pairs_even_if_the_target_is_not_trained():
    config = copf.CopfConfig(behavior_weights=(1.0, 0.0, 0.0))
    _, _, model, graphs, params = make(config)
    assert model.tasks == ("view",)
    assert set(model.batch.triples) == {"view", "buy"}
    shapes = jax.eval_shape(lambda b: model.loss(params, graphs, b, jax.random.key(0), 0), any_batch(model))
    assert set(shapes[1]) == {"bpr_view", "contrastive", "l2"}


def test_one_behavior_has_nothing_to_align_and_nothing_unique():
    model = copf.build(copf.CopfConfig(), toy_info(1), BATCH)
    assert set(model.batch.triples) == {"buy"}
    assert set(pkef.build(pkef.PkefConfig(), toy_info(1), BATCH).batch.triples) == {"buy"}


def test_the_weights_default_to_equal_shares():
    assert compose_config.behavior_weights(copf.CopfConfig(), toy_info(4)) == (0.25,) * 4


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.5), (1.0, 0.0, 0.0, 0.0), (1.0, -0.1, 1.0), (0.0, 0.0, 0.0)])
def test_weights_that_do_not_fit_are_refused(weights):
    config = copf.CopfConfig(behavior_weights=weights)
    shown = ",".join(map(str, weights))
    with pytest.raises(errors.ConfigError, match=f"behavior_weights={shown} for the 3 behaviors view, cart, buy"):
        copf.build(config, toy_info(), BATCH)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (copf.CopfConfig(backbone={"name": "cogcn", "layers": (1, 1)}), "backbone.layers=1,1"),
        (copf.CopfConfig(head={"name": "dfme", "layers": (1, 1, 2, 1)}), "head.layers=1,1,2,1"),
        (pkef.PkefConfig(backbone={"name": "pkf", "layers": (4, 1)}), "backbone.layers=4,1"),
    ],
)
def test_layers_that_do_not_fit_are_refused_when_the_model_is_built(config, field):
    with pytest.raises(errors.ConfigError, match=f"{field} has . values for 3 behaviors"):
        BUILD[type(config)](config, toy_info(), BATCH)


def test_an_epoch_is_what_the_configuration_says():
    spec = copf.build(copf.CopfConfig(), toy_info(), BATCH).batch
    assert (spec.size, spec.per_user, spec.users_per_epoch, spec.steps_per_epoch) == (BATCH, 40, 0, 0)
    spec = pkef.build(pkef.PkefConfig(pairs_per_user=7, steps_per_epoch=12), toy_info(), BATCH).batch
    assert (spec.size, spec.per_user, spec.users_per_epoch, spec.steps_per_epoch) == (BATCH, 7, 10_000, 12)


# How it ranks.


@pytest.fixture(scope="module")
def ranked():
    """The 31 best items of every user for the target, and the literal scores that they should follow."""
    config = copf.CopfConfig(head={"name": "dfme", "alpha": 0.8, "beta": 0.3, "expert_scale": 2.0})
    source, pairs, model, graphs, params = make(config)
    tables = topk.encode(model, params, graphs)
    users = np.arange(USERS, dtype=np.int32)
    masked = seen.pairs(source, "buy", exclude="train")
    queries = batching.prepare(users, masked, 5)  # batches of users and tiles of items that do not divide
    lists, _ = topk.finish(topk.start(model, params, tables, queries, "buy", ITEMS, 7), users, "buy")
    inside = params["params"]
    z = literal.cogcn(np.concatenate([inside["user"], inside["item"]]).astype(float), pairs, (1, 1, 1))
    scores = literal.dfme(z, pairs, 2, inside["head"], (1, 1, 1), USERS, alpha=0.8, beta=0.3, expert_scale=2.0)
    return source, model, graphs, params, lists, scores


def test_ranks_equal_brute_force_with_training_buys_masked(ranked):
    source, model, graphs, params, lists, scores = ranked
    bought = source.train["buy"].toarray() > 0
    assert not source.mask_valid
    for user in range(USERS):
        order = [i for i in np.argsort(-scores[user], kind="stable") if not bought[user, i]]
        np.testing.assert_array_equal(lists[user], order + [-1] * bought[user].sum())
    # And what the evaluator makes of it: a hit within 3 of any held-out buy.
    held = source.test["buy"].toarray() > 0
    hits = [held[user, [i for i in lists[user, :3] if i >= 0]].any() for user in np.flatnonzero(held.any(axis=1))]
    assert 0 < np.mean(hits) < 1
    table = evaluate.Evaluator(source, "test", ks=(3,))(model, params, graphs).table
    assert table["buy"]["hr@3"] == pytest.approx(np.mean(hits))
    assert table["buy"]["users"] == len(hits)


def test_an_item_carted_in_training_can_be_recommended(ranked):
    source, *_, lists, _ = ranked
    for name in ("view", "cart"):
        met = (source.train[name].toarray() > 0) & ~(source.train["buy"].toarray() > 0)
        for user in range(USERS):
            assert set(np.flatnonzero(met[user])) <= set(lists[user])
    assert any(met[user, lists[user, 0]] for user in range(USERS))  # first of somebody's list even


def test_only_trained_behaviors_are_evaluated():
    overrides = {"train.batch_size": 8, "model.behavior_weights": "0,1,1", "model.embedding_size": 2}
    config = configuration.load("pkef", "demo", models.MODELS["pkef"].config, overrides=overrides)
    source, _ = literal.pairs(3)
    assert wiring.build(config, source).evaluator("test").behaviors == ("cart", "buy")


def test_an_excluded_behavior_that_is_not_there_is_named():
    """A slip of the pen would train every term, and say nothing."""
    info = types.DatasetInfo("toy", 3, 4, ("view", "cart", "buy"))
    config = pkef.PkefConfig(unique=objectives.UniqueConfig(weight=1.0, exclude=("crat",)))
    with pytest.warns(errors.DataWarning, match="unique.exclude names crat: not among the behaviors view, cart, buy"):
        compose.build(config, info, 2)
