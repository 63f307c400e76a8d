"""A second training, on training and validation pairs together, once validation has chosen the number of epochs.

A model that has learned from the validation pairs (``Model.judged``), and not only been chosen by them, has nothing to
learn from them as training pairs: what tells it how held-out pairs differ from others would be gone. It keeps its
parameters, and what it prepares of the data is made of all pairs.
"""

from __future__ import annotations

import pathlib

from mbjax import config as configuration
from mbjax import data, errors, hosts, wording
from mbjax.experiment import outcomes, training
from mbjax.reporting import printout
from mbjax.train import run_folder


def retrain(
    config: configuration.Config,
    outcome: outcomes.Outcome,
    *,
    record: bool | pathlib.Path = False,
    dataset: data.Dataset | None = None,
) -> outcomes.Outcome:
    """Trains anew for as many epochs, and with the settings, that validation chose; only test pairs are held out.

    A model that has learned from validation pairs is not trained, and has all pairs in what it prepares.

    The second run goes on from its last checkpoint if it was interrupted. Its test table is of its last epoch.

    Args:
      config: of the first run.
      outcome: what ``train`` returned for it.
      record: as for ``train``; a file gets the suffix ``-retrain``.
      dataset: as ``data.valid=into_train`` leaves it; None loads it.

    Raises:
      ConfigError: nothing was chosen on validation pairs.
    """
    if outcome.learned_valid:
        chosen = {"train.epochs": "0", "train.init_from": str(outcome.workdir)}
        how = ["what it has learned is kept, from validation pairs too, and what is counted and solved is made of all"]
    elif "valid" in outcome.epochs:
        epochs = outcome.epochs["valid"] + 1
        chosen = {"train.epochs": str(epochs), "train.patience": "0"}
        how = [wording.count(epochs, "epoch")]
    elif outcome.chosen:
        chosen, how = {}, []
    else:
        raise errors.ConfigError(
            f"run folder {outcome.workdir}: nothing was chosen on validation pairs, neither an epoch nor a setting, so "
            "that it is open how to train again."
        )
    chosen |= {name: str(value) for name, value in outcome.chosen.items()}
    chosen["train.max_minutes"] = "0"  # the number of epochs is settled
    how += [f"{name}={value}" for name, value in outcome.chosen.items()]
    again = configuration.override(config, {"data.valid": "into_train"} | chosen)
    folder = run_folder.RunFolder(run_folder.RunFolder(outcome.workdir).retrained)
    doing = "once more with" if outcome.learned_valid else "training again on"
    printout.say(f"{doing} training and validation pairs, {', '.join(how)}")
    if isinstance(record, pathlib.Path) and record.suffix == ".json":
        record = record.with_stem(f"{record.stem}-retrain")
    return training.train(again, folder.path, resume=hosts.told(folder.has_run()), record=record, dataset=dataset)
