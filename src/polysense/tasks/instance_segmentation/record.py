"""What was learned of a target that is labeled masks of single things in an image column."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["InstanceTarget"]


@dataclass(frozen=True, kw_only=True)
class InstanceTarget(Target):
    """Labeled things, each with a mask of its own.

    Attributes:
        classes: The class names in id order.
        class_counts: Training things of each class, in the same order.
        over: The input column of images that the things lie in.
        size: (height, width) that the images are brought to.
        written_score: Things that are less sure are neither written nor drawn.
        usual_boxes: Boxes that stand for the training things, see `data.placed_target.usual_boxes`.
    """

    task: str = "instance_segmentation"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    over: str = ""
    size: tuple[int, int] = (0, 0)
    written_score: float = 0.0
    usual_boxes: tuple[tuple[float, ...], ...] = ()

    @property
    def other(self) -> int:
        """The id of things whose class the training rows do not have: never predicted, and counted as missed."""
        return len(self.classes)
