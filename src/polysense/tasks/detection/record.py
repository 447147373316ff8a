"""What was learned of a target that is labeled boxes in an image column."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["DetectionTarget"]


@dataclass(frozen=True, kw_only=True)
class DetectionTarget(Target):
    """Labeled boxes.

    Attributes:
        classes: The class names in id order.
        class_counts: Training boxes of each class, in the same order.
        over: The input column of images that the boxes lie in.
        size: (height, width) that the images are brought to.
        written_score: Detections that are less sure are neither written nor drawn.
        usual_boxes: Boxes that stand for those of the training rows, as fractions of an image's width and height:
            (class id, share of the images that have one of its kind, left, top, right, bottom). The baseline predicts
            them for every image.
    """

    task: str = "detection"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    over: str = ""
    size: tuple[int, int] = (0, 0)
    written_score: float = 0.0
    usual_boxes: tuple[tuple[float, ...], ...] = ()

    @property
    def other(self) -> int:
        """The id of boxes whose class the training rows do not have: never predicted, and counted as missed."""
        return len(self.classes)
