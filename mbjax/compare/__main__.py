"""``python -m mbjax.compare RUN...``: runs side by side; ``--help`` tells the options."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence

import rich.console
import rich.text

from mbjax import compilation, errors, metrics, report
from mbjax.compare import anchors, blocks, document, files, groups, sources

DESCRIPTION = """\
Puts runs side by side: one table for each data set and behavior, with the papers' numbers where there are any, and
paired tests of every run against the best one.

A RUN is
  a run folder of train.py       evaluated again from its checkpoint, so that the tests know every user
  a results file (.json)         written by train.py --record; it holds means, so it is in no test, unless
  a results file and a .parquet  that eval.py --per-user wrote for the same run stands right after it
  a folder of either             all that lies in it, such as results or runs

Runs that differ by nothing but the seed are one line, mean ± standard deviation. The anchors popularity and own_items
are always shown, named or not, and are runs like any other. Runs on different data sets are put in tables of their own;
runs on other states of a data set, or with other candidates to rank, are refused: their numbers do not compare.
"""
EPILOG = """\
examples:
  # three seeds of a model, a variant and an anchor; tables, tests, charts
  python -m mbjax.compare runs/bvae-jd-seed* runs/bvae-jd-wo_tff-seed0 runs/popularity-jd-seed0 --out=comparison
  # the results files of this repository beside the papers, as the papers chose their epochs
  python -m mbjax.compare results --selection=test_per_behavior
  # one behavior, two metrics, on validation pairs: to choose settings without a look at the test split
  python -m mbjax.compare runs/small runs/large --behavior=buy --metric=ndcg@10,mrr@10 --split=valid
  # a results file with the values of its users
  python eval.py --workdir=runs/a --per-user=a.parquet
  python -m mbjax.compare runs/a/results.json a.parquet runs/b

reading the tests:
  Of each user the value under a run is paired with the value under the best run; several seeds are averaged first.
  'difference' is the run minus the best, with its 95 % interval; 'better / worse' counts users. Both p-values, of the
  paired t-test and of Wilcoxon's signed-rank test, are two-sided and corrected by Holm's method over the runs tested.
  A small p says that the order would hold for other users of the same kind. Whether it holds for another seed, the
  deviation over seeds says: train at least three.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise errors.ConfigError(f"{message}. See --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Compares runs; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    try:
        options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        compilation.keep()
        logging.getLogger("absl").setLevel(logging.ERROR)  # the checkpoint library's remarks on its own options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.DataWarning)  # training has said it
            _compare(options)
    except errors.MbjaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.strerror}: '{error.filename}'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m mbjax.compare",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, results files, folders of them")
    parser.add_argument(
        "--metric",
        type=_words,
        default=(),
        metavar="NAME@K,...",
        help=f"{' '.join(metrics.NAMES)}, with a cut-off (default: ndcg and hr at the papers' cut-off, or at the "
        "smallest that all runs have); run folders are evaluated at any cut-off",
    )
    parser.add_argument(
        "--behavior", type=_words, default=(), metavar="NAME,...", help="default: all, the target first"
    )
    parser.add_argument(
        "--split",
        choices=("test", "valid"),
        default="test",
        help="the held-out pairs to measure on (default: test); valid goes with run folders only",
    )
    parser.add_argument(
        "--selection",
        metavar="NAME",
        help=f"which epoch: {', '.join(report.SELECTIONS)} (default: valid, and last where nothing was selected on "
        "validation pairs). Names with 'test' look at the answers and are read from results; they compare with papers "
        "that did so",
    )
    parser.add_argument("--no-tests", action="store_true", help="leave the tests out; finished runs are not evaluated")
    parser.add_argument(
        "--out", metavar="DIR", help="also write comparison.md, comparison.csv and a PNG for each data set and metric"
    )
    return parser


def _compare(options: argparse.Namespace) -> None:
    out = rich.console.Console(highlight=False)
    if not sys.stdout.isatty():
        out = rich.console.Console(highlight=False, width=max(out.width, 120))

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    ks = [int(k) for _, _, k in (name.partition("@") for name in options.metric) if k.isdecimal() and int(k)]
    given = {"split": options.split, "ks": ks, "tests": not options.no_tests, "say": say}
    runs, everywhere = sources.read(options.runs, selection=options.selection, **given)
    groups.check(runs, options.split)
    beside, without = anchors.missing(runs, **given)
    runs, everywhere = [*runs, *beside], [*everywhere, *without]
    grouped, notes = {}, {}
    for dataset in dict.fromkeys(run.record["dataset"] for run in runs):
        here = [run for run in runs if run.record["dataset"] == dataset]
        grouped[dataset], notes[dataset] = groups.group(here)
    sheets = blocks.build(
        runs, grouped, metric_names=options.metric, behaviors=options.behavior, papers=options.split == "test"
    )
    for dataset, members in grouped.items():
        own = [sheet for sheet in sheets if sheet.dataset == dataset]
        notes[dataset] += document.notes(members, own, with_tests=not options.no_tests) if own else []
    _show(out, sheets, notes, everywhere, options.split)
    if options.out:
        for path in files.write(options.out, sheets, grouped, {"": everywhere} | notes, options.split):
            out.print(f"written: {path}", markup=False, soft_wrap=True)


def _show(out: rich.console.Console, sheets, notes, everywhere, split: str) -> None:
    for number, sheet in enumerate(sheets):
        out.print(rich.text.Text(document.title(sheet, split), style="bold"), soft_wrap=True)
        out.print(document.terminal(document.results(sheet)))
        if any(block.best for block in sheet.blocks):
            out.print(rich.text.Text("\npaired tests against the best"))
            out.print(document.terminal(document.tests(sheet)))
        out.print()
        following = sheets[number + 1].dataset if number + 1 < len(sheets) else None
        if following != sheet.dataset:
            for note in notes[sheet.dataset]:
                out.print(rich.text.Text(f"- {note}"))
            out.print()
    for note in everywhere:
        out.print(rich.text.Text(f"- {note}"))


def _words(text: str) -> tuple[str, ...]:
    words = tuple(part.strip() for part in text.split(",") if part.strip())
    if not words:
        raise argparse.ArgumentTypeError("names nothing")
    return words


if __name__ == "__main__":
    sys.exit(main())
