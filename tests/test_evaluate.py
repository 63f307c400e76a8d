"""Evaluation of planted scores: who counts, what is masked, visited pairs, groups, tiles, compiles."""

from __future__ import annotations

import dataclasses
import math
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import planted
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbjax import data as data_sets
from mbjax import errors, evaluate, seen
from mbjax.models import popularity
from mbjax.ops import graph


def test_two_users_by_hand():
    """Ranks after masking: user 0 finds its item on rank 2, user 2 its two on 1 and 3; user 1 does not count."""
    data = planted.dataset(3, 10, ("buy",), {"buy": [(0, 9), (2, 5)]}, {"buy": [(0, 4), (2, 7), (2, 1)]})
    params = planted.lists_first(10, [9, 3, 4], [0], [5, 7, 6, 1])
    table = evaluate.Evaluator(data, "test", ks=(1, 3))(planted.model(data.info), params, {}).table
    assert list(table) == ["buy"]
    both = (1 / math.log2(3) + (1 + 0.5) / (1 + 1 / math.log2(3))) / 2
    assert {k: table["buy"][k] for k in ("users", "pairs", "hr@1", "hr@3", "rec@1", "prec@3", "hits_per_user@3")} == {
        "users": 2,
        "pairs": 3,
        "hr@1": 0.5,
        "hr@3": 1.0,
        "rec@1": 0.25,
        "prec@3": pytest.approx((1 / 3 + 2 / 3) / 2),
        "hits_per_user@3": 1.5,
    }
    assert table["buy"]["ndcg@3"] == pytest.approx(both)
    assert table["buy"]["mrr@3"] == pytest.approx((1 / 2 + 1) / 2)


def test_an_all_zero_scorer_ranks_by_id():
    data = planted.dataset(2, 50, ("buy",), {"buy": [(0, 0)]}, {"buy": [(0, 2), (1, 2)]})
    row = evaluate.Evaluator(data, "test", ks=(1, 2, 3))(planted.model(data.info), np.zeros((1, 2, 50)), {}).table[
        "buy"
    ]
    # User 0 has item 0 masked, so item 2 is second; for user 1 it is third.
    assert (row["hr@1"], row["hr@2"], row["hr@3"]) == (0.0, 0.5, 1.0)


VIEWED = {"view": [(0, 1), (0, 2), (1, 3)], "buy": [(0, 0), (1, 0)]}


def test_visited_and_unvisited_pairs():
    """User 0 has a visited (2) and an unvisited (5) pair, user 1 an unvisited one (6)."""
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, {"buy": [(0, 2), (0, 5), (1, 6)]})
    params = np.concatenate([np.zeros((1, 2, 8)), planted.lists_first(8, [5, 4, 2], [4, 6])])
    row = evaluate.Evaluator(data, "test", ks=(3,))(planted.model(data.info), params, {}).table["buy"]
    assert row["visited"] == {"pairs": 1, "users": 1, "hr@3": 1.0, "ndcg@3": pytest.approx(1 / 2)}
    assert row["unvisited"] == {
        "pairs": 2,
        "users": 2,
        "hr@3": 1.0,
        "ndcg@3": pytest.approx((1 + 1 / math.log2(3)) / 2),
    }


def test_own_training_makes_no_pair_visited_and_an_empty_part_has_no_metrics():
    data = planted.dataset(1, 8, ("view", "buy"), {"view": [(0, 1)], "buy": [(0, 2)]}, {"view": [(0, 3)]})
    row = evaluate.Evaluator(data, "test", ks=(3,))(planted.model(data.info), np.zeros((2, 1, 8)), {}).table["view"]
    assert row["visited"] == {"pairs": 0, "users": 0}
    assert row["unvisited"]["pairs"] == 1


def masked_items(data, split, mask, user=0):
    matrix = seen.pairs(data, "buy", exclude="train", mask=mask, split=split)
    return matrix[[user]].indices.tolist()


def test_masks():
    data = planted.dataset(
        1,
        8,
        ("view", "buy"),
        {"view": [(0, 1), (0, 2), (0, 5)], "buy": [(0, 0), (0, 1)]},
        {"buy": [(0, 5), (0, 6)]},
        {"buy": [(0, 3), (0, 6)], "view": [(0, 7)]},
    )
    assert masked_items(data, "test", "same_behavior") == [0, 1]
    # Item 5 is held out and was viewed: as hard to find as the other viewed items.
    assert masked_items(data, "test", "all_behaviors") == [0, 1, 2, 5]
    data = dataclasses.replace(data, mask_valid=True)
    # The validation pair (0, 6) is in the truth: never masked by its own behavior.
    assert masked_items(data, "test", "same_behavior") == [0, 1, 3]
    assert masked_items(data, "valid", "same_behavior") == [0, 1]


def test_mask_of_all_behaviors_decides_the_ranks():
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, {"buy": [(0, 2), (0, 5), (1, 6)]})
    params = np.concatenate([np.zeros((1, 2, 8)), planted.lists_first(8, [1, 2, 5], [3, 6])])
    row = evaluate.Evaluator(data, "test", ks=(1,), mask="all_behaviors")(planted.model(data.info), params, {}).table[
        "buy"
    ]
    assert row["hr@1"] == 1.0
    assert row["visited"]["hr@1"] == 0.0


def test_pairs_out_of_reach_are_counted():
    """All that user 0 is to buy was viewed before; of user 1 nothing was."""
    data = planted.dataset(2, 8, ("view", "buy"), VIEWED, {"buy": [(0, 1), (0, 2), (1, 6)], "view": [(0, 3)]})
    evaluator = evaluate.Evaluator(data, "test", ks=(1,), mask="all_behaviors")
    table = evaluator(planted.model(data.info), np.zeros((2, 2, 8)), {}).table
    assert (table["buy"]["masked"], table["view"]["masked"]) == (2, 0)
    lines = evaluate.unreachable(table)
    assert len(lines) == 1 and lines[0].startswith("buy: 2 of 3 held-out pairs are items that the user met by another")
    table = evaluate.Evaluator(data, "test", ks=(1,))(planted.model(data.info), np.zeros((2, 2, 8)), {}).table
    assert "masked" not in table["buy"] and not evaluate.unreachable(table)


def test_cut_offs_beyond_the_items_cost_no_memory_and_keep_their_values():
    data = planted.random(np.random.default_rng(1))
    scores = np.random.default_rng(2).normal(size=(3, 17, 40)).astype(np.float32)
    short = evaluate.Evaluator(data, "test", ks=(40,))(planted.model(data.info), scores, {}).table
    table = evaluate.Evaluator(data, "test", ks=(3, 2_000_000_000))(planted.model(data.info), scores, {}).table
    for behavior, row in table.items():
        for name in ("hr", "rec", "ndcg", "mrr", "hits_per_user"):
            assert row[f"{name}@2000000000"] == short[behavior][f"{name}@40"]
        assert row["prec@2000000000"] == pytest.approx(short[behavior]["prec@40"] * 40 / 2e9)


def test_groups_by_history_length():
    train = {"view": [(0, 0), (0, 1), (1, 1)], "buy": [(0, 0), (1, 2), (1, 3)]}  # distinct items: 2, 3, 0
    data = planted.dataset(3, 8, ("view", "buy"), train, {"buy": [(0, 5), (1, 5), (2, 5), (2, 6)]})
    params = np.concatenate([np.zeros((1, 3, 8)), planted.lists_first(8, [5], [6], [6])])
    row = evaluate.Evaluator(data, "test", ks=(1,))(planted.model(data.info), params, {}, groups=(1, 3)).table["buy"]
    counts = {name: (group["users"], group["pairs"], group["hr@1"]) for name, group in row["groups"].items()}
    assert counts == {"<1": (1, 2, 1.0), "1-2": (1, 1, 1.0), ">=3": (1, 1, 0.0)}
    empty = evaluate.Evaluator(data, "test", ks=(1,))(planted.model(data.info), params, {}, groups=(9,)).table["buy"]
    assert empty["groups"][">=9"] == {"users": 0, "pairs": 0}


def test_per_user_values_average_to_the_table(tmp_path):
    data = planted.dataset(3, 8, ("view", "buy"), VIEWED, {"buy": [(2, 5), (0, 6)], "view": [(1, 1)]})
    params = np.zeros((2, 3, 8))
    found = evaluate.Evaluator(data, "test", ks=(2, 7))(planted.model(data.info), params, {}, per_user=True)
    frame = pl.read_parquet(found.to_parquet(tmp_path / "deep" / "per_user.parquet"))
    assert frame["behavior"].to_list() == ["view", "buy", "buy"]
    assert frame["user"].to_list() == [1, 0, 2]
    assert frame["raw_user"].to_list() == ["user-1", "user-0", "user-2"]
    assert frame["history"].to_list() == [2, 3, 0]
    buy = frame.filter(pl.col("behavior") == "buy")
    for name in ("ndcg@7", "f1@2", "mrr@7"):
        assert buy[name].mean() == pytest.approx(found.table["buy"][name])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["per_user.parquet"]
    with pytest.raises(ValueError, match="per_user=True"):
        evaluate.Result({}).to_parquet(tmp_path / "x")


def test_a_sample_of_users_changes_no_value_of_theirs():
    """A user drawn has the values that he has among all; the draw is the seed's; of no more than asked for all are."""
    rng = np.random.default_rng(0)
    pairs = {"view": rng.integers(0, (40, 9), (90, 2)).tolist(), "buy": rng.integers(0, (12, 9), (9, 2)).tolist()}
    data = planted.dataset(40, 9, ("view", "buy"), {"view": [(0, 1), (3, 2)], "buy": [(1, 1)]}, pairs)
    model, scores = planted.model(data.info), rng.normal(size=(2, 40, 9))

    def values(**options):
        found = evaluate.Evaluator(data, "test", ks=(1, 3), **options)(model, scores, {}, per_user=True)
        return found.table, found.per_user

    whole, of_all = values()
    table, some = values(sample_users=10, seed=3)
    assert (table["view"]["users"], table["view"]["sampled_from"]) == (10, whole["view"]["users"])
    assert table["buy"] == whole["buy"] and "sampled_from" not in whole["view"]
    assert some.join(of_all, on=some.columns, how="semi").height == some.height
    mean = some.filter(pl.col("behavior") == "view")["ndcg@3"].mean()
    assert table["view"]["ndcg@3"] == pytest.approx(mean)
    assert some.equals(values(sample_users=10, seed=3)[1]) and not some.equals(values(sample_users=10, seed=4)[1])
    assert values(sample_users=1000)[0] == whole


def test_masked_infinite_and_missing_candidates_hit_nothing():
    data = planted.dataset(1, 3, ("buy",), {"buy": [(0, 0), (0, 1)]}, {"buy": [(0, 2)]})
    evaluator = evaluate.Evaluator(data, "test", ks=(20,))
    model = planted.model(data.info)
    assert evaluator(model, np.zeros((1, 1, 3)), {}).table["buy"]["mrr@20"] == 1.0
    assert evaluator(model, np.full((1, 1, 3), -np.inf), {}).table["buy"]["hr@20"] == 0.0


def test_nan_names_behavior_and_user():
    data = planted.dataset(5, 60, ("buy",), {}, {"buy": [(1, 0), (4, 0)]})
    scores = np.zeros((1, 5, 60), np.float32)
    scores[0, 4, 50] = np.nan
    evaluator = evaluate.Evaluator(data, "test", item_tile=20)
    with pytest.raises(errors.TrainingDivergedError, match="behavior 'buy'.*1 of 2 users.*index 4"):
        evaluator(planted.model(data.info), scores, {})
    scores[0, 4, 50] = 0
    scores[0, 2] = np.nan  # user 2 does not count
    evaluator(planted.model(data.info), scores, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tets"}, "unknown split 'tets'. Did you mean 'test'"),
        ({"mask": "same"}, "unknown mask 'same'. Did you mean 'same_behavior'"),
        ({"behaviors": ("bye",)}, "unknown behavior 'bye'. Did you mean 'buy'"),
        ({"behaviors": ("view",)}, "'view' has no pairs in split 'test' of data set 'planted'. Those that have: buy"),
        (
            {"behaviors": ()},
            "no behavior to evaluate on split 'test' of data set 'planted'. Those that have pairs: buy",
        ),
        ({"split": "valid"}, "split 'valid' of data set 'planted' holds no pairs"),
        ({"ks": (0,)}, r"evaluate.ks is \(0,\)"),
        ({"item_tile": 0}, "item_tile 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    data = planted.dataset(2, 4, ("view", "buy"), VIEWED, {"buy": [(0, 3)], "view": []})
    with pytest.raises(errors.ConfigError, match=message):
        evaluate.Evaluator(data, **({"split": "test"} | options))


def test_wrong_groups_and_models_are_named():
    data = planted.dataset(1, 4, ("buy",), {}, {"buy": [(0, 3)]})
    evaluator = evaluate.Evaluator(data, "test")
    with pytest.raises(errors.ConfigError, match=r"evaluate.groups is \(5, 3\)"):
        evaluator(planted.model(data.info), np.zeros((1, 1, 4)), {}, groups=(5, 3))
    with pytest.raises(ValueError, match="built for"):
        evaluator(planted.model(data.info._replace(num_items=5)), np.zeros((1, 1, 5)), {})
    with pytest.raises(ValueError, match="not one of the model's"):
        evaluator(planted.model(data.info._replace(behaviors=("view",))), np.zeros((1, 1, 4)), {})


def brute_force(data, scores, k, mask):
    """HR, NDCG and recall at k of buy, by sorting every user's candidates."""
    found = []
    for user in range(data.info.num_users):
        truth = set(data.test["buy"][[user]].indices.tolist())
        if not truth:
            continue
        out = set(data.train["buy"][[user]].indices)
        if data.mask_valid:
            out |= set(data.valid["buy"][[user]].indices) - truth
        if mask == "all_behaviors":
            out |= set(data.train["view"][[user]].indices) | set(data.train["cart"][[user]].indices)
        order = sorted(set(range(data.info.num_items)) - out, key=lambda i: (-scores[2, user, i], i))
        ranks = [rank for rank, item in enumerate(order[:k], 1) if item in truth]
        ideal = sum(1 / math.log2(r + 1) for r in range(1, min(k, len(truth)) + 1))
        dcg = sum(1 / math.log2(r + 1) for r in ranks)
        found.append((float(bool(ranks)), dcg / ideal, len(ranks) / len(truth)))
    return np.mean(found, axis=0)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    mask=st.sampled_from(seen.MASKS),
    mask_valid=st.booleans(),
    sizes=st.sampled_from([(512, 16384), (3, 7), (1, 39), (5, 1), (17, 20)]),
)
def test_evaluation_equals_brute_force_for_any_tile_and_batch(seed, mask, mask_valid, sizes):
    rng = np.random.default_rng(seed)
    data = planted.random(rng, mask_valid)
    scores = rng.integers(-3, 3, size=(3, 17, 40)).astype(np.float32)  # many ties
    evaluator = evaluate.Evaluator(
        data, "test", behaviors=("buy",), ks=(6, 50), mask=mask, batch_size=sizes[0], item_tile=sizes[1]
    )
    row = evaluator(planted.model(data.info), scores, {}).table["buy"]
    for k in (6, 50):
        expected = brute_force(data, scores, k, mask)
        np.testing.assert_allclose([row[f"hr@{k}"], row[f"ndcg@{k}"], row[f"rec@{k}"]], expected, rtol=1e-12)


def test_parts_add_up_to_the_whole():
    rng = np.random.default_rng(3)
    data = planted.random(rng)
    scores = rng.normal(size=(3, 17, 40)).astype(np.float32)
    table = evaluate.Evaluator(data, "test", ks=(10,))(planted.model(data.info), scores, {}, groups=(5, 12)).table
    for row in table.values():
        assert row["visited"]["pairs"] + row["unvisited"]["pairs"] == row["pairs"]
        groups = row["groups"].values()
        assert sum(g["users"] for g in groups) == row["users"]
        assert sum(g["users"] * g.get("ndcg@10", 0) for g in groups) == pytest.approx(row["users"] * row["ndcg@10"])


@pytest.mark.parametrize("item_tile", [16384, 30])
def test_one_compile_for_each_behavior_over_all_epochs(item_tile):
    data = planted.random(np.random.default_rng(0))
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=2)
    def score(params, users, start):
        return params["user"][users] @ params["item"].T[:, :1] + start

    def scores(params, tables, users, start, size, behavior):
        return score(params, users, start) + jnp.arange(size)

    model = planted.model(data.info, scores)
    evaluator = evaluate.Evaluator(data, "test", item_tile=item_tile, batch_size=4)
    assert evaluator.behaviors == ("view", "buy")
    for epoch in range(3):
        evaluator(model, {"user": jnp.full((17, 2), epoch), "item": jnp.ones((40, 2))}, {})


def test_popularity_ranks_by_training_counts():
    train = {"view": [(0, 5), (1, 5), (2, 4)], "buy": [(0, 2), (1, 2), (2, 3)]}
    data = planted.dataset(4, 8, ("view", "buy"), train, {"buy": [(3, 3)], "view": [(3, 5), (0, 0)]})
    model = popularity.build(popularity.PopularityConfig(), data.info)
    graphs = graph.from_train(model.graphs, data.train)
    found = evaluate.Evaluator(data, "test", ks=(1, 2))(model, model.init(jax.random.key(0), graphs), graphs).table
    assert (found["buy"]["hr@1"], found["buy"]["hr@2"]) == (0.0, 1.0)  # after item 2
    # User 3 finds 5 at once; for user 0 item 5 is masked and 4 leads, then the smallest id.
    assert (found["view"]["hr@1"], found["view"]["hr@2"]) == (0.5, 1.0)
    assert model.batch is None


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "hit_rate", "ndcg", "visited", "unvisited"),
    [
        # The data sets' own "untrained_rules_at_10", all training pairs kept; pairs of taobao as published.
        ("jd", 0.0209, 0.0088, None, None),
        ("taobao", 0.0113, 0.0055, 13_163, 2_286),
        ("retail_rocket", 0.0382, 0.0208, None, None),
    ],
)
def test_popularity_of_the_target_on_real_data(real_data, name, hit_rate, ndcg, visited, unvisited):
    dirs = (str(real_data(name).parent),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)
        real = data_sets.load(name, data_sets.Options(dirs=dirs, download=False, valid="none"))
    model = popularity.build(popularity.PopularityConfig(), real.info)
    evaluator = evaluate.Evaluator(real, "test", behaviors=(real.info.target,), ks=(10,))
    row = evaluator(model, {}, graph.from_train(model.graphs, real.train)).table[real.info.target]
    assert row["hr@10"] == pytest.approx(hit_rate, abs=5.1e-5)
    assert row["ndcg@10"] == pytest.approx(ndcg, abs=5.1e-5)
    if visited:
        assert (row["visited"]["pairs"], row["unvisited"]["pairs"]) == (visited, unvisited)
