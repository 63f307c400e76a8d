"""Hints name the command as the user typed it, through whichever door he came."""

from __future__ import annotations

import sys

import pytest

from mbjax import program


@pytest.mark.parametrize(
    ("started", "train", "recommend", "data"),
    [
        ("train.py", "python train.py", "python eval.py --recommend", "python -m mbjax.data"),
        ("/a/b/eval.py", "python train.py", "python eval.py --recommend", "python -m mbjax.data"),
        ("/venv/bin/mbjax", "mbjax train", "mbjax recommend", "mbjax data"),
        ("/venv/bin/mbjax-train", "mbjax-train", "mbjax-eval --recommend", "mbjax data"),
        ("mbjax-eval.exe", "mbjax-train", "mbjax-eval --recommend", "mbjax data"),
        ("/a/mbjax/__main__.py", "python -m mbjax train", "python -m mbjax recommend", "python -m mbjax data"),
        ("/a/mbjax/data/__main__.py", "python -m mbjax train", "python -m mbjax recommend", "python -m mbjax.data"),
        ("/a/mbjax/results.py", "python -m mbjax train", "python -m mbjax recommend", "python -m mbjax data"),
        ("/mbjax/.venv/lib/pytest/__main__.py", "mbjax train", "mbjax recommend", "mbjax data"),
        ("/a/ipykernel_launcher.py", "mbjax train", "mbjax recommend", "mbjax data"),
        ("", "mbjax train", "mbjax recommend", "mbjax data"),
    ],
)
def test_a_command_as_typed(monkeypatch, started, train, recommend, data):
    monkeypatch.setattr(sys, "argv", [started])
    assert [program.command(name) for name in ("train", "recommend", "data")] == [train, recommend, data]


def test_results_name_their_own_door(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/a/mbjax/results.py"])
    assert program.command("results") == "python -m mbjax.results"
    monkeypatch.setattr(sys, "argv", [])
    assert program.command("results") == "mbjax results"


def test_only_commands_have_one():
    with pytest.raises(ValueError, match="'tune' is none of train, sweep, eval"):
        program.command("tune")
