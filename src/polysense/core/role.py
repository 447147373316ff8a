"""What a column of a table is used for."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """What a column of a table is used for."""

    INPUT = "input"
    TARGET = "target"
    SPLIT = "split"
    GROUP = "group"
    WEIGHT = "weight"
    IGNORED = "ignored"
