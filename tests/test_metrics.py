"""Metrics by hand, against loops in plain Python, and against ir-measures."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, P, R, Success, nDCG
from scipy import sparse

from mbjax import metrics

NUM_ITEMS = 12


def csr(rows: list[list[int]], num_items: int = NUM_ITEMS) -> sparse.csr_array:
    dense = np.zeros((len(rows), num_items), np.uint8)
    for row, items in enumerate(rows):
        dense[row, items] = 1
    return sparse.csr_array(dense)


def evaluated(lists, truth, ks):
    hits = metrics.find_hits(np.asarray(lists), csr(truth))
    return metrics.per_user(hits, np.asarray([len(t) for t in truth]), ks)


def test_one_user_by_hand():
    """Hits on ranks 2 and 4 of three held-out items."""
    values = evaluated([[9, 3, 8, 5, 7]], [[1, 3, 5]], (1, 3, 5))
    expected = {
        "prec@1": 0.0,
        "prec@3": 1 / 3,
        "prec@5": 2 / 5,
        "rec@1": 0.0,
        "rec@3": 1 / 3,
        "rec@5": 2 / 3,
        "ndcg@1": 0.0,
        "ndcg@3": (1 / math.log2(3)) / (1 + 1 / math.log2(3) + 1 / 2),
        "ndcg@5": (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2),
        "hr@1": 0.0,
        "hr@3": 1.0,
        "hr@5": 1.0,
        "mrr@1": 0.0,
        "mrr@3": 0.5,
        "mrr@5": 0.5,
        "f1@1": 0.0,
        "f1@3": 1 / 3,
        "f1@5": 2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3),
        "hits_per_user@1": 0.0,
        "hits_per_user@3": 1.0,
        "hits_per_user@5": 2.0,
    }
    assert {name: value[0] for name, value in values.items()} == pytest.approx(expected)


def test_ideal_dcg_stops_at_the_cut_off():
    assert evaluated([[0, 1]], [[0, 1, 2, 3, 4]], (2,))["ndcg@2"][0] == pytest.approx(1.0)


def test_precision_divides_by_the_cut_off_also_in_short_lists():
    assert evaluated([[4, -1, -1, -1]], [[4]], (4,))["prec@4"][0] == pytest.approx(1 / 4)


def test_empty_places_hit_nothing():
    # A naive key row * I + item makes place -1 of row 1 the last item of row 0.
    hits = metrics.find_hits(np.asarray([[-1], [-1]]), csr([[NUM_ITEMS - 1], [0]]))
    assert not hits.any()


def test_users_without_held_out_items_get_zeros_and_stay_out_of_the_mean():
    truth = [[], [0], [0]]
    values = evaluated([[0], [0], [1]], truth, (1,))
    assert all(value[0] == 0 for value in values.values())
    assert metrics.means(values, np.asarray([bool(t) for t in truth]))["hr@1"] == pytest.approx(1 / 2)


def test_no_truth_at_all():
    assert not metrics.find_hits(np.zeros((2, 3), int), csr([[], []])).any()
    assert metrics.means({"hr@1": np.zeros(2)}, np.zeros(2, bool)) == {}


def test_a_cut_off_beyond_all_items_takes_the_whole_list():
    hits, num_truth = np.asarray([[True, False, True]]), np.asarray([2])
    padded = np.pad(hits, ((0, 0), (0, 97)))
    found = metrics.per_user(hits, num_truth, (2, 100), complete=True)
    assert found == metrics.per_user(padded, num_truth, (2, 100))


def test_cut_off_beyond_the_lists_is_a_programming_mistake():
    with pytest.raises(ValueError, match="cut-offs"):
        evaluated([[0, 1]], [[0]], (3,))
    with pytest.raises(ValueError, match="2 lists and 1 users"):
        metrics.find_hits(np.zeros((2, 3), int), csr([[0]]))


def brute_force(items: list[int], truth: list[int], k: int) -> dict[str, float]:
    ranks = [rank for rank, item in enumerate(items[:k], start=1) if item in truth]
    precision = len(ranks) / k
    recall = len(ranks) / len(truth) if truth else 0.0
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(truth)) + 1))
    return {
        f"prec@{k}": precision,
        f"rec@{k}": recall,
        f"ndcg@{k}": sum(1 / math.log2(rank + 1) for rank in ranks) / ideal if truth else 0.0,
        f"hr@{k}": 1.0 if ranks else 0.0,
        f"mrr@{k}": 1 / ranks[0] if ranks else 0.0,
        f"f1@{k}": 2 * precision * recall / (precision + recall) if ranks else 0.0,
        f"hits_per_user@{k}": float(len(ranks)),
    }


users = st.lists(
    st.tuples(st.permutations(range(NUM_ITEMS)), st.sets(st.integers(0, NUM_ITEMS - 1)), st.integers(0, 8)),
    min_size=1,
    max_size=6,
)


def padded(order: list[int], length: int) -> list[int]:
    """A list of 8 places, of which the last may be empty."""
    return list(order[:length]) + [-1] * (8 - length)


@settings(max_examples=200, deadline=None)
@given(users)
def test_metrics_equal_plain_loops(drawn):
    lists = [padded(order, length) for order, _, length in drawn]
    truth = [sorted(items) for _, items, _ in drawn]
    values = evaluated(lists, truth, (1, 3, 8))
    for u, (items, known) in enumerate(zip(lists, truth, strict=True)):
        expected = brute_force(items, known, 1) | brute_force(items, known, 3) | brute_force(items, known, 8)
        assert {name: value[u] for name, value in values.items()} == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(users)
def test_metrics_stay_in_range_and_grow_with_the_cut_off(drawn):
    values = evaluated([padded(o, n) for o, _, n in drawn], [sorted(t) for _, t, _ in drawn], (1, 3, 8))
    for name, value in values.items():
        assert (value >= 0).all()
        if not name.startswith("hits_per_user"):
            assert (value <= 1 + 1e-12).all(), name
    for name in ("rec", "hr", "mrr", "hits_per_user"):
        assert (values[f"{name}@1"] <= values[f"{name}@3"]).all()
        assert (values[f"{name}@3"] <= values[f"{name}@8"]).all()


@settings(max_examples=40, deadline=None)
@given(users)
def test_metrics_equal_ir_measures(drawn):
    lists = [padded(order, length) for order, _, length in drawn]
    truth = [sorted(items) for _, items, _ in drawn]
    ours = evaluated(lists, truth, (1, 3, 8))
    qrels = {str(u): {str(i): 1 for i in known} for u, known in enumerate(truth) if known}
    # Minus the rank as score: those tools break ties of scores in their own way.
    run = {
        str(u): {str(item): -float(rank) for rank, item in enumerate(items) if item >= 0}
        for u, items in enumerate(lists)
        if items[0] >= 0
    }
    if not qrels or not run:
        return
    for name, measure in {"prec": P, "rec": R, "ndcg": nDCG, "hr": Success, "mrr": RR}.items():
        for k in (1, 3, 8):
            for metric in ir_measures.iter_calc([measure @ k], qrels, run):
                assert ours[f"{name}@{k}"][int(metric.query_id)] == pytest.approx(metric.value), f"{name}@{k}"
