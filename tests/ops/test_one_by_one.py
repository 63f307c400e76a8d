"""One after another: values and gradients are those of the plain sum."""

import jax
import jax.numpy as jnp
import numpy as np

from mbjax.ops import one_by_one

X = {"a": jnp.arange(1.0, 4.0), "b": jnp.float32(2.0)}


def first(x):
    return jnp.sum(x["a"] ** 2) * x["b"], {"first": x["b"]}


def second(x):
    return jnp.sum(jnp.sin(x["a"])), {"second": jnp.sum(x["a"]), "more": x["b"] + 1}


def test_the_sum_with_its_gradient():
    def ours(x):
        value, parts = one_by_one.total([first, second], x)
        return 3.0 * value, parts

    (value, parts), gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))(X)
    np.testing.assert_allclose(value, 3 * (14 * 2 + np.sin([1.0, 2, 3]).sum()), rtol=1e-6)
    assert {name: float(part) for name, part in parts.items()} == {"first": 2.0, "second": 6.0, "more": 3.0}
    np.testing.assert_allclose(gradient["a"], 3 * (4 * X["a"] + np.cos([1.0, 2, 3])), rtol=1e-6)
    np.testing.assert_allclose(gradient["b"], 3 * 14.0, rtol=1e-6)


def test_apart_is_the_function():
    factor = jnp.float32(5.0)

    def plain(x):
        return factor * x["b"] * jnp.exp(x["a"])

    for function in (plain, lambda x: one_by_one.apart(plain, x)):
        found = jax.jit(jax.value_and_grad(lambda x, f=function: jnp.sum(f(x) ** 2)))(X)
        if function is plain:
            expected = found
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
