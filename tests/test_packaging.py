"""The package as a whole: one version, one list of requirements, and public names that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import mbjax

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_requirements_file_repeats_the_dependencies():
    assert (ROOT / "requirements.txt").read_text(encoding="utf-8").split() == PROJECT["dependencies"]


def test_changelog_knows_this_version():
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == mbjax.__version__
    assert mbjax.__version__ in headings


@pytest.mark.parametrize("name", mbjax.__all__)
def test_public_name_exists(name):
    assert getattr(mbjax, name) is not None
    assert name in dir(mbjax)


def test_unknown_public_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="public names: .*Dataset"):
        _ = mbjax.nothing
