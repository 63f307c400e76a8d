"""Train, evaluate and recommend from Python: what mbjax train and mbjax recommend do, as five calls.

python examples/quickstart.py            half a minute on two cores; leaves runs/quickstart
"""

from __future__ import annotations

import polars as pl

import mbjax


def main(workdir: str = "runs/quickstart", epochs: int = 20) -> None:
    """Runs the five calls; ``workdir`` must not hold a run yet."""
    # A data set: interaction matrices [users, items], one per behavior and split.
    dataset = mbjax.load_dataset("demo")
    for behavior in dataset.info.behaviors:
        print(f"{behavior}: {dataset.train[behavior].nnz:,} training pairs")

    # A configuration: the values of configs/models/bvae.yaml for this data set, and our own on top.
    settings = mbjax.load_config("bvae", "demo", overrides={"train.epochs": epochs, "evaluate.ks": [10]})

    # Training selects the epoch on validation pairs and reads the test pairs once.
    outcome = mbjax.train_run(settings, workdir, dataset=dataset)
    table = outcome.tables["valid"]
    print("NDCG@10 on test: " + ", ".join(f"{behavior} {row['ndcg@10']:.4f}" for behavior, row in table.items()))

    # Ranked lists, one Parquet file per behavior; what the user has met by it, held-out pairs included, is left out.
    files = mbjax.recommend_run(outcome.workdir, top_k=5, users=[17])
    print(pl.read_parquet(files[dataset.info.target]))

    # The same for somebody whom training has not seen, from a few events.
    guest = {"guest": {"view": [3, 14, 15], "cart": [14]}}
    files = mbjax.recommend_run(outcome.workdir, top_k=5, histories=guest, out=f"{workdir}/guest")
    print(pl.read_parquet(files[dataset.info.target]))


if __name__ == "__main__":
    main()
