"""Train, evaluate and recommend from Python: what mbjax train and mbjax recommend do, as five calls.

python examples/quickstart.py            a minute or two on two cores; leaves runs/quickstart
"""

from __future__ import annotations

import polars as pl

import mbjax


def main(workdir: str = "runs/quickstart", epochs: int = 3) -> None:
    """Runs the five calls; ``workdir`` must not hold a run yet."""
    # A data set: interaction matrices [users, items], one per behavior and split.
    dataset = mbjax.load_dataset("demo")
    for behavior in dataset.info.behaviors:
        print(f"{behavior}: {dataset.train[behavior].nnz:,} training pairs")

    # A configuration: the values of configs/models/funnel.yaml, which is the default model, and our own on top.
    # Few epochs of small batches keep this to a minute.
    own = {"train.epochs": epochs, "train.batch_size": 128, "evaluate.ks": [10]}
    settings = mbjax.load_config(dataset="demo", overrides=own)

    # Training selects the epoch on validation pairs and reads the test pairs once.
    outcome = mbjax.train_run(settings, workdir, dataset=dataset)
    table = outcome.tables["valid"]
    print("NDCG@10 on test: " + ", ".join(f"{behavior} {row['ndcg@10']:.4f}" for behavior, row in table.items()))

    # Ranked lists, one Parquet file per behavior; what the user has met by it, held-out pairs included, is left out.
    # Scores are probabilities, here of what he may go on with and of what is new to him, in a file each.
    files = mbjax.recommend_run(outcome.workdir, top_k=5, users=[17], lists=["continue", "discover"])
    for kind in ("continue", "discover"):
        print(kind, pl.read_parquet(files[f"{dataset.info.target}.{kind}"]))

    # The same for somebody whom training has not seen, from a few events.
    guest = {"guest": {"view": [3, 14, 15], "cart": [14]}}
    files = mbjax.recommend_run(outcome.workdir, top_k=5, histories=guest, out=f"{workdir}/guest")
    print(pl.read_parquet(files[dataset.info.target]))


if __name__ == "__main__":
    main()
