"""What is learned of a target that is a count."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["CountTarget"]


@dataclass(frozen=True, kw_only=True)
class CountTarget(Target):
    """How often something happens.

    Attributes:
        mean: The mean of the training rows.
    """

    task: str = "count"
    mean: float
