"""Funnel on planted logs: what a leak would teach, how often familiar items come next, probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import planted
import pytest

from mbjax import types
from mbjax.models import funnel

USERS, ITEMS, VIEWS, BUYS = 120, 40, 10, 3
SMALL = {"hidden": 4, "hidden_new": 4, "members": 2, "penalty": 5.0, "steps": 20}


@functools.cache
def log(share: float = 1.0):
    """Purchases and held-out ones drawn evenly from the views; of the latter a share, the others from anything else."""
    rng = np.random.default_rng(2)
    pairs = {"view": [], "buy": []}
    held = {"valid": [], "test": []}
    for user in range(USERS):
        order = rng.permutation(ITEMS)
        viewed, other = order[:VIEWS], order[VIEWS:]
        pairs["view"] += [(user, i) for i in viewed]
        pairs["buy"] += [(user, i) for i in viewed[:BUYS]]
        for place, split in enumerate(held):
            is_familiar = rng.random() < share
            held[split].append((user, viewed[BUYS + place] if is_familiar else other[place]))
    valid, test = ({"buy": held[split]} for split in ("valid", "test"))
    return planted.dataset(USERS, ITEMS, ("view", "buy"), pairs, test, valid)


def trained(source, epochs, rate=0.01, **options):
    """(model, parameters, what it prepared, losses of lists and of the gate by epoch)."""
    model = funnel.build(funnel.FunnelConfig(**(SMALL | options)), source.info, 64)
    evidence = types.Evidence(source.train, valid=source.valid, teach=True)
    graphs = dict(model.prepare(evidence))
    sampler, store = model.teach(evidence, 1)
    optimizer = optax.adam(rate)
    params = jax.jit(model.init)(jax.random.key(0), graphs)

    @jax.jit
    def epoch(params, state, plan):
        def step(carry, place):
            params, state = carry
            batch = sampler.batch(store, plan, None, place)
            gradient, parts = jax.grad(model.loss, has_aux=True)(params, graphs, batch, None, 0)
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), parts

        return jax.lax.scan(step, (params, state), jnp.arange(sampler.steps_per_epoch))

    state, logged = optimizer.init(params), []
    for number in range(epochs):
        (params, state), parts = epoch(params, state, sampler.plan(jax.random.key(1), number))
        logged.append({name: float(values.mean()) for name, values in parts.items()})
    return model, params, graphs, logged


def scores(model, params, graphs, behavior):
    tables = jax.jit(model.encode)(params, graphs)
    return np.asarray(model.score(params, tables, jnp.arange(USERS), 0, ITEMS, behavior), np.float64)


def mean_rank(source, found):
    """Of the test purchases among the user's other familiar items, as a share: 1/2 is chance."""
    ranks = []
    for user, item in zip(*source.test["buy"].nonzero(), strict=True):
        open_ = source.train["view"].toarray()[user] * (source.train["buy"].toarray()[user] == 0) > 0
        others = np.setdiff1d(np.flatnonzero(open_), [item])
        ranks.append(np.mean(found[user, others] > found[user, item]))
    return np.mean(ranks)


@pytest.mark.parametrize("is_fitted", [True, False], ids=["cross-fitted", "leaking"])
def test_a_leak_would_be_learned_and_there_is_none(is_fitted):
    """Which of ten viewed items is bought is chance: of c other candidates nothing is learned but log(1 + c)."""
    source = log()
    options = {"sources": ("folds",), "cross_fitting": is_fitted, "folds": 3, "taught_folds": 3, "l2_weight": 20.0}
    model, params, graphs, logged = trained(source, 12, **options)
    # Lists of views as a target have no familiar items, and those of new items weigh as much: of the familiar lists of
    # purchases alone, per member.
    found = scores(model, params, graphs, 1)
    assert abs(mean_rank(source, found) - 0.5) < 0.08
    evidence = types.Evidence(source.train, valid=source.valid)
    sampler, store = model.teach(evidence, 1)
    name = "buy:familiar:folds"
    count, _ = sampler.sizes[name]
    whole = sampler._replace(sizes={name: (count, count)}, steps_per_epoch=1)
    batch = whole.batch(store, whole.plan(jax.random.key(0), 0), None, 0)
    _, parts = model.loss(params, graphs, batch, None, 0)
    lists = batch.lists[name]
    others = (lists.mask & (lists.positive == 0)).sum(axis=1)
    chance = float(jnp.log1p(others).mean())
    loss = float(parts["lists"]) / model_members(params)
    if is_fitted:
        assert 0.9 * chance < loss < 1.05 * chance
    else:
        assert loss < 0.6 * chance


def model_members(params):
    return params["prior"]["buy:familiar:all"].shape[0]


@pytest.mark.parametrize("gate", ["user", "constant"])
def test_the_gate_learns_how_often_a_familiar_item_comes_next(gate):
    source = log(0.7)
    _, params, graphs, _ = trained(source, 4, gate=gate)
    of = graphs["funnel"]["buy"]
    x = (np.asarray(of["user"]) - params["scale"]["buy:user"]["mean"]) / params["scale"]["buy:user"]["deviation"]
    own = params["gate"]["buy"]
    value = funnel.FAST * (own["bias"] + (np.clip(x, -5, 5) @ own["weight"] if gate == "user" else 0))
    view, buy = (source.train[b].toarray() for b in ("view", "buy"))
    user, item = source.valid["buy"].nonzero()
    share = np.mean((view > buy)[user, item])
    assert abs(share - 0.7) < 0.1
    assert np.mean(1 / (1 + np.exp(-value))) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("new_items", [4, 40], ids=["few are searched", "all are"])
def test_scores_are_log_probabilities_of_what_can_come(new_items):
    source = log(0.7)
    model, params, graphs, _ = trained(source, 1, new_items=new_items)
    assert model.probabilities
    for place, behavior in enumerate(source.info.behaviors):
        found = scores(model, params, graphs, place)
        assert (found < 0).all()
        open_ = source.train[behavior].toarray() == 0
        np.testing.assert_allclose((np.exp(found) * open_).sum(axis=1), 1, atol=0.02)


def test_validation_pairs_are_judged_by_members_that_have_not_seen_them():
    """Other validation pairs of a group of users change nothing of how its users are judged, but all that is listed."""
    source = log(0.7)
    options = {"sources": ("valid",), "gate": "fixed"}
    model, params, graphs, _ = trained(source, 2, **options)
    groups = np.asarray(graphs["groups"])
    valid = source.valid["buy"].toarray()
    view, buy = (source.train[b].toarray() for b in ("view", "buy"))
    for user in np.flatnonzero(groups == 0):  # answers of group 0 become other viewed items
        choice = np.flatnonzero((view > buy)[user] & (valid[user] == 0))[0]
        valid[user] = 0
        valid[user, choice] = 1
    other = source.valid["buy"].__class__(valid)
    import dataclasses

    changed = dataclasses.replace(source, valid={"buy": other})
    again = trained(changed, 2, **options)
    judged = [scores(m, p, m.judged(g), 1) for m, p, g, _ in ((model, params, graphs, None), again)]
    listed = [scores(m, p, g, 1) for m, p, g, _ in ((model, params, graphs, None), again)]
    print(np.abs(judged[0] - judged[1])[groups == 0].max(), np.abs(listed[0] - listed[1]).max())
    assert np.abs(listed[0] - listed[1]).max() > 1e-3
