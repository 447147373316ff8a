"""What was learned of a column of videos."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column

__all__ = ["VideoColumn"]


@dataclass(frozen=True, kw_only=True)
class VideoColumn(Column):
    """A column of videos, as frames.

    Attributes:
        frame: The record of its frames, a column of images: what encoders are built from.
    """

    modality: str = "video"
    frame: Column
