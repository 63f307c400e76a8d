"""A program compiled ahead: it is the one that runs, and its memory is what it needs beside its arguments."""

import jax
import jax.numpy as jnp
import numpy as np

from mbjax import ahead


def chunk(state, graphs, store, plan, first, length):
    far = jnp.outer(state, state)  # [N, N], which no sum of products can avoid here
    return state + length * jnp.sum(jnp.sort(far, axis=0), axis=1) + graphs + store + plan + first, jnp.zeros(100)


def test_what_was_compiled_ahead_runs():
    traced = []

    def told(*given):
        traced.append(given[-1])
        return chunk(*given)

    program = ahead.Program(jax.jit(told, static_argnums=5, donate_argnums=0))
    state, rest = jnp.ones(1000), (jnp.float32(0),) * 3
    found = program.memory(state, *rest, 2)
    assert 4 * 1000 * 1000 <= found.temporary <= 3 * 4 * 1000 * 1000
    assert found.results <= 4 * 100 + 64 and found.total == found.temporary + found.results  # the state is given away
    assert program.memory(state, *rest, 2) == found
    np.testing.assert_allclose(program(state, *rest, 0, 2)[0], 2001.0)
    assert traced == [2] and program.seconds > 0
    np.testing.assert_allclose(program(jnp.ones(1000), *rest, 0, 1)[0], 1001.0)  # another length, as it comes
    assert traced == [2, 1]
