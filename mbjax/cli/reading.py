"""From the words of a command line to options, fields and other words; what a mode does not read is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mbjax import config, errors, paths, program
from mbjax.cli import options


class Given(NamedTuple):
    """What stood on the command line.

    Attributes:
      options: name -> text; "" for a switch or an option without its optional value.
      fields: field of the configuration, as written -> its text; None where no value was given.
      words: those that are no options.
    """

    options: dict[str, str]
    fields: dict[str, str | None]
    words: list[str]


def read(argv: Sequence[str], *modes: str) -> Given:
    """Splits a command line into options, fields of the configuration, and other words.

    ``--name=value`` and ``--name value`` mean the same, dashes and underscores too; of a repeated option the last
    counts, but those of ``options.REPEATED`` add up. Paths come back absolute.

    Args:
      argv: the words.
      *modes: that a command may turn out to be in; ``refuse_unread`` is asked afterward. Without any, all are fields.

    Raises:
      ConfigError: a word that is no option, an option of the program without its value, a switch with one.
    """
    known, given = options.of(*modes), Given({}, {}, [])
    takes_words = any(options.WORDS.get(mode) for mode in modes)
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "-h":
            word = "--help"
        if not word.startswith("-") and takes_words:
            given.words.append(word)
            continue
        if not word.startswith("--") or word == "--":
            raise errors.ConfigError(f"unexpected '{word}'. Options are written --name=value; see --help.")
        name, equals, value = word[2:].partition("=")
        option = known.get(name.replace("_", "-"))
        if option and not option.value:
            if equals:
                raise errors.ConfigError(f"--{name} is a switch and takes no value; leave out '={value}'.")
        elif not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        elif not equals and not option:
            value = None  # right for a field that is a switch; which fields are is known later
        if option is None:
            given.fields.pop(name, None)  # of two names of a field the one that stands last counts, too
            given.fields[name] = value
        elif not value and option.value and not option.value.startswith("["):
            raise errors.ConfigError(f"--{name} needs a value: --{name}={option.value}.")
        elif option.name in options.REPEATED and option.name in given.options:
            given.options[option.name] += options.REPEATED[option.name] + value
        else:
            given.options[option.name] = str(paths.absolute(value)) if option.is_path and value else value
        if option and option.name == "data-dir":
            given.fields.pop("data.dirs", None)
            given.fields["data.dirs"] = given.options["data-dir"]
    return given


def words(given: Given, mode: str) -> list[str]:
    """The words beside the options, as many as the mode takes; raises ConfigError for one too few or too many."""
    wanted = options.WORDS[mode]
    if len(given.words) < len(wanted):
        name = wanted[len(given.words)].removesuffix(" ...")
        raise errors.ConfigError(f"{name} is missing: {program.command(mode)} {' '.join(wanted)}; see --help.")
    if not wanted[-1].endswith("...") and len(given.words) > len(wanted):
        word = given.words[len(wanted)]
        raise errors.ConfigError(f"unexpected '{word}'. Options are written --name=value; see --help.")
    return given.words


def refuse_unread(given: Given, *modes: str) -> None:
    """Raises ConfigError for an option that one of the modes that are in use does not read, naming those that do."""
    for mode in modes:
        known = options.of(mode)
        for name in given.options:
            if name not in known:
                raise _unread(name, _having(name), mode)


def resolved(given: Given, specs: Mapping[str, config.FieldSpec], *modes: str) -> dict[str, str]:
    """Fields as written -> dotted path -> text.

    Args:
      given: from ``read``.
      specs: the fields that exist.
      *modes: that are in use: all of them have to read a field.

    Raises:
      ConfigError: one that does not exist, is not read, or lacks its value.
    """
    readable = {path: spec for path, spec in specs.items() if all(options.reads(mode, path) for mode in modes)}
    found = {}
    for key, text in given.fields.items():
        try:
            path = config.resolve(key, readable, "--")
        except errors.ConfigError as error:
            raise _unknown(key, str(error), specs, modes) from None
        kind = config.type_name(specs[path].annotation)
        if text is None and kind != "true | false":
            raise errors.ConfigError(f"--{key} needs a value ({kind}): --{key}=VALUE.")
        found[path] = "true" if text is None else text
    return found


def whole(given: Given, name: str, default: int | None = None, *, least: int | None = None) -> int | None:
    """The value of an option that is a whole number; raises ConfigError for anything else."""
    if name not in given.options:
        return default
    text = given.options[name]
    value = config.read_text(text, int)
    if not isinstance(value, int):
        raise errors.ConfigError(f"--{name}={text}: must be a whole number.")
    if least is not None and value < least:
        raise errors.ConfigError(f"--{name}={text}: must be at least {least}.")
    return value


def names(given: Given, name: str, known: Sequence[str], default: str = "") -> tuple[str, ...]:
    """The value of an option that is one or more of the known names, separated by commas; ConfigError for another."""
    text = given.options.get(name, default)
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found and text:
        raise errors.ConfigError(f"--{name}={text}: names no {name}; give {' or '.join(known)}.")
    for part in found:
        if part not in known:
            raise errors.unknown(name, part, known)
    return found


def choice(given: Given, name: str, known: Sequence[str], default: str | None = None) -> str | None:
    """The value of an option that is one of the known names; ConfigError for another."""
    text = given.options.get(name, default)
    if text is not None and text not in known:
        raise errors.unknown(name, text, known)
    return text


def _unknown(key: str, message: str, specs: Iterable[str], modes: Sequence[str]) -> errors.ConfigError:
    """The error for a field that the modes do not have: it belongs to another mode, or is none at all."""
    elsewhere = _having(key.replace("_", "-"))
    if not message.startswith("unknown") and not (elsewhere and "is a section" in message):
        return errors.ConfigError(f"{message} See --help.")
    if not elsewhere:
        try:
            path = key if key.startswith("model.") else config.resolve(key, specs)
        except errors.ConfigError:
            path = ""
        elsewhere = {mode for mode in options.MODES if options.reads(mode, path)}
    # A field of another model is no field here, although the mode reads those of models.
    unread = [mode for mode in modes if mode not in elsewhere]
    if elsewhere and unread:
        return _unread(key, elsewhere, unread[0])
    near = difflib.get_close_matches(key.replace("_", "-"), options.of(*modes), n=1, cutoff=0.7)
    if near:
        return errors.ConfigError(f"unknown option '--{key}'. Did you mean '--{near[0]}'?")
    return errors.ConfigError(f"{message} See --help.")


def _having(name: str) -> set[str]:
    """The modes that have an option of that name."""
    return {mode for option in options.OPTIONS if option.name == name for mode in option.modes}


def _unread(key: str, elsewhere: Iterable[str], mode: str) -> errors.ConfigError:
    if mode == "resume":
        return errors.ConfigError(f"--{key} is settled in the run that goes on; leave it out.")
    others = [other for other in options.MODES if other in elsewhere and other not in options.COMMAND]
    commands = [called(other) for other in others]
    *first, last = commands
    known = f"{', '.join(first)} and {last} do" if first else f"{last} does"
    return errors.ConfigError(f"--{key}: {called(mode)} does not read it; {known}.")


def called(mode: str) -> str:
    """How a mode is asked for, in the way that the user started this process."""
    name, _, switch = options.COMMAND.get(mode, mode).partition(" ")
    return f"{program.command(name)} {switch}".rstrip()
