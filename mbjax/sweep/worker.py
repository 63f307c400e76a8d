"""The process of a run, one of several that a sweep has at once: ``python -m mbjax.sweep.worker SWEEP``."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mbjax import apart, errors
from mbjax.cli import settings
from mbjax.sweep import attempts
from mbjax.sweep import plan as plans


def command(folder: pathlib.Path) -> list[str]:
    """Starts the process of a sweep's folder."""
    return [sys.executable, "-m", "mbjax.sweep.worker", str(folder)]


def main(argv: Sequence[str] | None = None, experiment: Any = None) -> int:
    """Answers what the sweep asks until it is over; returns the exit code.

    Args:
      argv: the folder of the sweep; defaults to ``sys.argv[1:]``.
      experiment: in place of the package ``mbjax.experiment``.
    """
    (place,) = sys.argv[1:] if argv is None else argv
    folder = pathlib.Path(place)
    plan = plans.read(folder / "sweep.json")
    settings.virtual_devices(plan.devices)
    members = {member.name: member for member in plans.members(plan, settings.model_class)}
    runner = attempts.Here(folder, settings.experiment() if experiment is None else experiment)

    def answer(asked: apart.Message, ask: Callable[[apart.Message], apart.Message]) -> apart.Message:
        try:
            if asked["what"] == "room":
                from mbjax.sweep import room  # late: with all that the prediction needs

                return room.look(list(members.values()), predict=asked["predict"])
            task = attempts.Task(
                members[asked["model"]], asked["number"], asked["setting"], asked["seed"], asked["minutes"]
            )
            if asked["what"] == "tested":
                return {"table": runner.tested(task)}
            print(f"== {task.name}", file=sys.stderr, flush=True)
            record = runner.attempt(
                task, lambda epoch, value: bool(ask({"epoch": epoch, "value": value}).get("give up"))
            )
            return {"record": None if record is None else dataclasses.asdict(record)}
        except errors.MbjaxError as error:
            return {"error": type(error).__name__, "words": list(error.args)}

    return apart.serve(answer)


if __name__ == "__main__":
    sys.exit(main())
