"""``python -m mbjax.compare RUN...``: runs side by side; ``--help`` tells the options."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import rich.console
import rich.text

from mbjax import compilation, config, errors, paths, program
from mbjax.cli import guard, help, reading
from mbjax.reporting import report, tables
from mbjax.reporting.compare import anchors, blocks, document, files, groups, sources

ABOUT = """\
Puts runs side by side: one table for each data set and behavior, with the papers' numbers where there are any, and
paired tests of every run against the best one.

A RUN is
  a run folder                   evaluated again from its checkpoint, so that the tests know every user
  a results file (.json)         written by TRAIN --record; it holds means, so it is in no test, unless
  a results file and a .parquet  that EVAL --per-user wrote for the same run stands right after it
  a folder of either             all that lies in it, such as results or runs

Runs that differ by nothing but the seed are one line, mean ± standard deviation. The anchors popularity and own_items
are always shown, named or not, and are runs like any other. Runs on different data sets are put in tables of their own;
runs on other states of a data set, or with other candidates to rank, are refused: their numbers do not compare."""
EXAMPLES = (
    (
        "compare runs/bvae-jd-seed* runs/bvae-jd-wo_tff-seed0 runs/popularity-jd-seed0 --out=comparison",
        "three seeds of a model, a variant and an anchor; tables, tests, charts",
    ),
    (
        "compare results/bvae-jd-paper*.json --selection=test_per_behavior",
        "results files of this repository beside the paper, as the paper chose its epochs",
    ),
    (
        "compare runs/small runs/large --behavior=buy --metric=ndcg@10,mrr@10 --split=valid",
        "one behavior, two metrics, on validation pairs: to choose settings without a look at the test split",
    ),
    ("eval --workdir=runs/a --per-user=a.parquet", "a results file with the values of its users: they are written,"),
    ("compare runs/a/results.json a.parquet runs/b", "and read"),
)
TESTS = """\
Reading the tests
  Of each user the value under a run is paired with the value under the best run; several seeds are averaged first.
  'difference' is the run minus the best, with its 95 % interval; 'better / worse' counts users. Both p-values, of the
  paired t-test and of Wilcoxon's signed-rank test, are two-sided and corrected by Holm's method over the runs tested.
  A small p says that the order would hold for other users of the same kind. Whether it holds for another seed, the
  deviation over seeds says: train at least three."""


def main(argv: Sequence[str] | None = None) -> int:
    """Compares runs; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_run, argv)


def _run(argv: list[str]) -> int:
    given = reading.read(argv, "compare")
    if "help" in given.options:
        about = ABOUT.replace("TRAIN", program.command("train")).replace("EVAL", program.command("eval"))
        names = "\n".join(f"  {name:<20} {words}" for name, words in report.SELECTIONS.items())
        chosen = f"Selections\n{names}\n  Those with 'test' look at the answers, and compare with papers that did so."
        help.plain("compare", (about,), EXAMPLES, (chosen, "", TESTS))
        return 0
    reading.refuse_unread(given, "compare")
    reading.resolved(given, config.known_fields(config.Section), "compare")
    compilation.keep()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)  # training has said it
        _compare(given)
    return 0


def _compare(given: reading.Given) -> None:
    chosen = given.options
    split = reading.choice(given, "split", ("test", "valid"), "test")
    metric_names, behaviors = _listed(given, "metric"), _listed(given, "behavior")
    blocks.check_metrics(metric_names)  # before anything is evaluated
    words = [paths.short(paths.absolute(word)) for word in reading.words(given, "compare")]
    out = rich.console.Console(highlight=False)
    if not sys.stdout.isatty():
        out = rich.console.Console(highlight=False, width=max(out.width, 120))

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    ks = [int(k) for _, _, k in (name.partition("@") for name in metric_names) if k.isdecimal() and int(k)]
    how = {"split": split, "ks": ks, "tests": "no-tests" not in chosen, "say": say}
    runs, everywhere = sources.read(words, selection=chosen.get("selection"), behaviors=behaviors, **how)
    groups.check(runs, split)
    beside, without = anchors.missing(runs, **how)
    runs, everywhere = [*runs, *beside], [*everywhere, *without]
    grouped, notes = {}, {}
    for dataset in dict.fromkeys(run.record["dataset"] for run in runs):
        here = [run for run in runs if run.record["dataset"] == dataset]
        grouped[dataset], notes[dataset] = groups.group(here)
    sheets = blocks.build(runs, grouped, metric_names=metric_names, behaviors=behaviors, papers=split == "test")
    for dataset, members in grouped.items():
        own = [sheet for sheet in sheets if sheet.dataset == dataset]
        notes[dataset] += document.notes(members, own, with_tests=how["tests"]) if own else []
    _show(out, sheets, notes, everywhere, split)
    if "out" in chosen:
        for path in files.write(chosen["out"], sheets, grouped, {"": everywhere} | notes, split):
            out.print(f"written: {path}", markup=False, soft_wrap=True)


def _show(out: rich.console.Console, sheets, notes, everywhere, split: str) -> None:
    for number, sheet in enumerate(sheets):
        out.print(rich.text.Text(document.title(sheet, split), style="bold"), soft_wrap=True)
        tables.put(out, document.terminal(document.results(sheet)))
        if any(block.best for block in sheet.blocks):
            out.print(rich.text.Text("\npaired tests against the best"))
            tables.put(out, document.terminal(document.tests(sheet)))
        out.print()
        following = sheets[number + 1].dataset if number + 1 < len(sheets) else None
        if following != sheet.dataset:
            for note in notes[sheet.dataset]:
                out.print(rich.text.Text(f"- {note}"))
            out.print()
    for note in everywhere:
        out.print(rich.text.Text(f"- {note}"))


def _listed(given: reading.Given, name: str) -> tuple[str, ...]:
    """The value of an option that is a list; empty where it is left out."""
    text = given.options.get(name)
    words = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text and not words:
        raise errors.ConfigError(f"--{name}={text}: names nothing.")
    return words


if __name__ == "__main__":
    sys.exit(main())
