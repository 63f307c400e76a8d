"""Seeds of a run, one after another, in one program, and one on each device: seconds of a step of all of them.

    python benchmarks/seeds.py --out benchmarks/results/seeds-cpu.json

Each way is measured in a process of its own. Wall seconds count here, since the ways differ by what they do at once;
nothing else should run. ``same_bits``: whether the parameters of every seed are those of the seed alone in a process
with one device.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from typing import Any

from mbjax import apart, config
from mbjax.bench import record

RUNS = (("bpr_mf", "jd"), ("bvae", "jd"), ("lightgcn", "jd"))
WAYS = ("turns", "program", "devices")


def measure(model: str, dataset: str, way: str, seeds: int, seconds: float) -> dict[str, Any]:
    """Steps of so many seeds, in chunks as a training has them.

    Args:
      model, dataset: names.
      way: of ``WAYS``; ``"devices"`` takes all devices that there are.
      seeds: how many.
      seconds: that are measured, at least, after a first chunk of each.
    """
    import jax

    from mbjax import abreast as programs
    from mbjax import models
    from mbjax.experiment import abreast, wiring

    chosen = config.load(model, dataset, models.entry(model).config, protocol="paper")
    experiment = wiring.build(chosen)
    configs = [config.override(chosen, {}, seed=seed) for seed in range(seeds)]
    states = [experiment.of_seed(each).start() for each in configs]
    begun = time.perf_counter()
    if way == "turns":
        held, advance = states, experiment.advance()
    else:
        devices = jax.device_count() if way == "devices" else 1
        held = []
        for first in range(0, seeds, devices if way == "devices" else seeds):
            some = states[first : first + (devices if way == "devices" else seeds)]
            among = programs.Abreast(devices if way == "devices" else seeds, devices)
            held.append(among.put(some))
        advance = abreast.advance(experiment, among)
    steps = advance.steps_per_epoch
    # As long as the pace would make them, but the same for all ways.
    length = max(1, min(steps, LENGTH.get(model, 1)))

    def chunk(place):
        for number, state in enumerate(held):
            held[number], logged = advance.chunk(state, plans[number], place, length)
            jax.block_until_ready(logged)

    plans = [advance.plan(state, 0) for state in held]
    chunk(0)
    compiling = time.perf_counter() - begun
    if way == "turns":
        parts = list(held)
    else:
        parts = [among.part(group, place) for group in held for place in range(min(among.size, seeds))][:seeds]
    digests = [
        hashlib.sha256(b"".join(jax.device_get(leaf).tobytes() for leaf in jax.tree.leaves(part.params))).hexdigest()
        for part in parts
    ]
    times = []
    place = length
    while sum(times) < seconds or len(times) < 5:
        place = place if place + length <= steps else 0
        began = time.perf_counter()
        chunk(place)
        times.append(time.perf_counter() - began)
        place += length
    times.sort()
    return {
        "way": way,
        "devices": jax.device_count(),
        "first_chunks": compiling,
        "step": times[len(times) // 2] / length,
        "step_best": times[0] / length,
        "chunk_steps": length,
        "parameters": digests,
    }


LENGTH = {"bpr_mf": 32, "lightgcn": 8}
"""Steps of a chunk."""


def main() -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    parser.add_argument("--seeds", type=int, default=3, help="how many (3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that are timed for each way, at least (10)")
    parser.add_argument("--devices", default="2,3", help="numbers of devices (2,3)")
    parser.add_argument("--runs", default=",".join(map("/".join, RUNS)), help="MODEL/DATASET,...")
    parser.add_argument("--one", nargs=6, metavar=("MODEL", "DATASET", "WAY", "SEEDS", "SECONDS", "FILE"))
    options = parser.parse_args()
    if options.one:
        model, dataset, way, seeds, seconds, file = options.one
        apart.keep([measure(model, dataset, way, int(seeds), float(seconds))], file)
        return 0
    found, rows = record.heading("seeds"), []
    for model, dataset in (run.split("/") for run in options.runs.split(",")):
        ways = [("turns", 1), ("program", 1), *(("devices", int(n)) for n in options.devices.split(","))]
        alone = None
        for way, devices in ways:
            words = [model, dataset, way, str(options.seeds), str(options.seconds)]
            measured = apart.run([sys.executable, __file__, "--one", *words], None, apart.virtual(devices))
            if "failed" in measured:
                raise RuntimeError(f"{' '.join(words)}: {measured['failed']}")
            row = {"model": model, "dataset": dataset} | {k: v for k, v in measured.items() if k != "seconds"}
            parameters = row.pop("parameters")
            alone = alone or parameters
            rows.append(row | {"same_bits": parameters == alone})
            if options.out:  # as far as it is
                record.write(found | {"seeds": options.seeds, "rows": rows}, options.out)
            print(
                f"{model}/{dataset} {way} {devices}: {1000 * row['step']:.2f} ms a step of {options.seeds} seeds, "
                f"same bits {rows[-1]['same_bits']}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
