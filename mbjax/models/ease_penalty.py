"""Which penalty: a few of them on the validation pairs of a few users, in the time of one small inverse each.

The unit of the penalty, the mean square length of a row, is what makes one that is right for a sample of the users
about right for all of them. Penalties are compared by long lists: of short ones few of so few users have a hit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from mbjax import types
from mbjax.ops import inverse, ranking, ridge, stages

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
DEFAULT = 1.0
USERS = 3000
FEW = 50  # users of a behavior that would have none
TOP = 100
BATCH = 512  # users ranked at once
RANKED = 16  # bytes of an item for each of them: products, scores and what is masked


def bytes_needed(num_users: int, num_items: int) -> int:
    """Memory that ``choose`` takes at its peak, with a batch of users ranked."""
    users = min(USERS, num_users)
    return inverse.bytes_needed(users, jax.default_backend()) + RANKED * BATCH * num_items


def choose(
    blocks: Sequence[scipy.sparse.csr_array], weights: np.ndarray, evidence: types.Evidence, leave: ridge.Leave
) -> float | None:
    """The penalty with the best mean NDCG@100 over the behaviors that have validation pairs; ties to the larger one;
    None without such pairs.

    Args:
      blocks: of training, CSR [U, I], scaled.
      weights: of the columns, [K, I].
      evidence: the validation pairs, and the training pairs that are no candidates.
      leave: which columns of an item are left out.
    """
    held = {b: matrix for b, matrix in evidence.valid.items() if b in evidence.train and matrix.nnz}
    if not held:
        return None
    num_users = blocks[0].shape[0]
    has_any = np.flatnonzero(sum(np.diff(scipy.sparse.csr_array(matrix).indptr) for matrix in held.values()))
    rng = np.random.default_rng(evidence.seed)
    users = np.sort(rng.choice(has_any, min(USERS, len(has_any)), replace=False))
    for matrix in held.values():  # of a behavior that few have none may have been drawn
        if not scipy.sparse.csr_array(matrix)[users].nnz:
            own = np.flatnonzero(np.diff(scipy.sparse.csr_array(matrix).indptr))
            users = np.union1d(users, rng.choice(own, min(FEW, len(own)), replace=False))
    if len(users) < min(USERS, num_users):  # the others teach all the same
        rest = np.setdiff1d(np.arange(num_users), users)
        users = np.sort(np.concatenate([users, rng.choice(rest, min(USERS, num_users) - len(users), replace=False)]))
    sample = [block[users] for block in blocks]
    graphs = ridge.place(sample)
    behaviors = list(evidence.train)
    asked = {
        behaviors.index(b): (evidence.train[b][users], scipy.sparse.csr_array(matrix)[users])
        for b, matrix in held.items()
    }
    values = {}
    for place, penalty in enumerate(PENALTIES):
        stages.tell("choosing a penalty", place, len(PENALTIES))
        dual = ridge.invert(sample, weights, penalty)
        products = ridge.gram(graphs, dual)
        found = []
        for target, (known, truth) in asked.items():
            k = ridge.coefficients(products, target, leave, weights)
            needed = [target] if leave == "own" else list(range(len(graphs)))
            some = [graphs[a] for a in needed]
            found.append(_ndcg(dual, some, jnp.asarray(k[:, needed]), needed.index(target), known, truth))
        values[penalty] = float(np.mean(found))
    return max(values, key=lambda penalty: (values[penalty], penalty))


def _ndcg(dual, graphs, k, target: int, known: scipy.sparse.csr_array, truth: scipy.sparse.csr_array) -> float:
    """Mean NDCG of the users who have pairs of the target."""
    users = np.flatnonzero(np.diff(truth.indptr))
    gain = 1 / np.log2(np.arange(TOP) + 2)
    total = 0.0
    for some in np.array_split(users, -(-len(users) // BATCH)):
        padded = np.concatenate([some, np.repeat(some[-1:], BATCH - len(some))])  # one shape, one compilation
        mask = known[padded].toarray() > 0
        top = np.asarray(_top(dual, graphs, k, jnp.asarray(padded, jnp.int32), jnp.asarray(mask), target=target))
        hit = np.take_along_axis(truth[some].toarray() > 0, np.maximum(top[: len(some)], 0), axis=1)
        hit &= top[: len(some)] >= 0
        ideal = np.cumsum(gain)[np.minimum(np.diff(truth.indptr)[some], TOP) - 1]
        total += float((hit @ gain[: hit.shape[1]] / ideal).sum())
    return total / len(users)


@functools.partial(jax.jit, static_argnames="target")
def _top(dual, graphs, k, users, mask, *, target: int):
    alpha = ridge.combine(ridge.rows(dual, graphs, users, 0, mask.shape[1]), k, target)
    return ranking.top_k(jnp.where(mask, -jnp.inf, -alpha), min(TOP, mask.shape[1])).item
