"""What a model ships with, for records that say what was set by hand alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from mbjax import config as configuration


@functools.lru_cache
def values(model: str, dataset: str, protocol: str = "honest", ablation: str | None = None) -> Mapping[str, Any]:
    """The value of every field, dotted path -> value; of a log, by whose name nothing is known, without data sets' own.

    Raises:
      ConfigError: a model, protocol or ablation that does not exist.
    """
    from mbjax import models

    known = dataset if dataset in configuration.dataset_names() else None
    section = models.entry(model).config
    return configuration.defaults(model, known, section, protocol=protocol, ablation=ablation)
