"""The final table: which anchors stand beside a model, and that none of them can cost a run its numbers."""

from __future__ import annotations

import dataclasses
import json

import jax
import polars as pl
import pytest
import toy
import trial

from mbjax import config as configuration
from mbjax import errors, experiment, models
from mbjax.experiment import references, wiring
from mbjax.reporting import results


def built(num_behaviors=3, model="popularity", **overrides):
    overrides = {"evaluate.ks": "5", **{name.replace("__", "."): value for name, value in overrides.items()}}
    config = configuration.load(model, "demo", models.entry(model).config, overrides=overrides)
    return wiring.build(config, toy.dataset(num_behaviors))


def test_anchors_are_the_models_of_that_name():
    made = built(model="cascading_rank")
    found = references.measured(made, "test", ("cart", "buy"))
    assert found.keys() == {"popularity", "own_items"}
    for name, table in found.items():
        other = built(model=name)
        expected = other.evaluator("test")(other.model, {}, other.graphs).table
        assert table == {behavior: expected[behavior] for behavior in ("cart", "buy")}


@pytest.mark.parametrize(
    ("num_behaviors", "model", "anchors", "names"),
    [
        (3, "popularity", None, ["own_items"]),
        (3, "own_items", None, ["popularity"]),
        (1, "itemknn", None, ["popularity"]),  # own_items would be the same
        (3, "itemknn", "own_items", ["own_items"]),
        (3, "itemknn", "()", []),
    ],
)
def test_which_anchors_stand_beside_a_model(num_behaviors, model, anchors, names):
    made = built(num_behaviors, model, **({} if anchors is None else {"evaluate__anchors": anchors}))
    assert list(references.measured(made, "test", ("buy",))) == names


def test_an_anchor_that_fails_is_named_and_left_out(monkeypatch, capsys):
    made = built(model="itemknn")

    def build(*arguments):
        raise MemoryError("no room")

    broken = models.MODELS["own_items"]._replace(build=build)
    monkeypatch.setitem(models.MODELS, "own_items", broken)
    assert list(references.measured(made, "test", ("buy",))) == ["popularity"]
    assert capsys.readouterr().out == "own_items is left out of the table: MemoryError: no room\n"


def test_numbers_are_written_before_anything_else_is_computed(folder, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(references, "measured", stop)
    config = trial.config(folder, model="own_items")
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, tmp_path / "run", record=tmp_path / "results")
    (recorded,) = (tmp_path / "results").iterdir()
    assert json.loads(recorded.read_text()) == json.loads((tmp_path / "run" / "results.json").read_text())


def test_the_final_table_tells_visited_from_unvisited_pairs(folder, tmp_path, capsys):
    outcome = experiment.train(trial.config(folder, model="own_items"), tmp_path / "run")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    row = outcome.tables["last"]["buy"]
    start = next(n for n, line in enumerate(lines) if line[:1] == ["buy"])
    assert lines[start][1:3] == [str(row["users"]), "own_items"]
    for line, part in zip(lines[start + 1 : start + 3], ("visited", "unvisited"), strict=True):
        assert line[:3] == [str(row[part]["users"]), str(row[part]["pairs"]), part]
    assert row["visited"]["pairs"] > 0 and row["unvisited"]["pairs"] > 0


@pytest.mark.parametrize("model", ["own_items", "bpr_mf"])
def test_the_last_line_names_what_lies_in_the_folder(model, folder, tmp_path, capsys):
    experiment.train(trial.config(folder, model=model, train__epochs=1, train__monitor="mean:rec@5"), tmp_path / "run")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run folder: ")]
    names = line.removeprefix(f"run folder: {tmp_path / 'run'} (").removesuffix(")").split(", ")
    assert ("checkpoints" in names) == (model == "bpr_mf")
    assert all((tmp_path / "run" / name).exists() for name in names if name != "checkpoints")
    assert {"results.json", "plots/"} <= set(names)
    if model == "bpr_mf":
        assert "metrics.csv" in names


def test_a_table_of_visited_pairs_alone_says_so(tmp_path, capsys):
    rows = ["user,item,behavior,time"]
    for user in range(9):
        items = [(user + k) % 9 for k in range(4)]
        rows += [f"u{user},i{i},{b},{t}" for t, (i, b) in enumerate((i, b) for i in items for b in ("view", "buy"))]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    settings = trial.config(tmp_path / "log.csv", model="own_items", data__log__behaviors="view,buy")
    experiment.train(settings, tmp_path / "run")
    said = " ".join(capsys.readouterr().out.split())
    assert "All held-out pairs are visited" in said and "visited: pairs that" not in said


def test_the_choice_of_anchors_is_no_setting_of_a_result():
    made = built(evaluate__anchors="()")
    assert made.config.overrides["evaluate.anchors"] == ()
    row = results.record(made.config, made.dataset, [], parameters=0)
    assert "evaluate.anchors" not in row["overrides"]


def test_unknown_anchors_are_refused():
    with pytest.raises(errors.ConfigError, match=r"evaluate\.anchors=.*'popularity' or 'own_items'"):
        built(evaluate__anchors="bvae")


def probable(made):
    """The same experiment with the softmax of its scores."""

    def score(params, tables, users, start, size, behavior):
        logits = made.model.score(params, tables, users, 0, made.model.info.num_items, behavior)
        return jax.lax.dynamic_slice_in_dim(jax.nn.log_softmax(logits, axis=1), start, size, axis=1)

    return dataclasses.replace(made, model=made.model._replace(score=score, probabilities=True))


def test_probabilities_are_told_in_a_line_drawn_and_recorded(folder, tmp_path, capsys, monkeypatch):
    plan = wiring.plan
    monkeypatch.setattr(wiring, "plan", lambda *given, **options: probable(plan(*given, **options)))
    outcome = experiment.train(trial.config(folder, model="popularity"), tmp_path / "run")
    out = capsys.readouterr().out
    row = outcome.tables["last"]["buy"]["probabilities"]
    (line,) = [line for line in out.splitlines() if line.startswith("probabilities: ")]
    assert f"buy {100 * row['calibration_error']:.1f} %" in line and f"buy {row['log_loss']:.3f}" in line
    written = json.loads((tmp_path / "run" / "results.json").read_text())["selection"]["last"]["buy"]
    assert written["probabilities"] == pytest.approx(row, abs=1e-6)
    assert written["familiar"]["pairs"] + written["new"]["pairs"] == written["pairs"]
    assert (tmp_path / "run" / "plots" / "reliability.png").is_file()
    curves = pl.read_csv(tmp_path / "run" / "reliability.csv")
    assert curves["behavior"].unique(maintain_order=True).to_list() == list(outcome.tables["last"])
    assert curves.filter(pl.col("behavior") == "buy")["found"].sum() == row["pairs"]
    # Measured again: the same, now with all of it on the screen.
    assert experiment.evaluate_run(tmp_path / "run") == {"test": outcome.tables["last"]}
    out = capsys.readouterr().out
    assert f"{written['familiar']['pairs']} familiar" in out and f"{written['new']['pairs']} new" in out
    assert f"buy: log loss {row['log_loss']:.3f} nats" in out


def test_other_scores_have_no_reliability(folder, tmp_path, capsys):
    outcome = experiment.train(trial.config(folder, model="popularity"), tmp_path / "run")
    assert not outcome.reliability and not (tmp_path / "run" / "reliability.csv").exists()
    out = capsys.readouterr().out
    assert "probabilities" not in out and " familiar" not in out
