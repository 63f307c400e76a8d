"""Drawings of visited and unvisited pairs: what is drawn, and what is left out."""

from __future__ import annotations

import pytest

from mbjax.compare import blocks, chart, groups, sources


@pytest.fixture
def compared(make_record):
    """``compared(record, ...)``: sheets and groups of runs on one data set."""

    def make(*records):
        runs = [
            sources.Run(str(n), record, "valid", record["selection"]["valid"], None, "no users")
            for n, record in enumerate(records)
        ]
        grouped, _ = groups.group(runs)
        return blocks.build(runs, {"jd": grouped}, metric_names=("hr@5",)), grouped

    return make


@pytest.fixture
def drawn(monkeypatch):
    """The panels of each drawing, instead of a file."""
    seen = []
    monkeypatch.setattr(chart, "_draw", lambda grid, *arguments: seen.append(grid))
    return seen


def test_a_line_of_two_panels_for_each_behavior(compared, drawn, make_record):
    sheets, grouped = compared(make_record(purchase=0.5), make_record(purchase=0.25, ablation="wo_tff"))
    assert chart.draw_parts(sheets, grouped, "hr@5", "unused.png")
    ((first, second),) = drawn
    assert [panel.title for panel in first] == ["purchase, visited\n2 pairs", "purchase, unvisited\n7 pairs"]
    assert [(bar.label, bar.mean) for bar in first[0].bars] == [("bvae", 0.25), ("bvae wo_tff", 0.125)]
    assert [panel.title.partition(",")[0] for panel in second] == ["click", "click"]


def test_a_behavior_without_visited_pairs_is_left_out(compared, drawn, make_record):
    record = make_record()
    none = {"pairs": 0, "users": 0, "ndcg@5": None, "hr@5": None}
    record["selection"]["valid"]["purchase"]["visited"] = none
    sheets, grouped = compared(record)
    assert chart.draw_parts(sheets, grouped, "hr@5", "unused.png")
    assert [[panel.title.partition(",")[0] for panel in row] for row in drawn[0]] == [["click", "click"]]
    record["selection"]["valid"]["click"]["visited"] = none
    assert not chart.draw_parts(*compared(record), "hr@5", "unused.png") and len(drawn) == 1
