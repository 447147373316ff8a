"""The server of the labeling page: on the loopback interface alone, until it is interrupted."""

from __future__ import annotations

import contextlib
import socket
import webbrowser
from collections.abc import Callable

import uvicorn

from polysense.core.logs import get_logger
from polysense.errors import ConfigError
from polysense.serving.labeling.app import labeling_app
from polysense.workflows.labeling.session import LabelingSession

__all__ = ["serve_labeling"]

_log = get_logger("polysense.labeling")
_SECONDS_TO_FINISH = 3


def serve_labeling(
    session: LabelingSession,
    *,
    port: int = 0,
    opens: bool = False,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serves a session's page until the process is interrupted.

    Args:
        session: Open.
        port: Of the loopback interface; 0 takes a free one.
        opens: Whether a browser is opened.
        started: Called with the page's address once it can be opened.

    Raises:
        ConfigError: Something else listens on the port.
    """
    listening = _listening(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    config = uvicorn.Config(
        labeling_app(session),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    server = uvicorn.Server(config)
    with listening:
        if started is not None:
            started(address)
        if opens:
            with contextlib.suppress(webbrowser.Error, OSError):
                webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):  # it is how the labeling ends
            server.run(sockets=[listening])
    _log.info("the labeling page is closed")


def _listening(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # So that a server that was killed can be started again at once.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()  # a browser that is told the address waits instead of being refused
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--port {port}: {reason.rstrip('.')}; name another one, or leave it out for a free one"
        ) from None
    return listening
