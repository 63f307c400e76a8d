"""A model: data and pure functions; and the state that training changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flax import struct

from mbjax.types.batches import BatchSpec
from mbjax.types.evidence import Evidence, Foreseen, Preparation, Tables
from mbjax.types.matrices import Array, DatasetInfo, Graphs, GraphSpec

Params = Any


class Explanation(NamedTuple):
    """How a model's score of an item falls into exact shares of the user's pairs.

    Attributes:
      sources: rows of the shares: the behaviors whose union a row is.
      shares: ``(params, tables, user, item, behavior) -> float32 [sources, I]``: what each of the user's items adds to
        the score of an item, 0 for those that he has not met; ``behavior`` is a Python integer. They add up to the
        score.
    """

    sources: tuple[tuple[str, ...], ...]
    shares: Callable[[Params, Tables, Array | int, Array | int, int], Array]


class Finding(NamedTuple):
    """A table of what a model found, for people.

    Attributes:
      title: what it shows.
      columns: their names.
      rows: texts and numbers.
      note: how to read it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


class SameForAll(NamedTuple):
    """That scores are the same for all users, but for pairs of their own (``ops/shortlist.py``).

    Attributes:
      score: ``(params, tables, behavior) -> float32 [I]``, everybody's scores; ``behavior`` is a Python integer.
      own: ``(params, tables, behavior) -> ((row_ptr [U + 1], item [N]), ...)``: the pairs whose scores are others, at
        least as high; items ascend in a row. None: there are none.
      pair: ``(params, tables, user [N], item [N], behavior) -> float32 [N]``, of any pairs; goes with ``own``.
    """

    score: Callable[[Params, Tables, int], Array]
    own: Callable[[Params, Tables, int], Sequence[tuple[Array, Array]]] | None = None
    pair: Callable[[Params, Tables, Array, Array, int], Array] | None = None


@dataclasses.dataclass(frozen=True)
class RowTable:
    """An array of the parameters that a loss reads by the users or items of its batch alone.

    Attributes:
      side: ``"user"`` or ``"item"``, whose rows they are.
      axis: of the rows.
    """

    side: str
    axis: int = 0

    def index(self, rows: Array) -> tuple[Any, ...]:
        """What picks some rows of the array."""
        return (*(slice(None),) * self.axis, rows)


EXACT, PROPAGATED = "exact", "propagated"
OWN_USERS = "its users are parameters of their own, and nothing propagates to them"


class Model(NamedTuple):
    """All that training and evaluation know of a model: data and pure functions.

    The loss of a batch is a *sum of contributions*: means over rows divide by ``batch.total``, terms without rows are
    multiplied by ``batch.share`` and sums over all users by ``ops.all_users.share``. So the losses and gradients of the
    devices add up to those of the global batch, and a model never hears of devices.

    Attributes:
      info: the data set it was built for.
      graphs: name -> GraphSpec, the matrices that ``init``, ``loss`` and ``encode`` receive.
      batch: the batches that ``loss`` receives; None if there is nothing to train (anchors).
      init: ``(key, graphs) -> params``.
      loss: ``(params, graphs, batch, key, step) -> (scalar, {name: scalar})``; the parts are contributions too.
      encode: ``(params, graphs) -> tables``, once per evaluation.
      score: ``(params, tables, users [B], start, size, behavior) -> [B, size]``: the ranking scores of
        items start .. start + size - 1; ``start`` may be traced, ``size`` and ``behavior`` (an index into
        ``info.behaviors``) are Python integers; start + size never exceeds ``num_items``.
      tasks: the behaviors that it ranks; empty: all.
      fold_in: how it ranks for users whom training has not seen, who are passive in its graphs
        (``ops.graph.from_train``). ``EXACT``: what it knows of a user are his pairs, so that he gets the list that he
        would have as one of its users; a model that leaves each of its users out of the statistics that rank him gives
        a stranger the list that he would have if he joined them. ``PROPAGATED``: something in his place is left out,
        such as a row of his own in an embedding table. Anything else is the reason why it cannot.
      prepare: ``Evidence -> {name: arrays}``: what no gradient changes and the data alone decide, such as a closed
        form. It is computed on the host's side of a run, anew after a restore, and stands among the graphs under its
        names. None: nothing.
      preparing: ``Evidence -> Preparation``: what ``prepare`` takes of memory, from shapes and numbers of pairs alone.
        None: it cannot say.
      foreseen: ``(Evidence of training, Evidence of the test split) -> Foreseen``, for a model that cannot say exactly
        (``preparing``) and whose ``init`` and ``loss`` need no graphs. None: nothing is told.
      teach: ``(Evidence, number of devices) -> (sampler, store)``, in place of batches of users (``ops.sampling``):
        what training draws its batches with and from. None: as ``batch`` says.
      joins: whether pairs of validation that are known when the test split is ranked (``Dataset.mask_valid``) count as
        pairs of training in what is prepared for it, and for lists; without training again.
      judged: ``graphs -> graphs`` with which the validation split is evaluated, where its pairs teach too. None: the
        same ones.
      times: whether it asks when pairs happened (``Evidence.events``).
      probabilities: whether scores are natural logarithms of probabilities, over all items of a user and behavior.
      explanation: which of a user's items speak for an item, and how much; None: it cannot say exactly.
      choices: ``(params, graphs) -> {field: value}``: settings that it chose on validation pairs, by the dotted path of
        the field that says so otherwise; known before the first step. Whatever the run is used for keeps them, and so
        does a second training on all pairs (``--retrain``). None: none.
      findings: ``(params, graphs) -> tables``, at the end of a run, on the host; None: nothing to tell.
      all_items: whether ``score`` of a few items takes as long as of all: users are then taken a few at a time in place
        of items.
      same_for_all: where scores are the same for all users but for pairs of their own: the best items are then looked
        up once.
      measured: names in ``params`` of what no gradient changes and the data of the run decide, such as means and
        deviations: a start from another run (``train.init_from``) leaves them as they are.
      by_row: name in ``params["params"]`` -> RowTable, of both sides: what ``loss`` reads by ``UserBatch.user`` and by
        the items of its triples and points, and in no other way. The model built for another number of users and items
        has to have the same loss, if the batch names the same rows. Then ``train.lazy`` can be had
        (``mbjax/train/lazy.py``). Anything else is the reason why it cannot.
      few: of each behavior, how many users its graphs of training can rank: a sample, since tables of all are too many;
        the test split and lists are then ranked by evidence of their own. 0: all.
      notes: what its builder chose for the data set, a line each, said as a run begins.
    """

    info: DatasetInfo
    graphs: Mapping[str, GraphSpec]
    batch: BatchSpec | None
    init: Callable[[Array, Graphs], Params]
    loss: Callable[[Params, Graphs, Any, Array, Array], tuple[Array, dict[str, Array]]]
    encode: Callable[[Params, Graphs], Tables]
    score: Callable[[Params, Tables, Array, Array | int, int, int], Array]
    tasks: tuple[str, ...] = ()
    fold_in: str = "it does not say how (types.Model.fold_in)"
    prepare: Callable[[Evidence], Mapping[str, Any]] | None = None
    preparing: Callable[[Evidence], Preparation] | None = None
    foreseen: Callable[[Evidence, Evidence], Foreseen] | None = None
    teach: Callable[[Evidence, int], tuple[Any, Any]] | None = None
    joins: bool = False
    judged: Callable[[Graphs], Graphs] | None = None
    times: bool = False
    probabilities: bool = False
    explanation: Explanation | None = None
    choices: Callable[[Params, Graphs], Mapping[str, Any]] | None = None
    findings: Callable[[Params, Graphs], Sequence[Finding]] | None = None
    measured: tuple[str, ...] = ()
    all_items: bool = False
    same_for_all: SameForAll | None = None
    by_row: Mapping[str, RowTable] | str = "its loss reads more of its tables than the rows of a batch"
    few: int = 0
    notes: tuple[str, ...] = ()


@struct.dataclass
class TrainState:
    """Everything that training changes, arrays only. Linear: never used again after a step.

    Attributes:
      step: int32 scalar, optimizer steps done.
      params: of the model.
      opt_state: of the optimizer.
      key: the run's random key; the key of a step is ``fold_in(key, step)``.
    """

    step: Array
    params: Params
    opt_state: Any
    key: Array
