"""What a log of any size takes: parts that are planted are found again, and the page has what the file says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SIZES = {
    "base": {"items": 30, "users": 120, "pairs": 1000},
    "items": {"items": 60, "users": 121, "pairs": 1010},
    "users": {"items": 31, "users": 240, "pairs": 1020},
    "pairs": {"items": 30, "users": 119, "pairs": 2000},
    "twice": {"items": 61, "users": 243, "pairs": 2000},
}


@pytest.fixture
def capacity(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import capacity

    yield capacity
    for name in ("capacity", "generated", "scale"):
        sys.modules.pop(name)


def parts(of):
    """What stays, and two programs: a test pass takes more of a small log, training of a large one."""
    stays = 8 * of["items"] + 4 * of["users"] + 2 * of["pairs"] + 5
    return {"what stays": stays, "training step": 3 * of["users"], "test pass": 7 * of["items"] + 900}


def test_bytes_are_found_again(capacity):
    row = capacity.row("copf", SIZES, {log: parts(of) for log, of in SIZES.items()})
    held = row["formula"]["what stays"]
    assert held == pytest.approx({"items": 8, "users": 4, "pairs": 2, "fixed": 5})
    assert row["formula"]["test pass"] == pytest.approx({"items": 7, "users": 0, "pairs": 0, "fixed": 900}, abs=1e-6)
    assert row["checked"] == pytest.approx(0, abs=1e-9)
    # 4 million users make the step of training the larger one, an eighth of them does not.
    assert row["program"] == "training step"
    assert row["one_device"] == pytest.approx(8 * 1e6 + 7 * 4e6 + 2 * 87e6 + 5)
    assert row["each_device"] == pytest.approx(15 * 1e6 + 4 * 0.5e6 + 2 * 87e6 / 8 + 905)


def test_what_is_not_divided_says_so(capacity, tmp_path, capsys):
    row = capacity.row("als", SIZES, {log: parts(of) for log, of in SIZES.items()})
    assert "each_device" not in row
    (tmp_path / "file.json").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    assert capacity.main([f"--table={tmp_path / 'file.json'}"]) == 0
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert cells == ["`als`", "8", "7", "2", "training step", "+0%", "0.2 GB", "not divided"]


def test_the_table_of_the_page_is_that_of_the_file(capacity):
    page = (FOLDER.parent / "docs" / "large_logs.md").read_text(encoding="utf-8")
    found = json.loads((FOLDER / "results" / "capacity.json").read_text(encoding="utf-8"))
    assert capacity.table(found) in page
    assert {row["model"] for row in found["rows"]} == set(capacity.MODELS)
