"""Times and numbers on the accelerator that JAX sees, beside those of another machine.

    JAX_PLATFORMS=cpu python benchmarks/accelerator.py --out=cpu.json
    python benchmarks/accelerator.py --against=cpu.json [--out=FILE] [--limit=S] [--deadline=S] [PART ...]

A part is ``WHAT/DATASET``, the data set a name or a path:

* ``products``: the forms of sparse times dense, on the matrix of all behaviors.
* a model, ``copf/taobao``: the first steps, their losses; a test pass and its metrics; how many lists differ where
  float32 products are computed in full or as the platform does by default (TF32 on recent NVIDIA GPUs); what a model
  solves in closed form. All with the configuration of the authors' protocol.
* ``fit-`` and a model, ``fit-lightgcn/jd``: a whole training with its default configuration, and its test metrics.
* ``long-`` and a model, ``long-copf/taobao``: as many epochs as its paper's training has, without evaluations, as far
  as ``--training`` seconds go, and what all of them would take at that rate.

Each part runs in a process of its own with a time limit: what fails is one line and takes nothing from the others. The
file is written after every part.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mbjax import apart, errors, models
from mbjax.bench import options as common
from mbjax.bench import platform, printout, record
from mbjax.reporting import tables

PARTS = (
    *("products/taobao", "copf/taobao", "bvae/jd", "nmtr/taobao", "ease/taobao", "lightgcn/taobao", "ease/jd"),
    *("long-copf/taobao", "long-bvae/jd", "fit-funnel/taobao", "fit-funnel/jd"),
)
FIT, LONG = "fit-", "long-"
EPOCHS = {"copf": 200, "bvae": 1000}
"""Of ``long-``; 100 of other models."""
TIMES = (
    *("prepare", "first_chunk", "step", "epoch", "test_pass", "test_pass_float32"),
    *("all_epochs", "end_to_end"),
)
"""As a part has them."""


def measured(part: str, limits: platform.Limits) -> Iterator[dict[str, Any]]:
    """What a part finds, beginning with the machine."""
    yield {"heading": record.heading("accelerator")}
    what, _, dataset = part.partition("/")
    if what == "products":
        yield from platform.products(dataset, limits)
    elif what.startswith(LONG):
        model = what.removeprefix(LONG)
        yield from platform.long(model, dataset, EPOCHS.get(model, 100), limits)
    elif what.startswith(FIT):
        yield from platform.fit(what.removeprefix(FIT), dataset, limits)
    else:
        yield from platform.whole(what, dataset, limits)


def check(part: str) -> None:
    """Raises ConfigError for a part that there cannot be."""
    what, slash, dataset = part.partition("/")
    if not slash or not dataset:
        raise errors.ConfigError(f"part '{part}': it is WHAT/DATASET, such as copf/taobao. See --help.")
    if what != "products":
        models.entry(model_of(what))


def model_of(what: str) -> str:
    """The model of a part."""
    return what.removeprefix(FIT).removeprefix(LONG)


def short(part: str) -> str:
    """A part's name without the folder of its data set."""
    what, _, dataset = part.partition("/")
    return f"{what}/{os.path.basename(os.path.normpath(dataset))}"


def run(parts: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """All parts, one after another, each in its process; what is found so far is written after each."""
    began = time.perf_counter()
    words = [f"--repeat={options.repeat}", f"--seconds={options.seconds}", f"--steps={options.steps}"]
    words.append(f"--training={options.training}")
    found: dict[str, Any] = {"benchmark": "accelerator", "parts": {}}
    for part in parts:
        left = options.deadline - (time.perf_counter() - began)
        if left <= 0:
            one = {"failed": f"not begun in {options.deadline:.0f} s"}
        else:
            command = [sys.executable, os.path.abspath(__file__), *words, part, "--keep"]
            one = apart.run(command, min(options.limit, left))
        heading = one.pop("heading", {})
        found = heading | found | {"parts": found["parts"] | {short(part): one}}
        print(f"{short(part)}: {one.get('failed') or 'done'}, {one.get('seconds', 0)} s", flush=True)
        if options.out:
            record.write(found, options.out)
    return found


def compared(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, float]:
    """The largest relative difference of losses, the largest difference of metrics that both parts have."""
    found = {}
    pairs = list(zip(here.get("losses", ()), there.get("losses", ()), strict=False))
    if pairs:
        found["losses"] = max(abs(one - other) / max(abs(other), 1e-30) for one, other in pairs)
    for name in ("metrics", "metrics_float32"):
        both = here.get(name, {}).keys() & there.get(name, {}).keys()
        if both:
            found[name] = max(abs(here[name][metric] - there[name][metric]) for metric in both)
    return found


def show(found: Mapping[str, Any], against: Mapping[str, Any]) -> None:
    """Prints a record beside another, which may be empty."""
    out = printout.console()
    if "machine" in found:
        printout.heading(out, found, record.remark(found))
    if against:
        out.print(f"against: {against.get('machine')}, {against.get('backend')}", markup=False, soft_wrap=True)
    rows = []
    for part, one in found["parts"].items():
        other = against.get("parts", {}).get(part, {})
        for name in TIMES:
            if name in one:
                there = [printout.seconds(other[name]), f"{other[name] / one[name]:.1f}"] if name in other else ["", ""]
                rows.append([part, name, printout.seconds(one[name]), *there])
        theirs = {row["name"]: row for row in other.get("forms", ())}
        for row in one.get("forms", ()):
            rows.append([part, row["name"], *_form(row, theirs.get(row["name"], {}))])
        for behavior, row in one.get("lists", {}).items():
            rows.append([part, f"{behavior} lists changed by the default precision", f"{row['lists']:.2%}", "", ""])
        for name, value in compared(one, other).items():
            rows.append([part, f"{name}: largest difference", f"{value:.2g}", "", ""])
        if "failed" in one:
            rows.append([part, f"failed: {one['failed']}", "", "", ""])
    tables.put(out, printout.table(("part", "what", "=here", "=there", "=there / here"), rows))


def _form(row: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    if "seconds" not in row:
        return ["failed", "", ""]
    here = f"{printout.seconds(row['seconds'])}, error {row['error']:.0e}, {row['temporaries_mib']} MiB"
    if "seconds" not in other:
        return [here, "", ""]
    return [here, printout.seconds(other["seconds"]), f"{other['seconds'] / row['seconds']:.1f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns the exit code, 1 where a part failed."""
    limits = platform.Limits()
    parser = common.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"WHAT/DATASET (default: {' '.join(PARTS)})")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write, after every part")
    parser.add_argument("--against", metavar="FILE", help="a file of this script from another machine")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that a part may take (300)")
    parser.add_argument("--deadline", type=float, default=3600.0, help="seconds for all parts together (3600)")
    parser.add_argument("--steps", type=int, default=limits.steps, help=f"of a chunk of training ({limits.steps})")
    parser.add_argument(
        "--training", type=float, default=limits.training, help=f"seconds of the epochs of long- ({limits.training:g})"
    )
    parser.add_argument("--keep", metavar="FILE", help=argparse.SUPPRESS)  # a part, in a process of its own
    common.add_repeats(parser, repeat=limits.repeat, limit=limits.seconds)
    try:
        options = parser.parse_args(sys.argv[1:] if argv is None else argv)
        common.check_repeats(options)
        # Models that this version has not are left out, unless they are asked for.
        known = [part for part in PARTS if model_of(part.partition("/")[0]) in {*models.MODELS, "products"}]
        parts = options.parts or known
        for part in parts:
            check(part)
        against = json.loads(pathlib.Path(options.against).read_text(encoding="utf-8")) if options.against else {}
        if options.keep:
            given = platform.Limits(options.repeat, options.seconds, options.steps, options.training)
            apart.keep(measured(parts[0], given), options.keep)
            return 0
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    found = run(parts, options)
    show(found, against)
    if options.out:
        print(f"written: {record.write(found, options.out)}")
    return int(any("failed" in one for one in found["parts"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
