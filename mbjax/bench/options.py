"""What the command lines of the scripts in ``benchmarks/`` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mbjax import errors
from mbjax.bench import timing
from mbjax.cli import reading


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are ``ConfigError``."""

    def error(self, message: str):
        raise errors.ConfigError(f"{message}. See --help.")


def add_repeats(parser: argparse.ArgumentParser, *, repeat: int = timing.REPEAT, limit: float = timing.LIMIT) -> None:
    """Adds ``--repeat`` and ``--seconds``, which say how long to measure."""
    parser.add_argument(
        "--repeat", type=int, default=repeat, metavar="INT", help=f"calls of each kind that are timed ({repeat})"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=limit,
        metavar="FLOAT",
        help=f"fewer calls, but {timing.LEAST}, where those of a kind take longer together ({limit:g})",
    )


def check_repeats(options: argparse.Namespace) -> None:
    """Raises ConfigError for numbers that no median can be taken of."""
    if options.repeat < 1:
        raise errors.ConfigError(f"--repeat={options.repeat}: must be at least 1.")
    if not options.seconds > 0:
        raise errors.ConfigError(f"--seconds={options.seconds}: must be above 0.")


def fields(words: Sequence[str]) -> dict[str, str]:
    """Fields of the configuration, as training takes them: what a parser left over -> overrides of ``config.load``."""
    return {name: "true" if text is None else text for name, text in reading.read(words).fields.items()}
