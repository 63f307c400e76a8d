"""``mbjax completion bash``: a script for the TAB key, made of the tables of commands, options and fields.

Fields of the section ``model`` are left out: which there are depends on the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mbjax import config, errors, program
from mbjax.cli import guard, layout, options
from mbjax.reporting import figures, selections

SHORT = "data.log."
"""Beginning of the fields whose first word may be left out."""
SCRIPT = """\
# TAB for mbjax. In ~/.bashrc: source <(mbjax completion bash)
_mbjax() {
  local line="${COMP_LINE:0:COMP_POINT}" words word
  word="${line##* }"
  case "${COMP_CWORD}:${COMP_WORDS[1]}" in
    1:*) words="@COMMANDS@" ;;
@CASES@
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [[ ${#COMPREPLY[@]} == 0 && "$word" == *=* ]]; then
    COMPREPLY=($(compgen -f -- "${word#*=}"))
    compopt -o filenames 2>/dev/null
  elif [[ ${#COMPREPLY[@]} == 0 && "$word" != -* ]]; then
    COMPREPLY=($(compgen -f -- "$word"))
    compopt -o filenames 2>/dev/null
  elif [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
    COMPREPLY=("${COMPREPLY[@]#*=}")  # bash takes what follows the sign for a word of its own
  fi
  [[ ${#COMPREPLY[@]} == 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _mbjax mbjax
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the script; returns the exit code. ``argv`` defaults to ``sys.argv[1:]``."""
    return guard.run(_print, argv)


def _print(argv: list[str]) -> int:
    if argv in ([], ["--help"], ["-h"]):
        layout.lines(layout.console(), "Usage: mbjax completion bash", "")
        layout.lines(layout.console(), "In ~/.bashrc: source <(mbjax completion bash)")
        return 0
    if argv != ["bash"]:
        raise errors.unknown("shell", " ".join(argv), ("bash",))
    cases = [f'    *:{name}) words="{" ".join(words(name))}" ;;' for name in program.COMMANDS]
    cases.append('    *:completion) words="bash --help" ;;')
    script = SCRIPT.replace("@COMMANDS@", " ".join((*program.COMMANDS, "completion", "--help", "--version")))
    print(script.replace("@CASES@", "\n".join(cases)), end="")
    return 0


def words(command: str) -> Iterator[str]:
    """The words that may stand behind a command: options and fields, with their values where these can be listed."""
    modes = {"train": options.TRAINING, "eval": options.RUNS}.get(command, (command,))
    known = {"model": config.model_names(), "dataset": config.dataset_names()}
    known |= {"figure": figures.KINDS, "selection": selections.NAMES} if command in ("figures", "compare") else {}
    if "dataset" not in options.of(*modes) and options.WORDS.get(command):
        words_of = [part for word in options.WORDS[command] for part in word.lower().split("|")]
        yield from (name for word in words_of for name in known.get(word, ()))
    for name, option in options.of(*modes).items():
        values = known.get(name) or (option.value.removesuffix(",...").split("|") if option.value.islower() else [])
        yield from _with_values(name, values, is_switch=not option.value)
    for path, spec in config.known_fields(config.Section).items():
        if all(options.reads(mode, path) for mode in modes[:1]):
            kinds = config.type_name(spec.annotation).split(" | ")
            values = kinds if all(kind.islower() for kind in kinds) else []
            yield from _with_values(path, values)
            if path.startswith(SHORT):  # as everybody writes them
                yield from _with_values(path.removeprefix("data."), values)


def _with_values(name: str, values: Sequence[str], *, is_switch: bool = False) -> Iterator[str]:
    if is_switch:
        yield f"--{name}"
    elif values:
        yield from (f"--{name}={value}" for value in values if "," not in value and "." not in value)
    else:
        yield f"--{name}="
