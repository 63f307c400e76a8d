"""Drawings of visited and unvisited pairs: what is drawn, and what is left out."""

from __future__ import annotations

import pytest

from mbjax.reporting.compare import blocks, chart, groups, sources


@pytest.fixture
def compared(make_record):
    """``compared(record, ...)``: the sheets of runs on one data set."""

    def make(*records):
        runs = [
            sources.Run(str(n), record, "valid", record["selection"]["valid"], None, "no users")
            for n, record in enumerate(records)
        ]
        grouped, _ = groups.group(runs)
        return blocks.build(runs, {"jd": grouped}, metric_names=("hr@5",))

    return make


def test_a_line_of_two_panels_for_each_behavior(compared, make_record):
    sheets = compared(make_record(purchase=0.5), make_record(purchase=0.25, ablation="wo_tff"))
    first, second = chart.parts(sheets, "hr@5")
    assert [panel.title for panel in first] == ["purchase, visited\n2 pairs", "purchase, unvisited\n7 pairs"]
    assert [(bar.label, bar.mean) for bar in first[0].bars] == [("bvae", 0.25), ("bvae wo_tff", 0.125)]
    assert [panel.title.partition(",")[0] for panel in second] == ["click", "click"]


def test_a_behavior_without_visited_pairs_is_left_out(compared, make_record):
    record = make_record()
    none = {"pairs": 0, "users": 0, "ndcg@5": None, "hr@5": None}
    record["selection"]["valid"]["purchase"]["visited"] = none
    grid = chart.parts(compared(record), "hr@5")
    assert [[panel.title.partition(",")[0] for panel in row] for row in grid] == [["click", "click"]]
    record["selection"]["valid"]["click"]["visited"] = none
    assert chart.parts(compared(record), "hr@5") == []


def test_runs_that_saw_other_pairs_are_told_apart(compared, make_record):
    other = make_record(ablation="wo_tff")
    other["selection"]["valid"]["purchase"]["unvisited"]["pairs"] = 9
    (_, unvisited), _ = chart.parts(compared(make_record(), other), "hr@5")
    assert unvisited.title == "purchase, unvisited\n7 to 9 pairs"
