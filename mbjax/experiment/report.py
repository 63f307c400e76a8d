"""What a finished run says: tables on standard output, files in the run folder, a results file on request."""

from __future__ import annotations


def say(text: str) -> None:
    """Prints a line of result."""
    print(text, flush=True)


def interrupted(path) -> None:
    say(f"stopped and saved. Continue with --resume --workdir={path}")


def evaluation(experiment, split, where, table) -> None:
    say(f"{split} {where}")
    for b, row in table.items():
        say(f"{b} " + " ".join(f"{k}={v:.4f}" for k, v in row.items() if isinstance(v, float)))


def final(experiment, outcome, record) -> None:
    for name, table in outcome.tables.items():
        evaluation(experiment, "test", {"selection": name, "epoch": outcome.epochs[name]}, table)
    say(f"run folder: {outcome.workdir}")
