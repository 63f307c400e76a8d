"""NMTR-GMF as a plain PyTorch program: what ``benchmarks/nmtr.py`` compares an epoch with.

    python benchmarks/nmtr_torch.py [--dataset=taobao] [--steps=200] [--field=value ...]

The model, batches, loss and optimizer of ``train.py --model=nmtr``, written in the usual way: negatives of an epoch
are drawn in advance by vectorized rejection, a batch is rows of (user, item, labels), embeddings have dense gradients.
It prints one line of JSON with times in seconds. Needs torch (``pip install '.[benchmarks]'``), which mbjax never does.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch

from mbjax import config, data, errors, models
from mbjax.bench import options as common
from mbjax.ops import sampling

CHUNK = 20  # steps that are timed together


class Nmtr(torch.nn.Module):
    """One pair of tables, a dense ReLU layer and output weights for each behavior, probabilities handed on."""

    def __init__(self, num_users: int, num_items: int, num_behaviors: int, size: int):
        super().__init__()
        self.user, self.item = torch.nn.Embedding(num_users, size), torch.nn.Embedding(num_items, size)
        self.bias = torch.nn.Embedding(num_items, num_behaviors)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(size, size, bias=False) for _ in range(num_behaviors))
        self.outputs = torch.nn.ModuleList(torch.nn.Linear(size, 1, bias=False) for _ in range(num_behaviors))
        for table in (self.user, self.item):
            torch.nn.init.trunc_normal_(table.weight, std=0.01, a=-0.02, b=0.02)
        torch.nn.init.zeros_(self.bias.weight)
        for layer in (*self.layers, *self.outputs):
            torch.nn.init.uniform_(layer.weight, -((3 / size) ** 0.5), (3 / size) ** 0.5)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Logits [rows, K]."""
        product, bias = self.user(user) * self.item(item), self.bias(item)
        logits = []
        for k, (layer, output) in enumerate(zip(self.layers, self.outputs, strict=True)):
            logit = output(torch.relu(layer(product)))[:, 0] + bias[:, k]
            logits.append(logit + torch.sigmoid(logits[-1]) if logits else logit)
        return torch.stack(logits, dim=1)


def loss_of(model: Nmtr, user: torch.Tensor, item: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """The mean over rows and behaviors of the binary cross-entropy."""
    return torch.nn.functional.binary_cross_entropy_with_logits(model(user, item), label)


def rows_of(train: dict[str, scipy.sparse.csr_array], negatives: int, rng: np.random.Generator):
    """All rows of an epoch, the observed pairs in a random order: users, items [P, 1 + M], labels [P, 1 + M, K]."""
    union = scipy.sparse.csr_array(sampling.union(train, tuple(train)))
    num_items = union.shape[1]
    user = np.repeat(np.arange(union.shape[0]), np.diff(union.indptr))
    known = user * np.int64(num_items) + union.indices
    label = np.stack([np.isin(known, _keys(matrix)) for matrix in train.values()], axis=1)
    item = rng.integers(0, num_items, (len(known), 1 + negatives))
    item[:, 0] = union.indices
    again = np.ones((len(known), negatives), bool)
    while again.any():
        rows, columns = np.nonzero(again)
        drawn = rng.integers(0, num_items, len(rows))
        item[rows, 1 + columns] = drawn
        key = user[rows] * np.int64(num_items) + drawn
        place = np.minimum(np.searchsorted(known, key), len(known) - 1)
        again[rows, columns] = known[place] == key
    labels = np.zeros((*item.shape, label.shape[1]), np.float32)
    labels[:, 0] = label
    order = rng.permutation(len(known))
    users = np.repeat(user[:, None], 1 + negatives, axis=1)
    return tuple(torch.from_numpy(part[order]) for part in (users, item, labels))


def _keys(matrix: scipy.sparse.csr_array) -> np.ndarray:
    users, items = matrix.nonzero()
    return users * np.int64(matrix.shape[1]) + items


def measure(settings: config.Config, steps: int) -> dict[str, float]:
    """Seconds of drawing the rows of an epoch, of a step, and of an epoch made of them."""
    dataset = data.load(settings.dataset, settings.data)
    info, options = dataset.info, settings.model
    start = time.perf_counter()
    users, items, labels = rows_of(dataset.train, options.negatives, np.random.default_rng(settings.seed))
    drawing = time.perf_counter() - start
    torch.manual_seed(settings.seed)
    model = Nmtr(info.num_users, info.num_items, info.num_behaviors, options.embedding_size)
    optimizer = torch.optim.Adagrad(
        model.parameters(), lr=settings.train.learning_rate, initial_accumulator_value=1e-8, eps=0.0
    )
    size = settings.train.batch_size
    per_epoch = -(-len(users) // size)

    def step(number: int) -> None:
        batch = slice(number * size, (number + 1) * size)
        optimizer.zero_grad()
        value = loss_of(model, users[batch].reshape(-1), items[batch].reshape(-1), labels[batch].flatten(0, 1))
        value.backward()
        optimizer.step()

    steps = min(steps, per_epoch)
    times = []
    for first in range(0, steps, CHUNK):
        numbers = range(first, min(first + CHUNK, steps))
        start = time.perf_counter()
        for number in numbers:
            step(number)
        times.append((time.perf_counter() - start) / len(numbers))
    median = statistics.median(times[1:] or times)
    return {"drawing": drawing, "step": median, "epoch": drawing + per_epoch * median}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = common.Parser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--dataset", default="taobao", metavar="NAME|PATH", help="the data set (taobao)")
    parser.add_argument("--steps", type=int, default=200, metavar="INT", help="steps that are timed (200)")
    try:
        options, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
        settings = settings_of(options.dataset, rest)
        if options.steps < 1:
            raise errors.ConfigError(f"--steps={options.steps}: must be at least 1.")
        found = measure(settings, options.steps)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), **found}))
    return 0


def settings_of(dataset: str, words: Sequence[str]) -> config.Config:
    """The configuration; ConfigError unless it is the model that is written here."""
    settings = config.load(
        "nmtr", dataset, models.entry("nmtr").config, protocol="paper", overrides=common.fields(words)
    )
    same = {"unit": "gmf", "gmf_layer": True, "cascade": "prob", "bias": "per_behavior", "behavior_weights": None}
    for name, value in (same | {"l2_weight": 0.0}).items():
        if getattr(settings.model, name) != value:
            raise errors.ConfigError(f"model.{name} must be {config.show(value)}: the torch program has nothing else.")
    return settings


if __name__ == "__main__":
    raise SystemExit(main())
