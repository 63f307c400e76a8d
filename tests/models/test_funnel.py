"""Funnel on planted logs: what a leak would teach, how often familiar items come next, probabilities."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import planted
import pytest
import usual
from scipy import sparse

from mbjax import errors, types
from mbjax.features import extent
from mbjax.models import funnel, funnel_config

USERS, ITEMS, VIEWS, BUYS = 120, 40, 10, 3
SMALL = {"hidden": 4, "hidden_new": 4, "members": 2, "penalty": 5.0, "steps": 20}
FEW = {"features": ("touch", "count")}  # where it does not matter what the experts see, which takes most of the time


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
    """(model, parameters, what it prepared, what it learned from)."""
    model = funnel.build(funnel_config.FunnelConfig(**(SMALL | options)), source.info, 64)
    evidence = types.Evidence(source.train, valid=source.valid, teach=True)
    return planted.taught(model, evidence, epochs, rate)


def scores(model, params, graphs, *behaviors):
    """Of all users and items by each of the behaviors, [K, U, I]."""

    @jax.jit
    def of(params, graphs):
        tables = model.encode(params, graphs)
        return [model.score(params, tables, jnp.arange(USERS), 0, ITEMS, k) for k in behaviors]

    return np.asarray(of(params, graphs), np.float64)


def mean_rank(source, found):
    """Of the test purchases among the user's other familiar items, as a share: 1/2 is chance."""
    ranks = []
    for user, item in zip(*source.test["buy"].nonzero(), strict=True):
        open_ = source.train["view"].toarray()[user] * (source.train["buy"].toarray()[user] == 0) > 0
        others = np.setdiff1d(np.flatnonzero(open_), [item])
        ranks.append(np.mean(found[user, others] > found[user, item]))
    return np.mean(ranks)


FITTED = {"fold": {}, "user": {"left_out": "user"}}


@pytest.mark.parametrize("how", usual.cases(["fold", "user", "not at all"], {"fold"}.__contains__))
def test_a_leak_would_be_learned_and_there_is_none(how):
    """Which of the viewed items is bought is chance: beside c others nothing is learned but log(1 + c)."""
    source, is_fitted = log(), how in FITTED
    options = {"sources": ("folds",), "folds": 3, "taught_folds": 3, "l2_weight": 20.0}
    options |= FITTED.get(how, {"cross_fitting": False})
    model, params, graphs, (sampler, store) = trained(source, 12, **options)
    assert abs(mean_rank(source, scores(model, params, graphs, 1)[0]) - 0.5) < 0.08
    name = "buy:familiar:folds"
    count, _ = sampler.sizes[name]
    whole = sampler._replace(sizes={name: (count, count)}, steps_per_epoch=1)

    @jax.jit
    def judged():
        batch = whole.batch(store, whole.plan(jax.random.key(0), 0), None, 0)
        return batch.lists[name], model.loss(params, graphs, batch, None, 0)[1]

    lists, parts = judged()
    chance = float(jnp.log1p((lists.mask & (lists.positive == 0)).sum(axis=1)).mean())
    loss = float(parts["lists"]) / SMALL["members"]
    if is_fitted:
        assert 0.9 * chance < loss < 1.05 * chance
    else:
        assert loss < 0.6 * chance


@pytest.mark.exhaustive
@pytest.mark.parametrize("gate", usual.cases(["user", "constant"], {"user"}.__contains__))
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


@pytest.mark.parametrize("new_items", usual.cases([4, 40], {4}.__contains__))  # of all items few are searched, or all
def test_scores_are_log_probabilities_of_what_can_come(new_items):
    source = log(0.7)
    model, params, graphs, _ = trained(source, 1, new_items=new_items, **FEW)
    assert model.probabilities
    for behavior, found in zip(source.info.behaviors, scores(model, params, graphs, 0, 1), strict=True):
        open_ = source.train[behavior].toarray() == 0  # nothing that he has met by the behavior comes again
        assert (found[open_] < 0).all()
        np.testing.assert_allclose((np.exp(found) * open_).sum(axis=1), 1, atol=0.02)


def test_validation_pairs_are_judged_by_members_that_have_not_seen_them():
    """Other answers of the users of group 0 change what everybody is listed, and little of how these are judged."""
    source = log()  # all answers are familiar, so that the lists are the same ones
    options = {"sources": ("valid",), "gate": "fixed", "loss": "listwise"} | FEW
    first = trained(source, 2, **options)
    mine = np.asarray(first[2]["groups"]) == 0
    view, buy = (source.train[b].toarray() for b in ("view", "buy"))
    valid = source.valid["buy"].toarray()
    for user in np.flatnonzero(mine):
        choice = np.flatnonzero((view > buy)[user] & (valid[user] == 0))[0]
        valid[user] = np.arange(ITEMS) == choice
    second = trained(dataclasses.replace(source, valid={"buy": sparse.csr_array(valid)}), 2, **options)
    experts = [made[1]["experts"]["buy:familiar:all"] for made in (first, second)]
    for member, is_same in ((0, True), (1, False)):
        a, b = ([np.asarray(leaf[member]) for leaf in jax.tree.leaves(each)] for each in experts)
        assert all(np.allclose(x, y, atol=1e-6) for x, y in zip(a, b, strict=True)) == is_same
    model, params, graphs, _ = first
    of, alone = (scores(model, p, model.judged(graphs), 1)[0] for p in (params, only(params, 0)))
    np.testing.assert_allclose(of[mine], alone[mine], rtol=1e-5)  # judged by the member of their group, nobody else
    assert not np.allclose(of[~mine], alone[~mine], rtol=1e-5)


def judged_by(number):
    """The log with so many validation pairs, all of them familiar."""
    source = log()
    user, item = source.valid["buy"].nonzero()
    valid = sparse.csr_array((np.ones(number, np.uint8), (user[:number], item[:number])), (USERS, ITEMS))
    return dataclasses.replace(source, valid={"buy": valid})


@pytest.mark.parametrize(("number", "begins"), [(funnel.ENOUGH - 1, [1, 0]), (funnel.ENOUGH, [0.5, 0.5])])
def test_few_validation_lists_make_no_expert(number, begins):
    source = judged_by(number)
    model = funnel.build(funnel_config.FunnelConfig(**SMALL | FEW), source.info, 64)
    graphs = model.prepare(types.Evidence(source.train, valid=source.valid, teach=True))
    assert int(graphs["funnel"]["buy"]["familiar"]["judged"]) == number
    mix = model.init(jax.random.key(0), graphs)["mix"]
    assert np.asarray(mix["buy:familiar"]).tolist() == begins
    assert np.asarray(mix["view:new"]).tolist() == [1, 0]  # nobody judges it


@pytest.mark.exhaustive
def test_weights_of_few_validation_lists_stay():
    for number, moves in ((funnel.ENOUGH - 1, False), (funnel.ENOUGH, True)):
        _, params, _, _ = trained(judged_by(number), 1)
        mix = np.asarray(params["mix"]["buy:familiar"])
        assert (mix.tolist() != [0.5, 0.5] and abs(mix - 0.5).max() < 0.4) if moves else mix.tolist() == [1, 0]


def only(params, member):
    """Parameters whose members are all the same one."""
    experts, prior = (
        jax.tree.map(lambda x: jnp.broadcast_to(x[member], x.shape), params[name]) for name in ("experts", "prior")
    )
    return params | {"experts": experts, "prior": prior}


@pytest.mark.parametrize(("free", "what"), [(1e4, "a matrix of 120 users"), (2e5, "tables of the candidates of 2")])
def test_what_does_not_fit_is_refused_before_it_is_made(free, what, monkeypatch):
    monkeypatch.setattr(extent.memory, "available", lambda: free)
    monkeypatch.setattr(extent.inverse, "bytes_needed", lambda size, platform: 4 * size**2)
    with pytest.raises(errors.IncompatibleError, match=rf"{what}.*GB of memory are free.*--model=ease --rank=512"):
        trained(log(), 1)


@pytest.mark.exhaustive
def test_what_a_run_tells_is_how_often_familiar_items_come_next():
    """Half of the held-out purchases are of viewed items; nobody has anything but views to be familiar with."""
    source = log(0.5)
    model, params, graphs, _ = trained(source, 6)
    (found,) = model.findings(params, graphs)
    rows = {row[0]: dict(zip(found.columns[1:], row[1:], strict=True)) for row in found.rows}
    assert set(rows) == {"view", "buy"} and rows["buy"]["users with familiar items"] == "100%"
    assert float(rows["buy"]["q"]) == pytest.approx(0.5, abs=0.12)
    assert rows["view"]["q"] == "-"  # all that was bought was viewed
    assert len(rows["buy"]["familiar"].split(" + ")) == 2


@pytest.mark.parametrize("gate", usual.cases(["constant", "user"], {"constant"}.__contains__))
def test_the_gate_learns_from_those_who_have_a_choice(gate):
    """Half of the users have viewed nothing: what they buy is new, and says nothing of the others."""
    source = log(0.6)
    view = source.train["view"].toarray()
    view[1::2] = 0
    source = dataclasses.replace(source, train=source.train | {"view": sparse.csr_array(view)})
    model, params, graphs, _ = trained(source, 6, gate=gate, hidden=0, hidden_new=0, **FEW)
    (found,) = model.findings(params, graphs)
    (row,) = (dict(zip(found.columns, row, strict=True)) for row in found.rows if row[0] == "buy")
    held = source.valid["buy"].toarray()[::2]
    wanted = (held * view[::2]).sum() / held.sum()
    assert row["users with familiar items"] == "50%"
    assert float(row["q"]) == pytest.approx(wanted, abs=0.05)


@pytest.mark.exhaustive
def test_with_nothing_new_left_familiar_items_have_all_the_probability():
    """A user who has viewed the whole catalog: whatever the gate says, there is nothing else to come."""
    source = log(0.5)
    view = source.train["view"].tolil()
    view[7] = 1
    source = dataclasses.replace(source, train=source.train | {"view": view.tocsr().astype(np.uint8)})
    model, params, graphs, _ = trained(source, 1)
    values = scores(model, params, graphs, 1)[0, 7]
    bought = np.flatnonzero(source.train["buy"].toarray()[7])
    assert np.exp(np.delete(values, bought)).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.exhaustive
def test_fewer_users_than_behaviors_are_a_batch():
    """A quarter of a batch of three lists is one list, not none."""
    source = log(0.5)
    rows = np.arange(3)
    few = {name: {b: m[rows] for b, m in getattr(source, name).items()} for name in ("train", "valid", "test")}
    source = dataclasses.replace(source, info=source.info._replace(num_users=3), **few)
    model = funnel.build(funnel_config.FunnelConfig(**SMALL), source.info, 3)
    evidence = types.Evidence(source.train, valid=source.valid, teach=True)
    model.prepare(evidence)
    sampler, _ = model.teach(evidence, 1)
    assert sampler.sizes and all(size >= 1 for _, size in sampler.sizes.values())
