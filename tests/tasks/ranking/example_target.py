"""A choice for the tests over every kind: users are two classes, and each row's user chose one of three items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OVER = None


def example_target(index: int, folder: Path) -> str:
    """The item's key."""
    del folder
    return f"item {index % 3}"


def settings(column: str | None) -> dict[str, Any]:
    """Of the config."""
    del column
    return {"user": "kind", "item": "the ranking", "history": 4}
