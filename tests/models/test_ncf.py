"""GMF, MLP and NeuMF of one behavior against their formulas, in both variants."""

import jax
import numpy as np
import pointwise
import pytest
import toy
import usual

from mbjax.models import ncf

MODELS = {
    "gmf": (ncf.build_gmf, ncf.GmfConfig, {}),
    "mlp": (ncf.build_mlp, ncf.MlpConfig, {"layers": 2}),
    "neumf": (ncf.build_neumf, ncf.NeumfConfig, {"layers": 2, "mlp_embedding_size": 6}),
}
CASES = [(kind, variant) for kind in MODELS for variant in ("original", "shared_concat")]


def literal_logit(kind, variant, params, user, item):
    if variant == "shared_concat":
        return pointwise.unit(kind, params[f"unit_{kind}"], params[f"user_{kind}"][user], params[f"item_{kind}"][item])
    logit = params["constant"][0]
    for branch in ("gmf", "mlp") if kind == "neumf" else (kind,):
        p, q = params[f"user_{branch}"][user], params[f"item_{branch}"][item]
        logit += pointwise.unit(branch, params[f"unit_{branch}"], p, q)
    return logit


def make(kind, source, size=24, **options):
    build, config, own = MODELS[kind]
    return build(config(embedding_size=4, **{**own, **options}), source.info, size)


# Of each model one, and of each variant: the plain one of what is made of the two others.
USUAL = [("gmf", "shared_concat"), ("mlp", "shared_concat"), ("neumf", "original")]


@pytest.fixture(scope="module", params=usual.fixture(CASES, USUAL.__contains__), ids="-".join)
def trial(request):
    kind, variant = request.param
    source = toy.dataset(2)
    model = make(kind, source, variant=variant, l2_weight=0.1)
    params, literal = pointwise.randomized(jax.eval_shape(model.init, jax.random.key(1), {}))
    return source, model, params, literal, lambda user, item: literal_logit(kind, variant, literal, user, item)


def test_the_loss_is_the_formula(trial, key):
    source, model, params, literal, logit = trial
    batch = pointwise.checked_batch(model, source, key)
    _, parts = jax.jit(model.loss)(params, {}, batch, key, 0)
    losses = [pointwise.log_loss(logit(user, item), label[0]) for user, item, label, _ in pointwise.rows(batch)]
    assert set(parts) == {"log_loss_buy", "l2"}
    np.testing.assert_allclose(parts["log_loss_buy"], np.mean(losses), rtol=1e-4)
    squares = sum((value**2).sum() for name, value in literal.items() if name.startswith(("user", "item")))
    np.testing.assert_allclose(parts["l2"], 0.1 * squares, rtol=1e-4)


def test_ranking_is_by_the_formula(trial):
    _, model, params, _, logit = trial
    assert model.tasks == ("buy",)
    pointwise.assert_ranks(model, params, logit, 1)


def test_other_behaviors_are_not_looked_at(key):
    source = toy.dataset(2)
    model = make("gmf", source)
    alone = {"view": source.train["view"] * 0, "buy": source.train["buy"]}
    batch = pointwise.checked_batch(model, source, key)
    buys = source.train["buy"].toarray()
    for user, item, label, place in pointwise.rows(batch):
        assert buys[user, item] == label[0] == (place == 0)
    other = pointwise.checked_batch(model, type("Source", (), {"train": alone}), key)
    np.testing.assert_array_equal(batch.points.item, other.points.item)


def test_initial_values(key):
    source = toy.dataset(2)
    made = jax.tree.map(np.asarray, make("neumf", source).init(key, {}))["params"]
    assert {name: np.shape(value) for name, value in made.items() if not name.startswith("unit")} == {
        "user_gmf": (23, 4), "item_gmf": (31, 4), "user_mlp": (23, 6), "item_mlp": (31, 6), "constant": (1,)
    }  # fmt: skip
    # One output layer reads 4 products and the 12 / 4 of the tower: limits sqrt(3 / 7) in both parts.
    limit = np.sqrt(3 / 7)
    outputs = np.concatenate([made["unit_gmf"]["output"], made["unit_mlp"]["output"]])
    assert outputs.shape == (7,) and np.abs(outputs).max() <= limit
    kernel = made["unit_mlp"]["kernel_0"]  # Glorot: sqrt(6 / (12 + 6))
    assert 0.9 * np.sqrt(1 / 3) < np.abs(kernel).max() <= np.sqrt(1 / 3)
    assert np.abs(made["user_gmf"]).max() < 0.05
    shared = make("neumf", source, variant="shared_concat").init(key, {})["params"]
    assert set(shared) == {"user_neumf", "item_neumf", "unit_neumf"}
    assert np.abs(shared["user_neumf"]).max() <= 0.02  # cut at two standard deviations
