"""``python -m glassloop``: the command line."""

import sys

from glassloop.cli import main

if __name__ == "__main__":
    sys.exit(main())
