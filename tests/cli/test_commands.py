"""The program ``mbjax``: what it says of itself, its commands and its doors."""

from __future__ import annotations

import importlib
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
from commands import failure

import mbjax
from mbjax import cli, program
from mbjax.cli import commands, options

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_it_teaches(words, capsys):
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    for name in program.COMMANDS:
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)
    first = re.findall(r"^  (mbjax .*)", text.partition("The first three things to do")[2], re.MULTILINE)
    assert [line.split()[1] for line in first] == ["train", "recommend", "data"]
    assert len(text.splitlines()) < 30


def test_version(capsys):
    for word in ("--version", "-V"):
        assert cli.main([word]) == 0
        assert capsys.readouterr().out == f"mbjax {mbjax.__version__}\n"


def test_mistakes_are_one_line(capsys):
    assert failure(capsys, cli.main, "tain").startswith("unknown command 'tain'. Did you mean 'train'? Known: bench, ")
    line = failure(capsys, cli.main, "--model=bvae")
    assert line == "'--model': options stand behind a command, such as mbjax train --model. See --help."
    assert failure(capsys, cli.main, "train", "--model=bave").startswith("unknown model 'bave'. Did you mean 'bvae'?")


def test_every_command_has_a_program_and_a_mode():
    assert {*program.COMMANDS} <= commands.COMMANDS.keys()
    for place, _ in commands.COMMANDS.values():
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
    assert {mode for mode in options.MODES if mode not in options.COMMAND} == {*program.COMMANDS}


@pytest.mark.parametrize("command", program.COMMANDS)
@pytest.mark.parametrize("started", ["mbjax", "train.py"])
def test_help_names_commands_as_the_user_typed_them(command, started, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [started])
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: {program.command(command)} " in text
    is_named = "train.py" in text or "eval.py" in text
    others = ("sweep", "explain", "data", "figures", "bench", "results")
    assert is_named == (started == "train.py" and command not in others)
    assert ("mbjax train" in text or "mbjax eval" in text) <= (started == "mbjax")
    for option in options.of(command).values():
        assert f"--{option.name}" in text or (command, option.name) == ("recommend", "recommend")
    if command == "recommend":
        assert "--ks" not in text and "--groups=INT" not in text and "--per-user" not in text


def test_no_text_of_the_package_names_one_door_only():
    """Where a command is named, ``program.command`` names it; results files keep the line of a checkout."""
    for path in (ROOT / "mbjax").rglob("*.py"):
        if path.name != "program.py" and path.parts[-2:] != ("config", "text.py"):
            code = re.sub(r'"""(?s:.*?)"""', "", path.read_text(encoding="utf-8"))
            assert not re.search(r"(train|eval)\.py|python -m mbjax|mbjax-(train|eval)", code), path


def test_the_doors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {
        "mbjax": "mbjax.cli:main",
        "mbjax-train": "mbjax.cli:train_main",
        "mbjax-eval": "mbjax.cli:eval_main",
    }
    for place in project["scripts"].values():
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
    words = [sys.executable, "-m", "mbjax", "trian"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: unknown command 'trian'. Did you mean 'train'?")


def test_what_has_a_module_of_its_own_starts_there(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    named = [name for name in program.COMMANDS if program.command(name).startswith("python -m mbjax.")]
    assert {"compare", "data", "explain", "figures", "results"} <= {*named}
    doors = {*named} & {"compare", "figures", "results"}  # modules for that alone; the others are packages
    words = {name: [sys.executable, *program.command(name).split()[1:], "--help"] for name in doors}
    started = {name: subprocess.Popen(of, stdout=subprocess.PIPE, text=True, cwd=ROOT) for name, of in words.items()}
    for name, process in started.items():
        said, _ = process.communicate()
        assert process.returncode == 0 and f"Usage: python -m mbjax.{name} " in said
