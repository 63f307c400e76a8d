"""The help of the two commands: options, fields with meaning, unit and default, variants, examples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pydantic
import rich.console
import rich.padding
import rich.table
import rich.text

from mbjax import config, errors, tables


class Option(NamedTuple):
    """An option of a program.

    Attributes:
      value: what it takes, as shown in the help: "" for a switch, in brackets if it may be left out.
      meaning: one phrase.
    """

    value: str
    meaning: str


TRAIN = {
    "model": Option("NAME", "the model to train"),
    "dataset": Option("NAME|PATH", "a data set by name, or the path of a prepared folder or of a log"),
    "protocol": Option(
        "honest|paper",
        "honest (default): validation pairs select the epoch, the test split is read once; paper: what the model's "
        "authors did, for comparison with their table only",
    ),
    "ablation": Option("NAME", "a named variant of the model"),
    "seed": Option("INT", "of initial values, batches and noise (default 0)"),
    "devices": Option("INT", "accelerators, or virtual CPU devices, that share each batch (default 1)"),
    "workdir": Option("DIR", "the run folder (default: a new one under runs/)"),
    "resume": Option("", "go on with the run in the run folder; with --workdir the model need not be repeated"),
    "retrain": Option(
        "",
        "afterwards train again on training and validation pairs together, for as many epochs as validation chose; in "
        "the folder retrain/ of the run",
    ),
    "record": Option("[FILE]", "also write a results file (default: a name under results/)"),
    "data-dir": Option("DIR,...", "where data sets lie, searched first: short for --data.dirs"),
    "help": Option("", "this text; with --model all fields of that model"),
}

EVAL = {
    "workdir": Option("DIR", "the run folder that train.py printed"),
    "checkpoint": Option("best|last", "which one (default: best, or last where nothing was selected by validation)"),
    "split": Option("valid|test,...", "the held-out pairs to measure on (default: test)"),
    "behaviors": Option("NAME,...", "the behaviors to evaluate or recommend for (default: as in the run)"),
    "ks": Option("INT,...", "cut-offs of the ranked lists (default: as in the run)"),
    "mask": Option("same_behavior|all_behaviors", "whose training items are no candidates (default: as in the run)"),
    "groups": Option("INT,...", "edges of user groups by length of the training history, such as 5,20,50"),
    "per-user": Option("FILE.parquet", "write the metrics of every user, for significance tests"),
    "recommend": Option("", "write ranked lists instead of measuring: one Parquet file per behavior"),
    "top-k": Option("INT", "with --recommend: length of the lists (default 20)"),
    "out": Option("DIR", "with --recommend: folder of the files (default: recommendations in the run folder)"),
    "users": Option("FILE|ID,...", "with --recommend: only these raw user ids; a file holds one a line"),
    "data-dir": Option("DIR,...", "where data sets lie, searched first"),
    "help": Option("", "this text"),
}

TRAIN_EXAMPLES = (
    ("python train.py --model=bvae --dataset=demo", "a first run, with nothing to fetch"),
    ("python train.py --model=bvae --help", "all fields of a model, with meaning, unit and default"),
    ("python train.py --model=bvae --dataset=jd --help", "the same with the values for a data set"),
    ("python train.py --model=bvae --dataset=jd --ablation=wo_tff", "a named variant"),
    ("python train.py --model=bvae --dataset=jd --embedding_size=50 --train.epochs=60", "other values"),
    ("python train.py --model=bvae --dataset=jd --protocol=paper --record", "compare with the published table"),
    (
        "python train.py --model=bvae --dataset=log.csv --log.behaviors=view,cart,buy --log.user=customer",
        "your own log: funnel order, target last",
    ),
    ("python train.py --resume --workdir=RUN", "go on after an interruption"),
)

EVAL_EXAMPLES = (
    ("python eval.py --workdir=RUN", "the table of the run, from its checkpoint"),
    ("python eval.py --workdir=RUN --ks=10,50 --mask=all_behaviors", "other cut-offs, new items only"),
    ("python eval.py --workdir=RUN --groups=5,20,50 --per-user=users.parquet", "by activity; a row per user"),
    ("python eval.py --workdir=RUN --recommend --top-k=20 --out=lists", "ranked lists for everyone"),
    ("python eval.py --workdir=RUN --recommend --users=17,42 --behaviors=buy", "for two users, one behavior"),
)


def train(
    given: Mapping[str, str], fields: Mapping[str, str | None], model_class: Callable[[str], type[pydantic.BaseModel]]
) -> None:
    """Prints the help of ``train.py``: of a model if one is given, else the overview.

    Args:
      given: options on the command line; model, dataset, protocol and ablation are looked at.
      fields: fields on the command line, as written -> text; those that choose a section are looked at.
      model_class: finds the class of a model's section.

    Raises:
      ConfigError: one of these is a name that does not exist.
    """
    out = _console()
    if given.get("model"):
        _model(out, given, fields, model_class(given["model"]))
        return
    _lines(out, "Trains a model for multi-behavior recommendation and evaluates it.", "")
    _lines(out, "Usage: python train.py --model=NAME --dataset=NAME [options] [--section.field=value ...]")
    _table(out, "Options", _options(TRAIN))
    _table(out, "Models", [(name, config.model_file(name).get("summary", "")) for name in config.model_names()])
    _table(out, "Data sets", [(name, config.dataset_file(name).get("summary", "")) for name in config.dataset_names()])
    _examples(out, TRAIN_EXAMPLES)


def evaluate() -> None:
    """Prints the help of ``eval.py``."""
    out = _console()
    _lines(out, "Evaluates a trained run in a fresh process, or writes its ranked lists.", "")
    _lines(out, "Usage: python eval.py --workdir=RUN [options]")
    _table(out, "Options", _options(EVAL))
    _examples(out, EVAL_EXAMPLES)
    _lines(out, "", "Other fields of the section evaluate can be given too, such as --evaluate.item_tile=4096.")


def _model(out, given, fields, model_class) -> None:
    """Every field of a model's configuration, with the values it would have under the given options."""
    name, dataset = given["model"], given.get("dataset")
    protocol, ablation = given.get("protocol", "honest"), given.get("ablation")
    switches = _switches(fields, model_class)
    values = config.defaults(name, dataset, model_class, protocol=protocol, ablation=ablation, overrides=switches)
    file = config.model_file(name)
    _lines(out, f"{name}: {file.get('summary', '')}", "")
    _lines(out, f"Usage: python train.py --model={name} --dataset=NAME [options] [--section.field=value ...]")
    _table(out, "Options", _options(TRAIN))
    made = [f"data set {dataset}" if dataset else "no data set", f"protocol {protocol}"]
    made += [f"ablation {ablation}"] if ablation else []
    made += [f"{path}={value}" for path, value in switches.items()]
    _lines(
        out, "", f"Fields, with the defaults for {', '.join(made)}. The section may be left out where that is clear."
    )
    specs = config.known_fields(model_class, values)
    for section in ("model", "train", "evaluate", "data"):
        rows = [
            (
                f"--{path}",
                _default(values.get(path, spec.default), spec),
                config.type_name(spec.annotation),
                spec.description,
            )
            for path, spec in specs.items()
            if path.startswith(f"{section}.")
        ]
        _table(out, f"Section {section}", rows, header=("field", "default", "values", "meaning [unit]"))
        if section == "model":
            _alternatives(out, name, config.choices(model_class, values), values)
    ablations = [(key, _changes(change)) for key, change in (file.get("ablations") or {}).items()]
    if ablations:
        _table(out, "Ablations (--ablation=NAME)", ablations)
    others = [(key, _changes(change)) for key, change in (file.get("protocols") or {}).items()]
    if others:
        _table(out, "Protocols (--protocol=NAME)", [("honest", "the defaults"), *others])
    _examples(out, [(line.replace("--model=bvae", f"--model={name}"), why) for line, why in TRAIN_EXAMPLES[4:6]])


def _switches(fields: Mapping[str, str | None], model_class: type[pydantic.BaseModel]) -> dict[str, str]:
    """Those of the fields as written that choose a section: path -> name."""
    keys = [choice.key for choice in config.choices(model_class)]
    found = {}
    for key, text in fields.items():
        try:
            path = config.resolve(key, keys)
        except errors.ConfigError:
            continue  # another field, or none at all: help is what was asked for
        if text:
            found[path] = text
    return found


def _alternatives(out, model: str, choices: Iterable[config.Choice], values: Mapping[str, object]) -> None:
    """What the sections of a model may be instead, and with which fields."""
    rows, example = [], None
    for choice in choices:
        for name, section in choice.sections.items():
            if name != values[choice.key]:
                paths = config.known_fields(section)
                inside = [path.removeprefix("model.") for path in paths if path.startswith("model.")]
                names = [path for path in inside if f"{choice.path}.{path}" != choice.key]
                mark = "reconstructed; " if name in tables.RECONSTRUCTED else ""
                rows.append(
                    (f"--{choice.key}={name}", mark + (f"with {', '.join(names)}" if names else "without fields"))
                )
                example = example or f"--{choice.key.removeprefix('model.')}={name}"
    if rows:
        _table(out, "Alternatives, and the fields that take the place of those above", rows)
        _lines(out, f"  Their meanings and defaults: python train.py --model={model} {example} --help")


def _default(value: object, spec: config.FieldSpec) -> str:
    """A default as written on the command line; where ``none`` is itself a choice, its absence is called unset."""
    shown = config.show(value)
    return "unset" if value is None and config.read_text(shown, spec.annotation) is not None else shown


def _changes(tree: Mapping[str, object], prefix: str = "") -> str:
    """Nested values as ``a.b=1 c=2``."""
    words = []
    for key, value in (tree or {}).items():
        words.append(
            _changes(value, f"{prefix}{key}.") if isinstance(value, Mapping) else f"{prefix}{key}={config.show(value)}"
        )
    return " ".join(words) or "the defaults"


def _options(table: Mapping[str, Option]) -> list[tuple[str, str]]:
    rows = []
    for name, (value, meaning) in table.items():
        shown = f"[={value[1:-1]}]" if value.startswith("[") else f"={value}" if value else ""
        rows.append((f"--{name}{shown}", meaning))
    return rows


def _examples(out: rich.console.Console, examples: Iterable[tuple[str, str]]) -> None:
    _lines(out, "", "Examples")
    for line, why in examples:
        _lines(out, f"  # {why}", f"  {line}")


def _table(
    out: rich.console.Console, title: str, rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ()
) -> None:
    rows = list(rows)
    table = rich.table.Table(box=None, show_header=bool(header), padding=(0, 2, 0, 0), pad_edge=False)
    width = len(rows[0]) if rows else 0
    for i in range(width):
        # Names must stay whole, to be copied; values and meanings may wrap.
        table.add_column(header[i] if header else "", no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(rich.text.Text(cell) for cell in row))
    _lines(out, "", title)
    out.print(rich.padding.Padding(table, (0, 0, 0, 2)))


def _lines(out: rich.console.Console, *lines: str) -> None:
    for line in lines:
        out.print(rich.text.Text(line), soft_wrap=True)


def _console() -> rich.console.Console:
    console = rich.console.Console(highlight=False)
    if not sys.stdout.isatty():
        console = rich.console.Console(highlight=False, width=max(console.width, 120))
    return console
