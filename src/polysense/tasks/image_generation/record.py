"""What was learned of a target that is an image to be generated."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["CHANGED", "FREE", "ImageGenerationTarget"]

FREE = 256
"""In a row's start image: a value that is generated from nothing. Lower ones are kept as they are."""

CHANGED = 512
"""What is added to a value that generation only starts from."""


@dataclass(frozen=True, kw_only=True)
class ImageGenerationTarget(Target):
    """An image for each row.

    Attributes:
        image_size: (height, width) of the generated images in pixels.
        num_channels: 1 for gray, 3 for RGB.
        mean: Per channel, of the training images' values scaled to [0, 1].
        std: Likewise the standard deviation.
        shown: The table's column of the class that an image shows, by which generated images are judged; "" for none.
        shown_classes: The classes that it has in the training rows.
        starts: Whether rows may have images that generation starts from, as prompts (see `start`).
    """

    task: str = "image_generation"
    image_size: tuple[int, int] = (0, 0)
    num_channels: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    shown: str = ""
    shown_classes: tuple[str, ...] = ()
    starts: bool = False

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.num_channels:  # of a damaged bundle, which would else end in torch's own message
                raise ValueError(
                    f"{name}: found {len(values)} values for {self.num_channels} channels, expected as many"
                )

    @property
    def typical_prompt(self) -> int:
        """As many numbers as an image has, where generation may start from images."""
        return self.num_channels * self.image_size[0] * self.image_size[1] if self.starts else 0

    @property
    def padding_id(self) -> int:
        """What stands for a value that is generated from nothing."""
        return FREE

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return (self.num_channels, *self.image_size)
