"""Who is ranked: the users of the statistics and passive ones, those whose numbers say what is usual, and whom to ask.

Knows of a model's configuration what ``extent`` reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mbjax import types
from mbjax.features import candidates, extent, lists, teaching

SAMPLE = 512  # users whose numbers say what is usual, where training's do not


class People(NamedTuple):
    """Who is ranked.

    Attributes:
      lists: their histories, without candidates: users of the statistics, then passive ones.
      usual: int, ascending, a sample whose numbers say what is usual; None: those of all say it.
    """

    lists: lists.Lists
    usual: np.ndarray | None


def ranked(evidence: types.Evidence) -> People:
    """The users of the statistics and the passive ones.

    Where validation pairs have joined those of training, counts and rates of all candidates are higher than experts and
    gate have learned them. Means and deviations are those of a sample of users then, the same for all who are ranked.
    """
    train = evidence.train
    of = candidates.histories(train, np.arange(next(iter(train.values())).shape[0]))
    usual = None
    if evidence.joined:
        rng = np.random.default_rng([evidence.seed, 47])
        usual = np.sort(rng.choice(len(of.user), min(SAMPLE, len(of.user)), replace=False))
    if evidence.passive is not None:
        number = next(iter(evidence.passive.values())).shape[0]
        more = candidates.passive(evidence.passive, train, evidence.known, len(of.user) + np.arange(number))
        of = _joined(_only(of, usual) if evidence.alone else of, more)
    return People(of, usual)


def asked_for(
    config: Any, info: types.DatasetInfo, evidence: types.Evidence, who: People
) -> dict[str, np.ndarray | None]:
    """The rows of each behavior that candidates are found for; None: all.

    Where training alone asks for them, those of a behavior that nothing is held out of only say what its numbers are
    like: those of a sample of users do. Of very many users those are enough who are ranked on the way.
    """
    rows: dict[str, np.ndarray | None] = dict.fromkeys(info.behaviors)
    size, is_large = len(who.lists.user), not extent.is_whole(config, info.trained_users)
    if evidence.alone and is_large:
        usual = np.zeros(0, np.int64) if who.usual is None else who.usual
        return dict.fromkeys(info.behaviors, np.concatenate([usual, np.arange(info.trained_users, size)]))
    if not evidence.teach or evidence.passive is not None:
        return rows
    sample = None
    if is_large or (evidence.passing and size >= 4 * SAMPLE):
        sample = np.sort(np.random.default_rng([evidence.seed, 53]).choice(size, min(SAMPLE, size), replace=False))
    for behavior in info.behaviors:
        if not teaching.judged(evidence, behavior):
            rows[behavior] = sample
        elif is_large:
            rows[behavior] = _judges(evidence, behavior)
    return rows


def _judges(evidence: types.Evidence, behavior: str) -> np.ndarray:
    """The users whose validation pairs of a behavior teach, and are ranked on the way."""
    users = np.flatnonzero(np.diff(sparse.csr_array(evidence.valid[behavior]).indptr))
    asked = (evidence.asked or {}).get(behavior, users[:0])  # fewer judge then, and as many teach
    others = np.setdiff1d(users, asked)
    rng = np.random.default_rng([evidence.seed, 61])
    more = rng.choice(others, min(max(0, extent.JUDGES - asked.size), others.size), replace=False)
    return np.union1d(asked, more)


def _only(of: lists.Lists, keep: np.ndarray | None) -> lists.Lists:
    """Empty histories in the places of all users but some."""
    chosen = np.zeros(len(of.user), bool)
    chosen[[] if keep is None else keep] = True
    rows = sparse.diags_array(chosen.astype(np.float32)).tocsr()

    def kept(part: candidates.Pairs) -> dict[str, sparse.csr_array]:
        found = {b: sparse.csr_array(rows @ m) for b, m in part.items()}
        for matrix in found.values():
            matrix.eliminate_zeros()
            matrix.sort_indices()
        return found

    user = np.where(chosen, of.user, -1).astype(np.int32)
    return lists.Lists(user, kept(of.history), kept(of.removed), of.ptr, of.item, of.clock)


def _joined(of: lists.Lists, more: lists.Lists) -> lists.Lists:
    """Lists without candidates, then more of them."""

    def below(first: candidates.Pairs, second: candidates.Pairs) -> dict[str, sparse.csr_array]:
        return {b: sparse.csr_array(sparse.vstack([m, second[b]], format="csr")) for b, m in first.items()}

    user = np.concatenate([of.user, more.user])
    history, removed = below(of.history, more.history), below(of.removed, more.removed)
    clock = lists.Clock(*map(np.concatenate, zip(of.clock, more.clock, strict=True)))
    added = None
    if more.added is not None:
        nothing = {b: sparse.csr_array(m.shape, dtype=np.float32) for b, m in of.history.items()}
        added = below(nothing, more.added)
    return lists.Lists(user, history, removed, np.zeros(user.size + 1, np.int64), np.zeros(0, np.int32), clock, added)
