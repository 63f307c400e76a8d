"""The vocabulary of mbjax: what data, models, training and evaluation say to one another.

Letters in shapes: U users, I items, K behaviors, B rows of a batch, D embedding size, N entries of a
ragged array (a capacity: entries past the last row pointer are padding and are never read).

Behaviors are in funnel order, the target last. Indices are int32 and 0-based; raw ids live in a
``Vocabulary`` and meet the rest only when files are read or written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from flax import struct
from jax.experimental import sparse

AXIS = "devices"  # over which contributions of several devices are summed

Array = jax.Array
Params = Any
Tables = Any


class DatasetInfo(NamedTuple):
    """What a model may know of a data set: sizes and names, never a file.

    Attributes:
      name: of the data set, e.g. ``"jd"``.
      num_users: U.
      num_items: I.
      behaviors: names in funnel order, the target last.
      times: whether it is known when pairs happened.
      later: whether the validation pairs that it comes with happened after all training pairs, as of a log that is cut
        in time.
      passive: of the users, how many training does not have: the last ones.
    """

    name: str
    num_users: int
    num_items: int
    behaviors: tuple[str, ...]
    times: bool = False
    later: bool = False
    passive: int = 0

    @property
    def trained_users(self) -> int:
        """The users of training, who are the first ones."""
        return self.num_users - self.passive

    @property
    def target(self) -> str:
        """The behavior that the others lead to, e.g. purchase."""
        return self.behaviors[-1]

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """All behaviors but the target."""
        return self.behaviors[:-1]

    @property
    def num_behaviors(self) -> int:
        """K."""
        return len(self.behaviors)


class GraphSpec(NamedTuple):
    """A sparse matrix that a model asks for, as data.

    Attributes:
      behaviors: whose training pairs are entered.
      shape: ``"user_item"`` [U, I], ``"bipartite"`` [U + I, U + I], users first, or ``"item_item"`` [I, I], 1 for two
        items that any user has both of, by whichever of the behaviors, and nothing on the diagonal.
      normalisation: ``"none"``, ``"l2_row"`` (rows of length 1), ``"left"`` (D^-1 A),
        ``"right"`` (A D^-1) or ``"symmetric"`` (D^-1/2 A D^-1/2). Empty rows stay zero.
      entries: how several behaviors become one matrix: ``"union"`` (1 if any has the pair), ``"count"`` (how many
        have it) or ``"normalised_sum"`` (each normalised by itself, then added).
      self_loops: adds the identity to a bipartite matrix before it is normalized.
      parts: the pairs of a bipartite matrix are dealt into so many parts, by a hash of the pair.
      part: which of the parts is entered, its values times ``parts``, so that the mean of all parts is the matrix.
    """

    behaviors: tuple[str, ...]
    shape: str = "user_item"
    normalisation: str = "none"
    entries: str = "union"
    self_loops: bool = False
    parts: int = 1
    part: int = 0


@struct.dataclass
class Graph:
    """A sparse matrix on the device, with what its products need.

    Attributes:
      matrix: BCOO [R, C], float32, indices sorted by row then column, unique.
      row_ptr: int32 [R + 1]; row r owns entries row_ptr[r]:row_ptr[r + 1].
      transpose: BCOO [C, R], the same matrix transposed, sorted likewise.
      col_ptr: int32 [C + 1], row pointers of ``transpose``.
      partial: of a matrix that is divided among devices by user, the first row of its product that each device has a
        part of only, and the same of the product with the transpose; None: it has all of every row.
    """

    matrix: sparse.BCOO
    row_ptr: Array
    transpose: sparse.BCOO
    col_ptr: Array
    partial: tuple[int | None, int | None] = struct.field(pytree_node=False, default=(None, None))


Graphs = Mapping[str, Any]  # Graph, or what ``Model.prepare`` made


class PairSet(NamedTuple):
    """The pairs that triples of a name are drawn from.

    Attributes:
      behavior: whose training pairs are the positives; every other item is a possible negative.
      without: a behavior whose pairs are taken out of them; its pairs become possible negatives.
      known: further behaviors whose pairs are no negatives.
    """

    behavior: str
    without: str | None = None
    known: tuple[str, ...] = ()


class Levels(NamedTuple):
    """Behaviors as levels of preference: a negative may be an item that the user met by weaker behaviors only.

    Attributes:
      behaviors: from weak to strong.
      weights: one for each. Below the level of an observed pair, level k is chosen with a share of
        weights[k] * (the user's pairs of it); its negatives are those of no stronger level.
      unobserved: probability of an item that the user met by none of them, from 0 to 1. It is also taken where no
        weaker level has anything.
    """

    behaviors: tuple[str, ...]
    weights: tuple[float, ...]
    unobserved: float


class PointSpec(NamedTuple):
    """Observed pairs one by one, each with negatives of its user.

    Attributes:
      behaviors: whose training pairs are drawn. Without levels each pair of their union is drawn once an epoch, with a
        label for each behavior; with levels each pair of each behavior is, by itself.
      negatives: M of each pair: items outside the union, or as the levels say.
      levels: None: none.
    """

    behaviors: tuple[str, ...]
    negatives: int
    levels: Levels | None = None


class BatchSpec(NamedTuple):
    """The batches that a model asks for, as data: users with whole histories or triples drawn from them, or pairs.

    Attributes:
      size: B users (or pairs), over all devices.
      histories: name -> behaviors whose training pairs are united under that name.
      triples: name -> PairSet, from which (user, positive, negative) triples are drawn.
      per_user: M, the most triples that a user gives to each name; one with fewer positives gives as many as those.
      negatives: J, those of each triple.
      told: names of triples whose positives each device is told of the whole batch (``Triples.everyone``).
      users_per_epoch: users drawn for an epoch; 0: all.
      steps_per_epoch: batches of an epoch, whose users come from as many orders of all users as it takes;
        0: as many as one pass needs.
      pass_over: a behavior; in place of ``steps_per_epoch``, an epoch has floor(its training pairs / B) + 1 batches, of
        users who have such pairs.
      points: makes the rows of a batch observed pairs in place of users; an epoch is a pass over the pairs.
      undivided: every device gets all rows of a batch, each with the weight 1 / number of devices, for a loss that is
        no sum over rows, such as one with batch normalization. Contributions add up all the same.
    """

    size: int
    histories: Mapping[str, tuple[str, ...]] = {}
    triples: Mapping[str, PairSet] = {}
    per_user: int = 1
    negatives: int = 1
    told: tuple[str, ...] = ()
    users_per_epoch: int = 0
    steps_per_epoch: int = 0
    pass_over: str | None = None
    points: PointSpec | None = None
    undivided: bool = False


@struct.dataclass
class Ragged:
    """Rows of unequal length, flat: the histories of a batch, or of all users.

    Attributes:
      ptr: int32 [B + 1], ascending from 0; row b owns entries ptr[b]:ptr[b + 1].
      item: int32 [N], ascending inside a row; padding (from ptr[B] on) is ``num_items``.
      row: int32 [N], the row of each entry; padding is B.
    """

    ptr: Array
    item: Array
    row: Array


@struct.dataclass
class Triples:
    """Positives and negatives of the users of a batch.

    Attributes:
      positive: int32 [B, M], drawn with replacement from the user's pairs.
      negative: int32 [B, J M], drawn from the items that are not among them; never one of them. Those of the m-th
        triple are in the columns m, M + m, ...
      weight: float32 [B, M], 1 for a real triple, 0 for padding (items are 0 there).
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of a mean over triples.
        At least 1.
      everyone: int32 [all B, M], the positives of the *global* batch, where that is asked for and devices are several,
        with -1 for padding; None: not asked for, these are all, or the users are divided.
    """

    positive: Array
    negative: Array
    weight: Array
    total: Array
    everyone: Array | None = None


@struct.dataclass
class Points:
    """The observed pairs of a batch, each with negatives of its user, who is in ``UserBatch.user``.

    Attributes:
      item: int32 [B, 1 + M], the observed item, then the negatives.
      label: float32 [B, behaviors of the ``PointSpec``], 1 for those whose pair it is (with levels: for the one that it
        was drawn from).
      weight: float32 [B, 1 + M], 0 for padding and for the negatives of a user who met all items.
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of a mean. At least 1.
    """

    item: Array
    label: Array
    weight: Array
    total: Array


class Block(NamedTuple):
    """One of the blocks that the users are divided into, where no device has the tables of all (``mbjax/shards.py``).

    A model is then built for the users of a block: ``info.num_users``, its user tables and ``UserBatch.user`` are of
    the block. ``ops/all_users.py`` says what it needs of the others.

    Attributes:
      users: of all blocks.
      size: users of each block, ``info.num_users``; of the last ones some are padding.
    """

    users: int
    size: int


@struct.dataclass
class UserBatch:
    """Users with what training needs of them, drawn on the device.

    Attributes:
      user: int32 [B]; padding rows hold 0. A row is a user, or an observed pair of one.
      weight: float32 [B], 1 for a real row, 0 for padding; padding rows have empty histories.
      everyone: int32, the users of the *global* batch in its order; -1 is padding. With a block those of the rows of
        this device alone.
      noise: uint32 [B, 2], a random word pair for each row. All randomness of a row is derived from it,
        so that a row draws the same dropout and noise on whichever device it lies.
      history: name -> Ragged, as asked for by ``BatchSpec.histories``.
      triples: name -> Triples, as asked for by ``BatchSpec.triples``.
      points: Points, if asked for by ``BatchSpec.points``.
      block: where the users are divided, whose rows these are; None: they are not.
      total: float32 scalar, the sum of the weights of the *global* batch: the denominator of every mean over rows.
      share: float32 scalar, 1 / number of devices: the factor of terms that do not depend on the batch,
        so that summing over the devices counts them once.
    """

    user: Array
    weight: Array
    everyone: Array
    noise: Array
    history: dict[str, Ragged]
    total: Array
    share: Array
    triples: dict[str, Triples] = struct.field(default_factory=dict)
    points: Points | None = None
    block: Block | None = struct.field(pytree_node=False, default=None)


class Events(NamedTuple):
    """When the stored entries of a CSR matrix happened, in their order.

    Attributes:
      ptr: int64 [nnz + 1]; entry p has the events ptr[p]:ptr[p + 1], at least one.
      seconds: float64 [ptr[-1]], ascending in an entry; from any moment, the same one for all matrices.
    """

    ptr: Any
    seconds: Any


class Evidence(NamedTuple):
    """Host matrices that a closed form is made of.

    Attributes:
      train: behavior -> CSR [U, I] of ones, the training pairs.
      passive: behavior -> CSR [N, I], the pairs of users who come after the others and whom nobody reads, as in
        ``ops.graph.from_train``; None: there are none.
      valid: behavior -> CSR [U, I], pairs held out for validation, for choices; empty where there are none.
      joined: whether ``train`` has pairs that training had not, those of validation.
      seed: of whatever is drawn.
      teach: whether a training run is about to ask ``Model.teach`` for its lists.
      alone: whether only the passive users are going to be ranked.
      events: behavior -> Events of ``train``; None: it is not known when pairs happened.
      passive_events: behavior -> Events of ``passive``; None where ``events`` is.
      later: whether what is held out happened after all training pairs.
      passing: whether the test split and lists are ranked by evidence of their own, made after training.
      asked: behavior -> int, ascending, the users who are going to be ranked by it, for a model that cannot rank all at
        once (``Model.few``); None: all, or those of training whom it draws.
    """

    train: Mapping[str, Any]
    passive: Mapping[str, Any] | None = None
    valid: Mapping[str, Any] = {}
    seed: int = 0
    teach: bool = False
    alone: bool = False
    events: Mapping[str, Events] | None = None
    passive_events: Mapping[str, Events] | None = None
    later: bool = False
    joined: bool = False
    passing: bool = False
    asked: Mapping[str, Any] | None = None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class Later:
    """Stands among graphs that are too many to exist at once: those of some users after those of others.

    Attributes:
      groups: makes for each group of users what replaces graphs of the same names.
      joined: the tables of all users, of those of each group, on the host.
    """

    groups: Callable[[], Iterator[dict[str, Any]]]
    joined: Callable[[Sequence[Tables]], Tables]


class Preparation(NamedTuple):
    """What ``Model.prepare`` takes of memory, told before it is called.

    Attributes:
      made: name -> ``jax.ShapeDtypeStruct`` in place of the arrays that it makes.
      beside: bytes that it takes at its peak beside those, and gives back.
      note: what decides them.
      remedy: what would make it smaller, such as ``"a smaller model.rank"``.
    """

    made: Mapping[str, Any]
    beside: int
    note: str = ""
    remedy: str = ""


class Foreseen(NamedTuple):
    """What a run takes of memory whose sizes only preparing decides, estimated before.

    Attributes:
      stages: name -> bytes beside the data, one at a time.
      held: bytes that are there while it is trained, beside the store.
      sampler: as ``Model.teach`` would give it, or as near as can be told.
      store: shapes of what it draws from.
    """

    stages: Mapping[str, float]
    held: float
    sampler: Any
    store: Any


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
