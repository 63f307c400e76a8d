"""Every path of a command line means the same from everywhere; a run can be used wherever it and its data lie."""

from __future__ import annotations

import pathlib
import sys

import polars as pl
import pytest
from commands import failure

import mbjax
from mbjax import cli, compilation, config, models
from mbjax.cli import options, reading
from mbjax.data import __main__ as data
from mbjax.reporting import plots, results
from mbjax.reporting.compare import __main__ as compare

LOG = "user,item,behavior,time\n" + "".join(
    f"u{user},i{(user * 3 + n) % 11},{behavior},{10 * n + user}\n"
    for user in range(8)
    for n, behavior in enumerate(["view", "buy", "view", "buy", "buy", "view"])
)
BEHAVIORS = "--log.behaviors=view,buy"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a log in it; the working directory is another folder."""
    (tmp_path / "work").mkdir()
    (tmp_path / "log.csv").write_text(LOG)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(compilation, "keep", lambda: None)
    monkeypatch.setattr(plots, "per_behavior", lambda *args, **given: None)
    return tmp_path


@pytest.mark.parametrize("option", [option for option in options.OPTIONS if option.is_path], ids=lambda one: one.name)
def test_every_option_that_is_a_path_becomes_absolute(home, option):
    for mode in option.modes:
        for text, meant in (("~/a/b", home / "a/b"), ("c", home / "work/c"), ("/d/../e", pathlib.Path("/e"))):
            assert reading.read([f"--{option.name}={text}"], mode).options[option.name] == str(meant)


def test_every_option_that_takes_a_path_says_so():
    words = ("FILE", "DIR", "LOG", "PATH")
    marked = {option.name for option in options.OPTIONS if option.is_path}
    meant = {option.name for option in options.OPTIONS if any(word in option.value for word in words)}
    # Or a name, ids, several, the edges of another command: read by their own rules.
    assert meant - marked == {"dataset", "users", "data-dir", "groups"}
    assert marked <= meant


def test_a_tilde_behind_an_equals_sign(home, capsys):
    """The shell does not expand it there."""
    argv = ["--model=popularity", "--dataset=~/log.csv", BEHAVIORS, "--evaluate.anchors=none"]
    assert cli.train_main([*argv, "--workdir=~/run", "--record=~/kept/r.json"]) == 0
    assert (home / "run/config.yaml").is_file() and (home / "kept/r.json").is_file()
    assert str(home) not in (home / "kept/r.json").read_text()
    assert cli.eval_main(["--workdir=~/run", "--per-user=~/kept/users.parquet"]) == 0
    assert pl.read_parquet(home / "kept/users.parquet").height
    (home / "some.txt").write_text("u3\nu5\n")
    assert cli.recommend_main(["--workdir=~/run", "--out=~/lists", "--users=~/some.txt", "--behaviors=buy"]) == 0
    assert pl.read_parquet(home / "lists/buy.parquet")["user"].unique().sort().to_list() == ["u3", "u5"]
    assert data.main(["~/log.csv", BEHAVIORS, "--no-anchors", "--json"]) == 0
    (home / "page.md").write_text("<!-- results:nothing -->\n\n<!-- /results -->\n")
    assert results.main(["~/page.md", "--results=~/none"]) == 3 and "~/page.md: no results" in capsys.readouterr().err
    assert compare.main(["~/run", "--no-tests", "--metric=ndcg@5", "--out=~/compared"]) == 0
    assert (home / "compared/comparison.csv").is_file()
    assert list((home / "work").iterdir()) == []


def test_a_tilde_from_python(home, capsys):
    settings = mbjax.load_config(
        "popularity", "~/log.csv", overrides={"log.behaviors": ["view", "buy"], "evaluate.anchors": ()}
    )
    outcome = mbjax.train_run(settings, "~/run", record=pathlib.Path("~/r.json"))
    assert outcome.workdir == home / "run" and (home / "r.json").is_file()
    assert mbjax.recommend_run("~/run", top_k=2)["buy"] == home / "run/recommendations/buy.parquet"
    assert mbjax.recommend_run("~/run", top_k=2, out="~/lists")["buy"] == home / "lists/buy.parquet"
    (home / "new.csv").write_text("user,item,behavior,time\nzed,i3,buy,999\n")
    lists = mbjax.recommend_run("~/run", histories="~/new.csv", top_k=2, out="~/new")
    assert pl.read_parquet(lists["buy"])["user"].unique().to_list() == ["zed"]
    mbjax.evaluate_run("~/run", per_user=pathlib.Path("~/users.parquet"))
    assert (home / "users.parquet").is_file()
    assert list((home / "work").iterdir()) == []


def test_a_run_is_used_from_elsewhere_and_with_its_data_moved(home, monkeypatch, capsys):
    (home / "work/rel.csv").write_text(LOG)
    argv = ["--model=popularity", "--dataset=rel.csv", BEHAVIORS, "--evaluate.anchors=none", "--workdir=runs/rel"]
    assert cli.train_main(argv) == 0
    monkeypatch.chdir(home)
    run = "--workdir=work/runs/rel"
    assert cli.eval_main([run]) == cli.recommend_main([run]) == cli.train_main(["--resume", run]) == 0
    capsys.readouterr()
    pathlib.Path("work/rel.csv").rename("moved.csv")
    text = f"the run was trained on '{home}/work/rel.csv', which is not there any more; give --dataset=PATH"
    for program, more in ((cli.eval_main, []), (cli.recommend_main, []), (cli.train_main, ["--resume"])):
        assert failure(capsys, program, run, *more).startswith(text)
    assert cli.eval_main([run, "--dataset=moved.csv"]) == cli.recommend_main([run, "--dataset=~/moved.csv"]) == 0
    assert f"dataset: {home}/work/rel.csv" in pathlib.Path("work/runs/rel/config.yaml").read_text()
    mbjax.evaluate_run("work/runs/rel", dataset="moved.csv")
    with pytest.raises(mbjax.ConfigError, match="which is not there any more; give"):
        mbjax.evaluate_run("work/runs/rel")
    capsys.readouterr()
    (home / "other.csv").write_text(LOG.replace("u1,", "u9,"))
    line = failure(capsys, cli.eval_main, run, "--dataset=other.csv", code=4)
    assert "was trained on other data" in line
    assert "unknown data set 'nowhere'" in failure(capsys, cli.eval_main, run, "--dataset=nowhere")
    assert cli.train_main(["--resume", run, "--dataset=moved.csv"]) == 0  # from now on the run knows
    assert cli.eval_main([run]) == 0


def test_a_run_of_old_keeps_the_path_as_it_was_typed(home, monkeypatch, capsys):
    made = config.load("popularity", str(home / "log.csv"), models.MODELS["popularity"].config)
    (home / "run").mkdir()
    (home / "run/config.yaml").write_text(config.dump(made.model_copy(update={"dataset": "log.csv"})))
    monkeypatch.setattr(sys, "argv", ["eval.py"])
    line = failure(capsys, cli.eval_main, f"--workdir={home / 'run'}")
    assert line.startswith(f"the run was trained on 'log.csv', which is not in '{home / 'work'}'; give --dataset=PATH")
