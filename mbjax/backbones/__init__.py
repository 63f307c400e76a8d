"""The backbones, by name: encoders of users and items from the graphs of the behaviors."""

from __future__ import annotations

from typing import Annotated

import pydantic

from mbjax.backbones import cogcn
from mbjax.backbones.base import Backbone, Encoding

BACKBONES: dict[str, type[Backbone]] = {
    "cogcn": cogcn.Cogcn,
}

BackboneConfig = Annotated[cogcn.CogcnConfig, pydantic.Field()]

__all__ = ["BACKBONES", "Backbone", "BackboneConfig", "Encoding"]
