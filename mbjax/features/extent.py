"""How much is made at once: of all users, or of some after others where there are very many; and whether it fits.

Knows of a model's configuration the fields ``whole_users, regression_users, new_items, features, times, left_out,
cross_fitting`` and what ``comparing.How`` reads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax

from mbjax import errors, types
from mbjax.features import candidates, comparing, table, whole
from mbjax.ops import inverse, memory

JUDGES = 10_000
"""Of very many users those who are ranked on the way, and whose validation pairs teach, of each behavior."""
FEWEST, MOST = 2048, 4096
"""Users of a regression that is not of all. Each list of somebody else takes the square of them, and lessons alone have
some hundred thousand."""
PRODUCT = 500_000 * 4096**2  # users times that square
BYTES = 3 * 10**8  # of the tables of users who are ranked at once
NEAR_BYTES = 2 * 10**9  # of the similarities of users that are counted at once
WORK = 32  # bytes of a candidate beside its similarities, while these are counted


def is_timed(config: Any, info: types.DatasetInfo) -> bool:
    """Whether it is looked at when things happened."""
    return "time" in config.features and info.times and (info.later or config.times == "always")


def is_whole(config: Any, num_users: int) -> bool:
    """Whether candidates and tables of all users are made at once."""
    return num_users <= config.whole_users


def leaves_fold_out(config: Any, num_users: int) -> bool:
    """Whether the pairs of a fold are left out of the statistics for all who have a list of it (``left_out``)."""
    return config.left_out == "fold" or (config.left_out == "auto" and is_whole(config, num_users))


def regression_users(config: Any, num_users: int) -> int:
    """How many users the regression is fitted to."""
    number = config.regression_users
    if number == "auto":
        number = num_users if is_whole(config, num_users) else _regression_users(num_users)
    return min(number, num_users)


def _regression_users(num_users: int) -> int:
    return max(FEWEST, min(MOST, round((PRODUCT / num_users) ** 0.5)))


def is_searched(config: Any, num_users: int) -> bool:
    """Whether new items are searched by the regression too, which is of all users then."""
    return regression_users(config, num_users) == num_users


def most_new(config: Any, num_users: int) -> int:
    """New candidates of a list, at most."""
    return config.new_items * (1 + is_searched(config, num_users)) + config.new_items // 4


def columns(config: Any, info: types.DatasetInfo, behavior: str, part: str) -> list[str]:
    """The numbers of a candidate of a ranked behavior and a part that the model sees."""
    timed = is_timed(config, info)
    return whole.shown(config.features, table.names(info.behaviors, behavior, familiar=part == "familiar", timed=timed))


def table_bytes(
    config: Any, info: types.DatasetInfo, train: candidates.Pairs, ranked: Collection[str] | None = None
) -> float:
    """Bytes of the tables of a mean user, at most; of some behaviors, or of all."""
    fresh = most_new(config, info.trained_users)
    pairs, total = sum(m.nnz for m in train.values()), 0.0
    for behavior in info.behaviors if ranked is None else ranked:
        familiar = (pairs - train[behavior].nnz) / info.trained_users
        for number, part in ((familiar, "familiar"), (fresh, "new")):
            total += 2 * number * len(columns(config, info, behavior, part))
    return total


def group_size(config: Any, info: types.DatasetInfo, train: candidates.Pairs, ranked: Collection[str]) -> int:
    """Users whose tables of some behaviors are made at once, where that is not all of them."""
    return max(1, min(int(BYTES / max(1, table_bytes(config, info, train, ranked))), info.num_users))


def groups_at_once(config: Any, info: types.DatasetInfo, train: candidates.Pairs, ranked: Collection[str]) -> int:
    """Groups whose similarities are counted at once: all that users share is counted anew each time."""
    alike = comparing.How.of(config).alike
    each = 2 * len(comparing.names(info.behaviors, ranked, timed=is_timed(config, info), alike=alike)) + WORK
    familiar = sum(m.nnz for m in train.values()) / info.trained_users
    of_user = each * (familiar + len(ranked) * 1.25 * config.new_items)
    return max(1, int(NEAR_BYTES / of_user / group_size(config, info, train, ranked)))


def notes(config: Any, info: types.DatasetInfo) -> tuple[str, ...]:
    """What is not of all users, in a sentence."""
    number, found = regression_users(config, info.trained_users), ()
    if number < info.trained_users:
        found = (f"funnel: its regression is of {number:,} of {info.trained_users:,} users (model.regression_users)",)
    if is_whole(config, info.trained_users):
        return found
    found += (
        f"funnel: of more than {config.whole_users:,} users (model.whole_users) {JUDGES:,} a behavior, drawn by the "
        "seed, give the validation pairs that teach and are ranked on the way; the test split is ranked for all",
    )
    if config.left_out == "auto" and config.cross_fitting and not is_timed(config, info):
        found += (
            "funnel: of so many users the pairs of a fold are left out for their user alone, and not for all "
            "(model.left_out=fold leaves them out for all, and counts anew for each fold)",
        )
    return found


def check_memory(config: Any, info: types.DatasetInfo, train: candidates.Pairs) -> None:
    """Raises IncompatibleError where the regression, or the tables after it, do not fit into memory."""
    number = regression_users(config, info.trained_users)
    users = info.trained_users if is_whole(config, info.trained_users) else JUDGES
    needs = {
        f"a matrix of {number:,} users": inverse.bytes_needed(number, jax.default_backend()),
        f"tables of the candidates of {info.num_behaviors} behaviors": users * table_bytes(config, info, train),
    }
    free = memory.available()
    for what, needed in needs.items():
        if free is None or needed <= free:
            continue
        raise errors.IncompatibleError(
            f"model 'funnel' makes {what}, which takes up to {needed / 1e9:,.1f} GB; {free / 1e9:,.1f} GB of memory "
            "are free. Use --model.whole_users=1000, which fits the regression to some users and makes the tables of "
            "some after others, --model.regression_users=2000, or --model=ease --rank=512."
        )
