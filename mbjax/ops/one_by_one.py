"""Losses and parts of them that are computed one after another, so that what each takes on the way is free again.

A compiler may order the parts of a sum as it likes, and all that their gradients need may then stand in memory at once.
Here each is the only turn of a loop, which ends before the next begins. No compiler is told that there is one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mbjax import types

Term = Callable[[Any], tuple[types.Array, dict[str, types.Array]]]


def total(terms: Sequence[Term], variables: Any) -> tuple[types.Array, dict[str, types.Array]]:
    """Adds up losses of the same variables, each computed with its gradient before the next begins.

    Args:
      terms: ``variables -> (scalar, {name: scalar})``; what they close over is not differentiated.
      variables: a tree of finite float arrays.

    Returns:
      The sum, and all parts, which are not differentiated.
    """

    @jax.custom_vjp
    def run(variables):
        return forward(variables)[0]

    def forward(variables):
        gradient = jax.tree.map(jnp.zeros_like, variables)
        value, parts = jnp.zeros(()), {}
        for term in terms:

            def turn(carry, term=term):
                value, _, gradient = carry
                (own, parts), more = jax.value_and_grad(term, has_aux=True)(variables)
                return value + own, parts, jax.tree.map(jnp.add, gradient, more)

            none = _zeros(jax.eval_shape(term, variables)[1])
            value, found, gradient = _once(turn, (value, none, gradient), variables)
            parts |= found
        return (value, parts), gradient

    def backward(gradient, cotangent):
        return (jax.tree.map(lambda g: cotangent[0] * g, gradient),)

    run.defvjp(forward, backward)
    return run(variables)


def apart(function: Callable[[Any], Any], variables: Any) -> Any:
    """``function(variables)``, which is computed again for its gradient, in place of what it is made of being kept.

    Args:
      function: of the variables; what it closes over is not differentiated.
      variables: a tree of finite float arrays.
    """

    @jax.custom_vjp
    def run(variables):
        return forward(variables)[0]

    def forward(variables):
        none = _zeros(jax.eval_shape(function, variables))
        return _once(lambda _: function(variables), none, variables), variables

    def backward(variables, cotangent):
        def turn(_):
            return jax.vjp(function, variables)[1](cotangent)[0]

        return (_once(turn, jax.tree.map(jnp.zeros_like, variables), variables),)

    run.defvjp(forward, backward)
    return run(variables)


def _once(turn: Callable[[Any], Any], carry: Any, variables: Any) -> Any:
    """One turn of a loop; its number is read off the variables."""
    first = jax.tree.leaves(variables)[0].reshape(-1)[0]
    return jax.lax.fori_loop(0, (jnp.abs(first) < jnp.inf).astype(jnp.int32), lambda _, carry: turn(carry), carry)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
