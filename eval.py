"""Evaluates a run or writes its ranked lists: ``python eval.py --workdir=RUN``; ``--help`` tells the rest."""

import sys

from mbjax import cli

if __name__ == "__main__":
    sys.exit(cli.eval_main())
