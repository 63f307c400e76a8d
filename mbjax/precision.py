"""How exactly products of float32 matrices are computed: what GPUs and TPUs round unless they are told otherwise.

By default a GPU multiplies with ten bits of the fraction (TF32), a TPU with seven (bfloat16). After a few steps of COPF
on Taobao that changes more than half of all ranked lists. So whatever makes scores is traced in full precision, here
and not in the models, none of which can forget it; training has a choice (``train.precision``). A CPU knows float32
alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

FULL = "float32"

Given = ParamSpec("Given")
Result = TypeVar("Result")


def full(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The same function with products in float32, also those of what is traced inside it.

    Goes inside of ``jax.jit``. What somebody set for all of JAX (``jax.default_matmul_precision``, or
    ``JAX_DEFAULT_MATMUL_PRECISION`` around the program) holds here too.
    """

    @functools.wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with of("default" if jax.config.jax_default_matmul_precision else FULL):
            return function(*args, **kwargs)

    return run


def of(name: str) -> contextlib.AbstractContextManager[Any]:
    """The precision of what is traced within: ``"float32"``, or ``"default"`` for whatever is set."""
    return contextlib.nullcontext() if name == "default" else jax.default_matmul_precision(name)
