"""Compiled programs that outlive the process: the second start of a run does not wait for XLA again."""

from __future__ import annotations

import os
import pathlib
import time
import warnings

import jax
import platformdirs

from mbjax import errors

MAX_BYTES = 2**30  # the least recently used programs make room


def keep(folder: str | os.PathLike | None = None) -> pathlib.Path | None:
    """Turns on JAX's persistent compilation cache, unless JAX_COMPILATION_CACHE_DIR already decides.

    Called by the command line only: a library must not change the settings of a notebook.

    Args:
      folder: where; None is the user's cache folder.

    Returns:
      The folder, or None if the environment variable decides or the folder cannot be written.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    path = pathlib.Path(folder or pathlib.Path(platformdirs.user_cache_dir("mbjax")) / "compiled")
    try:
        path.mkdir(parents=True, exist_ok=True)
        mend(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        warnings.warn(
            f"compiled programs are not kept, so that each start compiles anew: '{path}': {why}",
            errors.CompilationWarning,
            stacklevel=2,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    return path


def mend(path: pathlib.Path, young: float = 60.0) -> None:
    """Removes programs without the time of their last use, as a kill between the two files leaves them.

    JAX asks for every time before it writes, so one such program would keep it from keeping any other. Of a young one
    another process may be about to write the time.

    Args:
      path: the folder of the cache.
      young: age up to which a program is left alone [seconds].
    """
    for program in path.glob("*-cache"):
        is_young = time.time() - program.stat().st_mtime < young
        if not is_young and not program.with_name(program.name.removesuffix("-cache") + "-atime").exists():
            program.unlink(missing_ok=True)
