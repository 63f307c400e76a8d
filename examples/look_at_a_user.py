"""Show one user of a run: what it met by each behavior, and the list that ``mbjax recommend`` wrote for it.

python examples/look_at_a_user.py runs/demo 17
"""

from __future__ import annotations

import pathlib
import sys

import polars as pl
import rich.console
import rich.table

import mbjax

SHOWN = 6
"""Items of a history, the last of them, and of a list."""


def main(workdir: str = "runs/demo", user: str = "17", lists: str = "") -> None:
    """Prints a table; ``lists`` is the folder of the Parquet files, by default that in the run folder."""
    experiment, _, _ = mbjax.restore_run(workdir)
    dataset = experiment.dataset
    index = dataset.users.index([user])[0]
    folder = pathlib.Path(lists) if lists else pathlib.Path(workdir) / "recommendations"
    grid = rich.table.Table("behavior", "in training", "such as", "ranked next", box=None, padding=(0, 2, 0, 0))
    for behavior in dataset.info.behaviors:
        if not (folder / f"{behavior}.parquet").is_file():
            sys.exit(f"no lists in {folder}. First: mbjax recommend --workdir={workdir}")
        met = dataset.items.raw(dataset.train[behavior][[index]].indices)
        rows = pl.read_parquet(folder / f"{behavior}.parquet").filter(pl.col("user").cast(pl.String) == user)
        ranked = rows.sort("rank")["item"].head(SHOWN)
        grid.add_row(behavior, str(len(met)), " ".join(map(str, met[-SHOWN:])), " ".join(map(str, ranked)))
    rich.console.Console().print(f"User {user}", grid, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
