"""The boxes of a batch's rows, padded."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node

__all__ = ["BoxTruth"]


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class BoxTruth(Truth):
    """Boxes as left, top, right, bottom, in pixels from edge to edge (see `core.geometry`).

    Attributes:
        boxes: In the model's input, as far as they lie in it. All 0 where a box does not, or is padding.
        labels: Class ids; the number of classes for a class that was not learned; -1 for padding.
        kinds: 0: to be found. 1: a crowd, 2: difficult: neither is to be found, and finding one is no mistake.
        originals: In the original image, whole. Augmentation leaves them alone.
        areas: In pixels of the original image, by which metrics tell small boxes from large ones.
    """

    boxes: Float[Tensor, "batch boxes 4"]
    labels: Int[Tensor, "batch boxes"]
    kinds: Int[Tensor, "batch boxes"]
    originals: Float[Tensor, "batch boxes 4"]
    areas: Float[Tensor, "batch boxes"]

    @property
    def learned(self) -> Bool[Tensor, "batch boxes"]:
        """Boxes that a model is to find: in its input, of a known class, neither a crowd nor difficult.

        A class that was not learned has an id beyond the others', which whoever calls must leave out.
        """
        sides = self.boxes[..., 2:] - self.boxes[..., :2]
        there: Tensor = (sides > 0).all(dim=-1) & (self.labels >= 0) & (self.kinds == 0)
        return there & self.present[:, None]
