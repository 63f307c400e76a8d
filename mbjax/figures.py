"""``python -m mbjax.figures``: a door of the program; see ``mbjax.reporting.figures``."""

import sys

from mbjax.reporting.figures.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
