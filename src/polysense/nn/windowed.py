"""Heads whose predictions are put together from windows of a large picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from polysense.core.windows import Window, Windows

__all__ = ["WindowedHead"]


@runtime_checkable
class WindowedHead(Protocol):
    """A head that may read a large picture window by window at prediction."""

    @property
    def windows(self) -> Windows | None:
        """How its column's pictures are cut; None: they are seen whole."""

    def blended(
        self, outputs: Mapping[str, np.ndarray], windows: Sequence[Window], size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """The prediction of a whole picture.

        Args:
            outputs: What `predict` gives for its windows, one a row.
            windows: Where they lie.
            size: (height, width) of the picture.

        Returns:
            One row, in the picture's own pixels.
        """
