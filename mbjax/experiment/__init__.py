"""Experiments: the only place that knows data, models, training and evaluation at once."""

from mbjax.experiment.anchors import without_learning
from mbjax.experiment.experts import expert_use
from mbjax.experiment.explaining import explain
from mbjax.experiment.listing import recommend
from mbjax.experiment.outcomes import Outcome
from mbjax.experiment.retraining import retrain
from mbjax.experiment.runs import evaluate_run, read_config, restore
from mbjax.experiment.seeds import Outcomes, train_seeds
from mbjax.experiment.training import train
from mbjax.experiment.trials import Trial, attempt, load_data, tested
from mbjax.experiment.wiring import Experiment, build

__all__ = [
    "Experiment",
    "Outcome",
    "Outcomes",
    "Trial",
    "attempt",
    "build",
    "evaluate_run",
    "expert_use",
    "explain",
    "read_config",
    "load_data",
    "recommend",
    "restore",
    "retrain",
    "tested",
    "train",
    "train_seeds",
    "without_learning",
]
