"""Candidates of users: familiar items, met by another behavior than the ranked one, and new ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import sparse

from mbjax.features import lists

Pairs = Mapping[str, sparse.csr_array]


def histories(
    train: Pairs, users: np.ndarray, removed: Pairs | None = None, until: np.ndarray | None = None
) -> lists.Lists:
    """Lists without candidates of users of training, one for each.

    Args:
      train: behavior -> CSR [U, I].
      users: int [L], ascending.
      removed: behavior -> CSR [L, I], pairs that are taken out of the histories; None: none.
      until: [L], as of ``lists.Clock``; None: all events are known.
    """
    shape = (len(users), next(iter(train.values())).shape[1])
    nothing = sparse.csr_array(shape, dtype=np.float32)
    whole = {b: sparse.csr_array(m[users].astype(np.float32)) for b, m in train.items()}
    taken = {b: nothing if removed is None or b not in removed else removed[b] for b in train}
    kept = {b: lists.without(m, taken[b]) if taken[b].nnz else m for b, m in whole.items()}
    pointers = np.zeros(len(users) + 1, np.int64)
    clock = lists.Clock.of(users) if until is None else lists.Clock(np.asarray(users, np.int64), until)
    return lists.Lists(np.asarray(users, np.int32), kept, taken, pointers, np.zeros(0, np.int32), clock)


def strangers(pairs: Pairs, person: np.ndarray | None = None) -> lists.Lists:
    """Lists without candidates of users who are no part of the statistics, of their pairs CSR [N, I].

    Args:
      person: [N], as of ``lists.Clock``; None: nobody asks for their events.
    """
    number = next(iter(pairs.values())).shape[0]
    kept = {b: sparse.csr_array(m.astype(np.float32)) for b, m in pairs.items()}
    taken = {b: sparse.csr_array(m.shape, dtype=np.float32) for b, m in kept.items()}
    clock = None if person is None else lists.Clock.of(person)
    ptr = np.zeros(number + 1, np.int64)
    return lists.Lists(np.full(number, -1, np.int32), kept, taken, ptr, np.zeros(0, np.int32), clock)


def passive(pairs: Pairs, train: Pairs, known: np.ndarray | None, person: np.ndarray | None = None) -> lists.Lists:
    """As ``strangers``, of whom the statistics may know some.

    Those are left out of them as any of their users is, with what they hold of him, and not with what is known of him
    beyond that.

    Args:
      pairs: of the users.
      train: of the users of the statistics, CSR [U, I].
      known: [N], who of those they are, -1: nobody; None: all are strangers.
      person: as for ``strangers``.
    """
    of = strangers(pairs, person)
    if known is None or (np.asarray(known) < 0).all():
        return of
    user, shape = np.asarray(known, np.int32), next(iter(pairs.values())).shape
    is_known, place = sparse.diags_array((user >= 0).astype(np.float32)).tocsr(), np.maximum(user, 0)
    held = {b: lists.union([is_known @ m[place].astype(np.float32)], shape) for b, m in train.items()}
    removed = {b: lists.without(held[b], m) for b, m in of.history.items()}
    added = {b: lists.without(lists.union([is_known @ m], shape), held[b]) for b, m in of.history.items()}
    return dataclasses.replace(of, user=user, removed=removed, added=added)


def familiar(of: lists.Lists, target: str) -> sparse.csr_array:
    """What is in the histories of other behaviors and not in that of the target: CSR [L, I]."""
    shape = of.history[target].shape
    return lists.without(lists.union([m for b, m in of.history.items() if b != target], shape), of.history[target])


def met(of: lists.Lists) -> sparse.csr_array:
    """What is in the histories: CSR [L, I]."""
    return lists.union(of.history.values(), next(iter(of.history.values())).shape)
