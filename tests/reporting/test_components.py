"""The component study: the model's own numbers, and of each named ablation the difference from them."""

import json

import pytest
from recorded import cells, record

from mbjax import errors
from mbjax.reporting import components, pages

JD = {"behaviors": ["click", "buy"]}


def of_jd(buy, click, **changes):
    selection = {"valid": {"buy": {"users": 5, "hr@5": buy, "ndcg@5": buy / 2}, "click": {"users": 7, "ndcg@5": click}}}
    return record("funnel", "jd", **JD, **changes) | {"selection": selection}


def test_lines_are_the_model_and_what_is_lost_without_a_part():
    records = [
        record("funnel", hr=0.30),
        record("funnel", hr=0.32, seed=1),
        record("funnel", hr=0.25, ablation="wo_near"),
        record("funnel", hr=0.5, ablation="wo_near", seed=7),  # which the model was not trained with
        record("funnel", hr=0.31, ablation="wo_rank", seed=1),
        record("funnel", hr=0.1, ablation="linear", seed=7),
        record("funnel", hr=0.9, overrides={"model.hidden": 3}),
        record("funnel", hr=0.9, protocol="paper", selection="last"),
        record("bvae", hr=0.9),
        of_jd(0.2, 0.07),
        of_jd(0.21, 0.06, ablation="linear"),
    ]
    head, _, *lines = cells(pages.render("parts:funnel", records))
    assert head == [
        "`--ablation=`", "Taobao, buy HR@10", "Taobao, buy NDCG@10", "JD, buy NDCG@5", "JD, click NDCG@5"
    ]  # fmt: skip
    assert lines == [
        ["(the model)", "0.3100", "0.1550", "0.1000", "0.0700"],
        ["`linear`", "", "", "+0.0050", "-0.0100"],
        ["`wo_near`", "-0.0500", "-0.0250", "", ""],
        ["`wo_rank`", "-0.0100", "-0.0050", "", ""],
    ]


def test_what_is_not_trained_has_the_only_numbers_that_there_are():
    records = [
        record("ease", hr=hr, epochs=0, selection="last", ablation=a) for hr, a in ((0.2, None), (0.1, "left_out"))
    ]
    _, _, *lines = cells(pages.render("parts:ease", records))
    assert lines == [["(the model)", "0.2000", "0.1000"], ["`left_out`", "-0.1000", "-0.0500"]]


def test_without_the_model_itself_there_is_no_table():
    with pytest.raises(errors.DataError, match="no honest run of 'funnel'"):
        components.table("funnel", [record("funnel", ablation="linear")])


def test_a_study_may_stand_in_a_folder_of_its_own(tmp_path):
    """Of another state of the model, say: its files are not mixed with those of today."""
    (tmp_path / "then").mkdir()
    for name, made in (("a", record("funnel", hr=0.3)), ("b", record("funnel", hr=0.2, ablation="linear"))):
        (tmp_path / "then" / f"{name}.json").write_text(json.dumps(made))
    text = "<!-- results:parts:funnel:then -->\n<!-- /results -->\n"
    *_, first, second = cells(pages.update(text, [record("funnel", hr=0.9)], folder=tmp_path))
    assert [first[:2], second[:2]] == [["(the model)", "0.3000"], ["`linear`", "-0.1000"]]
    for folder in (tmp_path, None):
        with pytest.raises(errors.DataError, match="no results files .* in a folder 'now' beside the results"):
            pages.render("parts:funnel:now", [], folder=folder)
