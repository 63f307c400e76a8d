"""The tables over all data sets take the honest runs of models as they ship, and say what is not wholly honest."""

from __future__ import annotations

from recorded import PARTS, anchor, cells, record

from mbjax.reporting import pages, summary

RECORDS = [
    record("pkef", hr=0.125, parts=PARTS),
    anchor("own_items", "taobao", 0.25, parts={"visited": (6, 0.5), "unvisited": (2, 0.0)}),
    anchor("own_items", "retail_rocket", 0.03, parts={"visited": (0, None), "unvisited": (9, 0.03)}),
]


def test_the_summary_has_users_of_100_with_a_hit_and_marks_the_best_of_a_column():
    head, _, *lines = cells(summary.honest(RECORDS))
    assert head == [
        "ranked by", "learns from", "Taobao", "visited (75 %)", "unvisited (25 %)", "Retail Rocket", "epochs",
    ]  # fmt: skip
    assert lines == [
        ["`own_items`", "not trained", "**25.0**", "**50.0**", "0.0", "**3.0**", ""],
        ["`pkef`", "all", "12.5", "30.0", "**10.0**", "", "10 / - / -"],
    ]


def test_the_front_page_leaves_models_out_and_marks_what_is_best_of_all():
    text = pages.render("front", [*RECORDS, record("vaepp", hr=0.4)])
    assert [line[:3] for line in cells(text)[2:]] == [
        ["`own_items`", "not trained", "25.0"],
        ["`pkef`", "all", "12.5"],
    ]
    assert "Not shown: `vaepp`." in text
    assert ["`vaepp`", "all", "**40.0**"] in [
        line[:3] for line in cells(summary.honest([*RECORDS, record("vaepp", hr=0.4)]))
    ]


def test_own_items_by_conversion_stand_beside_own_items():
    lines = cells(summary.honest([*RECORDS, anchor("own_items", "taobao", 0.3, ablation="conversion")]))[2:]
    assert [line[:3] for line in lines] == [
        ["`own_items`", "not trained", "25.0"],
        ["`own_items`, conversion", "not trained", "**30.0**"],
        ["`pkef`", "all", "12.5"],
    ]
    other = anchor("own_items", "taobao", 0.9, ablation="count")
    assert summary.honest([*RECORDS, other]) == summary.honest(RECORDS)


def test_the_summary_takes_the_longest_run_of_the_model_as_it_ships():
    others = [
        record("pkef", hr=0.9, epochs=5, overrides={"train.epochs": 5}),
        record("pkef", hr=0.9, epochs=20, ablation="wo_pme"),
        record("pkef", hr=0.9, epochs=20, overrides={"model.head.name": "ple"}),
        record("pkef", hr=0.9, epochs=20, protocol="paper", selection="best_test"),
        record("pkef", hr=0.9, epochs=20, overrides={"train.init_from": "runs/other"}),
        record("pkef", "beibei", hr=0.9),
    ]
    assert summary.honest([*others, *RECORDS]) == summary.honest(RECORDS)
    seeds = [
        record("pkef", hr=hr, epochs=20, seed=seed, overrides={"train.patience": 5})
        for seed, hr in ((0, 0.1), (1, 0.2))
    ]
    assert cells(summary.honest([*RECORDS, *seeds]))[3][2] == "15.0"


def test_what_was_chosen_on_the_test_split_is_marked_and_named():
    text = summary.honest([*RECORDS, record("copf", hr=0.4)])
    assert cells(text)[3][:3] == ["`copf`", "all", "**40.0**\\*"]
    assert text.endswith("\\* The weight of the contrastive term of `copf` for Taobao was chosen on the test split.")
    assert "chosen on the test split" not in summary.honest(RECORDS)
    # Nothing of it was chosen for another data set.
    assert "\\*" not in summary.honest([record("copf", "retail_rocket", 0.4)])


def test_runs_under_the_papers_rules_stand_beside_the_papers():
    runs = [
        record("copf", hr=0.16, protocol="paper", selection="best_test"),  # .0800 for .0838
        record("crgcn", hr=0.1, protocol="paper", selection="best_test", epochs=180),  # .0500 for .0439
        record("itemknn", protocol="paper", selection="last"),  # no paper has it
    ]
    # A paper's own selection goes before a more favourable one.
    runs[0]["selection"]["best_test_late"] = {"buy": {"users": 9, "hr@10": 0.2, "ndcg@10": 0.0796}}
    head, _, *lines = cells(pages.render("papers", runs))
    assert head[:6] == ["data set", "model", "metric", "published", "ours", "to paper"]
    assert lines == [
        [
            "Taobao",
            "`copf`",
            "buy NDCG@10",
            "0.0838",
            "0.0796",
            "-5.0 %",
            "10",
            "1",
            "best late epoch on test (oracle)",
        ],
        ["Taobao", "`crgcn`", "buy NDCG@10", "0.0439", "0.0500", "+13.9 %", "180", "1", "best epoch on test (oracle)"],
    ]
    runs[0]["selection"]["best_test_late"]["buy"]["ndcg@10"] = 0.0797
    assert pages.render("reached", runs) == (
        "Within 5 % of the published NDCG: `copf` on Taobao. Further off: `crgcn` (+13.9 %, 180 epochs)."
    )
