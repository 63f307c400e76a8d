"""Made-up logs with the shape of a shop's, of three sizes: for benchmarks of what grows with a log.

    python benchmarks/generated.py S --out=S.parquet

Users by Pareto's law, items by that of Zipf and Mandelbrot in categories of which a user likes three; of what is viewed
some goes into the cart, some of that is bought. Ids are texts and times are seconds, as a shop has them.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse

BEHAVIORS = ("view", "cart", "favourite", "buy")
CATEGORIES, TASTES, OWN = 200, 3, 0.7
BLOCK = 2_000_000
BEGIN, DAYS = 1_700_000_000, 90


class Size(NamedTuple):
    """How large a log is: ``views`` with repeats; other behaviors add a third."""

    views: int
    users: int
    items: int


SIZES = {
    "T": Size(40_000, 3_000, 1_000),
    "S": Size(780_000, 50_000, 20_000),
    "M": Size(7_800_000, 500_000, 100_000),
    "L": Size(39_000_000, 2_000_000, 500_000),
}
"""By name; seeds of the first views are 0 for S, 1 for M, 2 for L."""
_SEEDS = {"S": 0, "M": 1, "L": 2, "T": 3}


def viewed(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of all views, with repeats, in the order of users."""
    number, users, items = size
    activity = rng.pareto(1.5, users) + 0.3
    activity = np.minimum(activity, 300 * activity.mean())
    each = np.maximum(rng.poisson(activity / activity.sum() * number), 1)
    user = np.repeat(np.arange(users, dtype=np.int32), each)
    popularity = (np.arange(1, items + 1) + 30.0) ** -0.95
    category = rng.integers(0, CATEGORIES, items)
    order = np.argsort(category, kind="stable")
    ends = np.cumsum(popularity[order])
    bounds = np.concatenate([[0.0], ends])[np.searchsorted(category[order], np.arange(CATEGORIES + 1))]
    overall = np.cumsum(popularity) / popularity.sum()
    taste = rng.integers(0, CATEGORIES, (users, TASTES))
    item = np.empty(user.size, np.int32)
    for first in range(0, user.size, BLOCK):
        some = slice(first, first + BLOCK)
        length = user[some].size
        chosen = taste[user[some], rng.integers(0, TASTES, length)]
        place = bounds[chosen] + rng.random(length) * (bounds[chosen + 1] - bounds[chosen])
        within = order[np.minimum(np.searchsorted(ends, place), items - 1)]
        anywhere = np.searchsorted(overall, rng.random(length))
        item[some] = np.where(rng.random(length) < OWN, within, np.minimum(anywhere, items - 1))
    return user, item


def views(size: str) -> scipy.sparse.csr_array:
    """The distinct views, a matrix [U, I] of ones."""
    _, users, items = SIZES[size]
    user, item = viewed(SIZES[size], np.random.default_rng(_SEEDS[size]))
    pairs = scipy.sparse.csr_array((np.ones(user.size, np.float32), (user, item)), shape=(users, items))
    pairs.sum_duplicates()
    pairs.data[:] = 1.0
    return pairs


def named(size: str) -> pl.DataFrame:
    """The log of one of ``SIZES``, always the same."""
    return log(SIZES[size], _SEEDS[size])


def log(size: Size, seed: int) -> pl.DataFrame:
    """All rows in the order of time: columns user and item (texts), behavior, and time (seconds)."""
    rng = np.random.default_rng(seed)
    user, item = viewed(size, rng)
    eager = rng.lognormal(0.0, 0.7, size.users)
    eager /= eager.mean()
    anything = np.arange(user.size)

    def some(rows: np.ndarray, rate: float) -> np.ndarray:
        return rows[rng.random(rows.size) < np.minimum(rate * eager[user[rows]], 1.0)]

    cart = some(anything, 0.13)
    favourite = np.concatenate([some(cart, 0.18), some(anything, 0.045)])
    buy = np.concatenate([some(cart, 0.38), some(anything, 0.035)])
    seen = BEGIN + rng.random(user.size) * DAYS * 86_400
    rows = np.concatenate([anything, cart, favourite, buy])
    of = np.repeat(np.arange(len(BEHAVIORS), dtype=np.uint8), [anything.size, cart.size, favourite.size, buy.size])
    later = np.asarray([0, 600, 3_600, 86_400])[of]  # seconds, at most, after the view
    moment = (seen[rows] + rng.random(rows.size) * later).astype(np.int64)
    order = np.argsort(moment, kind="stable")
    rows, of = rows[order], of[order]
    return pl.DataFrame(
        {
            "user": _ids(rng, "u", size.users).gather(user[rows]),
            "item": _ids(rng, "SKU-", size.items).gather(item[rows]),
            "behavior": pl.Series(BEHAVIORS).gather(of),
            "time": moment[order],
        }
    )


def _ids(rng: np.random.Generator, prefix: str, number: int) -> pl.Series:
    """Texts in an order that says nothing."""
    return prefix + pl.Series(rng.permutation(number)).cast(pl.String)


def main() -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--out", required=True, metavar="FILE", type=pathlib.Path, help="Parquet file to write")
    options = parser.parse_args()
    rows = named(options.size)
    rows.write_parquet(options.out)
    print(f"{options.out}: {rows.height:,} rows, {options.out.stat().st_size / 1e6:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
