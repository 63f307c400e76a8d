r"""iALS on several behaviors: factors of users and of the items of each behavior, by alternating least squares.

Hu, Koren, Volinsky, ICDM 2008, with the objective and the penalties of Rendle, Krichene, Zhang, Koren, "Revisiting the
performance of iALS on item recommendation benchmarks", RecSys 2022, on the columns of all behaviors side by side. A
user has one vector p_u for all, an item one of each behavior, q_bi. S_b are the training pairs of behavior b, n_bu and
n_bi those of a user and of an item:

.. math::
    L = \sum_b w_b \Big[ \sum_{(u,i) \in S_b} (p_u^T q_{bi} - 1)^2 + \alpha_0 \sum_{u,i} (p_u^T q_{bi})^2
        + \lambda \sum_i (n_{bi} + \alpha_0 U)^\nu |q_{bi}|^2 \Big]
        + \lambda \sum_u \Big(\sum_b w_b (n_{bu} + \alpha_0 I)\Big)^\nu |p_u|^2

w_b: ``behavior_weights``; alpha_0: ``unobserved``, what a pair that nobody observed weighs against an observed one;
lambda: ``penalty``; nu: ``frequency_exponent``, 1: who has more pairs is penalized more, so that lambda has no unit. So
one factorization ranks every behavior, a view says something of the user who buys, and a behavior of weight 0 says
nothing, and is ranked all the same. Items are ranked by p_u^T q_bi.

A sweep solves the users for given items, then the items (``ops.alternating``), with a few steps of conjugate gradients
from where they were: 4 D operations a pair and step in place of D^2. After the last one users are solved exactly. So
what the model knows of a user are his pairs, and a stranger's list is exact. It is a closed form in that the data, a
number of sweeps and a seed decide it: nothing of it is stored, and it is computed anew where a run is opened.

Differences: the papers have one behavior. Confidences are weights of behaviors, not counts of events; those of an
observed pair are w_b (1 + alpha_0), as in RecSys 2022. There blocks of coordinates may be solved one after another
(iALS++), here all at once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import scipy.sparse

from mbjax import types
from mbjax.models import ease, untrained
from mbjax.ops import alternating

PAIR = 8  # bytes of a pair in a host matrix: its column and its value
FIRST = 0.1  # length of the vectors that it begins with, about, as in RecSys 2022


class AlsConfig(pydantic.BaseModel):
    """Size and weights of the factorization, and how long it is improved."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_size: int = pydantic.Field(64, ge=1, description="factors of a user and of an item of a behavior")
    sweeps: int = pydantic.Field(16, ge=1, description="times that users and then items are solved")
    steps: int = pydantic.Field(
        3, ge=0, description="conjugate gradient steps of a row in a sweep; 0: solved exactly, slower"
    )
    unobserved: float = pydantic.Field(
        0.01, gt=0, description="weight of a pair that was not observed, against 1 for one that was"
    )
    penalty: float = pydantic.Field(
        0.003, gt=0, description="of the squared factors, times (number of pairs + unobserved x all)^frequency_exponent"
    )
    frequency_exponent: float = pydantic.Field(
        1.0, ge=0, le=1, description="how much more who has many pairs is penalized; 0: all the same"
    )
    behavior_weights: tuple[pydantic.NonNegativeFloat, ...] | None = pydantic.Field(
        None, description="weight of each behavior's pairs, in funnel order; 0: they say nothing; none: 1 each"
    )


def build(config: AlsConfig, info: types.DatasetInfo, batch_size: int = 0) -> types.Model:
    """Makes the model for a data set.

    Args:
      config: its factorization.
      info: sizes and behaviors.
      batch_size: unused; rows are solved in blocks of their own.

    Raises:
      ConfigError: not one weight for each behavior, or none above 0.
    """
    del batch_size
    weights = _weights(config, info)

    def prepare(evidence: types.Evidence) -> dict[str, object]:
        """``users`` [U, D] and ``items`` [K, I, D]."""
        train = _side_by_side(evidence.train)  # [U, K I]
        num_users = train.shape[0]
        packed = alternating.pack(train)
        items = fit(config, train, weights, seed=evidence.seed, of_users=packed)
        whole = train
        if evidence.passive is not None:
            whole = scipy.sparse.csr_array(scipy.sparse.vstack([train, _side_by_side(evidence.passive)], format="csr"))
            asked = np.arange(num_users, whole.shape[0]) if evidence.alone else None
            packed = alternating.pack(whole, asked)
        users = _solve(
            packed,
            *_scaled(items, weights),
            config.unobserved,
            user_penalties(config, whole, weights),
            jnp.zeros((whole.shape[0], config.embedding_size), jnp.float32),
        )
        return {"users": users, "items": items.reshape(info.num_behaviors, info.num_items, -1)}

    def preparing(evidence: types.Evidence) -> types.Preparation:
        return _preparing(config, evidence.train)

    def encode(graphs):
        return {name: graphs[name] for name in ("users", "items")}

    def score(tables, users, start, size, behavior):
        items = jax.lax.dynamic_slice_in_dim(tables["items"][behavior], start, size)
        return tables["users"][users] @ items.T

    return untrained.model(info, {}, encode, score)._replace(prepare=prepare, preparing=preparing)


def _preparing(config: AlsConfig, train: Mapping[str, scipy.sparse.csr_array]) -> types.Preparation:
    """Pairs as they are and packed in rows and in columns, and the tables of a sweep beside those that stay."""
    num_users, num_items = next(iter(train.values())).shape
    size, num_columns = config.embedding_size, len(train) * num_items
    of_users = sum(np.diff(matrix.indptr) for matrix in train.values())
    of_items = np.concatenate([np.bincount(matrix.indices, minlength=num_items) for matrix in train.values()])
    pairs = PAIR * int(of_users.sum())
    packed = alternating.bytes_of(of_users) + alternating.bytes_of(of_items)
    # Factors before and after, and of the side that is given once as they are, weighted and with a row of padding.
    sweep = 4 * size * (2 * num_users + 4 * num_columns)
    made = {"users": (num_users, size), "items": (len(train), num_items, size)}
    return types.Preparation(
        {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in made.items()},
        pairs + packed + sweep,
        f"pairs packed {packed / 1e9:.2f}, tables of a sweep {sweep / 1e9:.2f} GB",
        "a smaller model.embedding_size or fewer behaviors (--data.behaviors)",
    )


_solve = jax.jit(alternating.solve, static_argnames="steps")


@functools.partial(jax.jit, static_argnames="steps", donate_argnums=(0, 1))
def _sweep(users, items, of_users, of_items, for_users, for_items, weights, unobserved, steps):
    """Users [U, D] for given items [K I, D], then items."""
    users = alternating.solve(of_users, *_scaled(items, weights), unobserved, for_users, users, steps)
    # The weight of a behavior stands before all that its items are in.
    same = jnp.ones(users.shape[0], jnp.float32)
    return users, alternating.solve(of_items, users, same, unobserved, for_items, items, steps)


def fit(
    config: AlsConfig,
    train: scipy.sparse.csr_array,
    weights: np.ndarray,
    *,
    seed: int,
    of_users: tuple[alternating.Block, ...] | None = None,
) -> types.Array:
    """The factors of the items of all behaviors, float32 [K I, D].

    Args:
      config: its factorization.
      train: CSR [U, K I], the pairs of all behaviors side by side.
      weights: float32 [K].
      seed: of the factors that it begins with.
      of_users: the pairs, packed; None: they are packed here.
    """
    of_users = alternating.pack(train) if of_users is None else of_users
    of_items = alternating.pack(scipy.sparse.csr_array(train.T.tocsr()))  # of [K I, U]
    for_users, for_items = user_penalties(config, train, weights), item_penalties(config, train)
    users = jnp.zeros((train.shape[0], config.embedding_size), jnp.float32)
    shape = (train.shape[1], config.embedding_size)
    items = FIRST / np.sqrt(config.embedding_size) * jax.random.normal(jax.random.key(seed), shape, jnp.float32)
    for _ in range(config.sweeps):
        users, items = _sweep(
            users, items, of_users, of_items, for_users, for_items, weights, config.unobserved, config.steps
        )
    return jax.block_until_ready(items)  # else what comes next is made beside all that a sweep takes


def user_penalties(config: AlsConfig, pairs: scipy.sparse.csr_array, weights: np.ndarray) -> types.Array:
    """lambda of each user of pairs [U, K I], float32 [U]."""
    num_items = pairs.shape[1] // len(weights)
    counts = pairs @ np.repeat(weights, num_items) + config.unobserved * num_items * weights.sum()
    return jnp.asarray(config.penalty * counts**config.frequency_exponent, jnp.float32)


def item_penalties(config: AlsConfig, pairs: scipy.sparse.csr_array) -> types.Array:
    """lambda of each item of each behavior of pairs [U, K I], float32 [K I]; the behavior's weight stands outside."""
    counts = np.bincount(pairs.indices, minlength=pairs.shape[1]) + config.unobserved * pairs.shape[0]
    return jnp.asarray(config.penalty * counts**config.frequency_exponent, jnp.float32)


def _scaled(items: types.Array, weights: types.Array) -> tuple[types.Array, types.Array]:
    """sqrt(w) q [K I, D] and sqrt(w) [K I], as ``alternating.solve`` asks for them."""
    gain = jnp.repeat(jnp.sqrt(weights), items.shape[0] // len(weights))
    return gain[:, None] * items, gain


def _side_by_side(pairs: Mapping[str, scipy.sparse.csr_array]) -> scipy.sparse.csr_array:
    """The columns of all behaviors, float32 CSR [U, K I]."""
    return scipy.sparse.csr_array(scipy.sparse.hstack(list(pairs.values()), format="csr")).astype(np.float32)


def _weights(config: AlsConfig, info: types.DatasetInfo) -> np.ndarray:
    """One for each behavior, float32 [K]."""
    return np.asarray(ease.behavior_weights(config, info, "users would say nothing"), np.float32)
