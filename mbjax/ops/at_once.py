"""A sum of losses, of which one after another is computed with its gradient, so that none waits for the others.

Reverse differentiation of a sum runs all its terms first and keeps what they computed until it comes back to them. Here
a term's gradient is formed along with its value, and only that is kept, which has the size of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mbjax import types

Term = Callable[[Any], tuple[types.Array, Any]]
"""Parameters -> (scalar, further values, which are not differentiated)."""


def total(terms: Sequence[Term], params: Any) -> tuple[types.Array, list[Any]]:
    """The sum of the terms, which is differentiated in the parameters alone, and their further values.

    Args:
      terms: functions of the parameters; what else they need they hold, and nothing of it is differentiated.
      params: a tree of floating-point arrays.
    """

    @jax.custom_vjp
    def value(params):
        found = [term(params) for term in terms]
        return sum(one for one, _ in found), [more for _, more in found]

    def forward(params):
        out, further, gradient, here = 0.0, [], None, params
        for term in terms:
            (one, more), grown = jax.value_and_grad(term, has_aux=True)(here)
            gradient = grown if gradient is None else jax.tree.map(jnp.add, gradient, grown)
            # The next term needs a zero that is there when this gradient is: compilers may run independent terms side
            # by side, and would keep everything of all of them.
            zero = 0 * sum(leaf.sum() for leaf in jax.tree.leaves(grown))
            here = jax.tree.map(lambda x, zero=zero: x + zero, params)
            out, further = out + one, [*further, more]
        return (out, further), gradient

    def backward(gradient, cotangent):
        return (jax.tree.map(lambda x: cotangent[0] * x, gradient),)

    value.defvjp(forward, backward)
    return value(params)
