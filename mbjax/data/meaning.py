"""What a split asks for, in sentences: how much of what is held out the user had met, and what that means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mbjax import wording
from mbjax.data import statistics

MOST = 0.5
"""From this share of familiar pairs on, they decide what a list is worth."""
FEW = 0.05
"""Below this share they hardly count."""
APART = 0.2
"""Validation and test pairs whose shares differ by more ask for different lists."""


def familiar(found: statistics.Statistics) -> list[str]:
    """A sentence for each behavior that is tested (else validated), and one where the two splits are not alike."""
    said = []
    for behavior in found.behaviors:
        rows = {row.split: row for row in found.leaks if row.behavior == behavior}
        if not rows:
            continue
        said.append(_familiar(rows.get("test") or rows["valid"]))
        if len(rows) == 2 and abs(rows["valid"].visited_share - rows["test"].visited_share) > APART:
            said.append(_apart(rows["valid"], rows["test"]))
    return said


def repeats(found: statistics.Statistics) -> list[str]:
    """What became of pairs that a user repeated by the same behavior."""
    said = [
        f"{row.split}.{row.behavior}: {row.repeats:,} of {row.pairs + row.repeats:,} held-out pairs "
        f"({row.repeat_share:.1%}) repeat a training pair of the same behavior and were dropped: it is masked, so that "
        "no list could have it."
        for row in found.leaks
        if row.repeats
    ]
    said += [
        f"{behavior}: {number:,} of {wording.count(rows, 'row')} ({number / rows:.1%}) repeat an earlier one of the "
        "same user and item and were left out before the split (data.log.deduplicate): whether people come back for an "
        "item is not asked."
        for behavior, (number, rows) in found.repeats.items()
    ]
    if not said and found.leaks:
        said.append(
            "No held-out pair repeats a training pair of its own behavior: whether people come back for an item is not "
            "asked."
        )
    return said


def best(tables: Mapping[str, Mapping[str, Mapping[str, Any]]], behaviors: Sequence[str], metric: str) -> list[str]:
    """For each behavior the list without learning that a model has to be ahead of.

    Args:
      tables: name -> behavior -> metric -> value.
      behaviors: in the order of the sentences.
      metric: such as ``"ndcg@10"``.
    """
    said = []
    for behavior in behaviors:
        values = {name: table[behavior][metric] for name, table in tables.items() if behavior in table}
        if values:
            first = max(values, key=values.__getitem__)
            said.append(f"{behavior}: a model has to be ahead of {first} ({metric.upper()} {values[first]:.4f}).")
    return said


def _familiar(row: statistics.Leak) -> str:
    place = f"{row.split}.{row.behavior}"
    ways = [behavior for behavior, number in sorted(row.under.items(), key=lambda way: -way[1]) if number]
    if not row.under:
        return f"{place}: one behavior is used, so that nothing can have been met by another."
    if not row.visited:
        return (
            f"{place}: nothing that is held out was met by another behavior before. Only new items are asked for; own "
            "items at the head of a list cost places."
        )
    share = f"{row.visited_share:.0%}" if row.visited_share >= 0.01 else "less than 1%"
    begin = f"{place}: {share} of what is held out was met before, by {' or '.join(ways)}."
    if row.visited_share >= MOST:
        return (
            f"{begin} A list of own items is hard to beat, and one number over all pairs says little about new items."
        )
    if row.visited_share >= FEW:
        return f"{begin} Own items are the easy part; most of what is asked for is new to the user."
    return f"{begin} Nearly all that is asked for is new to the user; own items at the head of a list cost places."


def _apart(valid: statistics.Leak, test: statistics.Leak) -> str:
    shares = (
        f"{valid.visited_share:.0%} of the validation pairs were met before, {test.visited_share:.0%} of the test pairs"
    )
    rule = "all_behaviors" if valid.visited_share > test.visited_share else "same_behavior"
    return (
        f"{valid.behavior}: {shares}. What is chosen on the former suits them and not the latter; see "
        f"data.valid_leaves={rule}."
    )
