"""What was learned of a target that is labeled segments of a column."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["TaggingTarget"]


@dataclass(frozen=True, kw_only=True)
class TaggingTarget(Target):
    """Labeled segments of an input column.

    Attributes:
        classes: The class names in id order.
        class_counts: Training segments of each class, in the same order.
        over: The input column in which segments lie.
        boundaries: Whether two segments of one class that touch are two, told apart by where they begin (BIO tags);
            else they are one.
        class_lengths: Per class, its segments' share of the training rows' length; the rest is in none.
        units_per_second: What a segment's start and end count where the column runs in time; 0: its steps or tokens.
    """

    task: str = "tagging"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    over: str = ""
    boundaries: bool = False
    class_lengths: tuple[float, ...] = ()
    units_per_second: float = 0.0
