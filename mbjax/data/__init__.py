"""Data sets: from files, downloads, logs or thin air to interaction matrices. The only code that opens data files."""

from mbjax.data.dataset import Dataset, assemble
from mbjax.data.loading import load
from mbjax.data.options import LogOptions, Options
from mbjax.data.statistics import Leak, Statistics, describe, leaks, patterns
from mbjax.data.vocabulary import Vocabulary

__all__ = [
    "Dataset",
    "Leak",
    "LogOptions",
    "Options",
    "Statistics",
    "Vocabulary",
    "assemble",
    "describe",
    "leaks",
    "load",
    "patterns",
]
