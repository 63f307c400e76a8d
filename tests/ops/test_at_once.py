"""Sums of losses with their gradients one after another: the same numbers, and less memory."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mbjax.ops import at_once

WIDE, ROWS = 4096, 200


def term(x, params):
    """Something that computes much from little."""
    hidden = jnp.tanh(params["w"] * x[:, None])
    return (hidden**2).sum() * 1e-3, {"mean": hidden.mean()}


def plain(terms, params):
    found = [one.loss(params) for one in terms]
    return sum(value for value, _ in found), [more for _, more in found]


def loss(total, params, xs):
    value, more = total([at_once.Term(functools.partial(term, x), ["w"]) for x in xs], params)
    return 3 * value, more


def arguments(number):
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=WIDE), jnp.float32), "unused": jnp.ones(2)}
    return params, [jnp.asarray(rng.normal(size=ROWS), jnp.float32) for _ in range(number)]


def test_values_and_gradients_are_those_of_the_sum():
    graded = jax.value_and_grad(loss, argnums=1, has_aux=True)
    wanted, found = (jax.jit(functools.partial(graded, total))(*arguments(3)) for total in (plain, at_once.total))
    chex.assert_trees_all_close(found, wanted, rtol=1e-5)
    assert np.abs(found[1]["w"]).max() > 0 and not np.any(found[1]["unused"])


def test_it_can_be_taken_without_a_gradient():
    chex.assert_trees_all_close(loss(at_once.total, *arguments(2)), loss(plain, *arguments(2)), rtol=1e-6)


def test_memory_does_not_grow_with_all_that_the_terms_compute():
    def temporaries(total, number):
        graded = jax.jit(jax.grad(functools.partial(loss, total), has_aux=True))
        return graded.lower(*arguments(number)).compile().memory_analysis().temp_size_in_bytes

    grown = [temporaries(total, 12) - temporaries(total, 6) for total in (plain, at_once.total)]
    assert grown[1] < grown[0] / 2, grown


def test_a_term_is_given_what_it_reads_and_no_more():
    read = []

    def product(params):
        read.append(sorted(params))
        return math.prod(params.values()), ()

    def value(params):
        return at_once.total([at_once.Term(product, names) for names in ("ab", "b", "bc")], params)[0]

    params = {name: jnp.float32(number) for name, number in zip("abcd", (2, 3, 5, 7), strict=True)}
    found, gradient = jax.value_and_grad(value)(params)
    assert found == 2 * 3 + 3 + 3 * 5 and read[-3:] == [["a", "b"], ["b"], ["b", "c"]]
    assert {name: int(x) for name, x in gradient.items()} == {"a": 3, "b": 2 + 1 + 5, "c": 3, "d": 0}
