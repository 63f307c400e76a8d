"""Trains a model: ``python train.py --model=bvae --dataset=jd``; ``--help`` tells the rest."""

import sys

from mbjax import cli

if __name__ == "__main__":
    sys.exit(cli.train_main())
