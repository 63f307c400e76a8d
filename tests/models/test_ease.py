"""MB-EASE as a model: least squares one by one, both forms, scaled rows and columns, memory, penalties."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
import scipy.sparse
import toy
import usual

from mbjax import errors, types
from mbjax.models import ease, ease_penalty
from mbjax.ops import memory

ITEMS = 31


def fitted(source, **config):
    """``(passive)`` -> ``(behavior, users, tile)`` -> the scores [B, size] of a model that is compiled once."""
    model = ease.build(ease.EaseConfig(**config), source.info)
    encode, score = jax.jit(model.encode), jax.jit(model.score, static_argnums=(4, 5))

    def of(passive=None):
        tables = encode({}, model.prepare(types.Evidence(source.train, passive, source.valid)))

        def scores(behavior, users=None, tile=(0, ITEMS)):
            users = np.arange(source.info.num_users) if users is None else users
            return np.asarray(score({}, tables, jnp.asarray(users), *tile, behavior))

        return scores

    return of


def scores_of(source, behavior, users=None, tile=(0, ITEMS), passive=None, **config):
    """Those of a model that is asked once."""
    return fitted(source, **config)(passive)(behavior, users, tile)


def expected(source, behavior, own_columns, penalty, weights, activity, frequency):
    """Ridge regressions of each item by ``numpy.linalg.solve``, every step written out."""
    train = [matrix.toarray().astype(float) for matrix in source.train.values()]
    row = np.maximum(sum(m.sum(axis=1) for m in train), 1) ** -activity
    y = row[:, None] * train[behavior]
    x = np.concatenate(
        [
            row[:, None] * m * w * np.maximum(m.sum(axis=0), 1) ** -frequency
            for m, w in zip(train, weights, strict=True)
        ],
        axis=1,
    )
    penalty = penalty * (x**2).sum() / len(x)
    out = np.zeros_like(y)
    for item in range(ITEMS):
        own = [b * ITEMS + item for b in range(len(train)) if own_columns == "left_out" or b == behavior]
        rest = np.delete(x, own, axis=1)
        gram = rest.T @ rest + penalty * np.eye(rest.shape[1])
        out[:, item] = rest @ np.linalg.solve(gram, rest.T @ y[:, item]) / row
    return out


@pytest.mark.parametrize(
    ("form", "own_columns", "activity", "frequency"),
    usual.cases(
        [
            (*how, *exponents)
            for how in itertools.product(["dual", "primal"], ["kept", "left_out"])
            for exponents in [(0.0, 0.0), (0.5, 0.3)]
        ],
        {("dual", "kept", 0.5, 0.3), ("primal", "left_out", 0.5, 0.3)}.__contains__,
    ),
)
def test_scores_are_the_regressions(form, own_columns, activity, frequency):
    source, weights = toy.dataset(), (0.5, 1.0, 2.0)
    config = {"own_columns": own_columns, "activity_exponent": activity, "frequency_exponent": frequency}
    scores = fitted(source, penalty=0.5, behavior_weights=weights, form=form, **config)()
    for behavior in (0, 2):
        found = scores(behavior)
        wanted = expected(source, behavior, own_columns, 0.5, weights, activity, frequency)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        tile = scores(behavior, [3, 3, 0], (4, 9))
        np.testing.assert_allclose(tile, found[[3, 3, 0], 4:13], atol=1e-5)


def test_a_behavior_of_weight_0_is_predicted_and_predicts_nothing():
    source = toy.dataset()
    wanted = expected(source, 2, "left_out", 1.0, (1, 1, 0), 0.0, 0.0)
    found = scores_of(source, 2, penalty=1.0, behavior_weights=(1, 1, 0), own_columns="left_out")
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_a_new_user_gets_what_the_same_regressions_say(form):
    source = toy.dataset()
    passive = {name: scipy.sparse.csr_array(matrix[[5, 9]]) for name, matrix in source.train.items()}
    for own_columns in ("kept", "left_out"):
        options = {"penalty": 0.5, "form": form, "own_columns": own_columns}
        known = scores_of(source, 2, [5, 9], **options)
        info = source.info._replace(num_users=25)
        whole = type(source)(**(vars(source) | {"info": info}))
        new = scores_of(whole, 2, [23, 24], passive=passive, **options)
        np.testing.assert_allclose(new, known, atol=1e-5)


def test_own_columns_decide_whether_a_view_speaks_for_buying_the_same():
    """Whoever views an item buys it, and nothing else is known: only ``kept`` sees it."""
    rng = np.random.default_rng(0)
    views = rng.random((200, ITEMS)) < 0.1
    buys = views & (rng.random(views.shape) < 0.7)
    train = {"view": scipy.sparse.csr_array(views.astype(np.float32)), "buy": scipy.sparse.csr_array(buys * 1.0)}
    info = types.DatasetInfo("planted", 200, ITEMS, ("view", "buy"))
    source = type("Planted", (), {"info": info, "train": train, "valid": {}})
    open_pairs = views & ~buys
    for own_columns, is_higher in (("kept", True), ("left_out", False)):
        found = scores_of(source, 1, penalty=1.0, own_columns=own_columns)
        gap = found[open_pairs].mean() - found[~views].mean()
        assert (gap > 0.3) == is_higher
        assert is_higher or abs(gap) < 0.05


def test_the_smaller_matrix_is_inverted():
    info = types.DatasetInfo("sizes", 100, 20, ("view", "buy"))
    config = ease.EaseConfig()
    assert [ease.form_of(config, (1, 1), users, 20) for users in (39, 40, 41)] == ["dual", "dual", "primal"]
    assert ease.form_of(config, (1, 0), 41, 20) == "dual"
    with pytest.raises(errors.IncompatibleError, match="weights above 0 for all behaviors"):
        ease.form_of(ease.EaseConfig(form="primal"), (1, 0), 41, 20)
    assert ease.form_of(ease.EaseConfig(rank=3), (1, 1), 41, 20) == "low_rank"
    with pytest.raises(errors.IncompatibleError, match=r"model.rank=3 needs weights above 0"):
        ease.form_of(ease.EaseConfig(rank=3), (1, 0), 41, 20)
    assert info.num_behaviors == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("own_columns", ["kept", "left_out"])
def test_all_eigenvectors_are_the_exact_solution(own_columns):
    source, options = toy.dataset(), {"penalty": 0.5, "own_columns": own_columns, "behavior_weights": (0.5, 1.0, 2.0)}
    passive = {name: scipy.sparse.csr_array(matrix[[5, 9]]) for name, matrix in source.train.items()}
    whole = type(source)(**(vars(source) | {"info": source.info._replace(num_users=25)}))
    for behavior in (0, 2):
        exact = scores_of(source, behavior, **options)
        np.testing.assert_allclose(scores_of(source, behavior, rank=23, **options), exact, atol=1e-4)
        few = scores_of(source, behavior, rank=5, **options)
        assert np.abs(few - exact).max() > 0.02
        new = scores_of(whole, behavior, [23, 24], passive=passive, rank=5, **options)
        np.testing.assert_allclose(new, few[[5, 9]], atol=1e-4)
        tile = scores_of(source, behavior, [3, 3, 0], (4, 9), rank=5, **options)
        np.testing.assert_allclose(tile, few[[3, 3, 0], 4:13], atol=1e-5)


@pytest.mark.parametrize("own_columns", ["kept", "left_out"])
def test_few_eigenvectors_are_the_regressions_of_what_they_keep(own_columns):
    """Written out with numpy: the inverse of V S^2 V^T, what is left inside items, and the penalty."""
    source, rank, weights = toy.dataset(), 5, (0.5, 1.0, 2.0)
    x = np.concatenate([m.toarray() * w for m, w in zip(source.train.values(), weights, strict=True)], axis=1)
    x = x.astype(float)
    values, vectors = np.linalg.eigh(x.T @ x)
    kept = (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T
    is_one_item = np.arange(3 * ITEMS)[:, None] % ITEMS == np.arange(3 * ITEMS) % ITEMS
    penalty = 0.5 * (x**2).sum() / len(x)
    inverse = np.linalg.inv(kept + is_one_item * (x.T @ x - kept) + penalty * np.eye(3 * ITEMS))
    options = {"penalty": 0.5, "own_columns": own_columns, "behavior_weights": weights}
    scores = fitted(source, rank=rank, **options)()
    for behavior in (0, 2):
        wanted = np.zeros((len(x), ITEMS))
        for item in range(ITEMS):
            own = [b * ITEMS + item for b in range(3) if own_columns == "left_out" or b == behavior]
            target = np.array([b == behavior * ITEMS + item for b in own], float)
            rest = np.delete(np.arange(3 * ITEMS), own)
            regression = -inverse[np.ix_(rest, own)] @ np.linalg.solve(inverse[np.ix_(own, own)], target)
            wanted[:, item] = x[:, rest] @ regression / weights[behavior]
        np.testing.assert_allclose(scores(behavior), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("own_columns", "rank"),
    usual.cases(itertools.product(["kept", "left_out"], [0, 5]), {("left_out", 0), ("kept", 5)}.__contains__),
)
def test_what_is_left_out_of_a_regression_has_no_weight(own_columns, rank):
    """A new user's own pairs of an item change his score of it by nothing, but where they are kept."""
    source, item, behavior = toy.dataset(), 4, 2
    info = source.info._replace(num_users=25)
    whole = type(source)(**(vars(source) | {"info": info}))
    ranked = fitted(whole, penalty=0.5, own_columns=own_columns, rank=rank)
    for changed, name in enumerate(source.train):
        passive = {}
        for of, matrix in source.train.items():
            rows = matrix[[5, 5]].toarray()
            rows[:, item] = [0, of == name]
            passive[of] = scipy.sparse.csr_array(rows)
        found = ranked(passive)(behavior, [23, 24])[:, item]
        is_left_out = own_columns == "left_out" or changed == behavior
        assert (abs(found[0] - found[1]) < 1e-6) == is_left_out


def test_what_does_not_fit_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2000)
    with pytest.raises(errors.IncompatibleError, match=r"matrix of 23 users.*GB of memory are free.*model.rank=512"):
        scores_of(toy.dataset(), 2, penalty=1.0)
    with pytest.raises(errors.IncompatibleError, match=r"keeps 9 eigenvectors.*Use a smaller model.rank"):
        scores_of(toy.dataset(), 2, penalty=1.0, rank=9)
    monkeypatch.setattr(memory, "available", lambda: None)
    scores_of(toy.dataset(), 2, penalty=1.0)


def test_what_it_chose_is_told_where_it_chose():
    source = toy.dataset()
    for penalty, valid, number in (("auto", source.valid, 1), ("auto", {}, 0), (0.5, source.valid, 0)):
        model = ease.build(ease.EaseConfig(penalty=penalty), source.info)
        prepared = model.prepare(types.Evidence(source.train, valid=valid))
        assert len(model.choices({}, prepared)) == number
    assert float(prepared["penalty"]) == 0.5


def test_weights_that_do_not_fit_are_refused():
    info = toy.dataset().info
    for weights, problem in (((1.0,), "1 values for 3 behaviors"), ((0.0, 0.0, 0.0), "are all 0")):
        with pytest.raises(errors.ConfigError, match=problem):
            ease.build(ease.EaseConfig(behavior_weights=weights), info)
    for wrong in ({"penalty": 0}, {"penalty": "much"}, {"activity_exponent": -1}):
        with pytest.raises(pydantic.ValidationError):
            ease.EaseConfig(**wrong)


def test_a_behavior_that_few_have_is_validated_on_all_the_same(monkeypatch):
    """Of more users than are ranked none of those may be drawn who have a rare behavior's validation pairs."""
    rng = np.random.default_rng(0)
    train = {name: scipy.sparse.csr_array((rng.random((60, 20)) < 0.3).astype(np.float32)) for name in ("share", "buy")}
    free = {name: scipy.sparse.csr_array((1 - train[name].toarray()).astype(np.float32)) for name in train}
    rare = scipy.sparse.csr_array(([1.0], ([7], [free["share"].indices[free["share"].indptr[7]]])), shape=(60, 20))
    monkeypatch.setattr(ease_penalty, "USERS", 5)
    for seed in range(3):
        evidence = types.Evidence(train, valid={"share": rare, "buy": free["buy"]}, seed=seed)
        assert ease_penalty.choose(list(train.values()), np.ones((2, 20)), evidence, "own") in ease_penalty.PENALTIES
