"""Servers of the labeling page in processes of their own, which tests may kill.

They are forked from a process that has imported everything and computed nothing, so that one starts in a fraction of a
second.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import socket
import time
from pathlib import Path
from typing import Any

CLASSES = ["good", "bad", "odd"]


def serve(folder: Path, port: int, settings: dict[str, Any]) -> None:
    """Labels folder/table.csv until it is killed."""
    import polysense
    from polysense.serving.labeling.server import serve_labeling

    with polysense.label(
        folder / "table.csv", target="mood", classes=CLASSES, output=folder / "labels", strategy="off", **settings
    ) as session:
        serve_labeling(session, port=port)


def started(folder: Path, port: int, **settings: Any) -> multiprocessing.process.BaseProcess:
    """A server, which may not answer yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["polysense.api", "polysense.serving.labeling.server"])
    process = context.Process(target=serve, args=(folder, port, settings), daemon=True)
    process.start()
    return process


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, seconds: float = 120) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.05)
