"""The made-up logs of benchmarks and the benchmark of whole runs on them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import generated
    import scale

    yield generated, scale
    for name in ("generated", "scale"):
        sys.modules.pop(name)


def given(command, option):
    return Path(next(word for word in command if word.startswith(f"--{option}=")).partition("=")[2])


def told(command, found):
    """What ``mbjax bench`` leaves."""
    given(command, "json").write_text(json.dumps(found))


def trained(command, results):
    """What ``mbjax train`` leaves."""
    given(command, "workdir").mkdir(parents=True)
    (given(command, "workdir") / "results.json").write_text(json.dumps(results))


def test_a_log_has_what_it_says(modules):
    generated, _ = modules
    size, log = generated.SIZES["T"], generated.named("T")
    assert log.equals(generated.named("T"))
    assert log.columns == ["user", "item", "behavior", "time"] and log["time"].is_sorted()
    counts = dict(log["behavior"].value_counts().iter_rows())
    assert abs(counts["view"] / size.views - 1) < 0.05
    assert abs(counts["cart"] / counts["view"] - 0.13) < 0.03
    assert abs(counts["buy"] / (0.38 * counts["cart"] + 0.035 * counts["view"]) - 1) < 0.3
    assert log["user"].n_unique() == size.users and log["item"].n_unique() <= size.items
    views = log.filter(pl.col("behavior") == "view").select("user", "item").unique()
    assert generated.views("T").nnz == views.height
    others = log.filter(pl.col("behavior") != "view").select("user", "item").unique()
    assert others.join(views, on=["user", "item"], how="anti").is_empty()


def test_users_and_items_are_of_very_different_size(modules):
    generated, _ = modules
    views = generated.views("T")
    of_users, of_items = np.diff(views.indptr), np.asarray(views.sum(axis=0))
    assert of_users.max() > 10 * np.median(of_users) and of_items.max() > 5 * np.median(of_items)


def test_rows_are_measured_once_and_told_in_a_table(modules, tmp_path, monkeypatch, capsys):
    _, scale = modules
    asked = []

    def measured(command, folder, minutes):
        asked.append(command)
        if "bench" in command:
            peak = None if "funnel" in command else 1_700_000_000
            parts = {
                "held": {"a": 4 * 10**8, "b": 2 * 10**8},
                "programs": {"x": 10**8, "test pass of popularity": 10**9},
            }
            told(command, {"memory": {"peak": peak, "available": 3, "process": 4 * 10**8} | parts})
        if "train" in command and "--model=copf" in command:
            return {"cpu": 7.0, "wall": 7.0, "peak": 10**9, "stopped": "after 3 minutes"}
        if "train" in command:
            trained(command, {"seconds": {"train_epoch": 2.04, "total": 9.0}})
        return {"cpu": 1234.5, "wall": 1.0, "peak": 10**9}

    monkeypatch.setattr(scale, "measured", measured)
    out = tmp_path / "scale.json"
    words = ["T", f"--folder={tmp_path}", f"--out={out}", "--minutes=3"]
    assert scale.main([*words, "--models=copf,bpr_mf --train.lazy=true"]) == 0
    number = len(asked)
    assert scale.main([*words, "--models=copf,funnel,bpr_mf --train.lazy=true"]) == 0
    assert len(asked) == number + 2  # of funnel
    capsys.readouterr()
    assert scale.main([f"--table={out}"]) == 0
    lines = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert lines[2] == ["reading", "1,234", "", "", "1.00"]
    assert lines[4:] == [
        ["`copf`", "7", "", "", "1.00", "1.10", "after 3 minutes"],
        ["`bpr_mf --train.lazy=true`", "1,234", "2.0", "", "1.00", "1.10", "foreseen +10%"],
        ["`funnel`", "1,234", "2.0", "", "1.00"],
    ]
    train = asked[3]
    assert train[:3] == ["-m", "mbjax", "train"] and "--train.epochs=1" in train
    assert "--train.lazy=true" in next(c for c in asked if "bench" in c and "bpr_mf" in c)


def test_lists_of_all_users_have_columns_of_their_own(modules, tmp_path, monkeypatch, capsys):
    _, scale = modules
    asked = []

    def measured(command, folder, minutes):
        asked.append(command)
        if "bench" in command:
            told(command, {"memory": {"peak": None, "available": 3}})
        if "train" in command:
            trained(command, {"seconds": {"test_pass": 3.0}})
        is_late = "recommend" in command and any("copf" in word for word in asked[-2])
        return {"cpu": 9.0, "wall": 1.0, "peak": 2 * 10**9} | ({"stopped": "after 3 minutes"} if is_late else {})

    monkeypatch.setattr(scale, "measured", measured)
    words = ["T", f"--folder={tmp_path}", f"--out={tmp_path / 'scale.json'}", "--minutes=3"]
    assert scale.main([*words, "--models=als,itemknn --lists --model.neighbors=5,copf --lists"]) == 0
    of_lists = [command for command in asked if "recommend" in command]
    assert len(of_lists) == 2 and not any("--lists" in command for command in asked)
    assert next(c for c in asked if "--model=itemknn" in c)[-2:] == ["--model.neighbors=5", "--train.epochs=1"]
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in lines if line.startswith("| `")]
    assert cells == [
        ["`als`", "9", "", "3.0", "2.00"],
        ["`itemknn --model.neighbors=5`", "9", "", "3.0", "2.00", "", "9", "2.00"],
        ["`copf`", "9", "", "3.0", "2.00", "", "9", "2.00", "lists: after 3 minutes"],
    ]


def test_a_program_that_fails_or_takes_too_long_is_told(modules, tmp_path):
    _, scale = modules
    found = scale.measured(["-c", "print('something'); raise SystemExit(3)"], tmp_path, 1)
    assert found["stopped"] == "something" and found["cpu"] > 0 and found["peak"] > 10**6
    assert scale.measured(["-c", "while True: pass"], tmp_path, 0.01)["stopped"] == "after 0.01 minutes"
    assert "stopped" not in scale.measured(["-c", "pass"], tmp_path, 1)


def test_the_tables_of_the_page_are_those_of_the_files(modules):
    _, scale = modules
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in sorted((FOLDER / "results").glob("scale-*.json")):
        assert scale.table(json.loads(path.read_text(encoding="utf-8"))) in page
