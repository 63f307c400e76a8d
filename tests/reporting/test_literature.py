"""Which row of which paper stands beside a run: by value, from the papers' tables."""

from __future__ import annotations

import pytest

from mbjax import models
from mbjax.config import about
from mbjax.reporting import literature, pages, report


def test_published_numbers_are_in_the_package():
    found = literature.find("bvae", None, "jd")
    assert {name: row["metrics"]["ndcg@5"] for name, row in found.items()} == {
        "purchase": 0.0743, "click": 0.0551, "favourite": 0.0859,
    }  # fmt: skip
    assert literature.find("multivae", "union", "jd")["purchase"]["metrics"]["ndcg@5"] == 0.0544
    assert literature.find("unknown", None, "jd") == {}
    assert sum(len(table["rows"]) for table in literature.published()) == 301
    # Two papers have a row of that name.
    assert literature.find("copf", "summation", "taobao")["buy"]["metrics"]["hr@10"] == 0.0789
    assert literature.find("pkef", "summation", "taobao")["buy"]["metrics"]["hr@10"] == 0.1142


def test_a_model_put_together_by_hand_is_not_the_papers():
    record = {"model": "copf", "dataset": "taobao", "ablation": None, "epochs": 200}
    record["overrides"] = {"model.backbone.layers": [1]}
    assert literature.find_of(record)["buy"]["metrics"]["hr@10"] == 0.1552
    assert literature.find_of(record | {"overrides": {"model.head.name": "pme"}}) == {}
    assert literature.find_of(record | {"overrides": {"model.contrastive.weight": 0.0}}) == {}
    assert "buy" in literature.find_of(record | {"overrides": {"model.contrastive.weight": 0.5}})
    pme = literature.find_of(record | {"ablation": "pme"})
    assert pme["buy"]["metrics"]["hr@10"] == 0.1525


OTHER = [
    ("nmtr", {"data.behaviors": ["cart", "buy"]}, 30),
    ("nmtr", {"data.subsample": "view=0.5"}, 30),
    ("bpr_mf", {"evaluate.mask": "all_behaviors"}, 300),
    ("cascading_rank", {"model.alpha": 0.7}, 0),
]


@pytest.mark.parametrize(("model", "overrides", "epochs"), OTHER)
def test_another_task_or_rule_is_not_the_papers(model, overrides, epochs):
    record = {"model": model, "dataset": "taobao", "ablation": None, "overrides": {}, "epochs": epochs}
    assert "buy" in literature.find_of(record)
    assert literature.find_of(record | {"overrides": overrides}) == {}
    assert "buy" in literature.find_of(record | {"overrides": {"evaluate.batch_size": 64}})


@pytest.mark.parametrize("model", report.ANCHORS)
def test_what_was_measured_by_no_paper_is_not_published(model):
    record = {"model": model, "dataset": "taobao", "ablation": None, "overrides": {}, "epochs": 0}
    assert literature.find_of(record) == {}


def test_a_model_of_views_is_not_beside_what_a_paper_has_of_buys():
    record = {"model": "lightgcn", "dataset": "taobao", "ablation": None, "epochs": 20}
    assert set(literature.find_of(record | {"overrides": {"data.target": "buy"}})) == {"buy"}
    assert literature.find_of(record | {"overrides": {"data.target": "view"}}) == {}


AT_NMTR = (50, 80, 100, 200)
# HR@100 and NDCG@100 of Table II of NMTR (ICDE 2019), copied from the paper.
TABLE_2 = [
    ("nmtr", None, {}, "NMTR-GMF", 0.3119, 0.0741),
    ("nmtr", "mlp", {}, "NMTR-MLP", 0.3188, 0.0762),
    ("nmtr", None, {"model.unit": "mlp"}, "NMTR-MLP", 0.3188, 0.0762),
    ("nmtr", "neumf", {}, "NMTR-NeuMF", 0.3193, 0.0760),
    ("cmf", None, {}, "CMF", 0.2829, 0.0663),
    ("mc_bpr", None, {}, "MC-BPR", 0.2659, 0.0647),
    ("mc_gmf", None, {}, "MC-GMF", 0.2975, 0.0690),
    ("mc_mlp", None, {}, "MC-MLP", 0.2810, 0.0684),
    ("mc_neumf", None, {}, "MC-NeuMF", 0.3010, 0.0719),
    ("mc_bpr", None, {"data.behaviors": ["buy"]}, "BPR", 0.2002, 0.0463),
    ("gmf", "shared_concat", {}, "GMF", 0.2920, 0.0665),
    ("mlp", "shared_concat", {}, "MLP", 0.2679, 0.0617),
    ("neumf", "shared_concat", {}, "NeuMF", 0.2929, 0.0714),
]
# Table III, of NMTR-GMF.
TABLE_3 = [
    ({"data.behaviors": ["cart", "buy"]}, "purchase+cart", 0.2979, 0.0705),
    ({"data.behaviors": ["view", "buy"]}, "purchase+view", 0.3029, 0.0726),
    ({"data.behaviors": ["cart", "buy"], "data.subsample": {"cart": 0.5}}, "purchase+50%cart", 0.2947, 0.0701),
    ({"data.behaviors": ["view", "buy"], "data.subsample": "view=0.5"}, "purchase+50%view", 0.2953, 0.0698),
]


def of_beibei(model, ablation, overrides, cut_offs=AT_NMTR):
    row = {f"{kind}@{k}": 0.1 for kind in ("hr", "ndcg") for k in cut_offs}
    record = {"model": model, "dataset": "beibei", "ablation": ablation, "overrides": overrides, "epochs": 30}
    return record | {"selection": {"valid": {"buy": row}}}


@pytest.mark.parametrize(("model", "ablation", "overrides", "name", "hr", "ndcg"), TABLE_2)
def test_a_run_at_the_cut_offs_of_nmtr_is_beside_its_row_of_table_2(model, ablation, overrides, name, hr, ndcg):
    found = literature.find_of(of_beibei(model, ablation, overrides))
    assert set(found) == {"buy"}  # the paper calls it purchase
    assert found["buy"]["model"] == name
    assert (found["buy"]["metrics"]["hr@100"], found["buy"]["metrics"]["ndcg@100"]) == (hr, ndcg)
    assert found["buy"]["paper"] == "NMTR (ICDE 2019), other data"
    assert "295,622 purchases, here 304,576" in found["buy"]["protocol"]


@pytest.mark.parametrize(("overrides", "subset", "hr", "ndcg"), TABLE_3)
def test_a_run_on_a_part_of_the_pairs_is_beside_its_row_of_table_3(overrides, subset, hr, ndcg):
    found = literature.find_of(of_beibei("nmtr", None, overrides))["buy"]
    assert (found["model"], found["subset"]) == ("NMTR-GMF", subset)
    assert found["metrics"] == {"hr@100": hr, "ndcg@100": ndcg}


def test_every_row_of_nmtr_stands_beside_a_run():
    names = {(name, None) for *_, name, _, _ in TABLE_2}
    names |= {(unit, subset) for unit in ("NMTR-GMF", "NMTR-MLP", "NMTR-NeuMF") for _, subset, _, _ in TABLE_3}
    rows = [row for part in literature.published() if part["paper"].startswith("NMTR") for row in part["rows"]]
    assert {(row["model"], row.get("subset")) for row in rows} == names
    for ablation, unit in ((None, "NMTR-GMF"), ("mlp", "NMTR-MLP"), ("neumf", "NMTR-NeuMF")):
        for overrides, subset, _, _ in TABLE_3:
            row = literature.find_of(of_beibei("nmtr", ablation, overrides))["buy"]
            assert (row["model"], row["subset"]) == (unit, subset)


@pytest.mark.parametrize("model", ["nmtr", "neumf"])
def test_the_cut_offs_of_a_run_choose_between_papers_of_one_name(model):
    """NMTR and NeuMF on Beibei are in COPF's Table 2 at 10, and in NMTR's own at 50 to 200, on other data."""
    expected = {"nmtr": (0.0429, 0.0198), "neumf": (0.0232, 0.0135)}[model]
    for cut_offs in ((10, 20, 50), (10,), ()):
        found = literature.find_of(of_beibei(model, None, {}, cut_offs))["buy"]
        assert found["paper"] == "COPF (KDD 2025)"
        assert (found["metrics"]["hr@10"], found["metrics"]["ndcg@10"]) == expected
    ablation = "shared_concat" if model == "neumf" else None
    assert literature.find_of(of_beibei(model, ablation, {}))["buy"]["paper"].startswith("NMTR")


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("nmtr", {"data.behaviors": ["buy"]}),
        ("nmtr", {"data.subsample": {"view": 0.5}}),
        ("nmtr", {"data.behaviors": ["cart", "buy"], "data.subsample": "cart=0.25"}),
        ("mc_bpr", {"data.behaviors": ["cart", "buy"]}),
        ("cmf", {"data.behaviors": ["buy"]}),
    ],
)
def test_parts_of_the_pairs_that_no_table_has_are_beside_no_row(model, overrides):
    assert literature.find_of(of_beibei(model, None, overrides)) == {}


def test_every_name_is_in_a_table_of_its_paper():
    tables = literature.published()
    alone = [literature.Row(*of) for name in models.MODELS for of in about.of(name).target_alone.items()]
    for name in [*(row for rows in literature.rows().values() for row in rows), *alone]:
        assert any(row["model"] == name.model for t in tables if t["paper"].startswith(name.paper) for row in t["rows"])


def test_the_table_of_a_model_shows_the_row_of_the_paper_at_its_cut_offs():
    record = of_beibei("nmtr", None, {"evaluate.ks": list(AT_NMTR)}) | {
        "protocol": {"name": "honest"}, "seed": 0, "behaviors": ["view", "cart", "buy"], "command": "train",
        "seconds": {}, "machine": "here", "versions": {},
    }  # fmt: skip
    lines = pages.render("nmtr-beibei", [record]).splitlines()
    assert lines[0].startswith("| behavior | run | epoch of | seeds | HR@50 | NDCG@50 |")
    assert lines[2].startswith("| buy | published, NMTR (ICDE 2019), other data | as published |  | 0.2050 | 0.0590 |")
    assert lines[-1].startswith("- published: leave-one-out; full ranking; Beibei processed in another way")
