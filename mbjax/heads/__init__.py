"""The multi-task heads, by name: from one representation for each behavior to a score for each task."""

from __future__ import annotations

from typing import Annotated

import pydantic

from mbjax.heads import aggregation, bilinear, dfme, inner_product, mesi, mmoe, ple, pme, residual, shared_bottom
from mbjax.heads.base import Head, Sides

HEADS: dict[str, type[Head]] = {
    "dfme": dfme.Dfme,
    "pme": pme.Pme,
    "mesi": mesi.Mesi,
    "mmoe": mmoe.Mmoe,
    "ple": ple.Ple,
    "bilinear": bilinear.Bilinear,
    "shared_bottom": shared_bottom.SharedBottom,
    "aggregation": aggregation.Aggregation,
    "inner_product": inner_product.InnerProduct,
    "residual": residual.Residual,
}

HeadConfig = Annotated[
    dfme.DfmeConfig
    | pme.PmeConfig
    | mesi.MesiConfig
    | mmoe.MmoeConfig
    | ple.PleConfig
    | bilinear.BilinearConfig
    | shared_bottom.SharedBottomConfig
    | aggregation.AggregationConfig
    | inner_product.InnerProductConfig
    | residual.ResidualConfig,
    pydantic.Field(discriminator="name"),
]

__all__ = ["HEADS", "Head", "HeadConfig", "Sides"]
