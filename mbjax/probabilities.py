"""Log loss and calibration of models whose scores are probabilities (``types.Model.probabilities``).

p(i | u) of a behavior is read as: a held-out pair of u, any one of the n that he has, is of item i. So the expected
number of held-out pairs on (u, i) is n p(i | u), whatever n is, and needs no assumption about how pairs depend on one
another. As masked items cannot be held out, p is divided by its sum over the user's candidates; ``mass`` tells how much
that was.

``log_loss``            mean of -ln p over the held-out pairs, nats. Infinite if any has probability 0
``uniform_log_loss``    the same for the same probability of all candidates of a user
``calibration_error``   held-out pairs against candidates are the trials, sorted by p into 15 bins of equal expected
                        number of successes E (equal mass). With O successes in a bin it is the sum over the bins of
                        \\|O - E\\|, divided by the number of pairs: the mean relative error of p, where pairs are
                        expected. It is the usual expected calibration error divided by the mean of p, which is 1 over
                        the number of candidates and would make every error vanish
``error_by_chance``     about what a perfectly calibrated model would have with as few pairs: the mean absolute
                        deviation of Poisson counts of mean E
``mass``                mean over the pairs of what p adds up to over the user's candidates
``impossible``          number of held-out pairs with probability 0
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import polars as pl
from jax import lax
from scipy import sparse, special

from mbjax import batching, parallel, precision, topk, types
from mbjax.ops import reliability

NUM_BINS = 15


@dataclasses.dataclass(frozen=True)
class Questions:
    """One behavior, prepared.

    Attributes:
      users: int32 [n].
      draws: int64 [n], held-out pairs of each that are candidates.
      candidates: int64 [n], number of candidates of each.
      queries: users and masked pairs, on the device.
      held_out: the same users with their held-out pairs that are candidates.
      is_pair: bool [T, M], which places of ``held_out`` are no padding.
    """

    users: np.ndarray
    draws: np.ndarray
    candidates: np.ndarray
    queries: batching.Queries
    held_out: batching.Queries
    is_pair: np.ndarray


def prepare(
    users: np.ndarray,
    held_out: sparse.csr_array,
    masked: sparse.csr_array,
    queries: batching.Queries,
    batch_size: int,
) -> Questions:
    """Puts held-out pairs on the device.

    Args:
      users: int32 [n].
      held_out: [U, I].
      masked: [U, I].
      queries: what ``batching.prepare`` made of users, masked pairs and batch size.
      batch_size: the largest number of users scored at once.
    """
    asked = batching.prepare(users, masked, batch_size, only=held_out, like=queries, placement=queries.placement)
    is_pair = parallel.whole(asked.item) < masked.shape[1]
    batch, _ = np.nonzero(is_pair)
    draws = np.bincount(batch * asked.user.shape[1] + parallel.whole(asked.row)[is_pair], minlength=asked.user.size)
    draws = draws[topk.placed(asked, len(users))]
    candidates = masked.shape[1] - np.diff(masked.indptr)[users].astype(np.int64)
    return Questions(users, draws, candidates, queries, asked, is_pair)


def measure(
    model: types.Model,
    params: types.Params,
    tables: types.Tables,
    questions: Mapping[str, Questions],
    item_tile: int,
) -> dict[str, tuple[dict[str, Any], pl.DataFrame]]:
    """Compares probabilities with what was held out.

    Args:
      model, params, tables: as for ``topk.start``.
      questions: behavior, whose scores -> of ``prepare``.
      item_tile: items scored at once.

    Returns:
      Behavior -> ``{"pairs": n, "log_loss": ..}`` with the names above, without numbers if there are no pairs; and the
      reliability curve as ``curve`` gives it.
    """
    found = {}
    for some in topk.in_programs([(b, of.queries) for b, of in questions.items()], model.info.num_items):
        placement = some[0][1].placement
        scoring, specs = topk.for_devices(model, params, tables, placement)
        behaviors = [behavior for behavior, _ in some]
        counts = _count(
            params,
            tables,
            tuple(_divided(questions[behavior], placement) for behavior in behaviors),
            specs=specs,
            score=scoring.score,
            behaviors=tuple(map(model.info.behaviors.index, behaviors)),
            num_items=model.info.num_items,
            item_tile=item_tile,
        )
        found |= {b: _measured(of, questions[b]) for b, of in zip(behaviors, counts, strict=True)}
    return found


def _divided(
    questions: Questions, placement: parallel.Placement
) -> tuple[batching.Queries, batching.Queries, types.Array]:
    """Queries, held-out pairs and draws [T, B] where they are asked."""
    draws = np.zeros(questions.queries.user.size, np.float32)
    draws[topk.placed(questions.queries, len(questions.users))] = questions.draws
    of_rows = placement.divided(draws.reshape(questions.queries.user.shape))
    return questions.queries.replace(places=None), questions.held_out.replace(places=None), of_rows


def _measured(counts: reliability.Counts, questions: Questions) -> tuple[dict[str, Any], pl.DataFrame]:
    places = topk.placed(questions.queries, len(questions.users))
    pairs = int(questions.draws.sum())
    bins = curve(
        *(parallel.whole(x).astype(np.float64).sum(axis=0) for x in (counts.trials, counts.expected, counts.found))
    )
    if not pairs:
        return {"pairs": 0}, bins
    log_p = parallel.whole(counts.held_out).astype(np.float64)[questions.is_pair]
    mass = np.exp(parallel.whole(counts.log_mass).astype(np.float64).reshape(-1)[places])
    expected, found = bins["expected"].to_numpy(), bins["found"].to_numpy()
    below = np.floor(expected)
    chance = np.exp(special.xlogy(below, expected) - special.gammaln(below + 1) - expected)  # Poisson's
    by_chance = 2.0 * expected * chance
    uniform = np.log(np.maximum(questions.candidates, 1))
    return {
        "pairs": pairs,
        "log_loss": float(-log_p.mean()),
        "uniform_log_loss": float(np.average(uniform, weights=questions.draws)),
        "calibration_error": float(np.abs(found - expected).sum() / pairs),
        "error_by_chance": float(by_chance.sum() / pairs),
        "mass": float(np.average(mass, weights=questions.draws)),
        "impossible": int(np.isneginf(log_p).sum()),
    }, bins


def curve(trials: np.ndarray, expected: np.ndarray, found: np.ndarray, num_bins: int = NUM_BINS) -> pl.DataFrame:
    """Fine bins, the most probable first, put together into bins of nearly equal ``expected``.

    Returns:
      One row for each bin in which anything is expected or found: ``predicted`` (mean probability of its trials),
      ``observed`` (share of them that succeeded), ``expected`` and ``found`` (their numbers) and ``trials``. No fine
      bin is divided: where many trials share a probability there are fewer bins.
    """
    # By the middle of what a fine bin holds; what is expected nowhere goes to the last.
    middle = np.cumsum(expected) - expected / 2
    place = np.minimum(middle / max(expected.sum(), 1e-300) * num_bins, num_bins - 1).astype(int)
    trials, expected, found = (np.bincount(place, x, minlength=num_bins) for x in (trials, expected, found))
    some = (expected > 0) | (found > 0)
    trials, expected, found = trials[some], expected[some], found[some]
    each = np.maximum(trials, 1)  # held-out pairs of probability 0 are in no trial
    shares = {"predicted": expected / each, "observed": found / each}
    return pl.DataFrame(shares | {"expected": expected, "found": found.astype(np.int64), "trials": trials})


def lines(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a table says about probabilities, one line for each behavior that has them."""
    return [
        f"{behavior}: log loss {row['log_loss']:.3f} nats, {row['uniform_log_loss']:.3f} if all candidates were alike; "
        f"calibration error {_percent(row['calibration_error'])}, {_percent(row['error_by_chance'])} by chance alone"
        + (f"; {row['impossible']:,} of {row['pairs']:,} held-out pairs had probability 0" * bool(row["impossible"]))
        for behavior, row in _of(table).items()
    ]


def in_short(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The same in one line; empty for a table without probabilities."""
    rows = _of(table)
    errors = ", ".join(
        f"{behavior} {_percent(row['calibration_error'])} ({_percent(row['error_by_chance'])} by chance)"
        for behavior, row in rows.items()
    )
    losses = ", ".join(f"{behavior} {row['log_loss']:.3f}" for behavior, row in rows.items())
    return f"probabilities: calibration error {errors}; log loss {losses} nats" if rows else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _of(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    found = {behavior: row.get("probabilities") or {} for behavior, row in table.items()}
    return {behavior: row for behavior, row in found.items() if row.get("pairs")}


@functools.partial(jax.jit, static_argnames=("specs", "score", "behaviors", "num_items", "item_tile"))
@precision.full
def _count(
    params: types.Params,
    tables: types.Tables,
    divided: tuple[tuple[batching.Queries, batching.Queries, types.Array], ...],
    *,
    specs: Any,
    score: Callable[..., types.Array],
    behaviors: tuple[int, ...],
    num_items: int,
    item_tile: int,
) -> tuple[reliability.Counts, ...]:
    def one_pass(params, tables, divided, behavior) -> reliability.Counts:
        def batch(each: tuple[batching.Queries, batching.Queries, types.Array]) -> reliability.Counts:
            query, held, number = each
            return reliability.count(
                lambda first, size: score(params, tables, query.user, first, size, behavior),
                query.row,
                query.item,
                held.row,
                held.item,
                number,
                num_items=num_items,
                item_tile=item_tile,
            )

        return lax.map(batch, divided)

    def part(params, tables, divided) -> tuple[reliability.Counts, ...]:
        return tuple(one_pass(params, tables, of, b) for of, b in zip(divided, behaviors, strict=True))

    return divided[0][0].placement.divide(part, specs=specs)(params, tables, divided)
