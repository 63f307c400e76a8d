from __future__ import annotations

import errno
import io
import json
import os
import pathlib
import subprocess
import sys
import types
import warnings

import pytest
import usual

from mbjax import cli, errors
from mbjax.cli import guard
from mbjax.data import __main__ as data

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.DataError("bad\n  line"), 3, "error: bad line\n"),
        (errors.CheckpointError("torn"), 4, "error: torn\n"),
        (errors.TrainingDivergedError("nan"), 5, "error: nan\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(13, "Permission denied", "w"), 1, "error: Permission denied: 'w'\n"),
        (IsADirectoryError(21, "Is a directory", "w"), 1, "error: Is a directory: 'w'\n"),
        (OSError("no route"), 1, "error: no route\n"),
        (OSError(), 1, "error: OSError\n"),
        (TimeoutError(), 1, "error: TimeoutError\n"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "error: No space left on device. Free space and start again; a training run that has saved goes on with "
            "--resume.\n",
        ),
        (MemoryError(), 1, f"error: memory ran out. {guard.SMALLER}.\n"),
        (
            MemoryError("Unable to allocate 9 GiB"),
            1,
            f"error: memory ran out (Unable to allocate 9 GiB). {guard.SMALLER}.\n",
        ),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"),
            1,
            f"error: memory ran out (RESOURCE_EXHAUSTED: Out of memory). {guard.SMALLER}.\n",
        ),
    ],
)
def test_exit_codes(experiment, capsys, error, code, line):
    experiment.error = error
    assert cli.train_main(["--model=bvae", "--dataset=jd"]) == code
    assert capsys.readouterr().err == line


def test_programming_mistakes_keep_their_traceback(experiment):
    for error in (ValueError("a bug"), RuntimeError("a bug")):
        experiment.error = error
        with pytest.raises(type(error), match="a bug"):
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


def written(monkeypatch, encoding, program, *argv):
    """What a program writes where only an encoding can be written: exit code, standard output, standard error."""
    with monkeypatch.context() as patch:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2)]
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        return program(list(argv)), *(stream.buffer.getvalue().decode(encoding) for stream in streams)


@pytest.mark.parametrize("name", usual.cases(["купить", "achète", "🛒"], {"купить", "🛒"}.__contains__))
def test_output_that_lacks_a_character_shows_its_number(monkeypatch, tmp_path, name):
    rows = [f"u{n % 3},i{n},{('view', name)[n % 2]},{n}" for n in range(24)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,behavior,time", *rows]), encoding="utf-8")
    argv = [str(tmp_path / "log.csv"), f"--log.behaviors=view,{name}"]
    number = name.encode("ascii", "backslashreplace").decode()
    code, out, error = written(monkeypatch, "ascii", data.main, *argv)
    assert (code, error) == (0, "") and f"target {number}" in out
    argv.append("--no-anchors")
    code, out, error = written(monkeypatch, "ascii", data.main, *argv, "--json")
    assert (code, error) == (0, "") and json.loads(out)["behaviors"] == ["view", name]
    assert f'"{name}"' in written(monkeypatch, "utf-8", data.main, *argv, "--json")[1]
    code, out, error = written(monkeypatch, "ascii", data.main, *argv, f"--data.target={name}s")
    assert (code, out) == (2, "") and f"Did you mean '{number}'?" in error


def test_text_that_no_output_can_show(monkeypatch):
    """A file name of bytes that are no text; Python keeps them as halves of characters."""
    code, _, error = written(monkeypatch, "utf-8", data.main, "a\udcff.csv")
    assert code == 2 and "the path is no text in UTF-8. Rename the file or folder." in error
    code, _, error = written(monkeypatch, "utf-8", cli.train_main, "--model=\udcff")
    assert code == 2 and r"unknown model '\udcff'" in error


def test_output_that_is_closed(monkeypatch, experiment):
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["--version"]) == 0
    sys.stdout.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
@pytest.mark.parametrize(("target", "code"), [("full", 1), ("pipe", 141)])
def test_output_that_cannot_be_written(target, code):
    """In a process of its own: how it ends, once the interpreter has tried to write for the last time, is the point."""
    words = [sys.executable, "-m", "mbjax", "--version"]
    if target == "full":
        with open("/dev/full", "w") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        os.close(writing)
    assert done.returncode == code
    assert done.stderr.startswith("error: No space left on device.") if target == "full" else done.stderr == ""
    assert done.stderr.count("\n") <= 1


def test_a_folder_that_is_gone_is_named(tmp_path, monkeypatch, capsys):
    """The system's own words name no file."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert guard.run(lambda argv: os.getcwd() and 0) == 1
    assert capsys.readouterr().err == "error: the current folder is gone. Change to another one.\n"
    monkeypatch.undo()
