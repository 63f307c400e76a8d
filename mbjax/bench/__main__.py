"""``python -m mbjax.bench MODEL DATASET``: times of a model's training, test pass and sparse products."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from mbjax import config, errors, models
from mbjax.bench import options as common
from mbjax.bench import printout, record, whole

DESCRIPTION = """\
Times of a model on a data set, medians after a first call that is not counted: compiling, a training step and an epoch
(the very chunks of train.py), a pass over the test split with all metrics, and the product of each graph of the model
with a dense matrix, alone and with its gradient. Also the peak memory of the process, after each of these.

Fields of the configuration are options as in train.py: --section.field=value.
"""
EPILOG = """\
examples:
  python -m mbjax.bench bvae jd --protocol=paper --json bvae.json
  python -m mbjax.bench copf taobao --backbone.layers=2 --train.chunk_steps=8 --repeat=3
  python -m mbjax.bench popularity demo

Nothing else should run on the machine. Compiling is timed without the cache that train.py keeps, unless
JAX_COMPILATION_CACHE_DIR names one.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    try:
        options, settings = read(sys.argv[1:] if argv is None else argv)
        out = printout.console()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.DataWarning)  # training has said it
            found, experiment, _ = whole.measure(settings, options.repeat, options.seconds)
            found |= whole.products(experiment, options.width, options.repeat, options.seconds)
        printout.heading(out, found, record.remark(found))
        printout.run(out, found)
        if options.json:
            out.print(f"written: {record.write(found, options.json)}", markup=False, soft_wrap=True)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.strerror}: '{error.filename}'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def read(argv: Sequence[str]) -> tuple[argparse.Namespace, config.Config]:
    """Reads the command line; ConfigError for anything that does not exist or does not fit."""
    parser = common.Parser(
        prog="python -m mbjax.bench",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help=", ".join(models.MODELS))
    parser.add_argument("dataset", metavar="DATASET", help=f"{', '.join(config.dataset_names())}, or a path")
    parser.add_argument("--protocol", default="honest", metavar="honest|paper", help="as in train.py (default: honest)")
    parser.add_argument("--ablation", metavar="NAME", help="a named variant of the model")
    parser.add_argument("--seed", type=int, default=0, metavar="INT", help="of the run (default: 0)")
    parser.add_argument("--devices", type=int, default=1, metavar="INT", help="that share each batch (default: 1)")
    parser.add_argument(
        "--width", type=int, metavar="D", help="columns of the dense matrices (default: embedding size)"
    )
    common.add_repeats(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the numbers, in seconds, with machine and versions")
    options, rest = parser.parse_known_args(argv)
    common.check_repeats(options)
    if options.width is not None and options.width < 1:
        raise errors.ConfigError(f"--width={options.width}: must be at least 1.")
    return options, config.load(
        options.model,
        options.dataset,
        models.entry(options.model).config,
        protocol=options.protocol,
        ablation=options.ablation,
        seed=options.seed,
        devices=options.devices,
        overrides=common.fields(rest),
    )


if __name__ == "__main__":
    sys.exit(main())
