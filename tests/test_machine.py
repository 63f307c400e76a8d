"""The description of the machine holds facts, and nothing that names this machine."""

import re
import socket
import subprocess

from mbjax import machine


def test_machine_in_words():
    assert re.match(r"\d+ cores?, \S+", machine.describe())
    assert socket.gethostname() not in machine.describe()


def test_architecture_names_the_widest_vectors(monkeypatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine.pathlib.Path, "read_text", lambda *a, **k: "model : x\nflags\t: sse2 avx2 avx512f\n")
    assert machine.architecture() == "x86-64 AVX-512"
    monkeypatch.setattr(machine.pathlib.Path, "read_text", lambda *a, **k: "flags : sse2 avx2\n")
    assert machine.architecture() == "x86-64 AVX2"


def test_versions_and_memory():
    assert {"python", "jax", "numpy"} <= machine.versions().keys()
    assert machine.peak_memory_mib() is None or 10 < machine.peak_memory_mib() < 10**6


def test_commit_only_inside_the_own_repository(tmp_path, monkeypatch):
    for words in (
        ["init", "-q"],
        ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    head = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    code = tmp_path / "mbjax" / "machine.py"
    code.parent.mkdir()
    code.touch()
    ask = machine.commit.__wrapped__
    monkeypatch.setattr(machine, "__file__", str(code))
    assert ask() == head  # untracked files are no change
    subprocess.run(["git", "-C", str(tmp_path), "add", "mbjax"], check=True)
    assert ask() == f"{head}+changes"
    inner = tmp_path / "site-packages" / "mbjax" / "machine.py"
    monkeypatch.setattr(machine, "__file__", str(inner))
    inner.parent.mkdir(parents=True)
    assert ask() is None
