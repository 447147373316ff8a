"""SegmentAligner: where something lies in one cell, between the table's own terms and the column's steps.

The table says characters of a text, seconds of an audio clip, or a label for each word or frame. A model knows only the
steps of what it was given: tokens, samples. An aligner is made for one row and maps both ways, so that a task over
segments needs to know nothing of the modality that they lie in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["CellSegment", "SegmentAligner"]


class CellSegment(NamedTuple):
    """A segment in the table's terms; `text` is what stands there, of a text."""

    start: float
    end: float
    text: str | None = None


class SegmentAligner(ABC):
    """One cell's length in both terms.

    Attributes:
        length: Steps of the column.
        extent: Its end in the table's terms.
        unit: What the table counts in, for messages.
        slack: How far a segment may run over the end; it is then cut there.
        words: Where its words lie, a label each; None where a list of labels is spread evenly over the cell.
        text: The text that segments are characters of; None where they are none.
    """

    length: int
    extent: float
    unit: str
    slack: float = 0.0
    words: Sequence[tuple[int, int]] | None = None
    text: str | None = None

    @abstractmethod
    def positions(self, num_labels: int) -> Sequence[tuple[float, float]]:
        """Where each label of a list of labels lies, in the table's terms.

        Raises:
            DecodeError: The cell takes another number of labels.
        """

    @abstractmethod
    def steps(self, start: float, end: float) -> tuple[float, float] | None:
        """A segment of the table in the column's steps; None where nothing of it was read."""

    @abstractmethod
    def terms(self, start: float, end: float) -> CellSegment:
        """A segment of steps in the table's terms."""
