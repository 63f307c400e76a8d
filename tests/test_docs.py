"""What the front page and the pages of docs/ say can be followed: links, tables, commands, programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mbjax import config, results

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MADE = ROOT / "docs" / "comparison"  # written by mbjax compare, not by hand
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if MADE not in page.parents),
    *sorted((ROOT / "examples").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_front_page_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_tables_are_made_from_the_results_files(capsys):
    with_tables = [page for page in PAGES if "<!-- results:" in page.read_text(encoding="utf-8")]
    assert README in with_tables and {page.stem for page in with_tables} >= {"jd", "taobao", "retail_rocket"}
    assert results.main([*map(str, with_tables), "--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "models.md"], ids=name_of)
def test_every_model_is_named(page):
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert set(config.model_names()) <= named
