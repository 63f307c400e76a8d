"""``python -m mbjax.bench MODEL DATASET``: times of a model's training, test pass and sparse products."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import rich.console

from mbjax import config, errors
from mbjax.bench import foresight, printout, record, timing, whole
from mbjax.cli import guard, help, reading, settings

ABOUT = """\
Times of a model on a data set, medians after a first call that is not counted: compiling, a training step and an epoch
(the very chunks of training), a pass over the test split with all metrics, and the product of each graph of the model
with a dense matrix, alone and with its gradient. Also the peak memory of the process, after each of these. With
--memory nothing is timed or trained: the data are read, the programs of a run compiled, and its memory is told by its
parts, with what the machine has free."""
EXAMPLES = (
    ("bench popularity demo", "in seconds, with nothing to fetch"),
    ("bench bvae jd --protocol=paper --json=bvae.json", "with a file of the numbers"),
    ("bench lightgcn taobao --memory", "what a run takes of memory, before any of it is taken"),
    ("bench copf taobao --backbone.layers=2 --train.chunk_steps=8 --repeat=3", "with other settings, briefly"),
)
NOTE = """\
Nothing else should run on the machine. Compiling is timed without the cache that training keeps, unless
JAX_COMPILATION_CACHE_DIR names one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_measure, argv)


def _measure(argv: list[str]) -> int:
    given = reading.read(argv, "bench")
    if "help" in given.options:
        help.plain("bench", (ABOUT,), EXAMPLES, (NOTE,))
        return 0
    chosen, (repeat, seconds, width) = read(given), times(given)
    settings.virtual_devices(chosen.devices)
    out = printout.console()
    if "memory" in given.options:
        return _foresee(chosen, given, out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)  # training has said it
        found, experiment, _ = whole.measure(chosen, repeat, seconds)
        found |= whole.products(experiment, width, repeat, seconds)
    printout.heading(out, found, record.remark(found))
    printout.run(out, found)
    if "json" in given.options:
        out.print(f"written: {record.write(found, given.options['json'])}", markup=False, soft_wrap=True)
    return 0


def _foresee(chosen: config.Config, given: reading.Given, out: rich.console.Console) -> int:
    for name in ("repeat", "seconds", "width"):
        if name in given.options:
            raise errors.ConfigError(f"--{name}: with --memory nothing is timed. Leave it out.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)
        memory = foresight.foresee(chosen)
    found = record.heading(whole.name(chosen), chosen) | {"memory": memory.record()}
    printout.heading(out, found, None)
    printout.foreseen(out, memory)
    if "json" in given.options:
        out.print(f"written: {record.write(found, given.options['json'])}", markup=False, soft_wrap=True)
    return 0


def read(given: reading.Given) -> config.Config:
    """The configuration that a command line asks for; ConfigError for anything that does not exist or does not fit."""
    reading.refuse_unread(given, "bench")
    model, dataset = reading.words(given, "bench")
    header = {name: reading.whole(given, name) for name in ("seed", "devices") if name in given.options}
    header |= {name: given.options[name] for name in ("protocol", "ablation") if name in given.options}
    section = settings.model_class(model)
    fields = reading.resolved(given, config.known_fields(section), "bench")
    return config.load(model, dataset, section, overrides=fields, **header)


def times(given: reading.Given) -> tuple[int, float, int | None]:
    """Calls of each kind that are timed, seconds that they may take together, columns of the dense matrices."""
    text = given.options.get("seconds", str(timing.LIMIT))
    seconds = config.read_text(text, float)
    try:
        seconds = float(seconds)
    except ValueError:
        raise errors.ConfigError(f"--seconds={text}: must be a number.") from None
    if not seconds > 0:
        raise errors.ConfigError(f"--seconds={text}: must be above 0.")
    return reading.whole(given, "repeat", timing.REPEAT, least=1), seconds, reading.whole(given, "width", least=1)


if __name__ == "__main__":
    sys.exit(main())
