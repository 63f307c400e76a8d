"""Why a run ranks an item for a user: which of the user's items speak for it, by which behavior, and how much."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from scipy import sparse

from mbjax import config as configuration
from mbjax import data, errors, models, precision, seen, topk, types
from mbjax.experiment import runs
from mbjax.train import run_folder

ABLE = ("cross_occurrence", "ease", "itemknn")
"""Models whose scores are sums over the user's pairs."""


class Explained(NamedTuple):
    """A score and what it is the sum of.

    Attributes:
      user: raw id.
      item: raw id.
      behavior: that the item is ranked for.
      score: of the model.
      shares: a table ``item`` (raw id), ``behavior`` (by which the user met it; several, with commas, where the model
        knows only that he met it), ``share`` (of the score, which they add up to), the largest in size first.
      met: behaviors by which the user has met the item itself, in training.
      held: those by which he has met it in pairs that training does not see: of validation, of the test, of no split.
      left_out: whether lists of the run leave the item out for him, unless they are asked for it.
    """

    user: Any
    item: Any
    behavior: str
    score: float
    shares: pl.DataFrame
    met: tuple[str, ...]
    held: tuple[str, ...]
    left_out: bool


def explain(
    workdir: str | pathlib.Path,
    user: Any,
    item: Any,
    behavior: str | None = None,
    *,
    config: configuration.Config | None = None,
    checkpoint: str | None = None,
    dataset: str | os.PathLike[str] | data.Dataset | None = None,
) -> Explained:
    """Takes the score of an item apart into what each of the user's training pairs adds to it, exactly.

    Args:
      workdir: the run folder.
      user: raw id, as a text or as it stands in the data.
      item: likewise.
      behavior: that the item is ranked for; None is the target.
      config: as for ``evaluate_run``.
      checkpoint: likewise.
      dataset: as for ``restore``.

    Raises:
      IncompatibleError: the model's scores are no sums over the user's pairs.
      ConfigError: a behavior that the run does not rank.
      DataError: an unknown user or item.
    """
    config, loaded = runs.locate(workdir, config, dataset, which=checkpoint)
    _check_able(workdir, config)
    experiment = runs.build(workdir, config, loaded)
    model, source = experiment.model, experiment.dataset
    behavior = source.info.target if behavior is None else behavior
    ranked = model.tasks or source.info.behaviors
    if behavior not in ranked:
        raise errors.unknown("behavior", behavior, ranked)
    (row,) = source.user_index([user])
    (column,) = source.item_index([item])
    params, _ = runs.restore_params(workdir, experiment, which=checkpoint)
    tables = topk.encode(model, params, experiment.graphs)
    index = source.info.behaviors.index(behavior)
    compiled = jax.jit(precision.full(model.score), static_argnums=(4, 5))
    score = float(compiled(params, tables, jnp.asarray([row]), int(column), 1, index)[0, 0])
    shares = precision.full(model.explanation.shares)
    found = np.asarray(shares(params, tables, int(row), int(column), index))
    histories = {name: matrix[[row]] for name, matrix in source.train.items()}
    met = tuple(name for name, history in histories.items() if column in history.indices)
    held = [name for name in source.info.behaviors if name not in met and _is_seen(source, name, row, column)]
    return Explained(
        source.users.ids[row],
        source.items.ids[column],
        behavior,
        score,
        table(found, model.explanation, histories, source.items),
        met,
        tuple(held),
        _is_seen(source, behavior, row, column, config.evaluate.mask),
    )


def _is_seen(source: data.Dataset, behavior: str, user: int, item: int, mask: str = "same_behavior") -> bool:
    return item in seen.pairs(source, behavior, mask=mask)[[user]].indices


def table(
    found: np.ndarray, explanation: types.Explanation, histories: Mapping[str, sparse.csr_array], items: data.Vocabulary
) -> pl.DataFrame:
    """Shares as a table; items that the user met and that add nothing stand in it with 0.

    Args:
      found: [sources, I].
      explanation: whose they are.
      histories: behavior -> CSR [1, I], the user's pairs.
      items: raw ids.
    """
    places, names, shares = [], [], []
    for of_source, behaviors in zip(found, explanation.sources, strict=True):
        met: dict[int, list[str]] = {}
        for name in behaviors:
            for place in histories[name].indices:
                met.setdefault(int(place), []).append(name)
        for place, by in met.items():
            places.append(place)
            names.append(", ".join(by))
            shares.append(float(of_source[place]))
    order = sorted(range(len(places)), key=lambda n: (-abs(shares[n]), places[n], names[n]))
    return pl.DataFrame(
        {
            "item": items.column([places[n] for n in order]),
            "behavior": pl.Series([names[n] for n in order], dtype=pl.String),
            "share": pl.Series([shares[n] for n in order], dtype=pl.Float64),
        }
    )


def _check_able(workdir: str | pathlib.Path, config: configuration.Config) -> None:
    """Raises IncompatibleError where the model cannot, before the data are read and anything is prepared."""
    then = run_folder.RunFolder(workdir).dataset()
    info = types.DatasetInfo(then["name"], 1, 1, tuple(then["behaviors"]))
    if models.entry(config.model_name).build(config.model, info, 1).explanation is None:
        raise errors.IncompatibleError(
            f"the scores of '{config.model_name}' are no sums over the user's items, so that nobody can say what each "
            f"of them adds. Those of {', '.join(ABLE)} are."
        )
