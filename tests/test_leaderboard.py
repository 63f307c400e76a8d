"""The leaderboard: one protocol, a budget of minutes, one line a model, nothing chosen by the test split."""

import pytest
from test_summary import PARTS, anchor, cells, record

from mbjax import errors, pages


def timed(model, hr, minutes, **changes):
    made = {"seconds": {"total": 60 * minutes}, "parameters": 1234, "peak_memory_mib": 56, "machine": "2 cores"}
    return record(model, hr=hr, parts=PARTS) | made | changes


def tables(records, name="leaderboard:taobao:5"):
    within, _, beyond = pages.render(name, records).partition("With more")
    return [cells(part)[2:] for part in (within, beyond)]


def test_a_line_has_what_a_model_reaches_and_what_it_took():
    head, _, line = cells(pages.render("leaderboard:taobao:5", [timed("pkef", 0.2, 3), timed("pkef", 0.3, 6, seed=1)]))
    assert head[:6] == ["", "model", "buy HR@10", "buy NDCG@10", "buy HR@10 visited", "buy HR@10 unvisited"]
    assert line == [
        "1", "`pkef`", "0.2500 ± 0.0500", "0.1250 ± 0.0250", "0.3000", "0.1000",
        "10", "2", "4.5", "1,234", "56", "2 cores",
    ]  # fmt: skip


def test_runs_within_the_budget_stand_before_the_longer_ones_by_value():
    records = [
        timed("copf", 0.9, 5.1),
        timed("pkef", 0.2, 4.9),
        timed("bvae", 0.8, 1, machine="16 cores, 1 x NVIDIA H100"),
        anchor("own_items", "taobao", 0.3),
        anchor("own_items", "taobao", 0.4, ablation="conversion"),
        timed("pkef", 0.9, 1, ablation="wo_pme"),
        timed("pkef", 0.9, 1, protocol={"name": "paper"}),
        timed("pkef", 0.9, 1, overrides={"data.hold_out": "none"}),
        timed("pkef", 0.9, 1, dataset="jd"),
    ]
    within, beyond = tables(records)
    assert [line[:3] for line in within] == [
        ["1", "`own_items`, conversion", "0.4000"],
        ["2", "`own_items`", "0.3000"],
        ["3", "`pkef`", "0.2000"],
    ]
    assert [line[1] for line in beyond] == ["`copf`", "`bvae`"]


def test_of_several_runs_of_a_model_not_the_best_but_the_plainest_and_longest_counts():
    records = [
        timed("pkef", 0.9, 1, overrides={"train.epochs": 3}, epochs=3),
        timed("pkef", 0.9, 1, overrides={"model.embedding_size": 3, "train.epochs": 30}, epochs=30),
        timed("pkef", 0.2, 2, overrides={"train.epochs": 20, "train.learning_rate": 0.1}, epochs=20),
    ]
    within, _ = tables(records)
    assert [line[1:3] for line in within] == [["`pkef`, learning_rate=0.1", "0.2000"]]


@pytest.mark.parametrize("name", ["leaderboard:taobao", "leaderboard:taobao:x", "leaderboard:nowhere:5"])
def test_what_cannot_be_shown_is_said(name):
    with pytest.raises(errors.DataError, match="leaderboard:DATASET:MINUTES|no honest run on 'nowhere'"):
        pages.render(name, [timed("pkef", 0.2, 1)])
