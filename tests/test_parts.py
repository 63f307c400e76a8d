"""Two kinds of held-out pairs: on one list, and each among its own candidates; by hand and by sorting."""

from __future__ import annotations

import math

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import batching, evaluate, kinds, metrics

VIEWED = {"view": [(0, 1), (0, 2), (1, 3)], "buy": [(0, 0), (1, 0)]}
BOUGHT = {"buy": [(0, 2), (0, 5), (1, 6)]}  # 2 was viewed


def measured(data, scores, **options):
    evaluator = evaluate.Evaluator(data, "test", **options)
    return evaluator(planted.model(data.info), scores, {}, details=True).table


def test_each_kind_among_its_own_by_hand():
    """User 0 may be shown 1 and 2 of the familiar, 3 to 7 of the new; of user 1 nothing familiar is held out."""
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, BOUGHT)
    scores = np.concatenate([np.zeros((1, 2, 8)), planted.lists_first(8, [5, 4, 2, 1], [3, 4, 6])])
    row = measured(data, scores, ks=(1, 3))["buy"]
    familiar, new = row["familiar"], row["new"]
    assert (familiar["pairs"], familiar["users"], familiar["hr@1"], familiar["ndcg@3"]) == (1, 1, 1.0, 1.0)
    assert (new["pairs"], new["users"], new["hr@1"], new["rec@3"]) == (2, 2, 0.5, 1.0)
    assert new["ndcg@3"] == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert new["mrr@3"] == pytest.approx((1 + 1 / 2) / 2)
    # The one list has 2 on the third rank, and 6 on the third of user 1.
    assert row["visited"]["hr@1"] == 0.0 and row["unvisited"]["hr@1"] == 0.5
    assert {f"{kind}@{k}" for kind in metrics.NAMES for k in (1, 3)} | {"pairs", "users"} == familiar.keys()


def test_without_being_asked_nothing_is_measured_among():
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, BOUGHT)
    found = evaluate.Evaluator(data, "test", ks=(1,))(planted.model(data.info), np.zeros((2, 2, 8)), {})
    assert not {"familiar", "new", "probabilities"} & found.table["buy"].keys() and not found.reliability


def test_a_kind_without_pairs_has_counts_alone():
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, {"buy": [(0, 5)]})
    row = measured(data, np.zeros((2, 2, 8)), ks=(1,))["buy"]
    assert row["familiar"] == {"pairs": 0, "users": 0}
    assert (row["new"]["pairs"], row["new"]["hr@1"]) == (1, 0.0)


def test_where_all_candidates_are_of_one_kind_there_is_nothing_to_tell_apart():
    data = planted.dataset(2, 8, ("buy",), {"buy": [(0, 0)]}, {"buy": [(0, 5)]})
    assert not {"familiar", "new"} & measured(data, np.zeros((1, 2, 8)), ks=(1,))["buy"].keys()
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, BOUGHT)
    row = measured(data, np.zeros((2, 2, 8)), ks=(1,), mask="all_behaviors")["buy"]
    assert not {"familiar", "new"} & row.keys() and row["masked"] == 1


def by_sorting(data, scores, behavior, kind, k):
    """HR, NDCG and MRR of one kind of pairs among the candidates of their kind."""
    number = data.info.behaviors.index(behavior)
    others = [matrix.toarray() != 0 for name, matrix in data.train.items() if name != behavior]
    familiar = np.any(others, axis=0)
    of_kind = familiar if kind == "familiar" else ~familiar
    truth = data.test[behavior].toarray() != 0
    masked = data.train[behavior].toarray() != 0
    if data.mask_valid and behavior in data.valid:
        masked = masked | (data.valid[behavior].toarray() != 0)
    values = []
    for user in np.flatnonzero((truth & of_kind).any(axis=1)):
        candidates = np.flatnonzero(of_kind[user] & (~masked[user] | truth[user]))
        order = sorted(candidates, key=lambda item: (-scores[number, user, item], item))[:k]
        ranks = [rank for rank, item in enumerate(order, 1) if truth[user, item]]
        ideal = sum(1 / math.log2(r + 1) for r in range(1, min(k, (truth & of_kind)[user].sum()) + 1))
        dcg = sum(1 / math.log2(r + 1) for r in ranks)
        values.append((bool(ranks), dcg / ideal, 1 / ranks[0] if ranks else 0.0))
    return np.mean(values, axis=0), int((truth & of_kind).sum())


@pytest.mark.exhaustive
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    mask_valid=st.booleans(),
    sizes=st.sampled_from([(512, 16384), (3, 7), (5, 1), (17, 39)]),
)
def test_both_kinds_equal_sorting(seed, mask_valid, sizes):
    rng = np.random.default_rng(seed)
    data = planted.random(rng, mask_valid)
    scores = rng.integers(-3, 3, size=(3, 17, 40)).astype(np.float32)  # many ties
    table = measured(data, scores, ks=(4, 50), batch_size=sizes[0], item_tile=sizes[1])
    for behavior, row in table.items():
        assert row["familiar"]["pairs"] == row["visited"]["pairs"]
        assert row["new"]["users"] == row["unvisited"]["users"]
        for kind in kinds.AMONG:
            for k in (4, 50) if row[kind]["pairs"] else ():
                expected, pairs = by_sorting(data, scores, behavior, kind, k)
                found = [row[kind][f"{name}@{k}"] for name in ("hr", "ndcg", "mrr")]
                np.testing.assert_allclose(found, expected, rtol=1e-12)
                assert row[kind]["pairs"] == pairs


def test_fewer_candidates_never_rank_a_pair_lower():
    rng = np.random.default_rng(5)
    data = planted.random(rng)
    table = measured(data, rng.normal(size=(3, 17, 40)).astype(np.float32), ks=(3, 10))
    for row in table.values():
        for among, in_one in zip(kinds.AMONG, kinds.IN_ONE_LIST, strict=True):
            for name in ("hr@3", "hr@10", "ndcg@10"):
                assert row[among].get(name, 0.0) >= row[in_one].get(name, 0.0)


def test_many_users_are_measured_as_few_are(monkeypatch):
    """All behaviors by one program, and each by one of its own: lists, kinds and probabilities."""
    rng = np.random.default_rng(4)
    data = planted.random(rng, True)
    scores = np.log(rng.dirichlet(np.ones(40), size=(3, 17))).astype(np.float32)
    model = planted.model(data.info)._replace(probabilities=True)
    tables = []
    for most in (2**30, 0):
        monkeypatch.setattr(batching, "TOGETHER", most)
        evaluator = evaluate.Evaluator(data, "test", ks=(4,), batch_size=5)
        tables.append(evaluator(model, scores, {}, details=True).table)
    assert len(tables[0]) > 1 and all("probabilities" in row and "new" in row for row in tables[0].values())
    assert tables[0].keys() == tables[1].keys()
    for behavior, row in tables[0].items():
        other = tables[1][behavior]
        for part in (*kinds.AMONG, "visited", "unvisited", "probabilities"):
            assert row[part] == pytest.approx(other[part], rel=1e-5)
        assert row["ndcg@4"] == other["ndcg@4"]
