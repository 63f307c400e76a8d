"""How many runs of a sweep fit at once: by cores, and by the memory that each is predicted to take.

The prediction is that of ``mbjax bench --memory``: of the first setting of each model, of which the largest counts.
What a model prepares of the data has no prediction: of such a sweep one run at a time goes on, on each accelerator or
on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mbjax import apart, errors
from mbjax.sweep import plan as plans

SAFETY = 1.15
"""What a run may take beyond the prediction: other settings of the sweep, and what is not counted."""
ALONE = ("tpu",)
"""Platforms whose accelerators belong to one process."""


def look(members: Sequence[plans.Member], *, predict: bool) -> dict[str, Any]:
    """What there is, and what a run takes; asked in a process of its own, since looking takes an accelerator.

    Args:
      members: the models of the sweep.
      predict: whether memory is asked for too.

    Returns:
      ``platform``; ``devices``, their number, of a CPU 1; ``free``, bytes for runs on one of them, None where nobody
      tells; ``takes``, bytes of a run, None where there is no prediction; ``unknown``, the models without one.
    """
    import jax

    from mbjax import machine
    from mbjax.bench import foresight
    from mbjax.ops import memory

    platform = jax.default_backend()
    is_cpu = platform == "cpu"
    found: dict[str, Any] = {"platform": platform, "devices": 1 if is_cpu else jax.local_device_count()}
    found |= {"free": memory.available(), "takes": None, "unknown": []}
    if not predict:
        return found
    takes = []
    if is_cpu and found["free"] is not None:  # what this process has is free once it is gone
        found["free"] += machine.resident_memory() or 0
    for member in members:
        setting = {axis.field: axis.values[0] for axis in member.axes}
        try:
            one = foresight.foresee(member.config(setting, member.seeds[0]))
        except errors.MbjaxError:  # it will be said of the run itself
            continue
        if one.unknown:
            found["unknown"].append(member.name)
        takes.append(one.peak if is_cpu else one.arrays)
    if not found["unknown"] and takes and None not in takes:
        found["takes"] = max(takes)
    return found


def fitting(found: Mapping[str, Any], cores: int) -> tuple[int, str]:
    """How many runs go on at once, and why, in words.

    Args:
      found: by ``look``.
      cores: that there are.
    """
    devices, platform = found["devices"], found["platform"]
    where = "" if platform == "cpu" else f" on each of {devices} accelerators" if devices > 1 else " on the accelerator"
    if platform in ALONE:
        return 1, f"a {platform.upper()} belongs to one process"
    if found["unknown"]:
        names = ", ".join(found["unknown"])
        return min(devices, cores), f"one run{where}: the memory of {names} cannot be predicted; --jobs=N says how many"
    if found["takes"] is None or found["free"] is None:
        return min(devices, cores), f"one run{where}: its memory cannot be predicted; --jobs=N says how many"
    # Of a GPU what is free is told as its part that is taken at all.
    free = found["free"] * (apart.OF_POOLS if platform == "cpu" else 1.0)
    fit = int(free / (SAFETY * found["takes"]))
    number = max(1, min(cores, devices * max(1, fit)))
    sizes = f"a run takes {found['takes'] / 1e9:.1f} GB of {found['free'] / 1e9:.1f} GB"
    return number, f"{cores} core{'s' if cores != 1 else ''}, {sizes}{where}"


def check(jobs: int, platform: str, devices: int) -> None:
    """Raises IncompatibleError where so many processes cannot share what there is.

    Args:
      jobs: runs at once.
      platform: of JAX.
      devices: that each run is divided among.
    """
    if jobs > 1 and platform in ALONE:
        raise errors.IncompatibleError(f"--jobs={jobs}: a {platform.upper()} belongs to one process. Leave --jobs out.")
    if jobs > 1 and devices > 1 and platform != "cpu":
        raise errors.IncompatibleError(
            f"--jobs={jobs} with --devices={devices}: runs at once have one accelerator each. Leave out one of them."
        )
