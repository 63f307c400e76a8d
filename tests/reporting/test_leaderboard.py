"""The leaderboard: one protocol, a budget of minutes, one line a model, nothing chosen by the test split."""

import pytest
from recorded import PARTS, anchor, cells, record

from mbjax import errors
from mbjax.reporting import pages


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
        "1", "10", "2", "4.5", "1,234", "56", "2 cores",
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


def test_a_budget_is_of_two_cores():
    records = [
        timed("pkef", 0.4, 9, machine="1 core, x86-64"),
        timed("copf", 0.3, 3, machine="16 cores, x86-64"),
        timed("bvae", 0.2, 11, machine="1 core, x86-64", overrides={"train.max_minutes": 10.0}),
        timed("nmtr", 0.1, 5, machine=""),
    ]
    within, beyond = tables(records)
    assert [line[1] for line in within] == ["`pkef`", "`bvae`", "`nmtr`"]
    assert [line[1] for line in beyond] == ["`copf`"]


def test_of_several_runs_of_a_model_not_the_best_but_the_plainest_and_longest_counts():
    records = [
        timed("pkef", 0.9, 1, overrides={"train.epochs": 3}, epochs=3),
        timed("pkef", 0.9, 1, overrides={"model.embedding_size": 3, "train.epochs": 30}, epochs=30),
        timed("pkef", 0.2, 2, overrides={"train.epochs": 20, "train.learning_rate": 0.1}, epochs=20),
    ]
    within, _ = tables(records)
    assert [line[1:3] for line in within] == [["`pkef`, learning_rate=0.1", "0.2000"]]


def test_a_run_that_was_told_to_end_in_time_is_within_it():
    limit = {"overrides": {"train.max_minutes": 5.0}}
    within, beyond = tables([timed("copf", 0.4, 5.3, **limit), timed("pkef", 0.3, 5.3)])
    assert [line[1] for line in within] == ["`copf`"] and [line[1] for line in beyond] == ["`pkef`"]


def test_a_sweep_goes_before_a_run_with_what_it_chose_and_how_many_it_tried():
    tried = {"settings": 7, "finished": 6, "limit": 5.0, "minutes": 4.75}
    chosen = {"overrides": {"model.layers": 3, "train.max_minutes": 3.2}, "sweep": tried}
    records = [timed("pkef", 0.9, 4), timed("pkef", 0.2, 1, **chosen), timed("copf", 0.1, 1)]
    longer = timed("pkef", 0.1, 1, **(chosen | {"sweep": tried | {"limit": 60.0, "minutes": 50.0}}))
    within, beyond = tables([*records, longer])
    assert [line[1] for line in within] == ["`pkef`, layers=3", "`copf`"]
    assert within[0][6:10] == ["7", "10", "1", "4.8"] and within[1][6] == "1"
    assert [line[9] for line in beyond] == ["50.0"]


@pytest.mark.parametrize("name", ["leaderboard:taobao", "leaderboard:taobao:x", "leaderboard:nowhere:5"])
def test_what_cannot_be_shown_is_said(name):
    with pytest.raises(errors.DataError, match="leaderboard:DATASET:MINUTES|no honest run on 'nowhere'"):
        pages.render(name, [timed("pkef", 0.2, 1)])
