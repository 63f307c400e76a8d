"""mbjax: multi-behavior recommendation in JAX, from raw interaction logs to metrics and ranked lists.

In a notebook::

    settings = mbjax.load_config("bvae", "demo", overrides={"train.epochs": 20})
    outcome = mbjax.train_run(settings, "runs/first")
    lists = mbjax.recommend_run(outcome.workdir, top_k=10)

The public names are imported at their first use, so that ``import mbjax`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> where it is defined
_PUBLIC = {
    "ConfigError": "mbjax.errors:ConfigError",
    "DataError": "mbjax.errors:DataError",
    "DataOptions": "mbjax.data:Options",
    "Dataset": "mbjax.data:Dataset",
    "DatasetInfo": "mbjax.types:DatasetInfo",
    "LogOptions": "mbjax.data:LogOptions",
    "MODELS": "mbjax.models:MODELS",
    "MbjaxError": "mbjax.errors:MbjaxError",
    "Model": "mbjax.types:Model",
    "evaluate_run": "mbjax.experiment:evaluate_run",
    "expert_use": "mbjax.experiment:expert_use",
    "explain_run": "mbjax.experiment:explain",
    "load_dataset": "mbjax.data:load",
    "recommend_run": "mbjax.experiment:recommend",
    "restore_run": "mbjax.experiment:restore",
    "retrain_run": "mbjax.experiment:retrain",
    "train_run": "mbjax.experiment:train",
    "train_seeds": "mbjax.experiment:train_seeds",
}

__all__ = ["__version__", "load_config", *sorted(_PUBLIC)]


def load_config(model: str | None = None, dataset: str | None = None, **options: Any) -> Any:
    """Builds the configuration of a run as ``train.py`` does.

    Args:
      model: a name in ``MODELS``; None is ``config.DEFAULT_MODEL``, as in ``load_config(dataset="demo")``.
      dataset: a name of the catalog, or the path of a prepared folder or of a log.
      **options: ``protocol``, ``ablation``, ``seed``, ``devices`` and ``overrides``, a dict of dotted keys, as
        ``mbjax.config.load`` takes them.

    Raises:
      ConfigError: a name, key or value that does not exist or does not fit.
    """
    config, models = importlib.import_module("mbjax.config"), importlib.import_module("mbjax.models")
    if dataset is None:
        errors = importlib.import_module("mbjax.errors")
        raise errors.ConfigError("no data set was named: load_config(dataset=NAME), the path of a log or a known name.")
    model = config.DEFAULT_MODEL if model is None else model
    return config.load(model, dataset, models.entry(model).config, **options)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mbjax' has no attribute '{name}'; public names: {', '.join(__all__)}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
