"""Figures of what runs have written down, from files by hand."""

from __future__ import annotations

import json
import math
import re

import pytest

from mbjax import config, errors, models
from mbjax.reporting import shipped
from mbjax.reporting.figures import drawing, of_records, of_settings
from mbjax.sweep import records


def run(place, model, rows, **given):
    place.mkdir()
    made = config.load(model, "demo", models.entry(model).config, **given)
    (place / "config.yaml").write_text(config.dump(made))
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def row(epoch, step, **parts):
    return {"epoch": epoch, "step": step, "seconds": 1.0, "loss": 2.0, "loss_parts": parts}


def test_weights_are_those_of_the_mean_logarithm_of_the_variance(tmp_path):
    """Four steps of ln 4 in the first epoch: sigma^2 = 4, and 1 / (2 sigma^2) = 1 / 8."""
    four, two = math.log(4), math.log(2)
    rows = [row(0, 4, nll=9.0, uncertainty_view=4 * four, uncertainty_buy=0.0)]
    rows += [row(1, 8, nll=8.0, uncertainty_view=4 * two, uncertainty_buy=-4 * two)]
    rows[0]["loss_parts"] = dict(sorted(rows[0]["loss_parts"].items()))
    place = run(tmp_path / "a", "bvae", rows)
    assert list(of_records.weights([place]).panels[0].series) == ["buy", "view"]
    (place / "dataset.json").write_text(json.dumps({"behaviors": ["view", "buy"]}))
    drawn = of_records.weights([place])
    lines = drawn.panels[0].series
    assert list(lines) == ["view", "buy"]  # the order of the funnel
    assert lines["view"].x == [1, 2] and lines["view"].y == pytest.approx([1 / 8, 1 / 4])
    assert lines["buy"].y == pytest.approx([1 / 2, 1.0])
    assert drawn.table.columns == ["run", "task", "epoch", "weight"] and len(drawn.table) == 4
    printed = {"model.sdwl_regularizer": "logsigma"}  # the regularizer is ln sigma: sigma = 4
    drawn = of_records.weights([run(tmp_path / "b", "bvae", rows, overrides=printed)])
    assert drawn.panels[0].series["view"].y[0] == pytest.approx(1 / 32)


def test_a_model_without_learned_weights_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="'bpr_mf' as it was trained has no learned weights"):
        of_records.weights([run(tmp_path / "a", "bpr_mf", [row(0, 4, bpr=1.0)])])


def result(file, value, seed=0, protocol="honest", selection="valid", metric="ndcg@5", state="a", **overrides):
    content = {"model": "bvae", "dataset": "demo", "seed": seed, "ablation": None, "protocol": {"name": protocol}}
    content |= {"epochs": 3, "dataset_fingerprint": state}
    table = {"view": {metric: 0.01}, "buy": {metric: value}}
    file.write_text(json.dumps(content | {"overrides": overrides, "selection": {selection: table}}))


def test_a_metric_over_what_varied_among_results_files(tmp_path):
    """A run that says nothing of a field has the value that the model ships with: 64 on the demo data."""
    result(tmp_path / "a.json", 0.2, **{"model.embedding_size": 8})
    result(tmp_path / "b.json", 0.4, seed=1, **{"model.embedding_size": 8})
    result(tmp_path / "c.json", 0.5)
    drawn = of_settings.settings([tmp_path])
    (panel,) = drawn.panels
    line = panel.series["buy"]
    assert panel.title == "model.embedding_size" and list(panel.series) == ["buy", "view"]
    assert (line.x, line.y, line.around) == ([8.0, 64.0], pytest.approx([0.3, 0.5]), pytest.approx([0.1, 0.0]))
    assert [row["deviation"] is None for row in drawn.table.to_dicts()] == [False, True, False, True]
    assert "test split" in drawn.title and [row["runs"] for row in drawn.table.to_dicts()] == [2, 1, 2, 1]
    with pytest.raises(errors.ConfigError, match="unknown metric 'hr@7'"):
        of_settings.settings([tmp_path], "hr@7")
    with pytest.raises(errors.ConfigError, match="no setting varied"):
        of_settings.settings([tmp_path / "c.json"])


def test_a_run_stands_where_it_was(tmp_path):
    """A field of which nothing is said has the value of the ablation, of the data set, or of the run's own folder."""
    field = "model.sdwl"
    result(tmp_path / "a.json", 0.2, **{field: True})
    result(tmp_path / "b.json", 0.3)
    file = tmp_path / "b.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ablation": "wo_sdwl"}))
    by_field = {panel.title: panel for panel in of_settings.settings([tmp_path]).panels}
    assert set(by_field) == {"ablation", field}
    values = {row["value"] for row in of_settings.settings([tmp_path]).table.to_dicts() if row["field"] == field}
    assert values == {"true", "false"}
    # A log is called as it likes, and has nothing of the demo's.
    plain = config.defaults("bpr_mf", None, models.entry("bpr_mf").config)["train.batch_size"]
    assert shipped.values("bpr_mf", "shop", "honest", None)["train.batch_size"] == plain
    assert shipped.values("bpr_mf", "demo", "honest", None)["train.batch_size"] != plain
    own = run(tmp_path / "run", "bpr_mf", [], overrides={"train.batch_size": 77})
    result(own / "results.json", 0.2)
    (tmp_path / "sweep" / "runs").mkdir(parents=True)
    assert of_settings._values(own, "bpr_mf", own / "results.json")["train.batch_size"] == 77
    assert of_settings._values(own, "bpr_mf", own / "other.json") == {}
    assert [of_settings._name(text) for text in ("demo", "/x/shop.csv", "/x/a.b.csv.gz", "/x/v1.2")] == [
        "demo",
        "shop",
        "a",
        "v1.2",
    ]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"protocol": "paper", "selection": "last"}, "several protocols (honest, paper)"),
        ({"selection": "last"}, "several ways to choose an epoch (last, valid)"),
        ({"state": "b"}, "several states of the data set (a, b)"),
    ],
)
def test_runs_that_do_not_compare_stand_in_no_figure(other, said, tmp_path):
    result(tmp_path / "a.json", 0.2, **{"model.embedding_size": 8})
    result(tmp_path / "b.json", 0.4, **other)
    with pytest.raises(errors.ConfigError, match=re.escape(said)):
        of_settings.settings([tmp_path])


def test_what_is_left_out_is_named(tmp_path):
    result(tmp_path / "a.json", 0.2, **{"model.embedding_size": 8})
    result(tmp_path / "b.json", 0.3)
    result(tmp_path / "again.json", 0.3)
    result(tmp_path / "other.json", 0.5, metric="ndcg@10", **{"model.embedding_size": 16})
    drawn = of_settings.settings([tmp_path], "ndcg@5")
    assert "repeat a seed of a setting: b.json" in drawn.note  # after again.json
    assert "without ndcg@5: other.json" in drawn.note
    assert {row["runs"] for row in drawn.table.to_dicts()} == {1}
    # By itself it takes a cut-off that all have.
    both = {"buy": {"ndcg@5": 0.1, "ndcg@10": 0.2}}
    for name in ("a", "b", "again"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"selection": {"valid": both}}))
    assert "ndcg@10" in of_settings.settings([tmp_path]).title


def swept(place, model, number, setting, value=0.1, state="finished", fingerprint="a"):
    place.mkdir(exist_ok=True)
    (place / "sweep.json").write_text(json.dumps({"dataset": "demo"}))
    table = {"buy": {"ndcg@5": value}} if state != "failed" else {}
    one = records.Record(model, number, 0, setting, state, "buy:ndcg@5", value, table=table, fingerprint=fingerprint)
    records.write(place / "records", one)


def test_runs_of_a_sweep_that_did_not_finish_are_named(tmp_path):
    for number, state in enumerate(["finished", "given up", "finished", "failed", *["given up"] * 5]):
        swept(tmp_path / "s", "bvae", number, {"model.embedding_size": str(number)}, state=state)
    note = of_settings.settings([tmp_path / "s"]).note
    assert "since they have failed: s/bvae-003-seed0." in note
    assert "since they were given up: s/bvae-001-seed0, s/bvae-004-seed0, " in note and "-007-seed0 and 1 more." in note
    swept(tmp_path / "t", "bvae", 0, {"model.embedding_size": "1"}, state="failed")
    with pytest.raises(errors.ConfigError, match="no setting varied.* have failed: t/bvae-000-seed0"):
        of_settings.settings([tmp_path / "t"])


def test_sweeps_of_several_states_of_the_data_stand_in_no_figure(tmp_path):
    swept(tmp_path / "s", "bvae", 0, {"model.embedding_size": "1"})
    swept(tmp_path / "t", "bvae", 0, {"model.embedding_size": "2"}, fingerprint="b")
    with pytest.raises(errors.ConfigError, match=re.escape("several states of the data set (a, b)")):
        of_settings.settings([tmp_path / "s", tmp_path / "t"])


def test_settings_that_differ_in_several_fields_are_points_and_models_have_their_own_fields(tmp_path):
    """Of a search no two settings stand on one line; a model without steps has no learning rate."""
    for number, (alpha, beta) in enumerate([("0", "0.9"), ("0.002", "0.3"), ("0.05", "0.9042")]):
        swept(tmp_path / "s", "cascading_rank", number, {"model.alpha": alpha, "model.beta": beta})
    for number, rate in enumerate(["0.001", "0.01"]):
        swept(tmp_path / "t", "bpr_mf", number, {"train.learning_rate": rate})
    drawn = of_settings.settings([tmp_path / "s", tmp_path / "t"])
    alpha, beta, rate = drawn.panels
    assert list(alpha.series) == list(beta.series) == ["cascading_rank, buy"] and not alpha.is_joined
    assert list(rate.series) == ["bpr_mf, buy"] and rate.is_joined
    for model, fields in (("bpr_mf", {"train.learning_rate": "0.1"}), ("cascading_rank", {"model.alpha": "0.2"})):
        swept(tmp_path / "u", model, 0, fields)
    with pytest.raises(errors.ConfigError, match="no setting varied"):  # a field that one has and the other has not
        of_settings.settings([tmp_path / "u"])


def test_what_would_run_into_each_other_is_not_written_and_series_of_several_panels_are_named(tmp_path, monkeypatch):
    finished = {}
    monkeypatch.setattr(drawing.plots, "write", lambda made, path, lettering: finished.update(axes=made.axes))

    def draw(*panels):
        drawing.draw(drawing.Drawn(None, panels, "t", ""), tmp_path / "a.png")
        return finished["axes"]

    def lines(label, *x, **options):
        return drawing.Lines("t", {label: drawing.Line(x, x)}, "x", "y", **options)

    apart, near, log = draw(lines("a", 1, 2, 4), lines("b", 0, 2, 2.1), lines("a", 0.001, 0.01, 0.1, is_log=True))
    assert list(apart.get_xticks()) == [1, 2, 4] and list(log.get_xticks()) == [0.001, 0.01, 0.1]
    assert 2.1 not in near.get_xticks()
    assert all(axis.get_legend() for axis in (apart, near, log))
    (alone,) = draw(lines("a", 1))
    assert alone.get_legend() is None


def test_an_oracle_alone_is_no_result(tmp_path):
    result(tmp_path / "a.json", 0.2, selection="test_per_behavior")
    with pytest.raises(errors.DataError, match=r"a.json has no results at an epoch .* \(test_per_behavior\)"):
        of_settings.settings([tmp_path])


def test_a_sweep_has_validation_pairs_and_texts_are_places(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text(json.dumps({"dataset": "demo"}))
    for number, (behaviors, layers) in enumerate([("buy", 1), ("buy", 20), ("view,buy", 1)]):
        setting = {"data.behaviors": behaviors, "model.layers": str(layers)}
        table = {"buy": {"ndcg@5": 0.1 * (number + 1)}}
        one = records.Record("m", number, 0, setting, "finished", "buy:ndcg@5", 0.1, table=table)
        records.write(tmp_path / "s" / "records", one)
    records.write(tmp_path / "s" / "records", records.Record("m", 3, 0, {}, "failed", "buy:ndcg@5"))
    drawn = of_settings.settings([tmp_path / "s"])
    first, second = drawn.panels
    assert first.labels == {0: "buy", 1: "view,buy"} and first.series["buy, layers=1"].x == [0.0, 1.0]
    assert second.is_log and second.series["buy, behaviors=buy"].y == pytest.approx([0.1, 0.2])
    drawing.write(drawn, tmp_path / "new", "settings")
    assert (tmp_path / "new" / "settings.png").stat().st_size > 5000
    assert not first.is_joined and second.is_joined  # behaviors have no order
    # Of many settings each is a point of its behavior.
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "sweep.json").write_text(json.dumps({"dataset": "demo"}))
    for number in range(13):
        setting = {"model.layers": str(number), "train.batch_size": str(2**number)}
        one = records.Record("m", number, 0, setting, "finished", "buy:ndcg@5", 0.1, table={"buy": {"ndcg@5": 0.1}})
        records.write(tmp_path / "t" / "records", one)
    many = of_settings.settings([tmp_path / "t"])
    for panel in many.panels:
        assert list(panel.series) == ["buy"] and len(panel.series["buy"].x) == 13 and not panel.is_joined
    assert len(set(many.table["line"])) == 26
    drawing.write(many, tmp_path / "new", "many")
    result(tmp_path / "c.json", 0.5)
    with pytest.raises(errors.ConfigError, match="several splits \\(test, valid\\)"):
        of_settings.settings([tmp_path / "s", tmp_path / "c.json"])
