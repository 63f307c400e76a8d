"""The planted funnel: the same on every machine, a cut in time, and an optimum that is one."""

from __future__ import annotations

import numpy as np
import pytest

from mbjax.data import optimum, synthetic

K = len(synthetic.BEHAVIORS)


@pytest.fixture(scope="module")
def planted_log():
    return synthetic.log(num_users=1500, num_items=500, seed=3)


def dense(made, split: str, behavior: str) -> np.ndarray:
    matrix = np.zeros(made.num_users * made.num_items, bool)
    matrix[made.keys[split][behavior]] = True
    return matrix.reshape(made.num_users, made.num_items)


def probabilities(made, planted, behavior: str, behaviors=synthetic.BEHAVIORS) -> np.ndarray:
    """The optimum's scores for all pairs, by numpy."""
    seen, comes = optimum.tables(planted.rates, behaviors)
    observed = sum(dense(made, "train", b).astype(int) << k for k, b in enumerate(behaviors))
    arguments = planted.view_probability(), planted.kappa(), observed, seen, comes[behaviors.index(behavior)]
    return optimum.posterior(*arguments, planted.rates)


def ndcg(scores: np.ndarray, train: np.ndarray, truth: np.ndarray, k: int = 10) -> float:
    """Mean NDCG@k over users with held-out pairs; training pairs masked, ties to the smaller id."""
    users = np.flatnonzero(truth.any(axis=1))
    order = np.argsort(np.where(train, np.inf, -scores)[users], axis=1, kind="stable")[:, :k]
    gain = np.take_along_axis(truth[users], order, axis=1) / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))[np.minimum(truth[users].sum(axis=1), k) - 1]
    return float((gain.sum(axis=1) / ideal).mean())


def test_seed_gives_the_same_log_on_every_machine():
    made, _ = synthetic.log()
    assert (made.num_users, made.num_items, made.behaviors) == (3000, 1000, ("view", "favourite", "cart", "buy"))
    assert made.fingerprint() == "0dfea621afbbb72c64508f968ad80c234abd0fab946d75dece5e23b6021eb1d6"
    assert made.fingerprint() == synthetic.log(seed=0)[0].fingerprint() != synthetic.log(seed=1)[0].fingerprint()
    assert 90_000 < sum(keys.size for split in made.keys.values() for keys in split.values()) < 130_000


def test_every_user_buys_in_training_and_splits_are_disjoint(planted_log):
    made, _ = planted_log
    assert set(made.keys) == {"train", "valid", "test"}
    assert dense(made, "train", "buy").any(axis=1).all()
    for behavior in synthetic.BEHAVIORS:
        counts = sum(dense(made, split, behavior).astype(int) for split in made.keys)
        assert counts.max() == 1


def test_funnel_runs_forward_in_time(planted_log):
    made, _ = planted_log
    train = [dense(made, "train", b) for b in synthetic.BEHAVIORS]
    ever = [sum(dense(made, split, b).astype(int) for split in made.keys) > 0 for b in synthetic.BEHAVIORS]
    for k in range(1, K):
        assert not (ever[k] & ~ever[0]).any()  # nothing without a view
        for j in range(k):
            assert not (train[k] & ever[j] & ~train[j]).any()  # an earlier step is never behind the cut


def test_users_without_training_purchases_are_refused_when_nobody_buys():
    with pytest.raises(ValueError, match="training purchase"):
        synthetic.log(20, 30, rates=synthetic.Rates(buy=0.0, buy_after_favourite=0.0, buy_after_cart=0.0))
    with pytest.raises(ValueError, match="at least as many items"):
        synthetic.log(20, 3, num_groups=4)


def test_posterior_by_hand():
    """Without favourites and carts: r(1 - n)/(1 - rn) after a view in training; v(1 - b)r/(1 - vb) without."""
    rates = synthetic.Rates(
        favourite=0.0, cart=0.0, cart_after_favourite=0.0, buy=0.5, view_before=0.8, next_before=0.6
    )
    seen, comes = optimum.tables(rates, ("view", "buy"))
    view, kappa = np.full(3, 0.3), np.ones(3)
    got = optimum.posterior(view, kappa, np.array([0, 1, 3]), seen, comes[1], rates)
    np.testing.assert_allclose(got, [0.3 * 0.2 * 0.5 / (1 - 0.3 * 0.8), 0.5 * 0.4 / (1 - 0.5 * 0.6), 0.0], rtol=1e-12)
    # Half the fit halves the rate: r = 0.25.
    got = optimum.posterior(view, kappa / 2, np.array([0, 1, 3]), seen, comes[1], rates)
    np.testing.assert_allclose(got, [0.3 * 0.2 * 0.25 / 0.76, 0.25 * 0.4 / (1 - 0.25 * 0.6), 0.0], rtol=1e-12)


def test_tables_are_distributions():
    seen, comes = optimum.tables(synthetic.Rates(), synthetic.BEHAVIORS)
    np.testing.assert_allclose(seen.sum(axis=1), 1.0, rtol=1e-12)
    assert (comes <= seen + 1e-15).all()
    # A behavior that is in training is not still to come.
    for k in range(K):
        assert (comes[k][:, (np.arange(1 << K) >> k) & 1 == 1] == 0).all()
    # Fewer behaviors in use: the same distribution with the others summed out.
    less, _ = optimum.tables(synthetic.Rates(), ("view", "buy"))
    patterns = np.arange(1 << K)
    for o in range(4):
        same = (patterns & 1 == o & 1) & (patterns >> 3 == o >> 1)
        np.testing.assert_allclose(less[:, o], seen[:, same].sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("behavior", synthetic.BEHAVIORS)
@pytest.mark.parametrize("behaviors", [synthetic.BEHAVIORS, ("buy", "cart", "favourite", "view")])
def test_probabilities_come_true(planted_log, behavior, behaviors):
    """In every tenth of the pairs, by predicted probability, as many are held out as predicted."""
    made, planted = planted_log
    predicted = probabilities(made, planted, behavior, behaviors)
    happened = dense(made, "valid", behavior) | dense(made, "test", behavior)
    assert (predicted >= 0).all() and (predicted <= 1).all()
    assert (predicted[dense(made, "train", behavior)] == 0).all()
    for part in np.array_split(np.argsort(predicted, axis=None), 10):
        p = predicted.ravel()[part]
        assert abs(happened.ravel()[part].sum() - p.sum()) < 4.5 * np.sqrt((p * (1 - p)).sum()) + 1


def test_optimum_finds_withheld_purchases_by_what_led_to_them(planted_log):
    made, planted = planted_log
    train, truth = dense(made, "train", "buy"), dense(made, "test", "buy")
    popularity = np.broadcast_to(train.sum(axis=0), train.shape)
    by_popularity = ndcg(popularity, train, truth)
    by_purchases = ndcg(probabilities(made, planted, "buy", ("buy",)), train, truth)
    by_everything = ndcg(probabilities(made, planted, "buy"), train, truth)
    shuffled = np.random.default_rng(0).permutation(made.num_users)
    someone_elses = ndcg(probabilities(made, planted, "buy")[shuffled], train, truth)
    assert by_purchases > 2 * by_popularity
    assert by_everything > 1.25 * by_purchases
    assert someone_elses < by_popularity


def test_optimum_model_agrees_with_numpy(planted_log):
    jnp = pytest.importorskip("jax.numpy")
    from jax.experimental import sparse

    from mbjax import types

    made, planted = planted_log
    behaviors = ("view", "cart", "buy")
    info = types.DatasetInfo("demo", made.num_users, made.num_items, behaviors)
    model = optimum.optimum_model(planted, info)
    assert model.batch is None
    graphs = {}
    for name, spec in model.graphs.items():
        assert spec == types.GraphSpec((name,))
        user, item = np.nonzero(dense(made, "train", name))
        padding = np.full((7, 2), (made.num_users, made.num_items))
        indices = np.concatenate([np.stack([user, item], 1), padding]).astype(np.int32)
        matrix = sparse.BCOO((jnp.ones(len(indices)), jnp.asarray(indices)), shape=(made.num_users, made.num_items))
        graphs[name] = types.Graph(matrix, None, None, None)
    params = model.init(None, graphs)
    tables = model.encode(params, graphs)
    users = jnp.asarray([3, 700, 1499])
    for k, behavior in enumerate(behaviors):
        got = model.score(params, tables, users, 100, 250, k)
        assert got.shape == (3, 250)
        expected = probabilities(made, planted, behavior, behaviors)[np.asarray(users), 100:350]
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-7)
    with pytest.raises(ValueError, match="nothing to train"):
        model.loss(params, graphs, None, None, 0)
    with pytest.raises(ValueError, match="planted log"):
        optimum.optimum_model(planted, info._replace(num_items=7))
