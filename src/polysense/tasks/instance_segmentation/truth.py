"""The things of a batch's rows, padded."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node

__all__ = ["InstanceTruth"]


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceTruth(Truth):
    """Masks with labels.

    Attributes:
        masks: 1 where a thing is, in the model's input; 0 throughout for padding.
        labels: Class ids; the number of classes for a class that was not learned; -1 for padding.
        kinds: 0: to be found. 1: a crowd, 2: difficult: neither is to be found, and finding one is no mistake.
        areas: In pixels of the original image, by which metrics tell small things from large ones.
        runs: Masks in the original image, whole, as runs of outside and inside pixels, column by column, padded with
            0. Augmentation leaves them alone.
    """

    masks: UInt8[Tensor, "batch things height width"]
    labels: Int[Tensor, "batch things"]
    kinds: Int[Tensor, "batch things"]
    areas: Float[Tensor, "batch things"]
    runs: Int[Tensor, "batch things runs"]

    @property
    def learned(self) -> Bool[Tensor, "batch things"]:
        """Things that a model is to find: in its input, with a label, neither a crowd nor difficult.

        A class that was not learned has an id beyond the others', which whoever calls must leave out.
        """
        there: Tensor = (self.masks > 0).flatten(2).any(dim=2) & (self.labels >= 0) & (self.kinds == 0)
        return there & self.present[:, None]
