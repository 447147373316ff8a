"""What was learned of a target that is any of several labels."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["MultilabelTarget"]


@dataclass(frozen=True, kw_only=True)
class MultilabelTarget(Target):
    """Any of several labels.

    Attributes:
        classes: The labels' names in id order.
        class_counts: Training rows that have each label, in the same order.
    """

    task: str = "multilabel"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
