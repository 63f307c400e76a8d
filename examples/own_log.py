"""Train on a log of your own: a CSV file with one interaction per line, ids of any kind.

The script first writes such a file, so that it runs as it stands: readers borrow what they have put on a list after
looking at it, and every reader keeps to a few shelves. Then it does what these command lines do:

    mbjax train --dataset=runs/library.csv --log.behaviors=look,list,borrow --epochs=6 \
        --log.user=reader --log.item=book --log.behavior=action --log.time=day --log.min_count=3
    mbjax recommend --workdir=RUN --top-k=5 --users=r-007
    mbjax recommend --workdir=RUN --top-k=5 --for=new.csv
"""

from __future__ import annotations

import csv
import pathlib
import random

import polars as pl

import mbjax

NUM_READERS, NUM_BOOKS, NUM_SHELVES, NUM_DAYS = 400, 200, 10, 60


def write_log(path: pathlib.Path, seed: int = 0) -> None:
    """Writes a made-up log with the columns reader, book, action, day."""
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["reader", "book", "action", "day"])
        for reader in range(NUM_READERS):
            shelves = rng.sample(range(NUM_SHELVES), 2)
            for day in range(NUM_DAYS):
                book = rng.randrange(NUM_BOOKS)
                if book % NUM_SHELVES not in shelves and rng.random() < 0.8:
                    continue  # most of what a reader takes up is from the own shelves
                row = [f"r-{reader:03d}", f"book {book}"]
                writer.writerow([*row, "look", day])
                if rng.random() < 0.7:
                    writer.writerow([*row, "list", day])
                    if rng.random() < 0.7:
                        writer.writerow([*row, "borrow", day + 1])


def main(folder: str = "runs", epochs: int = 6) -> None:
    """Writes the log into ``folder``, trains on it, and prints what a reader and a newcomer should borrow next."""
    log = pathlib.Path(folder) / "library.csv"
    write_log(log)
    settings = mbjax.load_config(
        dataset=str(log),
        overrides={
            "log.user": "reader",
            "log.item": "book",
            "log.behavior": "action",
            "log.time": "day",
            "log.behaviors": ["look", "list", "borrow"],  # the funnel; the last one is the target
            "log.min_count": 3,  # readers and books with fewer borrowings are dropped
            "train.epochs": epochs,
        },
    )
    outcome = mbjax.train_run(settings, pathlib.Path(folder) / "library")
    files = mbjax.recommend_run(outcome.workdir, top_k=5, users=["r-007"])
    print(pl.read_parquet(files["borrow"]))

    # Somebody whom training has not seen, from what he has done so far.
    events = {"guest": {"look": ["book 3", "book 13"], "list": ["book 23"]}}
    files = mbjax.recommend_run(outcome.workdir, top_k=5, histories=events, out=pathlib.Path(folder) / "guest")
    print(pl.read_parquet(files["borrow"]))


if __name__ == "__main__":
    main()
