"""What a loss needs of all users, where a device may have one block of them alone (``types.Block``).

Without blocks every function is what it says for the one device that has all users. With them the sums run over
``types.AXIS``, and so do those of the derivatives, which are of the sum of all devices' losses.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mbjax import types

NEVER = -1e30  # a logit that adds nothing, whose differences from others are finite


def share(batch: types.UserBatch) -> types.Array | float:
    """The factor of a sum over the users that a device has, in place of ``UserBatch.share``."""
    return batch.share if batch.block is None else 1.0


def number(batch: types.UserBatch, info: types.DatasetInfo) -> int:
    """U, of all blocks."""
    return info.num_users if batch.block is None else batch.block.users


def norm(batch: types.UserBatch, table: types.Array) -> types.Array:
    """The length of a table of all users, taken as one vector; table [U, D] of the block."""
    if batch.block is None:
        return jnp.linalg.norm(table)
    return jnp.sqrt(jax.lax.psum(jnp.sum(jnp.square(table)), types.AXIS))


def real(batch: types.UserBatch, info: types.DatasetInfo) -> types.Array:
    """Which rows of a table are users and no padding, bool [U]."""
    rows = jnp.arange(info.num_users)
    if batch.block is None:
        return rows >= 0
    return jax.lax.axis_index(types.AXIS) * batch.block.size + rows < batch.block.users


def gathered(rows: types.Array) -> types.Array:
    """Rows of the batches of all devices, one after another, [devices * B, ...]."""
    return jax.lax.all_gather(rows, types.AXIS, tiled=True)


def log_sum(partial: types.Array) -> types.Array:
    r"""The logarithm of the sum over devices, :math:`\ln \sum_p e^{x_p}`; float [N]. Not differentiated."""
    peak = jax.lax.pmax(partial, types.AXIS)
    return peak + jnp.log(jax.lax.psum(jnp.exp(partial - peak), types.AXIS))
