"""The two commands, ``train.py`` and ``eval.py``: options -> configuration -> ``experiment``.

Options are read by hand rather than by argparse or tyro: which fields exist is known only when the model is, a
wrong one must give one line with the nearest right one, and neither library does that. JAX is imported after the
names have been checked, so that ``--help`` and errors come at once.

Exit codes: 0, those of ``mbjax.errors``, 1 for a file that cannot be written or read, 130 after Ctrl-C.
"""

from __future__ import annotations

import difflib
import logging
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pydantic

from mbjax import cli_help, config, errors


class Options(NamedTuple):
    """What stood on the command line.

    Attributes:
      given: option of the program -> its text; "" for a switch or an option without its optional value.
      fields: field of the configuration, as written -> its text; None where no value was given.
    """

    given: dict[str, str]
    fields: dict[str, str | None]


def train_main(argv: Sequence[str] | None = None) -> int:
    """Trains; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return _guarded(_train, sys.argv[1:] if argv is None else list(argv))


def eval_main(argv: Sequence[str] | None = None) -> int:
    """Evaluates a run or writes its ranked lists; returns the exit code."""
    return _guarded(_eval, sys.argv[1:] if argv is None else list(argv))


def read(argv: Sequence[str], known: Mapping[str, cli_help.Option]) -> Options:
    """Splits a command line into the program's options and fields of the configuration.

    ``--name=value`` and ``--name value`` mean the same, dashes and underscores too; of a repeated option the last
    counts, but ``--data-dir`` adds up.

    Raises:
      ConfigError: a word that is no option, an option of the program without its value, a switch with one.
    """
    options = Options({}, {})
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "-h":
            word = "--help"
        if not word.startswith("--") or word == "--":
            raise errors.ConfigError(f"unexpected '{word}'. Options are written --name=value; see --help.")
        name, equals, value = word[2:].partition("=")
        program_name = name.replace("_", "-")
        option = known.get(program_name)
        if option and not option.value:
            if equals:
                raise errors.ConfigError(f"--{name} is a switch and takes no value; leave out '={value}'.")
        elif not equals and words and not words[0].startswith("--"):
            value = words.pop(0)
        elif not equals and not option:
            value = None  # right for a field that is a switch; which fields are is known later
        if option is None:
            options.fields[name] = value
        elif not value and option.value and not option.value.startswith("["):
            raise errors.ConfigError(f"--{name} needs a value: --{name}={option.value}.")
        elif program_name == "data-dir" and program_name in options.given:
            options.given[program_name] += f",{value}"
        else:
            options.given[program_name] = value
    return options


def _train(argv: list[str]) -> int:
    options = read(argv, cli_help.TRAIN)
    given = options.given
    if "help" in given:
        cli_help.train(given, options.fields, _model_class)
        return 0
    if "data-dir" in given:
        options.fields["data.dirs"] = given["data-dir"]
    workdir = pathlib.Path(given["workdir"]) if "workdir" in given else None
    header = {name: _whole(name, given[name]) for name in ("seed", "devices") if name in given}
    header |= {name: given[name] for name in ("protocol", "ablation") if name in given}
    if "model" not in given and "resume" in given and workdir is not None:
        for name in ("dataset", "protocol", "ablation"):
            if name in given:
                raise errors.ConfigError(f"--{name} is settled in the run that goes on; leave it out.")
        settings = _of_run(workdir, options.fields, cli_help.TRAIN, header)
    else:
        if not given.get("model"):
            raise errors.ConfigError(f"--model is missing. Known: {', '.join(config.model_names())}. See --help.")
        config.check_names(given["model"], given.get("dataset"), **header)
        if not given.get("dataset"):
            raise errors.ConfigError(f"--dataset is missing. Known: {', '.join(config.dataset_names())}. See --help.")
        model_class = _model_class(given["model"])
        fields = _resolved(options.fields, config.known_fields(model_class), cli_help.TRAIN)
        settings = config.load(given["model"], given["dataset"], model_class, overrides=fields, **header)
    if "retrain" in given and (settings.protocol != "honest" or settings.data.valid in ("none", "into_train")):
        raise errors.ConfigError(
            "--retrain goes on from an epoch that validation pairs chose: it needs --protocol=honest and a data.valid "
            "that holds pairs out."
        )
    _virtual_devices(settings.devices)
    experiment = _experiment()
    record = pathlib.Path(given["record"]) if given.get("record") else "record" in given
    outcome = experiment.train(settings, workdir, resume="resume" in given, record=record)
    if "retrain" in given and outcome.reason != "signal":
        outcome = experiment.retrain(settings, outcome, record=record)
    return outcome.exit_code


def _eval(argv: list[str]) -> int:
    options = read(argv, cli_help.EVAL)
    given = options.given
    if "help" in given:
        cli_help.evaluate()
        return 0
    if not given.get("workdir"):
        raise errors.ConfigError("--workdir is missing: the folder of a run, as train.py printed it. See --help.")
    checkpoint = given.get("checkpoint")
    if checkpoint not in (None, "best", "last"):
        raise errors.unknown("checkpoint", checkpoint, ("best", "last"))
    splits = tuple(part.strip() for part in given.get("split", "test").split(",") if part.strip())
    if not splits:
        raise errors.ConfigError(f"--split={given['split']}: names no split; give valid, test or both.")
    for split in splits:
        if split not in ("valid", "test"):
            raise errors.unknown("split", split, ("valid", "test"))
    listing = "recommend" in given
    wrong = ("per-user", "split") if listing else ("top-k", "out", "users")
    for name in wrong:
        if name in given:
            raise errors.ConfigError(f"--{name} goes {'without' if listing else 'with'} --recommend.")
    top_k = _whole("top-k", given.get("top-k", "20"))
    if top_k < 1:
        raise errors.ConfigError(f"--top-k={top_k}: must be at least 1.")
    fields = dict(options.fields)
    fields |= {f"evaluate.{name}": given[name] for name in ("behaviors", "ks", "mask", "groups") if name in given}
    if "data-dir" in given:
        fields["data.dirs"] = given["data-dir"]
    users = _users(given["users"]) if "users" in given else None
    workdir = pathlib.Path(given["workdir"])
    settings = _of_run(workdir, fields, cli_help.EVAL, {}, only=("evaluate.", "data.dirs", "data.download"))
    experiment = _experiment()
    if listing:
        out = pathlib.Path(given.get("out") or workdir / "recommendations")
        experiment.recommend(workdir, settings, checkpoint=checkpoint, top_k=top_k, out=out, users=users)
    else:
        per_user = pathlib.Path(given["per-user"]) if "per-user" in given else None
        experiment.evaluate_run(workdir, settings, checkpoint=checkpoint, splits=splits, per_user=per_user)
    return 0


def _of_run(workdir, fields, known, header, only=()) -> config.Config:
    """The configuration of a run, with changed fields; ``only``: the beginnings of those that may change."""
    file = workdir / "config.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise errors.ConfigError(f"no run in '{workdir}': {file.name} is missing or unreadable.") from None
    model_class = _model_class(config.peek(text, str(file)))
    settings = config.parse(text, model_class, str(file))
    specs = config.known_fields(model_class)
    specs = {path: spec for path, spec in specs.items() if not only or path.startswith(only)}
    fields = _resolved(fields, specs, known)
    if only and "evaluate.ks" in fields:
        # The epoch is selected already, so the cut-off that selected it need not be among the new ones.
        fields["train.monitor"] = "mean:ndcg"
    return config.override(settings, fields, **header)


def _experiment():
    """Imports what does the work, late, and quiets the checkpoint library's remarks on its own options."""
    from mbjax import compilation, experiment

    compilation.keep()

    logging.getLogger("absl").setLevel(logging.ERROR)
    return experiment


def _model_class(name: str) -> type[pydantic.BaseModel]:
    """The class of a model's section; imports the models and with them JAX, but not for a wrong name."""
    if name not in config.model_names():
        raise errors.unknown("model", name, config.model_names())
    from mbjax import models

    return models.entry(name).config


def _resolved(
    fields: Mapping[str, str | None],
    specs: Mapping[str, config.FieldSpec],
    known: Mapping[str, cli_help.Option],
) -> dict[str, str]:
    """Fields as written -> dotted path -> text; refuses one that does not exist or lacks its value.

    Args:
      fields: as ``Options.fields``.
      specs: the fields that exist.
      known: options of the program, which may have been meant.
    """
    found = {}
    for key, text in fields.items():
        near = difflib.get_close_matches(key.replace("_", "-"), known, n=1, cutoff=0.7)
        try:
            path = config.resolve(key, specs, "--")
        except errors.ConfigError as error:
            if near and str(error).startswith("unknown"):
                raise errors.ConfigError(f"unknown option '--{key}'. Did you mean '--{near[0]}'?") from None
            raise errors.ConfigError(f"{error} See --help.") from None
        kind = config.type_name(specs[path].annotation)
        if text is None and kind != "true | false":
            raise errors.ConfigError(f"--{key} needs a value ({kind}): --{key}=VALUE.")
        found[path] = "true" if text is None else text
    return found


def _whole(name: str, text: str) -> int:
    value = config.read_text(text, int)
    if not isinstance(value, int):
        raise errors.ConfigError(f"--{name}={text}: must be a whole number.")
    return value


def _users(text: str) -> tuple[str, ...]:
    """Raw user ids: from a file, one a line, or separated by commas."""
    if os.path.isfile(text):
        try:
            lines = pathlib.Path(text).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise errors.DataError(f"--users={text}: not a text file in UTF-8; write one raw user id a line.") from None
    else:
        lines = text.split(",")
    users = tuple(line.strip() for line in lines if line.strip())
    if not users:
        raise errors.ConfigError(f"--users={text}: names no user; give raw ids separated by commas, or a file.")
    return users


def _virtual_devices(count: int) -> None:
    """Lets JAX split the CPU into ``count`` devices. Must come before JAX is used; harmless with accelerators."""
    flags = os.environ.get("XLA_FLAGS", "")
    name = "--xla_force_host_platform_device_count"
    if count > 1 and name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {name}={count}".strip()


def _guarded(program: Callable[[list[str]], int], argv: list[str]) -> int:
    """Runs a program; what a user can mend becomes one line on stderr and an exit code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def short(message, category, *where, **more):
            if issubclass(category, errors.DataWarning):
                print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = short
        try:
            return program(argv)
        except errors.MbjaxError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of our output, such as head, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except OSError as error:
            if error.filename is None:
                raise
            print(f"error: {error.strerror}: '{error.filename}'", file=sys.stderr)
            return 1
