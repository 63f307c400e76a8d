"""The lines of a comparison: means over seeds, the paper's numbers, tests against the best."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from mbjax import errors
from mbjax.reporting.compare import blocks, document, groups, sources


@pytest.fixture
def make_run(make_record):
    """Per-user values of purchase may be given, the mean of which becomes every metric."""

    def make(values=None, users=("x", "y", "z"), selection="valid", **changes):
        frame = None
        if values is not None:
            columns = {"behavior": ["purchase"] * len(values), "raw_user": list(users), "ndcg@5": values}
            frame = pl.DataFrame(columns)
            changes["purchase"] = float(np.mean(values))
        record = make_record(selection=selection, **changes)
        return sources.Run("file", record, selection, record["selection"][selection], frame)

    return make


def build(*runs, **options):
    names = dict.fromkeys(run.record["dataset"] for run in runs)
    grouped = {name: groups.group([run for run in runs if run.record["dataset"] == name])[0] for name in names}
    return blocks.build(runs, grouped, **options)


def test_seeds_are_averaged_beside_the_paper(make_run, anchor):
    sheets = build(make_run(purchase=0.1), make_run(purchase=0.2, seed=1), make_run(purchase=0.3, **anchor))
    assert [(sheet.dataset, sheet.behavior, sheet.users, sheet.pairs) for sheet in sheets] == [
        ("jd", "purchase", 4, 9), ("jd", "click", 4, 9),
    ]  # fmt: skip
    ndcg, hr = sheets[0].blocks
    assert (ndcg.metric, hr.metric, ndcg.best) == ("ndcg@5", "hr@5", None)
    bvae, popularity = ndcg.lines
    assert bvae.values == (0.1, 0.2)
    assert (bvae.mean, bvae.deviation) == (pytest.approx(0.15), pytest.approx(0.05))
    assert (bvae.paper, bvae.paper_deviation) == (0.0743, 0.0002)  # BVAE (RecSys 2023), JD, purchase
    assert (popularity.mean, popularity.deviation, popularity.paper) == (0.3, None, None)
    assert bvae.parts["visited"] == (blocks.Part(2, pytest.approx(0.075), pytest.approx(0.025)))
    assert bvae.parts["unvisited"].pairs == 7
    assert build(make_run(), papers=False)[0].blocks[0].lines[0].paper is None


def test_tests_are_against_the_best_over_the_means_of_seeds(make_run):
    # The seeds of the first model average to 2, 5, 8; the differences of the second are -1, -2, -3 (see
    # test_significance), the third is equal.
    sheets = build(
        make_run([1.0, 5.0, 7.0]),
        make_run([9.0, 3.0, 5.0], users=("z", "x", "y"), seed=1),
        make_run([1.0, 3.0, 5.0], ablation="wo_tff"),
        make_run([8.0, 5.0, 2.0], users=("z", "y", "x"), ablation="wo_base"),
        make_run(purchase=9.0, ablation="no_users"),
        behaviors=["purchase"],
        metric_names=["ndcg@5"],
    )
    (block,) = sheets[0].blocks
    assert block.best.label == "bvae"
    found = {line.group.label: line.test for line in block.lines}
    assert found["bvae"] is None and found["bvae no_users"] is None
    assert found["bvae wo_tff"].difference == -2
    assert found["bvae wo_tff"].t_test_holm == pytest.approx(2 * (1 - np.sqrt(12 / 14)))
    assert found["bvae wo_tff"].wilcoxon_holm == pytest.approx(0.5)
    assert found["bvae wo_base"][-4:] == (1, 1, 1, 1)


def test_the_best_is_chosen_among_what_is_tested(make_run):
    """A seed without per-user values lifts the mean of a group, not what is paired."""
    sheets = build(
        make_run([1.0, 2.0, 3.0]),
        make_run(purchase=9.0, seed=1),
        make_run([2.0, 3.0, 5.0], ablation="wo_tff"),
        behaviors=["purchase"],
        metric_names=["ndcg@5"],
    )
    (block,) = sheets[0].blocks
    assert block.lines[0].mean == 5.5 and block.best.label == "bvae wo_tff"
    assert block.lines[0].test.difference == pytest.approx(-4 / 3)


def test_other_users_cannot_be_paired(make_run):
    with pytest.raises(errors.IncompatibleError, match="'bvae' and 'bvae wo_tff' are of different users of behavior"):
        build(make_run([1.0, 2.0, 3.0]), make_run([1.0, 2.0, 3.0], users="abc", ablation="wo_tff"))


def test_data_sets_are_kept_apart(make_run):
    sheets = build(make_run(), make_run(dataset="taobao"))
    assert [(sheet.dataset, sheet.behavior) for sheet in sheets] == [
        ("jd", "purchase"), ("jd", "click"), ("taobao", "purchase"), ("taobao", "click"),
    ]  # fmt: skip
    assert all(len(block.lines) == 1 for sheet in sheets for block in sheet.blocks)


def with_cut_offs(make_run, *ks, **changes):
    run = make_run(**changes)
    table = {"purchase": {f"{kind}@{k}": 0.5 for kind in ("ndcg", "hr", "mrr") for k in ks}}
    return sources.Run(run.source, run.record, run.selection, table)


def test_cut_offs_of_the_papers_go_before_the_smallest_common_one(make_run):
    def chosen(*runs, names=()):
        return blocks.choose_metrics(runs, names)

    assert chosen(with_cut_offs(make_run, 3, 5, 10)) == ["ndcg@5", "hr@5"]
    assert chosen(with_cut_offs(make_run, 3, 10), with_cut_offs(make_run, 10, 20)) == ["ndcg@10", "hr@10"]
    assert chosen(with_cut_offs(make_run, 3, 5), with_cut_offs(make_run, 10)) == ["ndcg@5", "hr@5"]
    assert chosen(with_cut_offs(make_run, 3, 5, dataset="own")) == ["ndcg@3", "hr@3"]
    assert chosen(with_cut_offs(make_run, 3, 5), names=["mrr", "mrr@3", "mrr@5"]) == ["mrr@5", "mrr@3"]


WRONG = [
    ({"metric_names": ["auc@5"]}, "unknown metric 'auc'"),
    ({"metric_names": ["hr@x"]}, "--metric=hr@x: the cut-off is a whole number"),
    ({"metric_names": ["hr@0"]}, "whole number from 1 upwards, as in hr@10"),
    ({"metric_names": ["hr@7"]}, r"no run has hr@7. There are: hr@5, ndcg@5\."),
    ({"behaviors": ["buy"]}, "unknown behavior 'buy'"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_no_run_has_is_an_error(make_run, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        build(make_run(), **options)


def test_who_lacks_a_metric_is_named(make_run):
    """A file without the cut-off, and values of users without it: both are in some table and not where one looks."""
    first, second = make_run([1.0, 2.0, 3.0]), make_run([2.0, 3.0, 5.0], ablation="wo_tff")
    for row in second.table.values():
        del row["hr@5"]
    third = make_run([1.0, 1.0, 3.0], ablation="wo_base")
    third = dataclasses.replace(third, per_user=third.per_user.rename({"ndcg@5": "ndcg@10"}))
    grouped = {"jd": groups.group([first, second, third])[0]}
    sheets = blocks.build([first, second, third], grouped, behaviors=["purchase"])
    said = document.notes(grouped["jd"], sheets)
    assert "Without HR@5 of purchase: bvae wo_tff." in said
    wanted = "for want of per-user values (of purchase none of NDCG@5): bvae wo_base (seed 0)."
    assert any(line.endswith(wanted) for line in said)


def test_a_behavior_that_no_run_has_is_refused_before_anything_is_evaluated(write):
    with pytest.raises(errors.ConfigError, match="unknown behavior 'buy'"):
        sources.read([write("a.json")], behaviors=["buy"], say=lambda text: pytest.fail(text))
