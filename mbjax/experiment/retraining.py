"""A second training, on training and validation pairs together, once validation has chosen the number of epochs."""

from __future__ import annotations

import pathlib

from mbjax import config as configuration
from mbjax import errors, wording
from mbjax.experiment import outcomes, printout, training
from mbjax.train import run_folder

FOLDER = "retrain"
"""Name of the second run's folder within that of the first."""


def retrain(
    config: configuration.Config, outcome: outcomes.Outcome, *, record: bool | pathlib.Path = False
) -> outcomes.Outcome:
    """Trains anew for as many epochs as validation chose, with no pair held out but those of the test split.

    The second run goes on from its last checkpoint if it was interrupted. Its test table is of its last epoch.

    Args:
      config: of the first run.
      outcome: what ``train`` returned for it.
      record: as for ``train``; a file gets the suffix ``-retrain``.

    Raises:
      ConfigError: no epoch was chosen on validation pairs.
    """
    if "valid" not in outcome.epochs:
        raise errors.ConfigError(
            f"run folder {outcome.workdir}: no epoch was chosen on validation pairs, so it is open how long to train."
        )
    epochs = outcome.epochs["valid"] + 1
    again = configuration.override(
        config, {"data.valid": "into_train", "train.epochs": str(epochs), "train.patience": "0"}
    )
    folder = run_folder.RunFolder(outcome.workdir / FOLDER)
    printout.say(f"training again on training and validation pairs, {wording.count(epochs, 'epoch')}")
    if isinstance(record, pathlib.Path) and record.suffix == ".json":
        record = record.with_stem(f"{record.stem}-retrain")
    return training.train(again, folder.path, resume=folder.has_run(), record=record)
