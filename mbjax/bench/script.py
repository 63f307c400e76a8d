"""What the benchmarks of single models share: whole times, parts of a step, floors, and factors over other programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mbjax import config, errors, models
from mbjax.bench import options as common
from mbjax.bench import printout, rates, record, whole


class Part(NamedTuple):
    """A part of a training step.

    Attributes:
      part: its name.
      seconds: median, compiled alone.
      floor: seconds that it takes at least, None if nobody has said.
      bound: what takes them, as a phrase.
    """

    part: str
    seconds: float
    floor: float | None = None
    bound: str = ""


def main(
    model: str,
    dataset: str,
    step_parts: Callable[..., list[Part]],
    *,
    description: str,
    factors: Mapping[str, tuple[float, Sequence[str]]],
    argv: Sequence[str] | None = None,
) -> int:
    """The program of a script; returns the exit code.

    Args:
      model: its name.
      dataset: that is measured unless ``--dataset`` names another.
      step_parts: ``(experiment, state, rates, repeat=, limit=) -> parts``.
      description: for ``--help``.
      factors: name -> (seconds of another program on ``dataset``, our times whose sum does the same).
      argv: defaults to ``sys.argv[1:]``.
    """
    parser = common.Parser(description=description.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--dataset", default=dataset, metavar="NAME|PATH", help=f"the data set ({dataset})")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    common.add_repeats(parser)
    try:
        options, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
        common.check_repeats(options)
        settings = config.load(
            model,
            options.dataset,
            models.entry(model).config,
            protocol="paper",
            overrides=common.fields(rest),
        )
        found = measured(settings, step_parts, repeat=options.repeat, limit=options.seconds)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    if options.dataset == dataset and not settings.overrides:
        found |= {"factors": compared(found, factors)}
    show(found)
    if options.out:
        print(f"written: {record.write(found, options.out)}")
    return 0


def measured(
    settings: config.Config, step_parts: Callable[..., list[Part]], *, repeat: int, limit: float
) -> dict[str, Any]:
    """The record of a model's script: whole times, memory, rates of the machine, parts of a step."""
    found, experiment, state = whole.measure(settings, repeat, limit)
    nodes = (found["users"] + found["items"]) * settings.model.embedding_size
    best = rates.measure(nodes * rates.FLOAT)
    found |= {"rates": best._asdict()}
    parts = step_parts(experiment, state, best, repeat=repeat, limit=limit)
    return found | {"step_parts": [part._asdict() for part in parts]}


def compared(found: Mapping[str, Any], factors: Mapping[str, tuple[float, Sequence[str]]]) -> dict[str, float]:
    """How many times as long another program takes as ours."""
    times = found["training"] | found["evaluation"]
    return {name: other / sum(times[key] for key in keys) for name, (other, keys) in factors.items()}


def show(found: Mapping[str, Any]) -> None:
    """Prints a record."""
    out = printout.console()
    printout.heading(out, found, record.remark(found))
    printout.run(out, found)
    printout.parts(out, found)
    for name, value in found.get("factors", {}).items():
        out.print(f"{name}: {value:.1f}")
