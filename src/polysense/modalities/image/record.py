"""What was learned of a column of images, and what an encoder can ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column, Requirements

__all__ = ["ImageColumn", "ImageRequirements"]


@dataclass(frozen=True, kw_only=True)
class ImageColumn(Column):
    """A column of images.

    Attributes:
        image_size: (height, width) in pixels after resizing.
        num_channels: 1 for gray, 3 for RGB.
        mean: Per channel, of values scaled to [0, 1].
        std: Likewise the standard deviation.
        whole_range: What is black and white in images of more than 8 bits a channel; None where there were none.
        float_range: Likewise in images of floats.
    """

    modality: str = "image"
    image_size: tuple[int, int]
    num_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    whole_range: tuple[float, float] | None = None
    float_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.num_channels:  # of a damaged bundle, which would else end in torch's own message
                raise ValueError(
                    f"{name}: found {len(values)} values for {self.num_channels} channels, expected as many"
                )


@dataclass(frozen=True, kw_only=True)
class ImageRequirements(Requirements):
    """What an encoder asks of a column of images.

    Attributes:
        image_size: (height, width) in pixels.
        num_channels: 1 or 3.
        mean: Per channel, of values scaled to [0, 1].
        std: Likewise.
    """

    image_size: tuple[int, int] | None = None
    num_channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
