"""What the user typed to start this process, so that hints name commands that work for him.

One program, ``mbjax COMMAND``, has several doors: the scripts ``train.py`` and ``eval.py`` of a checkout, the installed
``mbjax``, ``mbjax-train`` and ``mbjax-eval``, ``python -m mbjax COMMAND`` and ``python -m mbjax.data`` and the like.
"""

from __future__ import annotations

import pathlib
import sys

COMMANDS = ("train", "sweep", "eval", "recommend", "explain", "data", "compare", "figures", "bench", "results")

_SCRIPTS = {"train": "python train.py", "eval": "python eval.py", "recommend": "python eval.py --recommend"}
_INSTALLED = {"train": "mbjax-train", "eval": "mbjax-eval", "recommend": "mbjax-eval --recommend"}


def command(name: str) -> str:
    """How a command is written in the way that this process was started: ``"python train.py"``, ``"mbjax train"``.

    Args:
      name: of ``COMMANDS``.
    """
    if name not in COMMANDS:
        raise ValueError(f"'{name}' is none of {', '.join(COMMANDS)}")
    started = pathlib.PurePath(sys.argv[0] if sys.argv else "")
    folder = started.parent
    if started.name in ("train.py", "eval.py") and folder.name != "cli":
        return _SCRIPTS.get(name, f"python -m mbjax.{name}")
    if started.stem in ("mbjax-train", "mbjax-eval"):
        return _INSTALLED.get(name, f"mbjax {name}")
    if started.name == "__main__.py" and folder.name == "mbjax":
        return f"python -m mbjax {name}"
    module = folder.name if started.name == "__main__.py" else started.stem
    if module in COMMANDS and "mbjax" in (folder.name, folder.parent.name):
        return f"python -m mbjax.{name}" if module == name else f"python -m mbjax {name}"
    return f"mbjax {name}"
