"""Tables made group by group are those that are made at once, and a regression of some users leaves the others out."""

import jax
import numpy as np
import pytest
import usual
from scipy import sparse

from mbjax import topk, types
from mbjax.features import candidates, extent, lists, prepared, regression
from mbjax.models import funnel, funnel_config

USERS, ITEMS = 61, 23
CONFIG = funnel_config.FunnelConfig(penalty=3.0, new_items=4, members=2, hidden=2, hidden_new=2)
INFO = types.DatasetInfo("made", USERS, ITEMS, ("view", "buy"))


def pairs(users, seed):
    rng = np.random.default_rng(seed)
    return {b: sparse.csr_array((rng.random((users, ITEMS)) < share).astype(np.uint8)) for b, share in
            (("view", 0.3), ("buy", 0.15))}  # fmt: skip


def built(**options):
    return funnel.build(CONFIG.model_copy(update=options), INFO, 8)


def begun(model):
    graphs = model.prepare(types.Evidence(pairs(USERS, 0), seed=3, teach=True))
    return jax.jit(model.init)(jax.random.key(0), graphs)


def encoded(model, evidence, judged):
    params = begun(built())
    graphs = model.prepare(evidence)
    return topk.encode(model, params, model.judged(graphs) if judged else graphs)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("joined", "passive", "judged"), usual.cases([(True, True, False), (False, False, True)], lambda case: case[0])
)
def test_groups_of_users_have_the_tables_of_all(joined, passive, judged, monkeypatch):
    passive = pairs(3, 1) if passive else None
    evidence = types.Evidence(pairs(USERS, 0), seed=3, joined=joined, passive=passive)
    whole = encoded(built(), evidence, judged)
    monkeypatch.setattr(extent, "BYTES", 30_000)
    monkeypatch.setattr(extent, "NEAR_BYTES", 30_000)
    model = built(whole_users=10, regression_users=USERS)
    assert 5 < extent.group_size(CONFIG, INFO, evidence.train, INFO.behaviors) < USERS // 2
    assert extent.groups_at_once(CONFIG, INFO, evidence.train, INFO.behaviors) == 2
    assert isinstance(model.prepare(evidence)["funnel"], types.Later)
    parts = encoded(model, evidence, judged)
    assert jax.tree.structure(whole) == jax.tree.structure(parts)
    for behavior in INFO.behaviors:
        for part in ("familiar", "new"):
            for name in ("ptr", "item"):
                np.testing.assert_array_equal(whole[behavior][part][name], parts[behavior][part][name])
            np.testing.assert_allclose(whole[behavior][part]["value"], parts[behavior][part]["value"], atol=2e-3)
        np.testing.assert_allclose(whole[behavior]["rest"], parts[behavior]["rest"], atol=2e-3)


@pytest.mark.exhaustive
def test_an_evaluation_has_the_tables_of_its_users_alone(monkeypatch):
    evidence = types.Evidence(pairs(USERS, 0), seed=3)
    whole = encoded(built(), evidence, False)["buy"]
    monkeypatch.setattr(extent, "BYTES", 30_000)
    model, asked = built(whole_users=10, regression_users=USERS), np.array([0, 4, 5, 33, 60])
    (behavior, found), *more = encoded(model, evidence._replace(asked={"buy": asked}), False).items()
    assert behavior == "buy" and not more
    np.testing.assert_allclose(found["rest"][asked], whole["rest"][asked], atol=2e-3)
    for part in ("familiar", "new"):
        ptr, wanted = np.asarray(found[part]["ptr"]), np.asarray(whole[part]["ptr"])
        assert ptr.size == USERS + 1
        number = np.diff(ptr)
        assert number[asked].tolist() == np.diff(wanted)[asked].tolist() and number.sum() == number[asked].sum()
        for user in asked:
            for name in ("item", "value"):
                mine, theirs = found[part][name][ptr[user] : ptr[user + 1]], whole[part][name]
                np.testing.assert_allclose(mine, theirs[wanted[user] : wanted[user + 1]], atol=2e-3)


def test_whom_the_regression_is_not_fitted_to_is_a_stranger_to_it():
    train, some = pairs(USERS, 2), np.arange(0, USERS, 2)
    fitted = regression.fit(train, 5.0, some)
    assert not fitted.is_whole and fitted.row(np.array([-1, 0, 1, 2])).tolist() == [-1, 0, -1, 1]
    alone = {b: sparse.csr_array(m[some]) for b, m in train.items()}
    exact = regression.fit(alone, 5.0)
    row, item = np.divmod(np.arange(6 * ITEMS), ITEMS)
    others = np.arange(1, 12, 2)
    mine = regression.rows(candidates.histories(train, others), fitted, 0, 6)
    theirs = candidates.strangers({b: sparse.csr_array(m[others]) for b, m in train.items()})
    for found, wanted in zip(
        regression.products_at(mine, fitted, row, item),
        regression.products_at(regression.rows(theirs, exact, 0, 6), exact, row, item),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    # Of those it is fitted to everyone is left out, with pairs taken out of the history of the last one too.
    users = np.array([0, 4, 6])
    gone = lists.ones(np.array([2]), train["buy"][[6]].indices[:1], (3, ITEMS))
    mine = regression.rows(candidates.histories(train, users, {"buy": gone}), fitted, 0, 3)
    theirs = regression.rows(candidates.histories(alone, users // 2, {"buy": gone}), exact, 0, 3)
    row, item = np.divmod(np.arange(3 * ITEMS), ITEMS)
    for found, wanted in zip(
        regression.products_at(mine, fitted, row, item), regression.products_at(theirs, exact, row, item), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("whole_users", usual.cases([10, USERS], {USERS}.__contains__))
def test_new_users_are_ranked_as_if_there_were_fewer_users(whole_users):
    """What is made at once is decided by the users of training, however many are asked about."""
    passive = pairs(5, 1)
    info = INFO._replace(num_users=USERS + 5, passive=5)
    alike = built(whole_users=10**6)
    params = begun(alike)
    found = {}
    for name, most, alone in (("whole", 10**6, False), ("some", whole_users, False), ("alone", whole_users, True)):
        model = funnel.build(CONFIG.model_copy(update={"whole_users": most, "regression_users": USERS}), info, 8)
        evidence = types.Evidence(pairs(USERS, 0), seed=3, passive=passive, alone=alone)
        found[name] = topk.encode(model, params, model.prepare(evidence))["buy"]
    for name in ("some", "alone"):
        for part in ("familiar", "new"):
            ptr, wanted = (np.asarray(found[which][part]["ptr"]) for which in (name, "whole"))
            assert ptr.size == USERS + 5 + 1
            np.testing.assert_array_equal(np.diff(ptr)[USERS:], np.diff(wanted)[USERS:])
            assert np.diff(ptr)[USERS:].sum() > 5
            mine, theirs = (found[which][part] for which in (name, "whole"))
            rows = slice(ptr[USERS], ptr[-1]), slice(wanted[USERS], wanted[-1])
            np.testing.assert_array_equal(mine["item"][rows[0]], theirs["item"][rows[1]])
            np.testing.assert_allclose(mine["value"][rows[0]], theirs["value"][rows[1]], atol=2e-3)


@pytest.mark.parametrize("regression_users", [20, USERS - 1])
def test_a_regression_of_some_is_of_the_same_users_of_training_when_new_ones_come(regression_users):
    config = CONFIG.model_copy(update={"whole_users": 10, "regression_users": regression_users})
    evidence = types.Evidence(pairs(USERS, 0), seed=3)
    info = INFO._replace(num_users=USERS + 40, passive=40)
    fitted, wanted = (prepared.basis(config, one, evidence).fitted for one in (info, INFO))
    np.testing.assert_array_equal(fitted.row(np.arange(USERS)), wanted.row(np.arange(USERS)))


@pytest.mark.parametrize("judges", [3, 4, 10_000])
def test_training_makes_the_tables_of_those_who_are_asked_for(judges, monkeypatch):
    """And of as many more as teach, where fewer are asked for."""
    monkeypatch.setattr(extent, "JUDGES", judges)
    train, valid = pairs(USERS, 0), {"buy": pairs(USERS, 5)["buy"]}
    valid["buy"] = sparse.csr_array(valid["buy"] - valid["buy"].multiply(train["buy"]))
    asked = {"buy": np.array([3, 8, 30], np.int32)}
    model = built(whole_users=10, regression_users=USERS)
    evidence = types.Evidence(train, valid=valid, seed=3, teach=True, asked=asked)
    graphs = model.prepare(evidence)
    ptr = np.asarray(graphs["funnel"]["buy"]["new"]["ptr"])
    made, judging = np.flatnonzero(np.diff(ptr)), np.flatnonzero(np.diff(valid["buy"].indptr))
    assert set(asked["buy"]) <= set(made) <= set(judging) | set(asked["buy"])
    assert len(made) == min(judges, np.union1d(judging, asked["buy"]).size)
    _, (stores, gate) = model.teach(evidence, 1)
    # Gates of few users are as long as the longest: those who were added have no pairs.
    assert np.count_nonzero(np.asarray(gate["buy"][1])) == sum(valid["buy"][[user]].nnz > 0 for user in made)
    assert "buy:familiar:folds" in stores


def test_what_is_not_of_all_users_is_said():
    config = funnel_config.FunnelConfig(whole_users=10)
    assert extent.regression_users(config, 11) == 11
    assert extent.regression_users(config, 10**5) == extent.MOST
    assert extent.regression_users(config, 500_000) == 4096 and extent.regression_users(config, 10**6) == 2896
    assert extent.regression_users(config, 10**9) == extent.FEWEST
    first, second, third = extent.notes(config, INFO._replace(num_users=10**6))
    assert "2,896 of 1,000,000 users" in first and "more than 10 users" in second
    assert "for their user alone" in third
    for settled in ({"left_out": "fold"}, {"left_out": "user"}, {"cross_fitting": False}):
        assert len(extent.notes(config.model_copy(update=settled), INFO._replace(num_users=10**6))) == 2
    assert not extent.notes(funnel_config.FunnelConfig(), INFO)
    assert built(whole_users=10).few == extent.JUDGES and built().few == 0
