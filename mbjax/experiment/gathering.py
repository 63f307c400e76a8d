"""What a model is made of before it is trained: its graphs, and the evidence that closed forms and lessons need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from mbjax import config as configuration
from mbjax import data, precision, seen, types
from mbjax.data import moments
from mbjax.ops import graph, memory


def graphs(
    model: types.Model, dataset: data.Dataset, config: configuration.Config | None = None, **options: Any
) -> types.Graphs:
    """The matrices that a model asks for and what it prepares, from the training pairs of a data set, on the device.

    Args:
      model: any.
      dataset: has the pairs.
      config: has the seed; None: that of 0.
      options: of ``evidence``, or fields of ``types.Evidence``, such as ``teach`` and ``asked``.
    """
    found = graph.from_train(model.graphs, dataset.train)
    if model.prepare is None:
        return found
    options.setdefault("passing", not options.get("joined") and joins(model, dataset))
    given = evidence(dataset, config, times=model.times, **options)
    found |= jax.block_until_ready(dict(precision.full(model.prepare)(given)))
    memory.release()  # what it was made of
    return found


def joins(model: types.Model, dataset: data.Dataset) -> bool:
    """Whether validation pairs, or those that a log has more, join those of training where the test split is ranked."""
    if not model.joins:
        return False
    return dataset.grown or (dataset.mask_valid and any(matrix.nnz for matrix in dataset.valid.values()))


def evidence(
    dataset: data.Dataset,
    config: configuration.Config | None,
    *,
    joined: bool = False,
    times: bool = False,
    passive_events: Mapping[str, moments.Moments] | None = None,
    **more: Any,
) -> types.Evidence:
    """What closed forms and lessons are made of.

    Args:
      config: has the seed; None: that of 0.
      joined: whether validation pairs are among those of training, in every behavior that had them. Of a log that has
        grown all pairs are, as they stand.
      times: whether it has to say when pairs happened, where that is known.
      passive_events: of the passive users, where that is known.
      more: fields of ``types.Evidence``.
    """
    train, valid = dataset.train, dataset.valid
    if joined:
        train = {b: seen.union([m, seen.held(dataset, b)], m.shape).astype("uint8") for b, m in train.items()}
        valid = {}
    if times and dataset.info.times:
        more |= _events(dataset, train, joined, more.get("passive"), passive_events)
    return types.Evidence(train, valid=valid, seed=config.seed if config else 0, joined=joined, **more)


def _events(dataset: data.Dataset, train, joined: bool, passive, passive_events) -> dict[str, Any]:
    """When the pairs of evidence happened; where that is not known of one, at the end of what is known."""
    known = dataset.events["train"]
    if joined and dataset.events["valid"]:
        known = {b: moments.joined([known[b], dataset.events["valid"][b]]) for b in train}
    end = moments.end([*known.values(), *(passive_events or {}).values()])
    found: dict[str, Any] = {"events": {b: moments.aligned(known[b], m, end) for b, m in train.items()}}
    if passive is not None:
        of = moments.of_parts({"": passive_events or {}}, "", train)
        found["passive_events"] = {b: moments.aligned(of[b], m, end) for b, m in passive.items()}
    return found | {"later": dataset.info.later}
