"""The command: `polysense`, and `python -m polysense`, which torchrun needs.

Ctrl-C ends it in one line at any time, while the commands are being imported too.
"""

import signal
import sys

__all__ = ["run"]


def run() -> int:
    """Runs the command line; the exit code, see `cli.app.main`."""
    try:
        from polysense.cli.app import main

        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is Python's own end
    return code


if __name__ == "__main__":
    sys.exit(run())
