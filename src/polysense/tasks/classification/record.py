"""What was learned of a target that is one class of several."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["ClassificationTarget"]


@dataclass(frozen=True, kw_only=True)
class ClassificationTarget(Target):
    """One class of several.

    Attributes:
        classes: The class names in id order.
        class_counts: Training rows of each class, in the same order.
    """

    task: str = "classification"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
