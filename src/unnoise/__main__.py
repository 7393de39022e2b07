"""`python -m unnoise`: the command line."""

import sys

from unnoise.cli import main

if __name__ == "__main__":
    sys.exit(main())
