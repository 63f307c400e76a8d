"""A paper's table beside runs of one length: which run is a row's, places, and the correlation of the two orders."""

import pytest
from recorded import cells, record

from mbjax import errors
from mbjax.reporting import orders, pages


def run(ablation, hr, ndcg, epochs=25, model="pkef", **changes):
    selection = {"last": {"buy": {"users": 5, "hr@10": hr, "ndcg@10": ndcg, "epoch": epochs - 1}}}
    made = record(model, "taobao", ablation=ablation, protocol="paper", selection="last", **changes)
    return made | {"epochs": epochs, "selection": selection}


def test_rows_of_the_paper_beside_runs_of_that_length():
    # PKEF's Table 3 has HR .0849, .1121, .0955, .1385; NDCG .0452, .0610, .0532, .0785.
    records = [
        run("base", 0.02, 0.010),
        run("wo_pkf", 0.05, 0.030),
        run("wo_pme", 0.01, 0.020),
        run(None, 0.06, 0.040),
        run(None, 0.9, 0.9, epochs=100),
        run("base", 0.9, 0.9, overrides={"train.learning_rate": 1.0}),
        record("pkef", ablation="base"),
    ]
    text = pages.render("rows:PKEF:3:taobao:25", records)
    head, _, *lines = cells(text.partition("\n\n")[0])
    assert head[2:] == [
        "HR@10, paper", "HR@10, ours", "NDCG@10, paper", "NDCG@10, ours", "place, paper", "place, ours"
    ]  # fmt: skip
    assert lines == [
        ["Base Model", "`base`", "0.0849", "0.0200", "0.0452", "0.0100", "4", "4"],
        ["PKEF w/o PKF", "`wo_pkf`", "0.1121", "0.0500", "0.0610", "0.0300", "2", "2"],
        ["PKEF w/o PME", "`wo_pme`", "0.0955", "0.0100", "0.0532", "0.0200", "3", "3"],
        ["PKEF", "(default)", "0.1385", "0.0600", "0.0785", "0.0400", "1", "1"],
    ]
    # HR changes two neighbors: 1 - 6 * (1 + 1) / (4 * 15) = 0.8, one pair of six.
    assert "of 4 of the rows: HR@10 0.80, 5 of 6 pairs" in text and "NDCG@10 1.00, 6 of 6 pairs" in text


def test_a_row_without_a_run_has_no_place_and_the_stopped_gradient_goes_first():
    records = [
        run("copf_p", 0.01, 0.01, model="copf"),
        run("copf_p+target_sg", 0.02, 0.01, model="copf"),
        run(None, 0.03, 0.03, model="copf"),
    ]
    lines = {row[0]: row for row in cells(orders.table("rows:COPF:3:taobao:25", records).partition("\n\n")[0])}
    assert lines["COPF-P"][1:4] == ["`copf_p+target_sg`", "0.1041", "0.0200"]
    assert lines["w/o back."][1] == lines["COPF"][1] == "(default)"  # nothing is stopped by default
    assert lines["COPF-A"] == ["COPF-A", "", "0.1389", "-", "0.0740", "-", "", ""]


def test_a_row_that_is_printed_twice_has_the_run_of_the_other():
    text = orders.table("rows:COPF:5:taobao:25", [run("target_sg", 0.1, 0.1, model="copf")])
    assert "| COGCN+DFME | `target_sg` | 0.1552 | 0.1000 |" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows:COPF:3:taobao", "it is rows:PAPER:TABLE:DATASET:EPOCHS"),
        ("rows:COPF:3:taobao:x", "it is rows:PAPER:TABLE:DATASET:EPOCHS"),
        ("rows:COPF:33:taobao:25", "no 'Table 33' of 'COPF' with rows of 'taobao'"),
        ("rows:COPF:3:jd:25", "no 'Table 3' of 'COPF' with rows of 'jd'"),
        ("rows:COPF:3:taobao:25", "no run of 25 epochs of any row of Table 3"),
    ],
)
def test_what_cannot_be_shown_is_said(name, message):
    with pytest.raises(errors.DataError, match=message):
        orders.table(name, [])
