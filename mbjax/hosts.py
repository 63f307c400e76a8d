"""Several hosts: the same command started on each of them (``mbjax/clusters.py``) trains one model.

The first host (of number 0) writes and prints; what depends on clocks, signals or its files it decides for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mbjax import errors

PIECE = 2**26  # bytes of an array that are sent at once, for which each device needs memory


def number() -> int:
    """Of this host, from 0."""
    import jax

    return jax.process_index()


def is_first() -> bool:
    """Whether this host writes and prints."""
    return number() == 0


def count() -> int:
    """How many there are, this one included."""
    import jax

    return jax.process_count()


def is_several() -> bool:
    """Whether there are others."""
    return count() > 1


def in_turn(make: Callable[[], Any]) -> Any:
    """What ``make`` makes, on the first host before all others: what it writes on the way they find."""
    if not is_several():
        return make()
    from jax.experimental import multihost_utils

    made = make() if is_first() else None
    multihost_utils.sync_global_devices("in turn")
    return made if is_first() else make()


def told(value: Any) -> Any:
    """What the first host says, on all of them: anything JSON can hold."""
    if not is_several():
        return value
    import numpy as np
    from jax.experimental import multihost_utils

    text = json.dumps(value).encode() if is_first() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    given = np.frombuffer(text, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(given)).tobytes())


def of_first(tree: Any) -> Any:
    """The arrays of the first host on all of them, in each one's memory; typed random keys too."""
    if not is_several():
        return tree
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    def is_key(x: Any) -> bool:
        return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)

    plain = [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]
    small = multihost_utils.broadcast_one_to_all([x if x.nbytes <= PIECE else None for x in plain])
    sent = [_in_pieces(x) if new is None else new for x, new in zip(plain, small, strict=True)]

    def placed(x: Any, new: Any) -> Any:
        array = jax.numpy.array(new)
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(x)) if is_key(x) else array

    with jax.default_device(memory()):
        return jax.tree.map(placed, tree, jax.tree.unflatten(jax.tree.structure(tree), sent))


def _in_pieces(x: Any) -> Any:
    """A large array of the first host on all of them."""
    import numpy as np
    from jax.experimental import multihost_utils

    flat, length = x.reshape(-1), max(1, PIECE // x.itemsize)
    parts = [flat[start : start + length] for start in range(0, flat.size, length)]
    return np.concatenate([multihost_utils.broadcast_one_to_all(part) for part in parts]).reshape(x.shape)


def memory() -> Any:
    """JAX's device that is this host itself, for what no accelerator needs to hold; None: there is none."""
    import jax

    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to know accelerators alone (JAX_PLATFORMS)
        return None


def any_of(flag: bool) -> bool:
    """Whether it is true on any host; all of them ask."""
    if not is_several():
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def check_alike(options: Mapping[str, str]) -> None:
    """Raises ConfigError on all hosts unless they were started with the same options: name -> text."""
    first = told(dict(options))
    names = [name for name in dict.fromkeys([*first, *options]) if first.get(name) != options.get(name)]
    if not any_of(bool(names)):
        return
    own, others = (", ".join(f"{name}={of.get(name, '(none)')}" for name in names[:5]) for of in (options, first))
    raise errors.ConfigError(
        (f"{own} here and {others} on the first host" if names else "another host has other options than this one")
        + ": all hosts have to be started with the same command, but for --host."
    )


def check_same(what: str, value: str) -> None:
    """Raises DataError unless a value, such as the fingerprint of the data, is that of the first host."""
    first = told(value)
    if first != value:
        raise errors.DataError(
            f"{what} is {value} here and {first} on the first host: all hosts have to read the same. Put it where all "
            "of them see it, or copy it once more."
        )
