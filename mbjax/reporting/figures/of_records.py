"""What runs have written down: learned weights of tasks over epochs."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from mbjax import errors
from mbjax.reporting.figures import drawing
from mbjax.train import logging, run_folder

PART = "uncertainty_"
"""How the parts of a loss begin that are regularizers of tasks' uncertainties, followed by the task."""


def weights(runs: Sequence[pathlib.Path]) -> drawing.Drawn:
    """The weight 1 / (2 sigma^2) of each task's loss after each epoch, from ``metrics.jsonl``: a panel for each run.

    The regularizers are means of ln sigma^2 over users and steps (of ln sigma with ``sdwl_regularizer=logsigma``), so
    that the weights are geometric means.
    """
    from mbjax import experiment

    table, panels = [], []
    for place in runs:
        config = experiment.read_config(place)
        folder = run_folder.RunFolder(place)
        rows = logging.read_rows(folder.metrics_file)
        tasks = [name for name in rows[0].get("loss_parts", {}) if name.startswith(PART)] if rows else []
        if not tasks:
            raise errors.ConfigError(
                f"run {place}: '{config.model_name}' as it was trained has no learned weights of tasks; bvae has, with "
                "model.sdwl=true."
            )
        if folder.dataset_file.is_file():  # in funnel order; the parts of a loss are in that of the alphabet
            order = [f"{PART}{behavior}" for behavior in folder.dataset()["behaviors"]]
            tasks.sort(key=order.index)
        times = 2.0 if getattr(config.model, "sdwl_regularizer", "") == "logsigma" else 1.0
        steps = np.diff([0, *(row["step"] for row in rows)])
        epochs = [row["epoch"] + 1 for row in rows]
        series = {}
        for name in tasks:
            means = np.asarray([row["loss_parts"][name] for row in rows]) / steps
            values = (0.5 * np.exp(-times * means)).tolist()
            series[name.removeprefix(PART)] = drawing.Line(epochs, values)
            table += [
                {"run": place.name, "task": name.removeprefix(PART), "epoch": epoch, "weight": value}
                for epoch, value in zip(epochs, values, strict=True)
            ]
        panels.append(drawing.Lines(place.name, series, "epoch", "1 / (2 sigma^2)"))
    note = "A task of large weight is one that the model is sure of; equal weights tell no task from another."
    return drawing.Drawn(pl.DataFrame(table), panels, "learned weights of tasks", note)
