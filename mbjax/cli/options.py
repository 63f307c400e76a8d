"""Every option of every command, and which modes read it: the one table that help, reading and refusals are made of.

A mode is a way to use a command: ``train`` has ``resume`` and ``retrain`` beside it. What a mode does not read it
refuses, and names the mode that does.
"""

from __future__ import annotations

from typing import NamedTuple

from mbjax import config

TRAINING = ("train", "resume", "retrain")
RUNS = ("eval", "recommend")
MODES = (*TRAINING, "sweep", *RUNS, "explain", "data", "compare", "figures", "bench", "results")
COMMAND = {"resume": "train --resume", "retrain": "train --retrain"}
"""Modes that are no command of their own -> how they are asked for."""


class Option(NamedTuple):
    """An option of some modes.

    Attributes:
      name: without dashes in front.
      value: what it takes, as shown in the help: "" for a switch, in brackets if it may be left out.
      meaning: one phrase.
      modes: that read it.
      is_path: whether its value is a path, which is made absolute as it is read.
    """

    name: str
    value: str
    meaning: str
    modes: tuple[str, ...]
    is_path: bool = False


FRESH = ("train", "retrain", "bench")
REPEATED = {"data-dir": ",", "grid": "\n", "space": "\n"}
"""Options that add up where they are given several times -> what then stands between their values."""
ANY = ("train", "retrain", "sweep", "bench")
MASK = "same_behavior|all_behaviors"
MOVED = "where the run's data lie now, if they have moved; their fingerprint must be the run's"

OPTIONS = (
    Option("model", "NAME", f"the model to train (default {config.DEFAULT_MODEL})", ("train", "retrain", "sweep")),
    Option("models", "NAME,...", "several models, each with all settings of the grid or the search", ("sweep",)),
    Option(
        "dataset",
        "NAME|PATH",
        "a data set by name, or the path of a prepared folder or of a log",
        (*TRAINING, "sweep"),
    ),
    Option(
        "protocol",
        "honest|paper",
        "honest (default): validation pairs select the epoch, the test split is read once; paper: all training "
        "pairs and the epochs that printed tables report, for comparison with those only",
        FRESH,
    ),
    Option("ablation", "NAME,...", "a named variant of the model, or several that go together", ANY),
    Option("seed", "INT", "of initial values, batches and noise (default 0)", ANY),
    Option(
        "seeds",
        "INT,...",
        "train once for each, with one load of the data: a run folder each in the run folder, and a table of means and "
        "deviations; with --resume also more of them than before",
        TRAINING,
    ),
    Option(
        "devices",
        "INT",
        "accelerators, or virtual CPU devices, that share each batch, or the seeds of --seeds, and the users of an "
        "evaluation (default 1)",
        (*TRAINING, "sweep", *RUNS, "bench"),
    ),
    Option(
        "hosts",
        "INT|auto",
        "how many hosts this command was started on, to train one model together (default: as SLURM, Open MPI, "
        "torchrun or a TPU pod say); auto: as JAX finds out; 1: work alone",
        TRAINING,
    ),
    Option("host", "INT", "with --hosts: the number of this one, from 0", TRAINING),
    Option("coordinator", "HOST:PORT", "with --hosts: where the host of number 0 listens", TRAINING),
    Option("workdir", "DIR", "the run folder (default: a new one under runs/)", TRAINING, is_path=True),
    Option(
        "resume",
        "",
        "go on with the run in the run folder; with --workdir the model need not be repeated, and --dataset=PATH says "
        "where its data lie now, if they have moved",
        TRAINING,
    ),
    Option(
        "retrain",
        "",
        "afterward train again on training and validation pairs together, for as many epochs, or with the settings, "
        "that validation chose; in the folder retrain/ of the run",
        TRAINING,
    ),
    Option(
        "grid",
        "FIELD=VALUE,...",
        "values of a field or of seed; given several times, all combinations are trained",
        ("sweep",),
    ),
    Option("search", "INT", "try so many settings of each model instead, proposed by optuna", ("sweep",)),
    Option(
        "space",
        "FIELD=LOW..HIGH",
        "where a search looks: between two numbers, or among values (FIELD=VALUE,...); may be given several times "
        "(default: what the model's file names)",
        ("sweep",),
    ),
    Option(
        "minutes",
        "NUMBER",
        "in place of a number of settings: each model's own settings first, then others from where a search looks, "
        "until so many minutes are over; a run that would not be over by then is not begun",
        ("sweep",),
    ),
    Option(
        "jobs",
        "INT|auto",
        "runs that go on at once, each in a process with its part of the cores, or with an accelerator or a part of "
        "one (default 1); auto: as many as fit, by cores and by the memory that a run is predicted to take",
        ("sweep",),
    ),
    Option("workdir", "DIR", "the folder of the sweep (default: a new one under runs/)", ("sweep",), is_path=True),
    Option(
        "resume",
        "",
        "go on with the sweep in --workdir: finished runs are kept, one that was stopped goes on; --search and "
        "--minutes may be more",
        ("sweep",),
    ),
    Option("record", "[FILE]", "also write a results file (default: a name under results/)", TRAINING, is_path=True),
    Option(
        "record",
        "[FILE|DIR]",
        "also write a results file of each chosen run, with how many settings it was chosen from (default: under "
        "results/)",
        ("sweep",),
        is_path=True,
    ),
    Option("workdir", "DIR", "the run folder, as training printed it", RUNS, is_path=True),
    Option("dataset", "NAME|PATH", MOVED, (*RUNS, "explain")),
    Option(
        "checkpoint",
        "best|last",
        "which one (default: best, or last where validation selected nothing)",
        (*RUNS, "explain"),
    ),
    Option("split", "valid|test,...", "the held-out pairs to measure on (default: test)", ("eval",)),
    Option("behaviors", "NAME,...", "the behaviors to evaluate or recommend for (default: as in the run)", RUNS),
    Option("ks", "INT,...", "cut-offs of the ranked lists (default: as in the run)", ("eval",)),
    Option(
        "mask",
        MASK,
        "whose items are no candidates: those met by the behavior itself, or by any (default: as in the run)",
        RUNS,
    ),
    Option("groups", "INT,...", "edges of user groups by length of the training history, such as 5,20,50", ("eval",)),
    Option(
        "per-user", "FILE.parquet", "write the metrics of every user, for significance tests", ("eval",), is_path=True
    ),
    Option("recommend", "", "write ranked lists instead of measuring: one Parquet file per behavior", RUNS),
    Option("user", "ID", "raw id of a user of the run", ("explain",)),
    Option("item", "ID", "raw id of the item that is ranked", ("explain",)),
    Option("behavior", "NAME", "that it is ranked for (default: the target)", ("explain",)),
    Option("shown", "INT", "lines of the table, the largest shares first (default 20)", ("explain",)),
    Option("top-k", "INT", "length of the lists (default 20)", ("recommend",)),
    Option(
        "out",
        "DIR",
        "folder of the files (default: recommendations in the run folder)",
        ("recommend",),
        is_path=True,
    ),
    Option(
        "users",
        "FILE|ID,...",
        "only these raw user ids, those with commas in double quotes; a file has one a line, or is a table (.csv, "
        ".tsv, .parquet) with a column of users, called as in the log",
        ("recommend",),
    ),
    Option(
        "exclude",
        "known|train|none",
        "what counts as met and is left out; known (default): all that the run's log has of it; train: training pairs "
        "only, as when the lists are to be scored; none: nothing",
        ("recommend",),
    ),
    Option(
        "list",
        "blended|continue|discover,...",
        "blended (default): all candidates; continue: only what the user has met by another behavior; discover: only "
        "what he has not met; each has files of its own",
        ("recommend",),
    ),
    Option(
        "repeat",
        "",
        "items met by the behavior of the list, such as bought ones, may come back; all else that --exclude=known and "
        "--mask leave out stays out",
        ("recommend",),
    ),
    Option(
        "available",
        "FILE",
        "only these items: raw ids, one a line, or a csv, tsv or parquet file with a column of items",
        ("recommend",),
        is_path=True,
    ),
    Option(
        "groups",
        "FILE",
        "the group of each item, such as its category: a csv, tsv or parquet file with the columns item and group",
        ("recommend",),
    ),
    Option(
        "max-per-group",
        "INT",
        "with --groups: most items of a group in a list, which is the best one of that kind over all candidates",
        ("recommend",),
    ),
    Option(
        "for",
        "LOG",
        "lists for the users of this log, new ones too, from their events in it; its columns are as in the run's log",
        ("recommend",),
        is_path=True,
    ),
    Option(
        "allow-new-data",
        "",
        "the run's log has grown since: say what is new, and list from what the run has learned",
        ("recommend",),
    ),
    Option("json", "", "print JSON instead of tables", ("data",)),
    Option(
        "write",
        "DIR",
        "write the data set as a prepared folder, split as it is, and print no tables; --dataset=DIR trains on it",
        ("data",),
        is_path=True,
    ),
    Option("clear-cache", "", "remove all logs that were kept as they were split, and do nothing else", ("data",)),
    Option(
        "no-anchors",
        "",
        "counts only: leave out what lists without learning reach, which takes seconds to minutes",
        ("data",),
    ),
    Option(
        "split",
        "valid|test",
        "the held-out pairs that lists without learning are measured on (default: valid; the test split is there to be "
        "read once, by the model that is chosen)",
        ("data",),
    ),
    Option(
        "metric",
        "NAME@K,...",
        "ndcg hr rec prec mrr f1, with a cut-off (default: ndcg and hr at the papers' cut-off, or at the smallest that "
        "all runs have); run folders are evaluated at any cut-off",
        ("compare",),
    ),
    Option("behavior", "NAME,...", "which (default: all, the target first)", ("compare",)),
    Option(
        "split",
        "test|valid",
        "the held-out pairs to measure on (default: test); valid goes with run folders only",
        ("compare",),
    ),
    Option(
        "selection",
        "NAME",
        "which epoch (default: valid, and last where nothing was selected on validation pairs)",
        ("compare",),
    ),
    Option("no-tests", "", "leave the tests out; finished runs are not evaluated", ("compare",)),
    Option(
        "out",
        "DIR",
        "also write comparison.md, comparison.csv and a PNG for each data set and metric",
        ("compare",),
        is_path=True,
    ),
    Option("metric", "NAME@K", "that is measured (default: ndcg at the runs' first cut-off)", ("figures",)),
    Option("groups", "INT", "of users, each with its bars (default 5)", ("figures",)),
    Option("out", "DIR", "folder of the PNG and the CSV (default: figures)", ("figures",), is_path=True),
    Option("width", "INT", "columns of the dense matrices (default: embedding size)", ("bench",)),
    Option(
        "memory",
        "",
        "train nothing: say what a run takes of memory, by its parts, from compiled programs, and what is free",
        ("bench",),
    ),
    Option("repeat", "INT", "calls of each kind that are timed", ("bench",)),
    Option("seconds", "NUMBER", "fewer calls where those of a kind take longer together", ("bench",)),
    Option("json", "FILE", "also write the numbers, in seconds, with machine and versions", ("bench",), is_path=True),
    Option(
        "results",
        "DIR",
        "folder of the results files (default: results/ beside FILE or above it)",
        ("results",),
        is_path=True,
    ),
    Option("check", "", "change nothing; exit with 1 if a table is not up to date", ("results",)),
    Option(
        "data-dir",
        "DIR,...",
        "where data sets lie, searched first: short for --data.dirs",
        (*TRAINING, "sweep", *RUNS, "explain", "data", "figures", "bench"),
    ),
    Option("help", "", "this text", MODES),
)

_DATA = ("data.dirs", "data.download", "data.cache")
FIELDS = {
    "train": ("model.", "data.", "train.", "evaluate."),
    "eval": (
        *_DATA,
        "evaluate.ks",
        "evaluate.mask",
        "evaluate.behaviors",
        "evaluate.batch_size",
        "evaluate.item_tile",
        "evaluate.groups",
        "evaluate.anchors",
        "train.shard",
    ),
    "recommend": (
        *_DATA,
        "evaluate.mask",
        "evaluate.behaviors",
        "evaluate.batch_size",
        "evaluate.item_tile",
        "train.shard",
    ),
    "explain": _DATA,
    "data": ("data.",),
    "compare": (),
    "figures": ("data.",),
    "bench": (
        "model.",
        "data.",
        "train.batch_size",
        "train.learning_rate",
        "train.optimizer",
        "train.lazy",
        "train.decay_rate",
        "train.decay_steps",
        "train.chunk_steps",
        "train.backend",
        "train.precision",
        "train.shard",
        "evaluate.ks",
        "evaluate.mask",
        "evaluate.behaviors",
        "evaluate.batch_size",
        "evaluate.item_tile",
    ),
    "results": (),
}
"""Mode -> the fields of the configuration that it reads, or the beginnings of their paths."""
FIELDS |= {mode: FIELDS["train"] for mode in ("resume", "retrain", "sweep")}
UNREAD = {"sweep": ("evaluate.last",)}
"""Of these, what a mode does not read: a sweep tests the epoch that validation chose, and no other."""

WORDS = {
    "explain": ("RUN",),
    "data": ("DATASET",),
    "bench": ("MODEL", "DATASET"),
    "compare": ("RUN ...",),
    "figures": ("FIGURE", "DATASET|RUN ..."),
    "results": ("FILE ...",),
}
"""Mode -> the words that it takes beside its options; ``...``: one or more."""


def of(*modes: str) -> dict[str, Option]:
    """The options of some modes that are used together: name -> option."""
    return {option.name: option for option in rows(*modes)}


def rows(*modes: str) -> list[Option]:
    """The same; one name may stand there twice, for what it is in a mode each."""
    return [option for option in OPTIONS if set(modes) & set(option.modes)]


def reads(mode: str, path: str) -> bool:
    """Whether a mode reads a field of the configuration."""
    if path in UNREAD.get(mode, ()):
        return False
    return any(path == field or (field.endswith(".") and path.startswith(field)) for field in FIELDS[mode])
