from __future__ import annotations

import os
import pathlib

import pytest
import trial
from commands import failure, here

import mbjax
from mbjax import cli, compilation, config, models


@pytest.mark.parametrize(
    "argv",
    [
        ["--model=bvae", "--dataset=jd", "--seed=3", "--epochs=7", "--model.sdwl=false", "--record", "--resume"],
        ["--model", "bvae", "--dataset", "jd", "--seed", "3", "--epochs", "7", "--sdwl", "no", "--resume", "--record"],
    ],
)
def test_train_hands_the_configuration_on(experiment, argv):
    assert cli.train_main(argv) == 0
    [(name, (settings, workdir), options)] = experiment.calls
    assert name == "train"
    assert (settings.model_name, settings.dataset, settings.seed) == ("bvae", "jd", 3)
    assert settings.overrides == {"train.epochs": 7, "model.sdwl": False}
    assert workdir is None
    assert options == {"resume": True, "record": True}


def test_without_a_model_the_default_is_trained_and_said(experiment, run, capsys):
    assert cli.train_main(["--dataset=jd", "--seed=3"]) == 0
    [(_, (settings, _), _)] = experiment.calls
    assert (settings.model_name, settings.dataset, settings.seed) == (config.DEFAULT_MODEL, "jd", 3)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(f"model: {config.DEFAULT_MODEL} (")
    assert captured.err.endswith(" --model=NAME takes another, mbjax train --help lists them.\n")
    # Named, or settled by the run that goes on, there is nothing to say.
    for argv in (["--model=bvae", "--dataset=jd"], ["--resume", f"--workdir={run}"]):
        assert cli.train_main(argv) == 0
        assert capsys.readouterr() == ("", "")
    assert config.DEFAULT_MODEL in models.MODELS
    named = mbjax.load_config(config.DEFAULT_MODEL, "jd")
    assert mbjax.load_config(dataset="jd") == named
    with pytest.raises(mbjax.ConfigError, match="no data set was named"):
        mbjax.load_config("bvae")


def test_train_options(experiment):
    argv = "--model=bvae --dataset=jd --protocol=paper --ablation=wo_tff --workdir=w --record=r.json --data_dir=a"
    cli.train_main([*argv.split(), "--data_dir=b", "--resample-per-task", "--learning-rate", "1e-4", "--ks", "5,10"])
    [(_, (settings, workdir), options)] = experiment.calls
    assert (settings.protocol, settings.ablation, settings.data.dirs[:2]) == ("paper", "wo_tff", here("a", "b"))
    assert not settings.model.use_tff and settings.model.resample_per_task
    assert (settings.train.learning_rate, settings.evaluate.ks) == (1e-4, (5, 10))
    assert (workdir, options["record"], options["resume"]) == (*map(pathlib.Path, here("w", "r.json")), False)


def test_retrain_follows_a_run_that_was_not_stopped(experiment, monkeypatch, capsys):
    argv = ["--model=bvae", "--dataset=jd", "--retrain", "--record=r.json"]
    assert cli.train_main(argv) == 0
    [(_, (settings, _), _), (name, given, options)] = experiment.calls
    assert name == "retrain" and given[0] is settings and options == {"record": pathlib.Path("r.json").absolute()}
    experiment.calls.clear()
    monkeypatch.setattr(experiment, "reason", "signal")
    cli.train_main(argv)
    assert [name for name, *_ in experiment.calls] == ["train"]
    for wrong in ("--protocol=paper", "--data.valid=none"):
        assert "--retrain goes on from an epoch" in failure(capsys, cli.train_main, *argv, wrong)


@pytest.mark.parametrize("model", models.MODELS)
def test_retrain_is_refused_at_once_where_validation_chooses_nothing(experiment, capsys, model):
    argv = [f"--model={model}", "--dataset=jd", "--retrain"]
    if model not in ("popularity", "own_items", "itemknn", "cross_occurrence", "cascading_rank", "als"):
        assert cli.train_main(argv) == 0 and len(experiment.calls) == 2
        return
    line = failure(capsys, cli.train_main, *argv)
    assert line.startswith(f"--retrain trains again with what validation pairs chose, and {model} has no epochs")
    assert "Give --data.valid=into_train in place of" in line and not experiment.calls


def test_retrain_is_refused_where_its_only_choice_was_made(experiment, capsys):
    line = failure(capsys, cli.train_main, "--model=ease", "--dataset=jd", "--penalty=50", "--retrain")
    assert "model.penalty=50.0 was given. Let it be model.penalty=auto, or give --data.valid=into_train in" in line
    assert not experiment.calls


def test_retrain_is_refused_at_once_without_epochs(experiment, capsys):
    line = failure(capsys, cli.train_main, "--model=bvae", "--dataset=jd", "--epochs=0", "--retrain")
    assert "train.epochs=0 leaves them no epoch to choose. Let it be 1 or more, or give --data.valid=into_" in line
    assert not experiment.calls


def test_resume_needs_only_the_folder(experiment, run, capsys):
    assert cli.train_main(["--resume", f"--workdir={run}", "--epochs=2000"]) == 0
    [(_, (settings, workdir), options)] = experiment.calls
    assert (settings.ablation, settings.model.embedding_size, settings.train.epochs) == ("size_50", 50, 2000)
    assert (workdir, options["resume"]) == (run, True)
    # Its own model may be named; another one would be another run.
    assert cli.train_main(["--resume", f"--workdir={run}", "--model=bvae"]) == 0
    assert experiment.calls[-1][1][0].model.embedding_size == 50
    line = failure(capsys, cli.train_main, "--resume", f"--workdir={run}", "--model=copf")
    assert line == f"--model=copf: the run in '{run}' is of bvae. Leave --model out."


def test_devices_are_made_before_jax_starts(experiment, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--some_flag=1")
    cli.train_main(["--model=bvae", "--dataset=jd", "--devices=3"])
    assert os.environ["XLA_FLAGS"] == "--some_flag=1 --xla_force_host_platform_device_count=3"
    cli.train_main(["--model=bvae", "--dataset=jd", "--devices=4"])  # what is set already is respected
    assert os.environ["XLA_FLAGS"] == "--some_flag=1 --xla_force_host_platform_device_count=3"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "--dataset is missing. Known: beibei, demo, jd, "),
        ("--dataset=jdd", "unknown data set 'jdd'. Did you mean 'jd'?"),
        ("--dataset=jd --ablation=wo_gf", f"unknown ablation of {config.DEFAULT_MODEL} 'wo_gf'."),
        ("--resume", "--resume needs the run: --workdir=RUN, as training printed it. See --help."),
        ("--model=bave", "unknown model 'bave'. Did you mean 'bvae'?"),
        ("--model=bave --help", "unknown model 'bave'. Did you mean 'bvae'?"),
        ("--model=bvae", "--dataset is missing. Known: beibei, demo, jd, "),
        ("--model=bvae --dataset=jdd", "unknown data set 'jdd'. Did you mean 'jd'?"),
        ("--model=bvae --dataset=jd --ablation=wo_gf", "unknown ablation of bvae 'wo_gf'. Did you mean 'wo_gff'?"),
        ("--model=bvae --dataset=jd --protocol=papr", "protocol=papr: must be 'honest' or 'paper'. Did you mean"),
        ("--model=bvae --dataset=jd --seed=x", "--seed=x: must be a whole number."),
        ("--model=bvae --dataset=jd --devices=0", "devices=0: must be greater than or equal to 1."),
        ("--model=bvae --dataset=jd --worddir=x", "unknown option '--worddir'. Did you mean '--workdir'?"),
        (
            "--model=bvae --dataset=jd --embeding_size=4",
            "unknown option '--embeding_size'. Did you mean '--model.embed",
        ),
        ("--model=bvae --dataset=jd --model.head.layers=4", "unknown option '--model.head.layers'. Did you"),
        ("--model=bvae --dataset=jd --xyzzy=4", "unknown option '--xyzzy'. See --help."),
        ("--model=bvae --dataset=jd --batch_size=4", "option '--batch_size' is ambiguous: write --train.batch_size or"),
        ("--model=bvae --dataset=jd --dropout_rate=2", "model.dropout_rate=2: must be less than 1."),
        ("--model=bvae --dataset=jd --epochs", "--epochs needs a value (INT): --epochs=VALUE."),
        ("--model=bvae --dataset=jd --encoder=onw", "model.encoder=onw: must be 'union', 'own', 'exchange', 'mmoe' or"),
        ("--model=copf --dataset=jd --head.name=dmfe", "model.head.name=dmfe: must be 'dfme', 'pme', "),
        ("--model=copf --dataset=jd --head.name", "--head.name needs a value (dfme | pme | "),
        (
            "--model=copf --dataset=jd --head=pme",
            "option '--head' is a section: give its fields, such as --model.head.",
        ),
        (
            "--model=copf --dataset=jd --layers=1",
            "unknown option '--layers'. Did you mean '--model.backbone.layers' or '--model.head.layers'? See --help.",
        ),
        (
            "--model=copf --dataset=jd --head.level=product",
            "model.head.level=product: the head dfme has no field 'level'; its fields are layers, ",
        ),
        ("--model=bvae --dataset", "--dataset needs a value: --dataset=NAME|PATH."),
        ("--model=bvae --dataset=jd --workdir=", "--workdir needs a value: --workdir=DIR."),
        ("--model=bvae --dataset=jd --resume=yes", "--resume is a switch and takes no value; leave out '=yes'."),
        ("--model=bvae --dataset=jd more", "unexpected 'more'. Options are written --name=value; see --help."),
        ("--resume --workdir=/no/such/run", "no run in '/no/such/run': config.yaml is missing or unreadable."),
    ],
)
def test_train_mistakes_are_one_line(experiment, capsys, argv, message):
    assert failure(capsys, cli.train_main, *argv.split()).startswith(message)
    assert experiment.calls == []


def test_another_head_is_chosen_without_the_section(experiment):
    argv = ["--backbone.layers=2", "--head.level=product", "--head.name=pme"]
    assert cli.train_main(["--model=copf", "--dataset=taobao", *argv]) == 0
    [(_, (settings, _), _)] = experiment.calls
    assert settings.overrides == {
        "model.backbone.layers": (2,),
        "model.head.level": "product",
        "model.head.name": "pme",
    }
    assert settings.model.backbone.name == "cogcn"
    assert settings.model.head.model_dump() == {
        "name": "pme",
        "level": "product",
        "scale": 0.01,
        "shared_gate": True,
        "coefficient": "projection",
        "gate_slots": "own_first",
    }


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("behavior_weights", ", or the default with --behavior_weights=none."),
        ("backbone.layers", ": give one for each, or a single one for all, with --backbone.layers=..."),
        ("head.layers", ": give one for each, or a single one for all, with --head.layers=..."),
    ],
)
def test_lists_for_more_behaviors_than_are_used_say_the_remedy(capsys, monkeypatch, tmp_path, field, remedy):
    monkeypatch.setattr(compilation, "keep", lambda: None)
    data = trial.write_data(tmp_path / "toy")
    argv = ["--model=copf", f"--dataset={data}", f"--workdir={tmp_path / 'run'}", f"--{field}=1,2,3"]
    line = failure(capsys, cli.train_main, *argv)
    assert line.startswith(f"model.{field}=1") and "2 behaviors" in line and "view, buy" in line
    assert line.endswith(remedy)
    assert not (tmp_path / "run").exists()


def test_what_a_resumed_run_has_settled(experiment, capsys, run):
    line = failure(capsys, cli.train_main, "--resume", f"--workdir={run}", "--ablation=wo_gff")
    assert line == "--ablation is settled in the run that goes on; leave it out."


def test_seeds_are_handed_on(experiment, tmp_path, run):
    assert cli.train_main(["--model=bvae", "--dataset=jd", "--seeds=3, 1", "--record"]) == 0
    [(name, (settings, seeds, workdir), options)] = experiment.calls
    assert (name, settings.model_name, seeds, workdir) == ("train_seeds", "bvae", (3, 1), None)
    assert options == {"resume": False, "retrain": False, "record": True}


def test_seeds_that_go_on(experiment, tmp_path, capsys):
    """Their configuration is that of the first that was begun."""
    member = tmp_path / "seed1"
    member.mkdir()
    (tmp_path / "seeds.json").write_text('{"seeds": [3, 1]}')
    made = config.load("bvae", "jd", models.MODELS["bvae"].config, ablation="size_50")
    (member / "config.yaml").write_text(config.dump(made))
    for word, seeds in ((), (3, 1)), (("--seeds=3,1,4",), (3, 1, 4)):
        experiment.calls.clear()
        assert cli.train_main(["--resume", f"--workdir={tmp_path}", *word]) == 0
        [(_, (settings, given, workdir), options)] = experiment.calls
        assert (settings.ablation, given, workdir, options["resume"]) == ("size_50", seeds, tmp_path, True)
    line = failure(capsys, cli.eval_main, f"--workdir={tmp_path}")
    assert line == f"'{tmp_path}' holds the runs of seeds. Name one of them: seed3, seed1."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seeds=0,0", "--seeds=0,0: must be different whole numbers from 0 upwards, such as 0,1,2."),
        ("--seeds=0,x", "--seeds=0,x: must be different whole numbers from 0 upwards, such as 0,1,2."),
        ("--seeds=0,1 --seed=3", "--seed=3 beside --seeds=0,1: give one of them."),
    ],
)
def test_seeds_that_do_not_go(capsys, words, message):
    assert failure(capsys, cli.train_main, "--model=bvae", "--dataset=jd", *words.split()) == message


def test_a_run_that_is_alone_has_no_seeds(capsys, run):
    line = failure(capsys, cli.train_main, "--resume", f"--workdir={run}", "--seeds=0,1")
    assert line == f"--seeds=0,1: '{run}' is no folder of seeds; leave it out."
