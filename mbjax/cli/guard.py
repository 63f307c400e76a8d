"""The one entrance of every program: what a user can mend becomes one line on stderr and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from mbjax import errors
from mbjax.ops import heaps, stages

FULL = (errno.ENOSPC, errno.EDQUOT)
SMALLER = "Give fewer at once: train.batch_size, evaluate.batch_size, evaluate.item_tile, or a smaller model"


def run(program: Callable[[list[str]], int], argv: Sequence[str] | None = None) -> int:
    """Runs a program; returns its exit code, or that of the error that ended it.

    Args:
      program: from the command line to the exit code.
      argv: defaults to ``sys.argv[1:]``.
    """
    _mend_streams()
    heaps.limit()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def short(message, category, *where, **more):
            if issubclass(category, errors.MbjaxWarning):
                _say("warning", message)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = short
        try:
            with stages.heard(_told):
                code = program(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()  # here, where a full disk or a reader that has gone can still be told
            return code
        except errors.MbjaxError as error:
            _say("error", error)
            return error.exit_code
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of our output, such as head, has gone
            _drop_output()
            return 141
        except OSError as error:
            _say("error", _of_system(error) if _has_folder() else "the current folder is gone. Change to another one.")
            _drop_output_that_fails()
            return 1
        except MemoryError as error:
            _say("error", _of_memory(str(error)))
            return 1
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):  # JAX's, which has no class of its own for it
                raise
            _say("error", _of_memory(str(error)))
            return 1


def _mend_streams() -> None:
    """Lets output be written whatever its encoding: a character that it lacks is shown by its number."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as by >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
        elif hasattr(stream, "reconfigure") and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _told(what: str, done: int, total: int) -> None:
    _stages()(what, done, total)


@functools.cache
def _stages() -> Callable[[str, int, int], None]:
    """Shows what long work has got to. It takes a moment to import, which short programs do without."""
    from mbjax.train import progress

    return progress.Stages()


def _say(kind: str, message: object) -> None:
    print(f"{kind}: {' '.join(str(message).split())}", file=sys.stderr)


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _of_system(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    text = what if error.filename is None else f"{what}: '{error.filename}'"
    if error.errno in FULL:
        text += ". Free space and start again; a training run that has saved goes on with --resume."
    return text


def _of_memory(text: str) -> str:
    first = text.partition("\n")[0]
    return f"memory ran out{f' ({first})' if first else ''}. {SMALLER}."


def _drop_output_that_fails() -> None:
    """Where it is the output itself that cannot be written: the interpreter must not try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
