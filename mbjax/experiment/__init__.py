"""Experiments: the only place that knows data, models, training and evaluation at once."""

from mbjax.experiment.wiring import Experiment, build
from mbjax.experiment.runs import evaluate_run, recommend, restore
from mbjax.experiment.training import Outcome, train

__all__ = ["Experiment", "Outcome", "build", "evaluate_run", "recommend", "restore", "train"]
