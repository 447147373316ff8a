"""Circumstances of a training: what a choice between a pretrained network and one from scratch depends on beside the
cells."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Circumstances"]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a choice depends on beside its column or target.

    Attributes:
        pretrained: auto, off, download, or a folder.
        num_rows: Of the table.
        on_gpu: Whether the training has a GPU.
    """

    pretrained: str = "auto"
    num_rows: int = 0
    on_gpu: bool = False
