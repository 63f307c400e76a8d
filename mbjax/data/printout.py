"""Statistics of a data set as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from mbjax.data import meaning, statistics
from mbjax.reporting import tables

BAR_WIDTH = 20


def show(found: statistics.Statistics, console: rich.console.Console) -> None:
    """Prints statistics as tables."""
    text = rich.text.Text()
    text.append(f"{found.name}", style="bold")
    text.append(f": {found.num_users:,} users x {found.num_items:,} items, target {found.target}\n")
    text.append(f"valid: {found.valid_rule}, {'' if found.mask_valid else 'not '}masked at test time\n")
    text.append(f"fingerprint: {found.fingerprint}")
    console.print(text, soft_wrap=True)
    for note in found.notes:
        console.print(rich.text.Text(f"note: {note}"), soft_wrap=True)
    block = "█" if (console.encoding or "").startswith("utf") else "#"
    blocks = [_counts(found), _lengths(found)]
    blocks += [_patterns(found, split, block) for split in found.patterns]
    if found.leaks:
        blocks += [_leaks(found, block), _new(found), _asked(found)]
    for title, table in blocks:
        _head(console, title)
        tables.put(console, table)
    _say(console, [*meaning.familiar(found), *meaning.repeats(found)])


def begin_anchors(console: rich.console.Console, split: str) -> None:
    """Prints what is going to be measured, which takes seconds."""
    pairs = {"valid": "validation pairs (test pairs are for the model that is chosen)", "test": "test pairs"}[split]
    _head(console, f"Lists without learning, on {pairs}")


def show_anchors(console: rich.console.Console, found: Mapping[str, Any], behaviors: Sequence[str], k: int) -> None:
    """Prints what lists without learning reach.

    Args:
      console: where.
      found: name -> table, or what went wrong.
      behaviors: in the order of the sentences below.
      k: cut-off.
    """
    measured = {name: table for name, table in found.items() if not isinstance(table, str)}
    if measured:
        kinds = ("users", f"hr@{k}", f"ndcg@{k}", "visited", "unvisited")
        short = {
            name: {behavior: {kind: row[kind] for kind in kinds} for behavior, row in table.items()}
            for name, table in measured.items()
        }
        caption = "visited: familiar, met by another behavior in training"
        tables.put(console, tables.per_behavior(short, ks=(k,), details=True, caption=caption))
    failed = [f"{name} is left out: {table}" for name, table in found.items() if isinstance(table, str)]
    _say(console, [*failed, *meaning.best(measured, behaviors, f"ndcg@{k}")])


def _head(console: rich.console.Console, title: str) -> None:
    console.print(f"\n{title}", style="bold", highlight=False, markup=False, soft_wrap=True)


def _say(console: rich.console.Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


Titled = tuple[str, rich.table.Table]


def _table(words: Sequence[str], numbers: Sequence[str]) -> rich.table.Table:
    """Narrow enough for 80 columns: words to the left, numbers to the right."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _counts(found: statistics.Statistics) -> Titled:
    table = _table(("pairs of",), ("pairs", "users", "items", "density"))
    for row, is_last in _with_ends(found.counts):
        sizes = (f"{number:,}" for number in (row.pairs, row.users, row.items))
        table.add_row(f"{row.split}.{row.behavior}", *sizes, f"{row.density:.6f}", end_section=is_last)
    return "Counts", table


def _lengths(found: statistics.Statistics) -> Titled:
    quantiles = [f"{q:.0%}" for q in statistics.QUANTILES[1:-1]]
    table = _table(("pairs of",), ("mean", "min", *quantiles, "max"))
    for row, is_last in _with_ends(found.counts):
        numbers = (f"{row.mean_per_user:.2f}", *map(str, row.per_user))
        table.add_row(f"{row.split}.{row.behavior}", *numbers, end_section=is_last)
    return "Pairs per user, over the users that have any: mean and quantiles", table


def _patterns(found: statistics.Statistics, split: str, block: str) -> Titled:
    table = _table(("pattern", "behaviors"), ("pairs", "share"))
    table.add_column("", width=BAR_WIDTH)
    histogram = found.patterns[split]
    total, most = sum(histogram.values()), max(histogram.values(), default=1)
    for pattern, number in sorted(histogram.items(), key=lambda entry: -entry[1]):
        names = [b for b, digit in zip(found.behaviors, pattern, strict=True) if digit == "1"]
        bar = block * round(BAR_WIDTH * number / most)
        table.add_row(pattern, "+".join(names), f"{number:,}", f"{number / total:.2%}", bar)
    return f"Joint behavior patterns: by which did a user meet an item? ({split})", table


def _leaks(found: statistics.Statistics, block: str) -> Titled:
    table = _table(("of", "also in"), ("pairs", "known", "share"))
    table.add_column("", width=BAR_WIDTH // 2)
    for row in found.leaks:
        known = [(f"train.{b}", number, row.shares[b]) for b, number in row.under.items()]
        for where, number, share in (*known, ("any other", row.visited, row.visited_share)):
            numbers = (f"{row.pairs:,}", f"{number:,}", f"{share:.1%}", block * round(BAR_WIDTH / 2 * share))
            table.add_row(f"{row.split}.{row.behavior}", where, *numbers, end_section=where == "any other")
    return "Leaks: held-out pairs that stand in training under another behavior", table


def _new(found: statistics.Statistics) -> Titled:
    table = _table(("of",), ("pairs", "of new items", "of unseen items", "new users"))
    for row in found.leaks:
        numbers = (row.pairs, row.new_items, row.unseen_items, row.new_users)
        table.add_row(f"{row.split}.{row.behavior}", *(f"{number:,}" for number in numbers))
    return "New: without a training pair of the behavior (unseen: of any)", table


def _asked(found: statistics.Statistics) -> Titled:
    table = _table(("of",), ("pairs", "familiar", "new", "repeats"))
    for row in found.leaks:
        shares = (row.visited_share, 1 - row.visited_share, row.repeat_share)
        table.add_row(f"{row.split}.{row.behavior}", f"{row.pairs:,}", *(f"{share:.1%}" for share in shares))
    return "What is asked for: familiar items, met by another behavior before, or new ones", table


def _with_ends(rows: Sequence[statistics.Count]) -> list[tuple[statistics.Count, bool]]:
    """Rows, each with whether it is the last of its split."""
    following = [row.split for row in rows[1:]] + [""]
    return [(row, row.split != split) for row, split in zip(rows, following, strict=True)]
