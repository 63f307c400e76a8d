"""Popularity and own_items stand in every comparison: read from beside, or computed."""

import json

import numpy as np
import pytest
import trial

from mbjax import experiment
from mbjax.reporting.compare import __main__ as program
from mbjax.reporting.compare import anchors, sources


def found(*words, **options):
    runs, _ = sources.read(words, **options)
    return anchors.missing(runs, **options)


def test_results_files_that_lie_beside(write, anchor):
    """Only a plain run on the same data with the same candidates stands for the anchor."""
    path = write("a/bvae.json")
    write("a/popularity-count.json", purchase=0.9, ablation="count", **anchor)
    write("a/popularity-jd.json", purchase=0.1, **anchor)
    write("a/popularity-of_old_data.json", purchase=0.2, dataset_fingerprint="cd" * 32, **anchor)
    write("a/popularity-paper.json", purchase=0.3, protocol="paper", **anchor)
    write("a/popularity-taobao.json", purchase=0.4, dataset="taobao", **anchor)
    write("b/own_items-jd.json", **anchor | {"model": "own_items"})
    (run,), notes = found(path)
    assert (run.record["model"], run.table["purchase"]["hr@5"], run.per_user) == ("popularity", 0.1, None)
    assert run.untested.startswith("a results file without")
    assert notes == [
        "own_items is not shown: no results file of it lies beside those of jd. This makes one: "
        "mbjax train --model=own_items --dataset=jd --record"
    ]


def test_those_that_were_named_are_left_alone(write, anchor):
    words = [write("a.json"), write("popularity.json", **anchor), write("own.json", **anchor | {"model": "own_items"})]
    assert found(*words) == ([], [])


def test_of_one_behavior_popularity_is_enough(write, anchor):
    write("popularity-jd.json", **anchor)
    (run,), notes = found(write("a.json", behaviors=["purchase"]))
    assert (run.record["model"], notes) == ("popularity", [])


def test_they_are_computed_on_the_data_of_a_run_folder(trained, compiled):
    folder = str(trained / "multivae0")
    made, notes = found(folder, ks=[3])
    assert [run.record["model"] for run in made] == ["popularity", "own_items"] and not notes
    ((named,), _) = sources.read([str(trained / "popularity")], ks=[3])
    assert made[0].table == named.table
    assert made[0].per_user.equals(named.per_user)
    assert made[1].table["buy"]["visited"]["pairs"] > 0
    values = made[1].per_user.filter(made[1].per_user["behavior"] == "buy")["ndcg@3"].to_numpy()
    assert np.mean(values) == pytest.approx(made[1].table["buy"]["ndcg@3"])
    made, _ = found(folder, tests=False)
    assert made[0].per_user is None and made[0].untested == "--no-tests"
    made, _ = found(folder, split="valid")
    ((named,), _) = sources.read([str(trained / "popularity")], split="valid")
    assert made[0].table == named.table


def test_the_candidates_are_those_of_the_run(tmp_path, trained, compiled):
    """Ranked without what the user met in any way, own_items has nothing left to put first."""
    config = trial.config(trained.parent / "toy", "popularity", evaluate__mask="all_behaviors")
    experiment.train(config, tmp_path / "masked")
    (own,), _ = found(str(tmp_path / "masked"))
    assert own.record["protocol"]["mask"] == "all_behaviors"
    assert own.table["buy"]["visited"]["hr@5"] == 0


def test_they_are_in_the_files(write, anchor, tmp_path, monkeypatch):
    monkeypatch.setattr(program.compilation, "keep", lambda: None)
    write("popularity-jd.json", purchase=0.1, **anchor)
    write("own_items-jd.json", purchase=0.2, **anchor | {"model": "own_items"})
    assert program.main([write("a.json"), f"--out={tmp_path / 'out'}", "--no-tests"]) == 0
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| popularity | 1 | 0.1000 |" in text and "| own_items | 1 | 0.2000 |" in text
    assert json.loads((tmp_path / "own_items-jd.json").read_text())["model"] == "own_items"
