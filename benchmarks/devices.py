"""What several virtual devices of one CPU cost beside one: bytes sent in a chunk, CPU seconds of a step and of a pass.

    python benchmarks/devices.py --out benchmarks/results/devices-cpu.json

Walls would mean nothing, since virtual devices share the cores. Each number of devices is measured in a process of its
own, which JAX splits into as many. What is sent is read from the log of ``jax.transfer_guard``.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
import sys
import time
from typing import Any

from mbjax import apart, config
from mbjax.bench import record

RUNS = (("bvae", "jd"), ("lightgcn", "jd"), ("copf", "taobao"))
COUNTS = (1, 2, 4)
SENT = re.compile(r"(device|host)-to-device transfer: aval=ShapedArray\((\w+?)(\d+)(?:\[([\d,]*)\])?")
BEGIN, END = "chunk begins", "chunk has ended"


def measure(model: str, dataset: str, devices: int, steps: int, passes: int) -> dict[str, Any]:
    """A model on so many devices, which there are. The log of what is sent goes to standard error."""
    import jax
    import numpy as np

    from mbjax import models, topk
    from mbjax.experiment import wiring

    made = config.load(
        model,
        dataset,
        models.entry(model).config,
        protocol="paper",
        devices=devices,
        overrides={"train.chunk_steps": steps},
    )
    experiment = wiring.build(made)
    placement, advance, losses = experiment.placement, experiment.advance(), []
    evaluator, graphs = experiment.evaluator("test"), experiment.graphs_for("test")
    state = placement.everywhere(experiment.start())

    def lists() -> str:
        """A digest of the lists of the target by the parameters before training."""
        target = experiment.model.info.target
        users = np.flatnonzero(np.diff(experiment.dataset.test[target].indptr)).astype(np.int32)
        queries = topk.prepare(
            users, experiment.dataset.train[target], made.evaluate.batch_size, placement=experiment.placement
        )
        tables = topk.encode(experiment.model, state.params, graphs, placement)
        found = topk.start(experiment.model, state.params, tables, queries, target, 20, made.evaluate.item_tile)
        return hashlib.sha256(topk.finish(found, users, target)[0].tobytes()).hexdigest()

    first = lists()
    plan, seconds = advance.plan(state, 0), []
    for number in range(3):
        print(BEGIN if number == 1 else END, file=sys.stderr, flush=True)
        began = time.process_time()
        with jax.transfer_guard("log" if number == 1 else "allow"):
            state, logged = advance.chunk(state, plan, number * steps, steps)
            jax.block_until_ready((state, logged))
        seconds.append((time.process_time() - began) / steps)
        losses += np.asarray(logged["loss"]).tolist()
    print(END, file=sys.stderr, flush=True)
    of_passes = []
    for _ in range(1 + passes):
        began = time.process_time()
        table = evaluator(experiment.model, state.params, graphs).table
        of_passes.append(time.process_time() - began)
    return {
        "model": model,
        "dataset": dataset,
        "devices": devices,
        "cpu_seconds_step": min(seconds[1:]),
        "cpu_seconds_test_pass": min(of_passes[1:]),
        "losses": losses,
        "metrics": {f"{b} {name}": value for b, row in table.items() for name, value in row.items() if "@" in name},
        "lists_of_first_parameters": first,
    }


def sent(log: str, devices: int) -> int:
    """Bytes that a chunk sent, from the log of a process."""
    total = 0
    for kind, _, bits, shape in SENT.findall(log.partition(BEGIN)[2].partition(END)[0]):
        size = math.prod(int(n) for n in (shape or "").split(",") if n) * int(bits) // 8
        total += size * (devices if kind == "host" else devices - 1)
    return total


def measured(*words: Any, devices: int) -> dict[str, Any]:
    """``measure`` in a process with so many devices, and the bytes that a chunk sends."""
    environment = {"JAX_PLATFORMS": "cpu"} | apart.virtual(devices)
    found = apart.run([sys.executable, __file__, "--one", *map(str, words)], None, environment, log=True)
    if "failed" in found:
        raise RuntimeError(f"{' '.join(map(str, words))}: {found['failed']}")
    log = found.pop("log")
    return {name: value for name, value in found.items() if name != "seconds"} | {"bytes_per_chunk": sent(log, devices)}


def main() -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    parser.add_argument("--steps", type=int, default=2, help="steps of a chunk (2)")
    parser.add_argument("--passes", type=int, default=2, help="test passes that are timed (2); the best counts")
    parser.add_argument("--runs", default=",".join(map("/".join, RUNS)), help="MODEL/DATASET,...")
    parser.add_argument("--one", nargs=6, metavar=("MODEL", "DATASET", "DEVICES", "STEPS", "PASSES", "FILE"))
    options = parser.parse_args()
    if options.one:
        model, dataset, *numbers, file = options.one
        apart.keep([measure(model, dataset, *map(int, numbers))], file)
        return 0
    found, rows = record.heading("devices"), []
    for model, dataset in (run.split("/") for run in options.runs.split(",")):
        for devices in COUNTS:
            row = measured(model, dataset, devices, options.steps, options.passes, devices=devices)
            rows.append(row)
            if options.out:  # as far as it is
                record.write(found | {"steps": options.steps, "rows": rows}, options.out)
            print(
                f"{model}/{dataset} {devices}: {row['bytes_per_chunk']} bytes a chunk, CPU seconds "
                f"{row['cpu_seconds_step']:.3f} a step, {row['cpu_seconds_test_pass']:.3f} a test pass",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
