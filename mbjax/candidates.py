"""Which items a list of a user may hold: what was seen, three kinds of lists, and what its maker says of items.

What was seen decides by two parts for each behavior, *own* pairs of it and those of *others* (``mbjax/seen.py``). Own
pairs are left out, and others too if ``mask`` says so. Of what is left,

* ``"blended"`` lists all,
* ``"continue"`` what the user has met before by another behavior,
* ``"discover"`` what he has not met: the rest.

``repeat`` lets own pairs come back, and nothing else: under ``mask="all_behaviors"`` the others stay left out, save
where they are own pairs as well. ``exclude="none"`` leaves out nothing at all. An own pair that comes back is one that
the user has met, so that it is in lists to continue and in none to discover.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from mbjax import batching, errors, parallel, seen, types, wording
from mbjax.data import item_files

if TYPE_CHECKING:
    from mbjax import data

LISTS = ("blended", "continue", "discover")


class Rule(NamedTuple):
    """What decides of the candidates of a user beside his pairs; a ``Rule`` is made by ``rule``, which checks it.

    Attributes:
      lists: of ``LISTS``, each once.
      exclude, mask: see ``mbjax/seen.py``.
      repeat: whether items that the user has met by the ranked behavior may come back.
    """

    lists: tuple[str, ...] = ("blended",)
    exclude: str = "known"
    mask: str = "same_behavior"
    repeat: bool = False

    @property
    def reads_others(self) -> bool:
        """Whether pairs of other behaviors are asked for."""
        return self.lists != ("blended",) or self.mask == "all_behaviors"


class Pairs(NamedTuple):
    """Pairs of the users of a model for one behavior, CSR [U, I].

    Attributes:
      left_out: those that are no candidates.
      met: items that the user has met, by the rule; empty where no list asks.
      unknown: those that he has met by the behavior and a model of probabilities does not know of, such as held-out
        ones. They cannot come next, so that probabilities are given that none of them does. Empty where they may come
        back, and for other models.
    """

    left_out: sparse.csr_array
    met: sparse.csr_array
    unknown: sparse.csr_array


def rule(
    lists: str | Sequence[str] = "blended",
    exclude: str = "known",
    mask: str = "same_behavior",
    repeat: bool = False,
) -> Rule:
    """Checks what was asked for.

    Raises:
      ConfigError: an unknown word, or two that contradict each other.
    """
    kinds = (lists,) if isinstance(lists, str) else tuple(lists)
    if not kinds:
        raise errors.ConfigError(f"no kind of list was named: {', '.join(LISTS)}.")
    for kind in kinds:
        if kind not in LISTS:
            raise errors.unknown("list", kind, LISTS)
    seen.check(exclude, mask)
    if repeat and exclude != "known":
        why = "leaves nothing out" if exclude == "none" else "is of lists as the evaluation makes them, where none does"
        raise errors.ConfigError(f"repeat lets items come back, and exclude={exclude} {why}. Leave one of them out.")
    if repeat and set(kinds) == {"discover"}:
        raise errors.ConfigError(
            "repeat lets items come back, and lists to discover hold none that the user has met. Leave repeat out, or "
            "ask for list=blended or continue."
        )
    if "continue" in kinds and mask == "all_behaviors" and exclude != "none" and not repeat:
        raise errors.ConfigError(
            "list=continue is of items that the user has met by another behavior, and mask=all_behaviors leaves these "
            "out. Choose mask=same_behavior, or another list."
        )
    return Rule(tuple(dict.fromkeys(kinds)), exclude, mask, repeat)


def of(dataset: data.Dataset, behavior: str, rule: Rule, model: types.Model) -> Pairs:
    """The pairs of a data set that decide when a model ranks a behavior."""
    is_train = rule.exclude == "train"
    own = seen.pairs(dataset, behavior, exclude="train" if is_train else "known")
    shape = own.shape
    others = seen.familiar(dataset, behavior, known=not is_train) if rule.reads_others else seen.union((), shape)
    pairs = divide(own, others, rule)
    if not model.probabilities or rule.repeat or rule.exclude != "known":
        return pairs
    return pairs._replace(unknown=held_out(dataset, behavior, model))


def held_out(dataset: data.Dataset, behavior: str, model: types.Model) -> sparse.csr_array:
    """The pairs of a behavior that a data set has and a model does not know of: CSR [U, I]."""
    # Where the test split is ranked, or the validation split: with validation pairs among what is known, or without.
    known = seen.pairs(dataset, behavior, exclude="train", split="test" if model.joins else "valid")
    if model.joins and dataset.mask_valid:
        known = seen.union((known, seen.held(dataset, behavior)), known.shape)
    return seen.without(seen.pairs(dataset, behavior), known)


def divide(own: sparse.csr_array, others: sparse.csr_array, rule: Rule) -> Pairs:
    """From what users met by the behavior and by others, CSR [U, I], to what decides; the model knows of all of it."""
    met, nothing = seen.union((own, others), own.shape), seen.union((), own.shape)
    if rule.exclude == "none" or (rule.repeat and rule.mask == "same_behavior"):
        return Pairs(nothing, met, nothing)
    if rule.mask == "same_behavior":
        return Pairs(own, met, nothing)
    return Pairs(seen.without(others, own) if rule.repeat else met, met, nothing)


def query(
    users: np.ndarray, pairs: Pairs, kind: str, batch_size: int, placement: parallel.Placement = parallel.ONE
) -> batching.Queries:
    """The candidates of users for a kind of list, on the device; arguments as for ``batching.prepare``."""
    if kind == "discover":
        left_out = seen.union((pairs.left_out, pairs.met), pairs.met.shape)
        return batching.prepare(users, left_out, batch_size, placement=placement)
    met = pairs.met if kind == "continue" else None
    return batching.prepare(users, pairs.left_out, batch_size, only=met, placement=placement)


def unknown(
    users: np.ndarray, pairs: Pairs, batch_size: int, placement: parallel.Placement = parallel.ONE
) -> batching.Queries:
    """What users have met and the model does not know of, as the only candidates; arguments as for ``query``."""
    nothing = seen.union((), pairs.unknown.shape)
    return batching.prepare(users, nothing, batch_size, only=pairs.unknown, placement=placement)


def describe(rule: Rule, left_out: str) -> list[str]:
    """What lists hold, a line each; ``left_out`` says what they leave out without ``repeat``."""
    lines = [left_out]
    if rule.repeat:
        others = "what a user met by other behaviors alone" if rule.mask == "all_behaviors" else "nothing"
        lines = [f"left out of the lists: {others}; items met by the behavior of the list may come back (repeat)"]
    how = "in any way" if rule.repeat or rule.exclude == "none" else "by another behavior"
    if "continue" in rule.lists:
        lines.append(f"continue: lists of items that the user has met {how}")
    if "discover" in rule.lists:
        lines.append("discover: lists of items that the user has not met")
    return lines


def check_familiar(rule: Rule, behaviors: Sequence[str]) -> list[str]:
    """What there is to say of lists to continue where a log has one behavior: a line, or nothing.

    Raises:
      ConfigError: no other list was asked for.
    """
    if len(behaviors) > 1 or "continue" not in rule.lists or rule.repeat or rule.exclude == "none":
        return []
    line = (
        f"list=continue is of items that the user has met by another behavior than '{behaviors[0]}', and the run knows "
        "no other: there are none"
    )
    if rule.lists == ("continue",):
        raise errors.ConfigError(
            f"{line}. Give repeat, with which it lists what he has met by '{behaviors[0]}' again, or list=blended."
        )
    return [line]


def limits(
    items: data.Vocabulary,
    *,
    available: Any = None,
    groups: Any = None,
    max_per_group: int | None = None,
    column: str = item_files.ITEM,
) -> tuple[batching.Limits, list[str]]:
    """Which items may be listed, and how many of a group.

    Args:
      items: of the data set.
      available: as for ``item_files.listed``; None: all.
      groups: as for ``item_files.groups``; None: there are none.
      max_per_group: most items of a group in a list; goes with ``groups``.
      column: what the log calls its items.

    Returns:
      The limits, and lines on what they are.

    Raises:
      ConfigError: one of ``groups`` and ``max_per_group`` without the other, or no number of items.
      DataError: files that cannot be read or name no item of the data set.
    """
    if (groups is None) != (max_per_group is None):
        given, missing = ("groups", "max_per_group") if max_per_group is None else ("max_per_group", "groups")
        raise errors.ConfigError(f"{given} is given without {missing}: a list holds at most so many items of a group.")
    is_whole = isinstance(max_per_group, numbers.Integral) and not isinstance(max_per_group, bool)
    if max_per_group is not None and (not is_whole or max_per_group < 1):
        raise errors.ConfigError(f"max_per_group is {max_per_group!r}: it is a whole number, at least 1.")
    lines, listed, group = [], None, None
    there = np.ones(len(items), bool)
    if available is not None:
        there, notes = item_files.listed(available, items, column)
        lines += [*notes, f"items that may be listed: {int(there.sum()):,} of {len(items):,}"]
        listed = jnp.asarray(there)
    num_groups = 0
    if groups is not None:
        found = item_files.groups(groups, items, column)
        num_groups, group = len(found.names), jnp.asarray(found.code)
        lines += [
            *found.notes,
            f"at most {wording.count(max_per_group, 'item')} of each of {wording.count(num_groups, 'group')} in a list",
        ]
        without = int((there & (found.code == num_groups)).sum())
        if without:
            lines.append(f"{wording.count(without, 'item')} of no group: as many of them in a list as there are")
    return batching.Limits(listed, group, num_groups, max_per_group or 0), lines
