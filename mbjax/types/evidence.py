"""What closed forms and lists of training are made of, and what making them takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

Tables = Any


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
      known: int [N], which users of ``train`` the passive ones are, with other pairs, -1: none; None: none of them is.
      valid: behavior -> CSR [U, I], pairs held out for validation, for choices; empty where there are none.
      joined: whether ``train`` has pairs that training had not: those of validation, or what a log has more since.
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
    known: Any = None
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
