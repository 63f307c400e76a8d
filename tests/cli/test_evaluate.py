from __future__ import annotations

import pathlib

import pytest
from commands import failure

from mbjax import candidates, cli, config, seen
from mbjax.cli import evaluate


def test_eval_hands_the_run_on(experiment, run):
    argv = f"--workdir={run} --checkpoint=last --split=valid,test --ks=10,50 --mask=all_behaviors --groups=5,20"
    assert cli.eval_main([*argv.split(), "--behaviors=click", "--per-user=u.parquet", "--evaluate.item_tile=7"]) == 0
    [(name, (workdir, settings), options)] = experiment.calls
    assert (name, workdir) == ("evaluate_run", run)
    section = settings.evaluate
    assert (section.ks, section.mask, section.groups, section.behaviors, section.item_tile) == (
        (10, 50),
        "all_behaviors",
        (5, 20),
        ("click",),
        7,
    )
    assert settings.model.embedding_size == 50
    assert options == {
        "checkpoint": "last",
        "splits": ("valid", "test"),
        "per_user": pathlib.Path("u.parquet").absolute(),
    }


def test_eval_without_options_keeps_the_run(experiment, run):
    assert cli.eval_main([f"--workdir={run}"]) == 0
    [(_, (_, settings), options)] = experiment.calls
    assert config.dump(settings) == (run / "config.yaml").read_text()
    assert options == {"checkpoint": None, "splits": ("test",), "per_user": None}


def test_eval_recommends(experiment, run):
    assert cli.eval_main([f"--workdir={run}", "--recommend", "--users=17, b,", "--top-k=5"]) == 0
    (run / "users.txt").write_text("\ufeff17\r\n\n x y \n", encoding="utf-8")
    assert cli.eval_main([f"--workdir={run}", "--recommend", f"--users={run / 'users.txt'}", "--out=lists"]) == 0
    assert [(name, options) for name, _, options in experiment.calls] == [
        ("recommend", {"checkpoint": None, "top_k": 5, "out": None, "users": ("17", "b")}),
        (
            "recommend",
            {"checkpoint": None, "top_k": 20, "out": pathlib.Path("lists").absolute(), "users": ("17", "x y")},
        ),
    ]


@pytest.mark.parametrize(
    ("name", "text", "users"),
    [
        ("u.csv", "user,city\n17,Rom\nx y,Bern\n", ("17", "x y")),
        ("u.csv", "visitorid;user\n17;1\nb;2\n", ("17", "b")),
        ("u.tsv", "city\tuser\nRom\t17\n", ("17",)),
        ("u.csv", "user\n17\nb\n", ("17", "b")),
        ("u.csv", "17\nb\n", ("17", "b")),
    ],
)
def test_users_stand_in_a_table(experiment, run, name, text, users):
    (run / name).write_text(text, encoding="utf-8")
    argv = [f"--workdir={run}", f"--users={run / name}"]
    if "visitorid" in text:  # as the run's log calls them
        path = run / "config.yaml"
        path.write_text(path.read_text().replace("user: user\n", "user: visitorid\n"))
    assert cli.recommend_main(argv) == 0
    [(_, _, options)] = experiment.calls
    assert options["users"] == users


def test_a_table_of_users_that_names_none_is_one_line(experiment, capsys, run):
    (run / "u.csv").write_text("who,city\n17,Rom\n")
    said = failure(capsys, cli.recommend_main, f"--workdir={run}", f"--users={run / 'u.csv'}")
    remedy = "If each line is one id, call the file .txt."
    assert said == f"u.csv: its columns are who, city, and none is 'user', the users. {remedy}"
    (run / "u.csv").write_text("user,city\n17,Rom\n,Bern\n")
    argv = [f"--workdir={run}", f"--users={run / 'u.csv'}"]
    assert "line 3: the user is empty" in failure(capsys, cli.recommend_main, *argv, code=3)
    (run / "u.txt").write_bytes("17\n".encode("utf-16"))
    argv = [f"--workdir={run}", f"--users={run / 'u.txt'}"]
    assert "write one raw user id a line" in failure(capsys, cli.recommend_main, *argv, code=3)
    assert experiment.calls == []


def test_what_may_be_listed_is_handed_on(experiment, run):
    argv = "--list=continue,discover --repeat --available=stock.csv --groups=brands.csv --max-per-group=2"
    assert cli.recommend_main([f"--workdir={run}", *argv.split()]) == 0
    [(_, (_, settings), options)] = experiment.calls
    assert settings.evaluate.groups == ()  # those of users are another option
    assert options == {
        "checkpoint": None,
        "top_k": 20,
        "out": None,
        "users": None,
        "lists": ("continue", "discover"),
        "repeat": True,
        "available": pathlib.Path("stock.csv").absolute(),
        "groups": pathlib.Path("brands.csv").absolute(),
        "max_per_group": 2,
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--list=discovery", "unknown list 'discovery'. Did you mean 'discover'? Known: blended, continue, discover."),
        ("--list=,", "--list=,: names no list; give blended or continue or discover."),
        ("--max-per-group=0 --groups=x", "--max-per-group=0: must be at least 1."),
        ("--max-per-group=2", "--max-per-group=2 needs --groups=FILE, which says of what groups items are."),
        ("--groups=x", "--groups=x needs --max-per-group=N: a list holds at most so many items of a group."),
        ("--repeat=yes", "--repeat is a switch and takes no value; leave out '=yes'."),
    ],
)
def test_mistakes_on_what_may_be_listed_are_one_line(experiment, capsys, run, argv, message):
    assert failure(capsys, cli.recommend_main, f"--workdir={run}", *argv.split()) == message
    assert experiment.calls == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--checkpoint=bets", "unknown checkpoint 'bets'. Did you mean 'best'?"),
        ("--split=tets", "unknown split 'tets'. Did you mean 'test'?"),
        ("--split=,", "--split=,: names no split; give valid or test."),
        ("--top-k=5", "--top-k: mbjax eval does not read it; mbjax recommend does."),
        ("--recommend --per-user=f", "--per-user: mbjax recommend does not read it; mbjax eval does."),
        ("--recommend --top-k=0", "--top-k=0: must be at least 1."),
        ("--recommend --users=,", "--users=,: names no user"),
        ("--recommend --users=/", "--users=/: is a folder; give raw ids separated by commas, or a file"),
        ("--ks=0", "evaluate.ks=0: must be different whole numbers from 1 upwards."),
        ("--ks=5 --evaluate.ks=10", "--ks and --evaluate.ks are the same: give one of them."),
        ("--mask=all", "evaluate.mask=all: must be 'same_behavior' or 'all_behaviors'."),
        (
            "--model.embedding_size=3",
            "--model.embedding_size: mbjax eval does not read it; mbjax train, mbjax sweep and mbjax bench do.",
        ),
        ("--epochs=3", "--epochs: mbjax eval does not read it; mbjax train and mbjax sweep do."),
        ("--epohcs=3", "unknown option '--epohcs'."),
    ],
)
def test_eval_mistakes_are_one_line(experiment, capsys, run, argv, message):
    assert failure(capsys, cli.eval_main, f"--workdir={run}", *argv.split()).startswith(message)
    assert experiment.calls == []


def test_eval_needs_a_run(experiment, capsys, tmp_path):
    assert failure(capsys, cli.eval_main).startswith("--workdir is missing: the folder of a run")
    assert failure(capsys, cli.eval_main, f"--workdir={tmp_path}").startswith(f"no run in '{tmp_path}'")
    (tmp_path / "config.yaml").write_text("seed: 1")
    assert "'model_name' is missing" in failure(capsys, cli.eval_main, f"--workdir={tmp_path}")
    (tmp_path / "config.yaml").write_text("model_name: bave")
    assert failure(capsys, cli.eval_main, f"--workdir={tmp_path}").startswith("unknown model 'bave'")


def test_the_words_are_those_that_lists_know():
    # Written twice, since help must not wait for numpy.
    assert evaluate.EXCLUDE == seen.EXCLUDE
    assert evaluate.LISTS == candidates.LISTS
