from __future__ import annotations

import pathlib
import subprocess
import sys
import types
import warnings

import pytest

from mbjax import cli, errors

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
