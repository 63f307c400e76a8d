"""Honest sweeps of all models on data sets, each within the same minutes; the leaderboard is made of them.

    python benchmarks/leaderboard.py jd taobao [--minutes=5] [--models=bvae,copf] [--out=results]
    python -m mbjax results docs/leaderboard.md

Every model has its default settings first, and then others where a search would look, as many as fit; validation
pairs choose, the test split is read once (``mbjax sweep --minutes``). A sweep whose results file is there already is
not made again, one that was stopped goes on. Sweeps go one after another, each in a process of its own, so that times
and memory are its own; what fails is said, and the others go on. Data sets are names or paths.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import time

from mbjax import models


def command(model: str, dataset: str, minutes: float, file: pathlib.Path, workdir: pathlib.Path) -> list[str]:
    """The sweep of a model, or its continuation."""
    words = [sys.executable, "-m", "mbjax", "sweep", f"--workdir={workdir}", f"--record={file}"]
    if (workdir / "sweep.json").is_file():
        return [*words, "--resume"]
    return [*words, f"--model={model}", f"--dataset={dataset}", f"--minutes={minutes:g}"]


def main(arguments: list[str] | None = None) -> int:
    """Makes the runs that are missing; returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--minutes", type=float, default=5.0, help="of all runs of a model (5)")
    parser.add_argument("--models", default=",".join(sorted(models.MODELS)), help="comma-separated; default: all")
    parser.add_argument("--out", default="results", help="folder of the results files")
    parser.add_argument("--runs", default="runs/leaderboard", help="folder of the run folders")
    options = parser.parse_args(arguments)
    out, failed = pathlib.Path(options.out).absolute(), []
    for dataset in options.datasets:
        for model in options.models.split(","):
            name = f"{model}-{pathlib.Path(dataset).name}"
            label = f"-minutes_{options.minutes:g}"
            file, workdir = out / f"{name}{label}-seed0.json", pathlib.Path(options.runs, f"{name}{label}").absolute()
            if file.exists():
                continue
            start = time.perf_counter()
            code = subprocess.run(command(model, dataset, options.minutes, file, workdir)).returncode
            print(
                f"{name}: {'done' if code == 0 else f'failed, exit code {code}'}, {time.perf_counter() - start:.0f} s"
            )
            if code == 130:
                return code
            failed += [name] if code else []
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
