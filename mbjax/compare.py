"""``python -m mbjax.compare``: a door of the program; see ``mbjax.reporting.compare``."""

import sys

from mbjax.reporting.compare.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
