from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import types
import warnings

import pytest
import trial

import mbjax
from mbjax import cli, compilation, config, errors, models
from mbjax.cli import options as table

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Recorder:
    """Stands in for ``mbjax.experiment`` and remembers its calls."""

    def __init__(self, error: BaseException | None = None):
        self.calls, self.error, self.reason = [], error, "finished"

    def _call(self, name, args, options):
        self.calls.append((name, args, options))
        if self.error is not None:
            raise self.error
        return types.SimpleNamespace(exit_code=0, reason=self.reason)

    def train(self, *args, **options):
        return self._call("train", args, options)

    def retrain(self, *args, **options):
        return self._call("retrain", args, options)

    def evaluate_run(self, *args, **options):
        return self._call("evaluate_run", args, options)

    def recommend(self, *args, **options):
        return self._call("recommend", args, options)


@pytest.fixture
def experiment(monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "mbjax.experiment", recorder)
    monkeypatch.setattr(mbjax, "experiment", recorder, raising=False)
    return recorder


@pytest.fixture(autouse=True)
def _(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mbjax"])


@pytest.fixture
def run(tmp_path):
    """A run folder with nothing but its configuration."""
    made = config.load(
        "bvae", "jd", models.MODELS["bvae"].config, ablation="size_50", overrides={"monitor": "mean:ndcg@5"}
    )
    (tmp_path / "config.yaml").write_text(config.dump(made))
    return tmp_path


def here(*names):
    """Names as paths in the working directory."""
    return tuple(str(pathlib.Path(name).absolute()) for name in names)


def failure(capsys, main, *argv, code=2):
    """Runs a command that must fail, and returns its only line without ``error: ``."""
    assert main(list(argv)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.endswith("\n") and captured.err.count("\n") == 1
    return captured.err[len("error: ") : -1]


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


def test_resume_needs_only_the_folder(experiment, run):
    assert cli.train_main(["--resume", f"--workdir={run}", "--epochs=2000"]) == 0
    [(_, (settings, workdir), options)] = experiment.calls
    assert (settings.ablation, settings.model.embedding_size, settings.train.epochs) == ("size_50", 50, 2000)
    assert (workdir, options["resume"]) == (run, True)


def test_devices_are_made_before_jax_starts(experiment, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--some_flag=1")
    cli.train_main(["--model=bvae", "--dataset=jd", "--devices=3"])
    assert os.environ["XLA_FLAGS"] == "--some_flag=1 --xla_force_host_platform_device_count=3"
    cli.train_main(["--model=bvae", "--dataset=jd", "--devices=4"])  # what is set already is respected
    assert os.environ["XLA_FLAGS"] == "--some_flag=1 --xla_force_host_platform_device_count=3"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", f"--model is missing. Known: {', '.join(config.model_names())}. See --help."),
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
    (run / "users.txt").write_text("17\n\n x y \n")
    assert cli.eval_main([f"--workdir={run}", "--recommend", f"--users={run / 'users.txt'}", "--out=lists"]) == 0
    assert [(name, options) for name, _, options in experiment.calls] == [
        ("recommend", {"checkpoint": None, "top_k": 5, "out": run / "recommendations", "users": ("17", "b")}),
        (
            "recommend",
            {"checkpoint": None, "top_k": 20, "out": pathlib.Path("lists").absolute(), "users": ("17", "x y")},
        ),
    ]


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
        ("--ks=0", "evaluate.ks=0: must be different whole numbers from 1 upwards."),
        ("--mask=all", "evaluate.mask=all: must be 'same_behavior' or 'all_behaviors'."),
        (
            "--model.embedding_size=3",
            "--model.embedding_size: mbjax eval does not read it; mbjax train and mbjax bench do.",
        ),
        ("--epochs=3", "--epochs: mbjax eval does not read it; mbjax train does."),
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


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.DataError("bad\n  line"), 3, "error: bad line\n"),
        (errors.CheckpointError("torn"), 4, "error: torn\n"),
        (errors.TrainingDivergedError("nan"), 5, "error: nan\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(13, "Permission denied", "w"), 1, "error: Permission denied: 'w'\n"),
    ],
)
def test_exit_codes(experiment, capsys, error, code, line):
    experiment.error = error
    assert cli.train_main(["--model=bvae", "--dataset=jd"]) == code
    assert capsys.readouterr().err == line


def test_programming_mistakes_keep_their_traceback(experiment):
    experiment.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        cli.train_main(["--model=bvae", "--dataset=jd"])


def test_data_warnings_are_one_line(experiment, capsys, monkeypatch):
    def warn(*args, **options):
        warnings.warn("cart has no\ntraining pairs", errors.DataWarning, stacklevel=1)
        return types.SimpleNamespace(exit_code=0, reason="finished")

    monkeypatch.setattr(experiment, "train", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.train_main(["--model=bvae", "--dataset=jd"]) == 0
    assert capsys.readouterr().err == "warning: cart has no training pairs\n"


def test_help_overview(capsys):
    assert cli.train_main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        *config.model_names(),
        *config.dataset_names(),
        *(f"--{name}" for name in table.of("train", "resume", "retrain")),
    ):
        assert word in text
    assert cli.eval_main(["-h"]) == 0
    text = capsys.readouterr().out
    for name in table.of("eval", "recommend"):
        assert f"--{name}" in text


@pytest.mark.parametrize("model", models.MODELS)
def test_help_lists_every_field_and_ablation(capsys, model):
    model_class = models.MODELS[model].config
    assert cli.train_main([f"--model={model}", "--help"]) == 0
    text = capsys.readouterr().out
    for path, spec in config.known_fields(model_class, config.defaults(model, None, model_class)).items():
        assert f"--{path} " in text
        assert spec.description.split()[0] in text
    for name in config.model_file(model).get("ablations") or {}:
        assert f"  {name} " in text
    assert "[epochs]" in text  # units are not taken for markup


def test_help_shows_the_chosen_sections_and_names_the_others(capsys):
    def rows(*argv):
        assert cli.train_main(["--model=copf", "--help", *argv]) == 0
        text = capsys.readouterr().out
        found = {}
        for line in text.splitlines():
            if line.startswith("  --model."):
                found[line.split()[0]] = line.split()[1:]
        return text, found

    text, found = rows()
    assert found["--model.head.name"][0] == "dfme"
    assert found["--model.head.alpha"][:2] == ["0.1", "NUMBER"]
    assert "--model.head.level" not in found
    assert found["--model.backbone.name=bigel"][:3] == ["reconstructed;", "with", "layers,"]
    assert found["--model.head.name=pme"][:2] == ["with", "level,"]
    assert found["--model.head.name=inner_product"] == ["without", "fields"]
    assert "--model.head.name=dfme" not in found
    assert "meanings and defaults: mbjax train --model=copf --backbone.name=" in text
    text, found = rows("--head.name=pme", "--nonsense=3", "--embedding_size=3")
    assert found["--model.head.name"][0] == "pme"
    assert found["--model.head.level"][0] == "embedding"
    assert "--model.head.alpha" not in found
    assert found["--model.head.name=dfme"][:2] == ["with", "layers,"]
    assert "with the defaults for no data set, protocol honest, model.head.name=pme." in text
    assert failure(capsys, cli.train_main, "--model=copf", "--help", "--head.name=pmee").startswith(
        "model.head.name=pmee: must be 'dfme', "
    )


def test_help_shows_the_values_of_the_choice(capsys):
    def default_of(*argv):
        assert cli.train_main(["--model=bvae", "--help", *argv]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line.split()[1] for line in lines if line.strip().startswith("--model.embedding_size"))

    assert default_of() == "100"
    assert default_of("--ablation=size_50") == "50"
    assert default_of("--dataset=jd") == "100"


def test_wrong_names_and_help_come_without_jax():
    code = (
        "import sys; from mbjax import cli; "
        "codes = [cli.train_main([a]) for a in ('--model=bave', '--help')] + [cli.eval_main(['--help'])]; "
        "print(codes, [m for m in ('jax', 'flax', 'polars', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.splitlines()[-1] == "[2, 0, 0] []"


@pytest.mark.parametrize("program", ["train.py", "eval.py"])
def test_programs_exit_with_the_code(program):
    out = subprocess.run([sys.executable, program, "--nonsense"], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 2
    assert out.stderr.startswith("error: ") and out.stderr.count("\n") == 1
