"""A sum of losses, of which one after another is computed with its gradient, so that none waits for the others.

Reverse differentiation of a sum runs all its terms first and keeps what they computed until it comes back to them. Here
a term's gradient is formed along with its value, and only that is kept, which has the size of the parameters that the
term reads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mbjax import types


class Term(NamedTuple):
    """One of the losses.

    Attributes:
      loss: parameters -> (scalar, further values, which are not differentiated); what else it needs it holds, and
        nothing of that is differentiated.
      reads: names of the parameters that it reads. It is given these alone: a sum of many terms, each of which reads a
        few of many parameters, would otherwise be mostly additions of zeros.
      begins: of these, which all of its work stands on; None: each. What waits for these need not wait for the rest.
    """

    loss: Callable[[dict[Hashable, Any]], tuple[types.Array, Any]]
    reads: Sequence[Hashable]
    begins: Sequence[Hashable] | None = None


def total(terms: Sequence[Term], params: Mapping[Hashable, Any]) -> tuple[types.Array, list[Any]]:
    """The sum of the terms, which is differentiated in the parameters alone, and their further values.

    Args:
      terms: the losses.
      params: name -> a tree of floating-point arrays.
    """

    @jax.custom_vjp
    def value(params):
        found = [term.loss({name: params[name] for name in term.reads}) for term in terms]
        return sum(one for one, _ in found), [more for _, more in found]

    def forward(params):
        out, further, gradients, zero = 0.0, [], {}, 0.0
        for term in terms:
            # A term needs a zero that is there when the gradient of the one before is: compilers may run independent
            # terms side by side, and would keep everything of all of them.
            waits = term.reads if term.begins is None else term.begins
            own = {name: params[name] for name in term.reads}
            own |= {name: jax.tree.map(lambda x, zero=zero: x + zero, params[name]) for name in waits}
            (one, more), grown = jax.value_and_grad(term.loss, has_aux=True)(own)
            for name, gradient in grown.items():
                before = gradients.get(name)
                gradients[name] = gradient if before is None else jax.tree.map(jnp.add, before, gradient)
            zero = 0 * sum(leaf[(0,) * leaf.ndim] for leaf in jax.tree.leaves(grown) if leaf.size)
            out, further = out + one, [*further, more]
        unread = {name: jax.tree.map(jnp.zeros_like, own) for name, own in params.items() if name not in gradients}
        return (out, further), gradients | unread

    def backward(gradients, cotangent):
        return (jax.tree.map(lambda x: cotangent[0] * x, gradients),)

    value.defvjp(forward, backward)
    return value(dict(params))
