"""Cross entropy: minus the log of the true class's probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysense.tasks.classification.losses.base import ClassLoss, ClassLossConfig

__all__ = ["CrossEntropy", "CrossEntropyConfig"]


@dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig(ClassLossConfig):
    """Minus the log of the true class's probability."""

    type: Literal["cross_entropy"] = "cross_entropy"


class CrossEntropy(ClassLoss, config=CrossEntropyConfig):
    """The plain loss."""
