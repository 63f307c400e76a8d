"""The backbones, by name: encoders of users and items from the graphs of the behaviors."""

from __future__ import annotations

from typing import Annotated

import pydantic

from mbjax.backbones import (
    bcipm,
    bigel,
    cigf,
    cml,
    cogcn,
    crgcn,
    ehcf,
    ghcf,
    gnmr,
    lightgcn,
    lightgcn_m,
    mbcgcn,
    mbgcn,
    mf,
    ngcf,
    pkf,
    rgcn,
    smbrec,
)
from mbjax.backbones.base import Backbone, Encoding

BACKBONES: dict[str, type[Backbone]] = {
    "cogcn": cogcn.Cogcn,
    "pkf": pkf.Pkf,
    "lightgcn_m": lightgcn_m.LightgcnM,
    "mbcgcn": mbcgcn.Mbcgcn,
    "crgcn": crgcn.Crgcn,
    "cigf": cigf.Cigf,
    "lightgcn": lightgcn.Lightgcn,
    "mf": mf.Mf,
    "bigel": bigel.Bigel,
    "ngcf": ngcf.Ngcf,
    "ehcf": ehcf.Ehcf,
    "ghcf": ghcf.Ghcf,
    "cml": cml.Cml,
    "bcipm": bcipm.Bcipm,
    "mbgcn": mbgcn.Mbgcn,
    "rgcn": rgcn.Rgcn,
    "gnmr": gnmr.Gnmr,
    "smbrec": smbrec.Smbrec,
}

BackboneConfig = Annotated[
    cogcn.CogcnConfig
    | pkf.PkfConfig
    | lightgcn_m.LightgcnMConfig
    | mbcgcn.MbcgcnConfig
    | crgcn.CrgcnConfig
    | cigf.CigfConfig
    | lightgcn.LightgcnConfig
    | mf.MfConfig
    | bigel.BigelConfig
    | ngcf.NgcfConfig
    | ehcf.EhcfConfig
    | ghcf.GhcfConfig
    | cml.CmlConfig
    | bcipm.BcipmConfig
    | mbgcn.MbgcnConfig
    | rgcn.RgcnConfig
    | gnmr.GnmrConfig
    | smbrec.SmbrecConfig,
    pydantic.Field(discriminator="name"),
]

__all__ = ["BACKBONES", "Backbone", "BackboneConfig", "Encoding"]
