"""``python -m mbjax COMMAND``: the program ``mbjax``, also where it is not installed."""

import sys

from mbjax import cli

if __name__ == "__main__":
    sys.exit(cli.main())
