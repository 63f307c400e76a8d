"""The help of every command: options, fields with meaning, unit and default, variants, examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pydantic
import rich.console

import mbjax
from mbjax import config, program
from mbjax.cli import layout, model_help, options

TRAIN_EXAMPLES = (
    ("train --dataset=demo", "a first run, with nothing to fetch"),
    (
        "train --dataset=log.csv --log.behaviors=view,cart,buy --log.user=customer",
        "your own log: funnel order, target last",
    ),
    ("train --dataset=log.csv --log.behaviors=view,cart,buy --model=ease", "a closed form, in seconds"),
    ("train --dataset=log.csv --log.behaviors=view,cart,buy --model=itemknn", "lists that take no learning"),
    ("train --dataset=log.csv --log.behaviors=view,cart,buy --retrain", "afterward, learn from all but test pairs"),
    ("train --model=funnel --help", "all fields of a model, with meaning, unit and default"),
    ("train --model=bvae --dataset=jd --help", "the same with the values for a data set"),
    ("train --model=bvae --dataset=jd --ablation=wo_tff", "a named variant"),
    ("train --model=bvae --dataset=jd --embedding_size=50 --train.epochs=60", "other values"),
    ("train --model=bvae --dataset=jd --protocol=paper --record", "compare with the published table"),
    ("train --model=bvae --dataset=jd --seeds=0,1,2", "three seeds, with means and deviations"),
    ("train --resume --workdir=RUN", "go on after an interruption"),
)
EVAL_EXAMPLES = (
    ("eval --workdir=RUN", "the table of the run, from its checkpoint"),
    ("eval --workdir=RUN --ks=10,50 --mask=all_behaviors", "other cut-offs, new items only"),
    ("eval --workdir=RUN --split=valid", "the pairs that chose the epoch"),
    ("eval --workdir=RUN --groups=5,20,50 --per-user=users.parquet", "by activity; a row per user"),
    ("recommend --workdir=RUN --top-k=20 --out=lists", "ranked lists for everyone"),
)
RECOMMEND_EXAMPLES = (
    ("recommend --workdir=RUN --top-k=20 --out=lists", "ranked lists for everyone, without what they have met"),
    ("recommend --workdir=RUN --users=17,42 --behaviors=buy", "for two users, one behavior"),
    ("recommend --workdir=RUN --mask=all_behaviors", "only items that the user has not met by any behavior"),
    ("recommend --workdir=RUN --list=continue,discover", "what to go on with, and what is new, in files of their own"),
    (
        "recommend --workdir=RUN --available=stock.csv --groups=brands.csv --max-per-group=2",
        "of what is in stock, at most two of a brand",
    ),
    ("recommend --workdir=RUN --for=today.csv", "for users of another log, new ones too, from their events in it"),
    ("recommend --workdir=RUN --allow-new-data", "the log has grown since training"),
    ("recommend --workdir=RUN --exclude=train", "lists to be scored: held-out items may stand in them"),
)
FIRST = (
    (
        "train --dataset=demo",
        "a first run, with nothing to fetch; it ends with the name of its run folder",
    ),
    ("recommend --workdir=RUN", "what to offer each user, as Parquet files in that folder"),
    ("data log.csv --log.behaviors=view,cart,buy", "what a log of your own holds; the same options train on it"),
)


def overview(commands: Mapping[str, str]) -> None:
    """Prints what ``mbjax`` says of itself: the commands with a line each, and what to do first."""
    out = layout.console()
    layout.lines(
        out, f"mbjax {mbjax.__version__}: multi-behavior recommendation, from raw logs to metrics and ranked lists.", ""
    )
    layout.lines(out, f"Usage: {program.command('train').rpartition(' ')[0]} COMMAND [options]")
    layout.table(out, "Commands", list(commands.items()))
    layout.examples(out, FIRST, "The first three things to do")
    layout.lines(out, "", "Each command has its own --help; that of train lists every field of a model, with --model.")


def train(
    given: Mapping[str, str], fields: Mapping[str, str | None], model_class: Callable[[str], type[pydantic.BaseModel]]
) -> None:
    """Prints the help of training: of a model if one is given, else the overview.

    Args:
      given: options on the command line; model, dataset, protocol and ablation are looked at.
      fields: fields on the command line, as written -> text; those that choose a section are looked at.
      model_class: finds the class of a model's section.

    Raises:
      ConfigError: one of these is a name that does not exist.
    """
    out = layout.console()
    if given.get("model"):
        model_help.show(out, given, fields, model_class(given["model"]), _examples(given["model"]))
        return
    layout.lines(out, "Trains a model for multi-behavior recommendation and evaluates it.", "")
    usage = "--dataset=NAME [--model=NAME] [options] [--section.field=value ...]"
    layout.lines(out, f"Usage: {program.command('train')} {usage}")
    layout.table(out, "Options", layout.options(*options.TRAINING))
    layout.table(out, "Models", [(name, config.model_file(name).get("summary", "")) for name in config.model_names()])
    datasets = [(name, config.dataset_file(name).get("summary", "")) for name in config.dataset_names()]
    layout.table(out, "Data sets", datasets)
    layout.examples(out, TRAIN_EXAMPLES)


def _examples(model: str) -> list[tuple[str, str]]:
    """Command lines of a model; an anchor has no epochs, and not every model has a variant with a name."""
    file, line = config.model_file(model), f"train --model={model} --dataset=jd"
    found = [(f"{line} --ablation={name}", "a named variant") for name in list(file.get("ablations") or {})[:1]]
    if (file.get("train") or {}).get("epochs") != 0:
        found.append((f"{line} --train.epochs=60 --train.learning_rate=0.001", "other values"))
    return [*found, (f"{line} --protocol=paper --record", "all training pairs, as in tables of papers")]


def evaluate() -> None:
    """Prints the help of evaluation, with what ``--recommend`` adds."""
    out = layout.console()
    layout.lines(out, "Evaluates a trained run in a fresh process, or writes its ranked lists.", "")
    layout.lines(out, f"Usage: {program.command('eval')} --workdir=RUN [options]")
    layout.table(out, "Options", layout.options("eval", "recommend"))
    layout.examples(out, EVAL_EXAMPLES)
    _fields(out, "eval")


def recommend() -> None:
    """Prints the help of ranked lists: only what they read."""
    out = layout.console()
    layout.lines(
        out, "Writes ranked lists of a trained run: one Parquet file per behavior, with user, rank, item, score.", ""
    )
    layout.lines(out, f"Usage: {program.command('recommend')} --workdir=RUN [options]")
    layout.table(out, "Options", [row for row in layout.options("recommend") if row[0] != "--recommend"])
    layout.examples(out, RECOMMEND_EXAMPLES)
    _fields(out, "recommend")


def plain(mode: str, before: Sequence[str], examples: Iterable[tuple[str, str]], after: Sequence[str] = ()) -> None:
    """Prints the help of a command whose words are all known beforehand.

    Args:
      mode: the command.
      before: lines on what it does; the first stands alone.
      examples: command lines, from the name of the command on, each with what it is for.
      after: lines at the end.
    """
    out = layout.console()
    layout.lines(out, *before, "")
    words = " ".join((program.command(mode), *options.WORDS.get(mode, ())))
    fields = " [--section.field=value ...]" if options.FIELDS[mode] else ""
    layout.lines(out, f"Usage: {words} [options]{fields}")
    layout.table(out, "Options", layout.options(mode))
    layout.examples(out, examples)
    if mode == "data":
        specs = config.known_fields(config.Section)
        values = {path: spec.default for path, spec in specs.items()}
        layout.fields(out, "Fields, which training takes too", specs, values, "data.")
    else:
        _fields(out, mode)
    layout.lines(out, *(("", *after) if after else ()))


def _fields(out: rich.console.Console, mode: str) -> None:
    """Names the fields of the configuration that a command reads beside its options."""
    whole = {section: f"all of the section {section}" for section in ("model", "data", "train", "evaluate")}
    named = [whole.get(field.removesuffix("."), f"--{field}") for field in options.FIELDS[mode]]
    if named:
        layout.lines(out, "", f"Fields of the configuration that are read too, as in training: {', '.join(named)}.")
