"""`python -m polysense`, which torchrun needs."""

import sys

from polysense.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
