"""The command: `polysense`, and `python -m polysense`, which torchrun needs.

Ctrl-C ends it in one line at any time, while the commands are being imported too.
"""

import gc
import signal
import sys
import time

__all__ = ["run"]


def run() -> int:
    """Runs the command line; the exit code, see `cli.app.main`."""
    started = time.monotonic()  # of the command's time, imports are a part
    # With Python's 700 a tenth of a short command's time goes into walking what it has just imported.
    gc.set_threshold(5_000, 10, 10)
    try:
        from polysense.cli.app import main

        code = main(started=started)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is Python's own end
    return code


if __name__ == "__main__":
    sys.exit(run())
