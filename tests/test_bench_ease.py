"""The benchmark of MB-EASE on tiny data, its floors by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import trial

from mbjax.bench import rates

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The toy data of two behaviors: 23 users, 31 items."""
    return trial.write_data(tmp_path_factory.mktemp("data") / "toy")


@pytest.fixture
def module(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmarks_ease", FOLDER / "ease.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(rates, "measure", lambda table: rates.Rates(flops=1e6, near=8e3, far=1e3))
    return made


@pytest.mark.exhaustive
@pytest.mark.parametrize(("form", "size"), [("dual", 23), ("primal", 62)])
def test_the_script_measures_and_writes(folder, tmp_path, module, form, size, capsys):
    out = tmp_path / "ease.json"
    words = [f"--dataset={folder}", f"--out={out}", "--repeat=1", "--seconds=0.001", f"--model.form={form}"]
    with trial.compiled_once(tmp_path / "cache"):
        assert module.main(words) == 0
    found = json.loads(out.read_text())
    parts = {part["part"]: part for part in found["parts"]}
    assert parts["the inverse"]["floor"] == pytest.approx(size**3 / 1e6)
    own = "products with an item's own columns"
    assert (own in parts) == (form == "dual")
    pairs = {name: trial.toy.dataset(2).train[name].nnz for name in ("view", "buy")}
    users = found["evaluation"]["behaviors"]
    if form == "dual":  # 4 bytes a number, read at half of what reads and writes together have: 4 kB a second
        assert parts[own]["floor"] == pytest.approx(23 * sum(pairs.values()) * 4 / 4e3)
        assert parts["test pass"]["floor"] == pytest.approx(sum(users[b] * pairs[b] for b in users) * 4 / 4e3)
    else:
        assert parts["test pass"]["floor"] == pytest.approx(len(users) * sum(pairs.values()) * 31 * 4 / 4e3)
    assert parts["choosing a penalty"]["bound"].endswith("inverses of 23 rows")
    rows = [part["floor"] for part in found["parts"][:-2]]
    assert parts["all that training does"]["floor"] == pytest.approx(sum(rows))
    assert "all that training does" in capsys.readouterr().out


@pytest.mark.exhaustive
def test_mistakes_are_one_line(folder, module, capsys):
    assert module.main(["--dataset=nowhere"]) == 2 and "unknown data set" in capsys.readouterr().err
    assert module.main([f"--dataset={folder}", "--model.rank=3", "--repeat=1", "--seconds=0.001"]) == 2
    assert "model.rank=3: floors are of exact solutions; use 0." in capsys.readouterr().err
