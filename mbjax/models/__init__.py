"""The models, by name. Adding one is a file beside this one, a line here, and a YAML file in ``configs/models``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pydantic

from mbjax import errors, types
from mbjax.models import bvae, copf, multivae, popularity


class ModelEntry(NamedTuple):
    """What the rest of the library needs to offer a model.

    Attributes:
      config: the class of the configuration's section ``model``.
      build: ``(config, info, batch_size) -> types.Model``.
      summary: one line for ``--help`` and tables.
    """

    config: type[pydantic.BaseModel]
    build: Callable[[pydantic.BaseModel, types.DatasetInfo, int], types.Model]
    summary: str


MODELS: dict[str, ModelEntry] = {
    "copf": ModelEntry(copf.CopfConfig, copf.build, "cascaded graph convolution with fitted experts (KDD 2025)"),
    "bvae": ModelEntry(bvae.BvaeConfig, bvae.build, "behavior-aware variational autoencoder (RecSys 2023)"),
    "multivae": ModelEntry(multivae.MultivaeConfig, multivae.build, "Mult-VAE of one behavior or the union (WWW 2018)"),
    "popularity": ModelEntry(
        popularity.PopularityConfig, popularity.build, "training count of the behavior; untrained"
    ),
}


def entry(name: str) -> ModelEntry:
    """Looks a model up; ConfigError with the nearest right name if there is none."""
    if name not in MODELS:
        raise errors.unknown("model", name, MODELS)
    return MODELS[name]
