"""What users lose who are folded into a model, against users who were there when it was trained.

    python benchmarks/fold_in.py --model=crgcn --dataset=taobao --epochs=20 [--out=FILE] [--field=value ...]

A model is trained twice for the same number of epochs: on all users, and without a random share of them, who are then
folded in. Both rank the test pairs of these users. The epochs are fixed, and no pair is held out for validation.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from mbjax import config, data, errors, evaluate, models, types
from mbjax.bench import options as common
from mbjax.bench import record
from mbjax.experiment import fold_in, wiring
from mbjax.ops import graph
from mbjax.train import loop

K = 10


def trained(settings: config.Config, dataset: data.Dataset) -> tuple[wiring.Experiment, types.Params]:
    """A model and its parameters after the configured number of epochs."""
    experiment = wiring.build(settings, dataset)
    state = experiment.start()
    if not experiment.is_trained:
        return experiment, state.params

    def on_epoch(epoch: int, state: types.TrainState, position: loop.Position) -> bool:
        print(f"epoch {epoch + 1}: loss {position.sums['loss']:.6g}, {position.seconds:.1f} s", file=sys.stderr)
        return False

    state, _, _ = loop.fit(
        state, loop.Position(), experiment.advance(), epochs=settings.train.epochs, on_epoch=on_epoch
    )
    return experiment, state.params


def rows_of(dataset: data.Dataset, users: np.ndarray) -> data.Dataset:
    """The data set of some users, in their order."""

    def of(split: Mapping[str, sparse.csr_array]) -> dict[str, sparse.csr_array]:
        return {behavior: matrix[users] for behavior, matrix in split.items()}

    info = dataset.info._replace(num_users=len(users))
    ids = data.Vocabulary(dataset.users.column(users))
    parts = {"train": of(dataset.train), "valid": of(dataset.valid), "test": of(dataset.test)}
    return dataclasses.replace(dataset, info=info, users=ids, unused={}, **parts)


def tested(dataset: data.Dataset, first: int) -> data.Dataset:
    """The data set with the test pairs of the users from ``first`` on alone."""
    test = {}
    for behavior, matrix in dataset.test.items():
        keep = (np.arange(matrix.shape[0]) >= first).astype(np.uint8)
        test[behavior] = sparse.csr_array(sparse.diags_array(keep, dtype=np.uint8, format="csr") @ matrix)
        test[behavior].eliminate_zeros()
    return dataclasses.replace(dataset, test={name: matrix for name, matrix in test.items() if matrix.nnz})


def measure(settings: config.Config, share: float, seed: int) -> dict[str, Any]:
    """Both trainings and the tables of the users who were left out of the second."""
    dataset = data.load(settings.dataset, settings.data)
    num_users = dataset.info.num_users
    order = np.random.default_rng(seed).permutation(num_users)
    number = round(share * num_users)
    kept, out = np.sort(order[number:]), np.sort(order[:number])
    # Those who are left out come last in both.
    dataset = rows_of(dataset, np.concatenate([kept, out]))
    there = tested(dataset, len(kept))
    whole, params = trained(settings, dataset)
    tasks = tuple(b for b in whole.model.tasks or dataset.info.behaviors if b in there.test)
    evaluator = evaluate.Evaluator(there, "test", behaviors=tasks, ks=(K,))
    found = {"trained": evaluator(whole.model, params, whole.graphs).table}

    part, params = trained(settings, rows_of(dataset, np.arange(len(kept))))
    passive = {behavior: matrix[len(kept) :] for behavior, matrix in dataset.train.items()}
    extended = fold_in.extend(part, params, passive)
    found["folded in"] = evaluator(*extended).table

    anchor = models.entry("popularity")
    popular = anchor.build(anchor.config(), dataset.info, 0)
    found["popularity"] = evaluator(popular, {}, graph.from_train(popular.graphs, dataset.train)).table
    return {
        "fold_in": part.model.fold_in,
        "epochs": settings.train.epochs,
        "users": num_users,
        "left_out": number,
        "seed": seed,
        "results": found,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit code."""
    parser = common.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--model", required=True, help="its name")
    parser.add_argument("--dataset", required=True, metavar="NAME|PATH", help="the data set")
    parser.add_argument("--epochs", required=True, type=int, help="of both trainings")
    parser.add_argument("--share", default=0.1, type=float, help="of the users that are left out of the second (0.1)")
    parser.add_argument("--seed", default=0, type=int, help="of the choice of these users (0)")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    try:
        options, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
        if not 0 < options.share < 1:
            raise errors.ConfigError(f"--share={options.share}: it is above 0 and below 1.")
        settings = config.load(
            options.model,
            options.dataset,
            models.entry(options.model).config,
            protocol="paper",
            overrides=common.fields(rest) | {"train.epochs": str(options.epochs), "data.valid": "none"},
        )
        found = record.heading("fold_in", settings) | measure(settings, options.share, options.seed)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    for name, table in found["results"].items():
        for behavior, row in table.items():
            values = [f"HR@{K} {row[f'hr@{K}']:.4f}, NDCG@{K} {row[f'ndcg@{K}']:.4f}"]
            for kind in ("visited", "unvisited"):
                if row[kind]["pairs"]:
                    values.append(f"{kind} ({row[kind]['pairs']:,} pairs) {row[kind][f'hr@{K}']:.4f}")
            print(f"{name}, {behavior}: {'; '.join(values)}")
    if options.out:
        print(f"written: {record.write(found, options.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
