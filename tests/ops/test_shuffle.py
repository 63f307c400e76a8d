"""The orders of ``jax.random.permutation``, number for number, however it is called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mbjax.ops import shuffle


@pytest.mark.parametrize("number", [0, 1, 2, 1000, 1700, 70_000])
def test_it_is_the_permutation_of_jax(number):
    key = jax.random.key(number)
    found = jax.jit(lambda key: shuffle.permutation(key, number))(key)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, jax.random.permutation(key, number))


def test_equal_words_stay_in_their_order():
    words = jnp.asarray([7, 2**32 - 1, 7, 0, 2**32 - 1, 7], jnp.uint32)
    assert shuffle._places(words).tolist() == [3, 0, 2, 5, 1, 4]


def test_of_many_keys_it_is_that_of_each():
    keys = jax.random.split(jax.random.key(3), 4)
    expected = jax.vmap(lambda key: jax.random.permutation(key, 50))(keys)
    for over in (jax.vmap, lambda function: lambda keys: jax.lax.map(function, keys)):
        np.testing.assert_array_equal(over(lambda key: shuffle.permutation(key, 50))(keys), expected)


def test_it_leaves_numbers_of_32_bits_alone():
    shuffle.permutation(jax.random.key(0), 20)
    assert jnp.arange(3).dtype == jnp.int32 and not jax.config.jax_enable_x64
