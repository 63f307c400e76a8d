"""The command line: words -> options -> configuration -> ``experiment``; one program, ``mbjax COMMAND``, many doors.

Options are read by hand rather than by argparse or tyro: which fields exist is known only when the model is, a
wrong one must give one line with the nearest right one, and neither library does that. JAX is imported after the
names have been checked, so that ``--help`` and errors come at once.

Exit codes: 0, those of ``mbjax.errors``, 1 for a file that cannot be written or read, 130 after Ctrl-C.
"""

from mbjax.cli.commands import main
from mbjax.cli.evaluate import main as eval_main
from mbjax.cli.evaluate import recommend_main
from mbjax.cli.train import main as train_main

__all__ = ["eval_main", "main", "recommend_main", "train_main"]
