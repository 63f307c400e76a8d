"""The vocabulary of mbjax: what data, models, training and evaluation say to one another.

Letters in shapes: U users, I items, K behaviors, B rows of a batch, D embedding size, N entries of a
ragged array (a capacity: entries past the last row pointer are padding and are never read).

Behaviors are in funnel order, the target last. Indices are int32 and 0-based; raw ids live in a
``Vocabulary`` and meet the rest only when files are read or written.
"""

from mbjax.types.batches import BatchSpec, Block, Levels, PairSet, Points, PointSpec, Ragged, Triples, UserBatch
from mbjax.types.evidence import Events, Evidence, Foreseen, Later, Preparation, Tables
from mbjax.types.matrices import Array, DatasetInfo, Graph, Graphs, GraphSpec
from mbjax.types.model import (
    EXACT,
    OWN_USERS,
    PROPAGATED,
    Explanation,
    Finding,
    Model,
    Params,
    RowTable,
    SameForAll,
    TrainState,
)

AXIS = "devices"  # over which contributions of several devices are summed

__all__ = [
    "AXIS",
    "Array",
    "BatchSpec",
    "Block",
    "DatasetInfo",
    "EXACT",
    "Events",
    "Evidence",
    "Explanation",
    "Finding",
    "Foreseen",
    "Graph",
    "GraphSpec",
    "Graphs",
    "Later",
    "Levels",
    "Model",
    "OWN_USERS",
    "PROPAGATED",
    "PairSet",
    "Params",
    "PointSpec",
    "Points",
    "Preparation",
    "Ragged",
    "RowTable",
    "SameForAll",
    "Tables",
    "TrainState",
    "Triples",
    "UserBatch",
]
