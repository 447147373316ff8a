"""Servers of pages on this machine. They need the extra `serve`, so they are imported when one is started."""

from __future__ import annotations

from importlib.util import find_spec

from polysense.errors import DependencyError

__all__ = ["require_server"]


def require_server() -> None:
    """Checks that what a server needs is installed.

    Raises:
        DependencyError: It is not.
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise DependencyError("the labeling page needs FastAPI and uvicorn: pip install 'polysense[serve]'")
