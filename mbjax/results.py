"""``python -m mbjax.results``: a door of the program; see ``mbjax.reporting.results``."""

import sys

from mbjax.reporting.results import main

if __name__ == "__main__":
    sys.exit(main())
