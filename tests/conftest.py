"""What all tests share: four virtual CPU devices, a random key, and the way to the real data sets."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before jax is imported anywhere: the CPU backend, split into four devices so that data parallelism can be tested.
# Most of the suite's time goes into compiling programs that run for milliseconds: a quarter less without optimization,
# and a third less of the rest with the older of XLA's two ways to emit loops. XLA ends a process at a flag that it does
# not know, so this one is for the version that has been tried.
FLAGS = (
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
# Many tests build the same model anew, and some run the program, which would keep what it compiles, and what it makes
# of logs, in the user's cache.
COMPILED = tempfile.mkdtemp(prefix="mbjax-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED
os.environ["MBJAX_LOG_CACHE"] = os.path.join(COMPILED, "logs")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

import jax  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

# Tracing makes many objects that live for a moment: searched as often as Python does by itself they cost a tenth of the
# suite's time.
gc.set_threshold(200_000, 20, 50)


def pytest_collection_finish():
    """Modules and what was collected stay until the end."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Each process that runs tests has a folder of compiled programs of its own."""
    shutil.rmtree(COMPILED, ignore_errors=True)


MAPPED = Path("/proc/self/maps")
MOST_MAPPED = 25_000  # of 65,530 that Linux grants a process; each compiled program takes several
_since_counted = 0


@pytest.fixture(autouse=True)
def few_compiled_programs():
    """A process that compiled too many programs dies of it, deep in XLA: they are let go of before.

    What stays is not searched for garbage again: runs do that between their stages, and going through all that a
    hundred tests have compiled took a fifth of the suite's time.
    """
    global _since_counted
    yield
    _since_counted += 1
    if _since_counted < 20:
        return
    _since_counted = 0
    if _is_crowded():
        jax.clear_caches()
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def _is_crowded() -> bool:
    if not MAPPED.exists():
        return False
    with MAPPED.open("rb") as lines:
        return sum(1 for _ in lines) > MOST_MAPPED


@pytest.fixture
def key() -> jax.Array:
    """A typed random key, the same in every test."""
    return jax.random.key(20)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """``real_data("jd")`` is the prepared folder of that data set; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        places = [Path(p) for p in os.environ.get("MBJAX_DATA", "").split(os.pathsep) if p]
        places.append(ROOT.parent / "shared" / "data")
        for place in places:
            if (place / name).is_dir():
                return place / name
        pytest.skip(f"data set '{name}' is not on this machine; looked in {', '.join(map(str, places))} (MBJAX_DATA)")

    return find
