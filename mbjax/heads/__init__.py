"""The multi-task heads, by name: from one representation for each behavior to a score for each task."""

from __future__ import annotations

from typing import Annotated

import pydantic

from mbjax.heads import dfme
from mbjax.heads.base import Head, Sides

HEADS: dict[str, type[Head]] = {
    "dfme": dfme.Dfme,
}

HeadConfig = Annotated[dfme.DfmeConfig, pydantic.Field()]

__all__ = ["HEADS", "Head", "HeadConfig", "Sides"]
