"""What a number was measured with: the machine in words, versions, the commit, peak memory."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

import jax

from mbjax.ops import threads

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "polars")


def describe() -> str:
    """Cores that this process may use, architecture, accelerators: ``"2 cores, x86-64 AVX-512"``."""
    cores = threads.cores()
    words = f"{cores} core{'s' if cores != 1 else ''}, {architecture()}"
    devices = [device for device in jax.devices() if device.platform != "cpu"]
    return f"{words}, {len(devices)} x {devices[0].device_kind}" if devices else words


def architecture() -> str:
    """The CPU's architecture with its widest vector unit, as far as it is known."""
    name = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    vectors = {"avx512f": "AVX-512", "avx2": "AVX2", "sve": "SVE", "asimd": "NEON"}
    try:
        lines = pathlib.Path("/proc", "cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return name
    flags = next((set(line.split()) for line in lines if line.lower().startswith(("flags", "features"))), set())
    return " ".join([name, *(text for flag, text in vectors.items() if flag in flags)][:2])


def versions() -> dict[str, str]:
    """Of Python, this library and those that decide numbers."""
    found = {"python": platform.python_version()}
    for name in ("mbjax", *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout that was not installed
            continue
    return found


@functools.cache
def commit() -> str | None:
    """The commit of this checkout, None outside one; ``+changes``: tracked code or configurations differ from it.

    Asked for once in a process, at best before a long run: the checkout may move on meanwhile.
    """
    root = pathlib.Path(__file__).resolve().parent.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    head = _git(root, "rev-parse", "HEAD")
    # Installed inside somebody else's repository, its commit says nothing about this library.
    if not head or not top or pathlib.Path(top).resolve() != root:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "mbjax", "configs")
    return f"{head}+changes" if changes else head


def peak_memory_mib() -> int | None:
    """Largest resident memory of this process so far [MiB]; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def resident_memory() -> int | None:
    """Bytes that this process has in memory now; None where the system does not tell."""
    try:
        pages = pathlib.Path("/proc", "self", "statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError, AttributeError):  # not Linux
        return None


def peak_device_memory_mib() -> int | None:
    """Largest memory that arrays took on one of the accelerators so far [MiB]; None on CPU."""
    known = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in known if "peak_bytes_in_use" in stats]
    return round(max(peaks) / 2**20) if peaks else None


def _git(folder: pathlib.Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
