"""Models without training, built and measured: beside a run's table, and before any run for ``mbjax data``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax

from mbjax import data, errors, evaluate, models, types
from mbjax.experiment import gathering, outcomes

UNLUCKY = (errors.MbjaxError, MemoryError, jax.errors.JaxRuntimeError)
"""What a reference beside the model may run into: data that do not suit it, or no room on the host or the device."""
SHOWN: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "popularity": ("popularity", {}),
    "own_items": ("own_items", {}),
    "own_items, conversion": ("own_items", {"level": "conversion"}),
    "itemknn, behavior": ("itemknn", {"history": "behavior"}),
}
"""Those that tell what a split asks for: as a table calls them (with the ablation) -> model, fields of its section."""


def build(name: str, info: types.DatasetInfo, fields: Mapping[str, Any] | None = None) -> types.Model:
    """Makes a model without training.

    Args:
      name: of the model.
      info: sizes and behaviors.
      fields: of its section that differ from the defaults.
    """
    entry = models.entry(name)
    return entry.build(entry.config(**(fields or {})), info, 0)


def measure(model: types.Model, dataset: data.Dataset, evaluator: evaluate.Evaluator, **options: Any) -> outcomes.Table:
    """The table of a model without training.

    Args:
      model: from ``build``.
      dataset: what it was built for.
      evaluator: of the same.
      **options: of the evaluator's call.
    """
    graphs = gathering.graphs(model, dataset)
    return evaluator(model, model.init(jax.random.key(0), graphs), graphs, **options).table


def without_learning(dataset: data.Dataset, split: str, k: int) -> Iterator[tuple[str, outcomes.Table | str]]:
    """What lists without learning reach on held-out pairs, one after another: the quick ones first.

    Args:
      dataset: the data set.
      split: ``"valid"`` or ``"test"``.
      k: cut-off.

    Yields:
      Name and table; of one that fails, what went wrong.

    Raises:
      ConfigError: the split has no pairs.
    """
    evaluator = evaluate.Evaluator(dataset, split, ks=(k,))
    for name, (model_name, fields) in SHOWN.items():
        if model_name == "own_items" and dataset.info.num_behaviors == 1:
            continue  # it would be popularity once more
        try:
            yield name, measure(build(model_name, dataset.info, fields), dataset, evaluator)
        except UNLUCKY as error:
            yield name, f"{type(error).__name__}: {error}"
