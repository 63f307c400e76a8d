"""Several virtual devices of one CPU beside one: bytes sent in a chunk, CPU seconds, and bytes that a device holds.

    python benchmarks/devices.py --out benchmarks/results/devices-cpu.json
    python benchmarks/devices.py --table benchmarks/results/devices-cpu.json        # Markdown

Walls would mean nothing, since virtual devices share the cores. Each number of devices is measured in a process of its
own, which JAX splits into as many: with all of a run on every device, and divided among them (``--shard=tables``) where
the model allows it. What is sent is read from the log of ``jax.transfer_guard``; what a device holds are all arrays
between two chunks: state, graphs, pairs, histories and queries. Runs that the file has already are not measured again.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import pathlib
import re
import sys
import time
from collections.abc import Iterable
from typing import Any

from mbjax import apart, config, errors, parallel
from mbjax.bench import record
from mbjax.reporting import tables

RUNS = (("bvae", "jd"), ("lightgcn", "jd"), ("copf", "taobao"), ("funnel", "retail_rocket"))
COUNTS = (1, 2, 4)
WAYS = ("none", "tables")
"""Values of ``train.shard``."""
REFUSED = "refused"
SENT = re.compile(r"(device|host)-to-device transfer: aval=ShapedArray\((\w+?)(\d+)(?:\[([\d,]*)\])?")
BEGIN, END = "chunk begins", "chunk has ended"


def measure(model: str, dataset: str, shard: str, devices: int, steps: int, passes: int) -> dict[str, Any]:
    """A model on so many devices, which there are. The log of what is sent goes to standard error."""
    import jax
    import numpy as np

    from mbjax import batching, models, topk
    from mbjax.experiment import wiring

    made = config.load(
        model,
        dataset,
        models.entry(model).config,
        protocol="paper",
        devices=devices,
        overrides={"train.chunk_steps": steps} | ({"train.shard": shard} if shard != "none" else {}),
    )
    experiment = wiring.build(made, teach=True)
    placement, advance, losses = experiment.placement, experiment.advance(), []
    state = placement.put(experiment.start())
    evaluator, graphs = experiment.evaluator("test"), experiment.graphs_for("test")

    def lists() -> str:
        """A digest of the lists of the target by the parameters before training."""
        target = experiment.model.info.target
        users = np.flatnonzero(np.diff(experiment.dataset.test[target].indptr)).astype(np.int32)
        queries = batching.prepare(
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
    del logged
    gc.collect()
    bytes_held, of_passes = held(jax.live_arrays()), []
    for _ in range(1 + passes):
        began = time.process_time()
        table = evaluator(experiment.model, state.params, graphs).table
        of_passes.append(time.process_time() - began)
    return {
        "model": model,
        "dataset": dataset,
        "shard": shard,
        "devices": devices,
        "bytes_held": bytes_held,
        "cpu_seconds_step": min(seconds[1:]),
        "cpu_seconds_test_pass": min(of_passes[1:]),
        "losses": losses,
        "metrics": {f"{b} {name}": value for b, row in table.items() for name, value in row.items() if "@" in name},
        "lists_of_first_parameters": first,
    }


def held(arrays: Iterable[Any]) -> int:
    """Bytes of arrays on the device that has most of them; what several arrays share counts once."""
    found: dict[Any, dict[int, int]] = {}
    for array in arrays:
        # Typed random keys have no buffers that could be asked for, and 8 bytes.
        for part in getattr(array, "addressable_shards", ()) if not parallel.is_key(array) else ():
            found.setdefault(part.device, {})[part.data.unsafe_buffer_pointer()] = part.data.nbytes
    return max((sum(of.values()) for of in found.values()), default=0)


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
    _, is_refused, why = found.get("failed", "").partition(f"{errors.IncompatibleError.__name__}: ")
    if is_refused:
        return dict(zip(("model", "dataset", "shard", "devices"), (*words[:3], devices), strict=True)) | {REFUSED: why}
    if "failed" in found:
        raise RuntimeError(f"{' '.join(map(str, words))}: {found['failed']}")
    log = found.pop("log")
    return {name: value for name, value in found.items() if name != "seconds"} | {"bytes_per_chunk": sent(log, devices)}


def table(found: dict[str, Any]) -> str:
    """The Markdown of a file."""
    lines = [
        [
            "run",
            "devices",
            "sent in a chunk [bytes]",
            "a device holds [MB]",
            "CPU s of a step",
            "of a test pass",
            "beside one",
        ],
        ["---", *["---:"] * 6],
    ]
    for row in found["rows"]:
        name = f"`{row['model']}`, {row['dataset']}" + (", divided" if row["shard"] != "none" else "")
        if REFUSED in row:
            lines.append([name, "", "refused", "", "", "", ""])
            continue
        one = next(
            r for r in found["rows"] if (r["model"], r["dataset"], r["devices"]) == (row["model"], row["dataset"], 1)
        )
        pass_ = row["cpu_seconds_test_pass"]
        cells = [f"{row['bytes_per_chunk']:,}", f"{row['bytes_held'] / 1e6:,.1f}", f"{row['cpu_seconds_step']:.3f}"]
        cells += [f"{pass_:.3f}", f"{pass_ / one['cpu_seconds_test_pass']:.2f}"]
        lines.append([name, str(row["devices"]), *cells])
    return tables.join(lines)


def main() -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", metavar="FILE", type=pathlib.Path, help="JSON file to write, or to go on with")
    parser.add_argument("--steps", type=int, default=2, help="steps of a chunk (2)")
    parser.add_argument("--passes", type=int, default=2, help="test passes that are timed (2); the best counts")
    parser.add_argument("--runs", default=",".join(map("/".join, RUNS)), help="MODEL/DATASET,...")
    parser.add_argument("--table", metavar="FILE", type=pathlib.Path, help="print the Markdown of one, and no more")
    parser.add_argument("--one", nargs=7, metavar=("MODEL", "DATASET", "SHARD", "DEVICES", "STEPS", "PASSES", "FILE"))
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text(encoding="utf-8"))))
        return 0
    if options.one:
        model, dataset, shard, *numbers, file = options.one
        apart.keep([measure(model, dataset, shard, *map(int, numbers))], file)
        return 0
    found = record.heading("devices") | {"steps": options.steps, "rows": []}
    if options.out and options.out.exists():
        found = json.loads(options.out.read_text(encoding="utf-8"))
    rows = found["rows"]
    for model, dataset in (run.split("/") for run in options.runs.split(",")):
        for shard, devices in [(way, count) for way in WAYS for count in COUNTS if way == "none" or count > 1]:
            of_it = [r for r in rows if (r["model"], r["dataset"], r["shard"]) == (model, dataset, shard)]
            if any(r["devices"] == devices or REFUSED in r for r in of_it):
                continue
            row = measured(model, dataset, shard, devices, options.steps, options.passes, devices=devices)
            rows.append(row)
            if options.out:  # as far as it is
                record.write(found, options.out)
            if REFUSED in row:
                print(f"{model}/{dataset} {shard}: {row[REFUSED]}", flush=True)
                break
            print(
                f"{model}/{dataset} {shard} {devices}: {row['bytes_per_chunk']} bytes a chunk, CPU seconds "
                f"{row['cpu_seconds_step']:.3f} a step, {row['cpu_seconds_test_pass']:.3f} a test pass",
                flush=True,
            )
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
