r"""MB-EASE: ridge regressions of every column on all other columns of all behaviors, from one inverse.

EASE (Steck, WWW 2019) on the blocks of all behaviors side by side. X_a [U, I] is the block of behavior a, W_a [I, I]
the diagonal of its column weights:

.. math:: K = \sum_a X_a W_a^2 X_a^T + \lambda' 1, \qquad P = K^{-1}

For the target t and item j, y_j = column j of X_t, without weight. It is regressed on all weighted columns but those of
S_j, columns of item j. With C_j = those columns, unweighted, W_j = their weights and M_j = C_j^T P C_j, the dual
coefficients are

.. math:: \alpha_j = P y_j + P C_j Q_j C_j^T P y_j, \qquad Q_j = W_j (1 - W_j M_j W_j)^{-1} W_j

So all that differs from item to item is k_j = Q_j M_j e_t, a number for each behavior, zero outside S_j:

.. math:: \alpha_{uj} = G_t + \sum_a k_{ja} G_a, \qquad G_a = (v X_a)_j, \quad v = P_u

The regression predicts y_uj - lambda' alpha_uj for a user of training, and for anybody with histories x, with
v = (sum_a X_a W_a^2 x_a)^T P, G_t + sum_a k_ja (G_a - x_aj): the sum of his weighted entries outside S_j times their
regression weights. The two agree where the histories do, since then v = e_u - lambda' P_u.

Leaving user u out of the regressions, without solving them anew, predicts y_uj - alpha_uj / R_uj with
R_uj = P_uu + sum_ab G_a Q_jab G_b.

Blocks may have entries other than 1, such as rows scaled by a user's activity; y has them too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct
from jax import lax
from jax.experimental import sparse

from mbjax import types
from mbjax.ops import blocks as row_blocks
from mbjax.ops import graph, inverse, platforms
from mbjax.ops import rows as sparse_rows

Leave = Literal["own", "all"]
DENSE_COLUMNS = 64  # of a sparse product on CPU
CELLS = 2**25  # numbers in a dense tile
SMALLEST = 1e-6  # of an eigenvalue of 1 - W M W, which is at least 1 / (1 + what the columns weigh / lambda')


@struct.dataclass
class Dual:
    """The inverse that all regressions share.

    Attributes:
      inverse: P, float32 [U, U], symmetric.
      penalty: lambda', in absolute units, float32 scalar.
      weights: float32 [K, I], of the columns.
    """

    inverse: types.Array
    penalty: types.Array
    weights: types.Array


def invert(
    blocks: Sequence[scipy.sparse.csr_array],
    weights: Sequence[float] | np.ndarray,
    penalty: float,
    scaled: bool = True,
) -> Dual:
    """Factorizes once for all targets and items.

    Args:
      blocks: X_a, CSR [U, I] for each behavior.
      weights: of behaviors [K] or of their columns [K, I]; 0 leaves a behavior out of the regressors.
      penalty: > 0, lambda; times the mean of diag(X X^T) if ``scaled``, so that it has no unit.

    Raises:
      ConfigError: the penalty is too small for float32.
    """
    weights = column_weights(weights, len(blocks), blocks[0].shape[1])
    whole = weighted(blocks, weights)
    absolute = absolute_penalty(whole, penalty) if scaled else penalty
    return Dual(inverse.penalized(whole, absolute), jnp.float32(absolute), jnp.asarray(weights))


def column_weights(weights: Sequence[float] | np.ndarray, num_behaviors: int, num_items: int) -> np.ndarray:
    """Float32 [K, I] of weights [K] or [K, I]."""
    weights = np.asarray(weights, np.float32)
    return np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, (num_behaviors, num_items))


def weighted(blocks: Sequence[scipy.sparse.csr_array], weights: np.ndarray) -> scipy.sparse.csr_array:
    """X, CSR [U, K I]: the blocks side by side, columns times their weights [K, I]."""
    parts = [
        scipy.sparse.csr_array(block) @ scipy.sparse.diags_array(weight)
        for block, weight in zip(blocks, weights, strict=True)
    ]
    out = scipy.sparse.csr_array(scipy.sparse.hstack(parts, format="csr")).astype(np.float32)
    out.eliminate_zeros()
    return out


def absolute_penalty(whole: scipy.sparse.csr_array, penalty: float) -> float:
    """The penalty in units of the mean of diag(X X^T); as it is where X is empty."""
    mean = float(np.square(whole.data, dtype=np.float64).sum()) / whole.shape[0]
    return penalty * mean if mean else penalty


def place(blocks: Sequence[scipy.sparse.csr_array]) -> tuple[types.Graph, ...]:
    """The blocks on the device."""
    return tuple(graph.build(block) for block in blocks)


def gram(blocks: Sequence[scipy.sparse.csr_array | types.Graph], dual: Dual) -> np.ndarray:
    """M, float32 [I, K, K]: M[j, a, b] = X_a[:, j]^T P X_b[:, j], in tiles of users.

    Args:
      blocks: as for ``invert``, or what ``place`` made of them.
      dual: their inverse.
    """
    graphs = tuple(b if isinstance(b, types.Graph) else graph.build(b) for b in blocks)
    num_users, num_items = dual.inverse.shape[0], graphs[0].matrix.shape[1]
    most = DENSE_COLUMNS if jax.default_backend() == "cpu" else 1024
    size = max(1, min(most, CELLS // (len(graphs) * num_items), num_users))
    ends = np.minimum(np.arange(0, num_users + size, size), num_users)
    pairs = tuple(int(np.diff(np.asarray(g.row_ptr)[ends]).max()) for g in graphs)
    out = np.asarray(_gram(dual, graphs, size, pairs)).transpose(2, 0, 1)
    return (out + out.transpose(0, 2, 1)) / 2


@functools.partial(jax.jit, static_argnames=("size", "pairs"))
def _gram(dual: Dual, graphs: tuple[types.Graph, ...], size: int, pairs: tuple[int, ...]) -> types.Array:
    """M [K, K, I], from the products at the pairs alone, of which a tile of users has at most ``pairs`` in a block."""
    num_users, num_items = dual.inverse.shape[0], graphs[0].matrix.shape[1]

    def add(total, first):
        users = jnp.minimum(first + jnp.arange(size, dtype=jnp.int32), num_users - 1)
        products = rows(dual, graphs, users, 0, num_items)  # [K, size, I]
        end = jnp.minimum(first + size, num_users)
        for a, (g, most) in enumerate(zip(graphs, pairs, strict=True)):
            if not most:
                continue
            entry = g.row_ptr[first] + jnp.arange(most, dtype=jnp.int32)
            user, item = g.matrix.indices.at[entry].get(mode="clip").T
            value = g.matrix.data.at[entry].get(mode="clip") * (entry < g.row_ptr[end])
            found = value * products[:, jnp.clip(user - first, 0, size - 1), item]  # [K, most]
            total = total.at[a, :, item].add(found.T)
        return total, None

    firsts = jnp.arange(0, num_users, size, dtype=jnp.int32)
    return lax.scan(add, jnp.zeros((len(graphs), len(graphs), num_items), jnp.float32), firsts)[0]


def corrections(products: np.ndarray, target: int, leave: Leave, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Q, float32 [I, K, K]: what leaving the columns of S_j out adds to P, zero outside S_j.

    Args:
      products: M [I, K, K].
      target: index of the behavior that is predicted.
      leave: S_j; ``"own"``: the target's column of the item; ``"all"``: its columns of all behaviors.
      weights: as for ``invert``, such as ``dual.weights``.
    """
    products = np.asarray(products, np.float64)
    num_items, num_behaviors = products.shape[:2]
    weights = column_weights(weights, num_behaviors, num_items).T.astype(np.float64)  # [I, K]
    if leave == "own":
        weights = weights * (np.arange(num_behaviors) == target)
    inner = np.eye(num_behaviors) - weights[:, :, None] * products * weights[:, None, :]
    values, vectors = np.linalg.eigh(inner)
    scaled = weights[:, :, None] * vectors
    return ((scaled / np.maximum(values, SMALLEST)[:, None, :]) @ scaled.transpose(0, 2, 1)).astype(np.float32)


def coefficients(products: np.ndarray, target: int, leave: Leave, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """k, float32 [I, K]; arguments as for ``corrections``. Items without pairs have zeros."""
    mine = np.asarray(products, np.float64)[:, :, target]
    return np.einsum("jab,jb->ja", corrections(products, target, leave, weights), mine).astype(np.float32)


def rows(dual: Dual, graphs: Sequence[types.Graph], v: types.Array, start: types.Array | int, size: int) -> types.Array:
    """G, float32 [K, B, size]: v X_a of items start .. start + size - 1, for every behavior a.

    Args:
      dual: gives the rows P_u where ``v`` are users.
      graphs: what ``place`` made; passive users, as in ``graph.from_train``, may come after the U.
      v: float32 [B, U], or int32 [B], users of training.
      start: first item, may be traced.
      size: number of items.
    """
    v = dual.inverse[v] if jnp.issubdtype(v.dtype, jnp.integer) else v

    def native():
        def block(part):
            dense = part.T  # [U, b]
            return jnp.stack([tile_product(g, dense, start, size).T for g in graphs], axis=1)  # [b, K, size]

        return row_blocks.over_blocks(block, v, DENSE_COLUMNS).transpose(1, 0, 2)

    def gathered():
        dense = v.T
        return jnp.stack([lax.dynamic_slice_in_dim(graph.gathered(g.transpose, dense), start, size).T for g in graphs])

    # Elsewhere all items at once cost less than a walk over those of the tile, whose pairs are known there alone.
    return platforms.choose(cpu=native, default=gathered)


def tile_product(g: types.Graph, dense: types.Array, start: types.Array | int, size: int) -> types.Array:
    """Rows start .. start + size - 1 of X^T times [U, b]: row pointers say where to read, so that nothing is copied."""
    ptr = lax.dynamic_slice_in_dim(g.col_ptr, start, size + 1)
    return sparse.BCSR((g.transpose.data, g.transpose.indices[:, 1], ptr), shape=(size, dense.shape[0])) @ dense


def entries(graphs: Sequence[types.Graph], users: types.Array, start: types.Array | int, size: int) -> types.Array:
    """x, float32 [K, B, size]: the entries of some users, passive ones too, dense."""
    return jnp.stack(
        [sparse_rows.met(g.row_ptr, g.matrix.indices[:, 1], users, start, size, g.matrix.data) for g in graphs]
    )


def project(dual: Dual, graphs: Sequence[types.Graph], histories: types.Array) -> types.Array:
    """v, float32 [B, U], of anybody's histories.

    Args:
      dual: the inverse.
      graphs: what ``place`` made.
      histories: x, float32 [K, B, I], in the units of the blocks.
    """
    num_users = dual.inverse.shape[0]
    shared = sum(
        graph.spmm(g, (x * jnp.square(weight)).T)[:num_users]
        for g, x, weight in zip(graphs, histories, dual.weights, strict=True)
    )  # [U, B]
    return jnp.matmul(shared.T, dual.inverse, precision=lax.Precision.HIGHEST)


def combine(products: types.Array, k: types.Array, target: int | None) -> types.Array:
    """G_t + sum_a k_ja G_a, [B, size]: alpha where ``v`` were rows of P. Sums of K terms, in full float32 anywhere.

    Args:
      products: G [K, B, size].
      k: of the items of the tile, [size, K].
      target: index of the behavior that is predicted; None: the sum over a alone.
    """
    start = 0.0 if target is None else products[target]
    return sum((k[:, a] * of for a, of in enumerate(products)), start=start)


def without_user(
    dual: Dual, users: types.Array, products: types.Array, y: types.Array, k: types.Array, q: types.Array, target: int
) -> types.Array:
    """What regressions without user u predict for him, [B, size].

    Args:
      dual: the inverse.
      users: int32 [B], of training.
      products: G [K, B, size] of these users.
      y: his entries of the target, [B, size].
      k: [size, K].
      q: ``corrections`` of the items, [size, K, K].
      target: index of the behavior that is predicted.
    """
    remaining = dual.inverse[users, users][:, None]
    for a, first in enumerate(products):
        remaining = remaining + first * combine(products, q[:, a], None)
    return y - combine(products, k, target) / remaining
