"""Means and deviations of prepared numbers: of all users, or of a sample where pairs have joined those of training."""

import jax
import numpy as np
import pytest
from scipy import sparse

from mbjax import types
from mbjax.features import people, prepared
from mbjax.models import funnel, funnel_config

USERS, ITEMS = 40, 15
INFO = types.DatasetInfo("made", USERS, ITEMS, ("view", "buy"))
CONFIG = funnel_config.FunnelConfig(penalty=3.0, new_items=4)


def pairs(users, seed):
    rng = np.random.default_rng(seed)
    return {b: sparse.csr_array((rng.random((users, ITEMS)) < share).astype(np.uint8)) for b, share in
            (("view", 0.4), ("buy", 0.2))}  # fmt: skip


def made(**options):
    return prepared.prepare(CONFIG, INFO, types.Evidence(pairs(USERS, 0), seed=3, **options))


def expected(of, users):
    """Of the candidates of some users."""
    x = np.asarray(of["x"], np.float64)[np.isin(np.asarray(of["row"]), users)]
    return {"mean": x.mean(axis=0), "deviation": x.std(axis=0) + 1e-3}


@pytest.mark.parametrize("joined", [False, True])
def test_the_users_that_say_what_is_usual(joined, monkeypatch):
    monkeypatch.setattr(people, "SAMPLE", 7)
    found = made(joined=joined)
    users = np.sort(np.random.default_rng([3, 47]).choice(USERS, 7, replace=False)) if joined else np.arange(USERS)
    for behavior in INFO.behaviors:
        for part in ("familiar", "new"):
            of = found.device[behavior][part]
            for name, wanted in expected(of, users).items():
                np.testing.assert_allclose(of["scale"][name], wanted, rtol=1e-4, atol=1e-5)
        numbers = found.users[behavior][users]
        np.testing.assert_allclose(found.device[behavior]["scale"]["mean"], numbers.mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.exhaustive
def test_strangers_alone_are_measured_by_the_same_users(monkeypatch):
    monkeypatch.setattr(people, "SAMPLE", 7)
    passive = pairs(3, 1)
    both, alone = (made(joined=True, passive=passive, alone=is_alone) for is_alone in (False, True))
    for behavior in INFO.behaviors:
        for part in ("familiar", "new"):
            first, second = (one.device[behavior][part] for one in (both, alone))
            for name in ("mean", "deviation"):
                np.testing.assert_allclose(first["scale"][name], second["scale"][name], rtol=2e-3, atol=2e-3)
            theirs = [np.asarray(of["x"], np.float32)[np.asarray(of["row"]) >= USERS] for of in (first, second)]
            assert len(theirs[0]) and theirs[0].shape == theirs[1].shape
            np.testing.assert_allclose(*theirs, rtol=2e-3, atol=2e-3)


@pytest.mark.exhaustive
def test_what_experts_and_gate_see_is_standardized_by_the_graphs_where_pairs_have_joined():
    model = funnel.build(CONFIG.model_copy(update={"hidden": 3, "hidden_new": 3}), INFO, 8)
    train = types.Evidence(pairs(USERS, 0), seed=3)
    graphs = {joined: model.prepare(train._replace(joined=joined)) for joined in (False, True)}
    params = model.init(jax.random.key(0), graphs[False])
    off = {**params, "scale": {n: {k: v + 1 for k, v in s.items()} for n, s in params["scale"].items()}}
    values = {
        (joined, which): np.asarray(model.encode(p, graphs[joined])["buy"]["new"]["value"])
        for joined in graphs
        for which, p in (("trained", params), ("off", off))
    }
    assert not np.allclose(values[False, "trained"], values[False, "off"])
    np.testing.assert_array_equal(values[True, "trained"], values[True, "off"])  # of all 40 users, who are the sample
    np.testing.assert_allclose(values[True, "trained"], values[False, "trained"], rtol=1e-5)


@pytest.mark.exhaustive
def test_what_nobody_judges_is_prepared_for_a_sample_where_training_alone_asks(monkeypatch):
    monkeypatch.setattr(people, "SAMPLE", 6)
    held = {"buy": sparse.csr_array(np.eye(USERS, ITEMS, dtype=np.uint8))}
    whole, part = (made(teach=True, valid=held, passing=passing) for passing in (False, True))
    sample = np.sort(np.random.default_rng([3, 53]).choice(USERS, 6, replace=False))
    for behavior in INFO.behaviors:
        np.testing.assert_array_equal(whole.users[behavior], part.users[behavior])
        for kind in ("familiar", "new"):
            one, other = (found.device[behavior][kind] for found in (whole, part))
            row = np.asarray(one["row"])
            keep = np.isin(row, sample) if behavior == "view" else np.ones(row.size, bool)
            assert keep.any()
            for name in ("row", "item", "x"):
                np.testing.assert_array_equal(np.asarray(one[name])[keep], other[name])
            assert other["ptr"][-1] == keep.sum() and len(other["ptr"]) == USERS + 1
    for name in whole.lessons.lists:
        for one, other in zip(whole.lessons.lists[name], part.lessons.lists[name], strict=True):
            jax.tree.map(np.testing.assert_array_equal, one, other)
