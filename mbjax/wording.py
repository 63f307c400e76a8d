"""How numbers of things are said, in every message and line of output."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """``"1 row"``, ``"2,000 rows"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
