"""Pictures: moved, cropped, lit and colored otherwise, partly covered.

All geometry is one affine map and one bilinear sampling, so an image is blurred once however much is asked for: a crop,
a policy's shears and turns and the moves of their own are multiplied before. A policy's changes of color come first, on
whole pixels, so that its histograms are the image's own and not those of what came in from outside, which has the
column's mean color: what a normalized image's zero is. Flips are off by default: a mirrored digit, letter or chest is
another one; so are changes of color, which tells ripe from unripe.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from polysense.config.limits import Fraction, Limit, NonNegativeFloat
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.data.augmentation.warp import of_single_items, sample
from polysense.errors import ConfigError
from polysense.modalities.image.policy import PolicyConfig, PolicyDraws
from polysense.modalities.image.record import ImageColumn

__all__ = ["ImageTransform", "ImageTransformConfig"]

_MOST_DEGREES, _MOST_HUE = 45.0, 20.0  # up to which left is left, and red is red
_DRAWS = 20  # and behind them those of the policy
# Light and two differences of color (the NTSC's): a turn of the latter two is a turn of the hue at equal light.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True, kw_only=True)
class ImageTransformConfig(TransformConfig):
    """Random affine transform, brightness, color and erasing of images.

    Attributes:
        probability: Fraction of the images that are augmented, from 0 to 1.
        rotate_degrees: Turn by up to this many degrees either way.
        scale: Grow or shrink by up to this fraction; 0.1 means from 1/1.1 to 1.1.
        translate: Move by up to this fraction of the width and of the height.
        brightness: Add up to this fraction of full white, or take it away.
        contrast: Stretch around the mean color by up to this fraction; 0.2 means from 1/1.2 to 1.2.
        saturation: Make colors fuller or paler by up to this fraction; 0.5 means from 1/1.5 to 1.5. Without it,
            contrastive learning tends to match images by their color histogram (Chen et al., "A simple framework for
            contrastive learning of visual representations", ICML 2020, section 3).
        hue_degrees: Turn colors by up to this many degrees of the color wheel either way.
        gray_probability: Convert this fraction of the augmented images to grayscale.
        flip: Flip half of the images left to right. Use it only if a mirrored image has the same label.
        crop_area: The smallest and the largest part of an image that a random crop keeps, as fractions of its area; the
            crop is scaled up to the image's size (Szegedy et al., "Going deeper with convolutions", CVPR 2015, section
            6, take 0.08 to 1). [1, 1] crops nothing.
        crop_stretch: With a crop, how far its ratio of width to height differs from the image's own, and so how far its
            content is stretched, either way: 1.33 means from 1/1.33 to 1.33.
        policy: Random operations of a RandAugment-like policy, such as {operations: 2, magnitude: 9}; null: none.
        erase_probability: Erase a rectangle of this fraction of the augmented images with the mean color (Zhong et al.,
            "Random erasing data augmentation", AAAI 2020). The geometry does not change: a mask keeps its labels under
            the rectangle.
        erase_max_area: The largest such rectangle, as a fraction of the image; the smallest is 2%.
        together: Whether all images of a cell are augmented consistently, as the frames of a video must be.
    """

    type: Literal["image"] = "image"
    probability: Fraction = 1.0
    rotate_degrees: Annotated[float, Limit(0, 180)] = 10.0
    scale: NonNegativeFloat = 0.1
    translate: Fraction = 0.08
    brightness: Fraction = 0.1
    contrast: NonNegativeFloat = 0.2
    saturation: NonNegativeFloat = 0.0
    hue_degrees: Annotated[float, Limit(0, 180)] = 0.0
    gray_probability: Fraction = 0.0
    flip: bool = False
    crop_area: tuple[float, float] = (1.0, 1.0)
    crop_stretch: Annotated[float, Limit(1, 10)] = 1.33
    policy: PolicyConfig | None = None
    erase_probability: Fraction = 0.25
    erase_max_area: Fraction = 0.2
    together: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            expected = "two fractions above 0 and up to 1, the lower one first"
            raise ConfigError(f"{self.type}.crop_area is {self.crop_area!r}, expected {expected}")

    @property
    def crops(self) -> bool:
        """Whether a part of an image may be all that is left of it."""
        return self.crop_area != (1.0, 1.0)

    @property
    def moves(self) -> bool:
        """What is turned, scaled, moved, cropped or mirrored."""
        own = self.rotate_degrees or self.scale or self.translate or self.flip or self.crops
        return bool(self.probability and (own or (self.policy is not None and self.policy.moves)))

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """What captions and labels may speak of."""
        if not self.probability:
            return {}
        changed: dict[str, dict[str, object]] = {}

        def add(condition: bool, neutral: Mapping[str, object], *names: str) -> None:
            for name in names if condition else ():
                changed.setdefault(name, {}).update(neutral)

        turned = self.rotate_degrees > _MOST_DEGREES
        add(self.flip, {"flip": False}, "left and right", "the direction of a turn")
        add(turned, {"rotate_degrees": _MOST_DEGREES}, "left and right", "up and down")
        add(self.hue_degrees > _MOST_HUE, {"hue_degrees": 0.0}, "colors")
        add(self.saturation > 0.5, {"saturation": 0.5}, "colors")
        add(self.gray_probability > 0, {"gray_probability": 0.0}, "colors")
        add(self.brightness > 0.2, {"brightness": 0.2}, "light and dark")
        add(self.scale > 0.3, {"scale": 0.3}, "large and small")
        add(self.crop_area[0] < 0.5, {"crop_area": (0.5, max(self.crop_area[1], 0.5))}, "large and small")
        if self.policy is not None:
            for name in ("colors", "light and dark"):
                add(name in self.policy.disturbs, {"policy": self.policy.without(name)}, name)
        return changed

    def build(self, column: Column) -> ImageTransform:
        """The transform for an image column."""
        return ImageTransform(self, ImageColumn.of(column))


class ImageTransform(Transform):
    """See `ImageTransformConfig`."""

    def __init__(self, config: ImageTransformConfig, column: ImageColumn) -> None:
        self.config = config
        self._name = f"image:{column.name}"
        self._mean = torch.tensor(column.mean).view(1, -1, 1, 1) * 255

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies the present images of a batch; uint8 [batch, items, channels, height, width]."""
        num_items = column.values.shape[1]
        num_draws = _DRAWS + (0 if self.config.policy is None else self.config.policy.num_draws)
        draws = item_uniforms(num_draws, seed, epoch, rows, self._name, 1 if self.config.together else num_items)
        draws = np.broadcast_to(draws, (len(rows), num_items, num_draws)).reshape(-1, num_draws)
        chosen = torch.from_numpy(draws[:, 0] < self.config.probability).to(column.values.device)
        chosen &= column.lengths.flatten() > 0
        pixels = column.values.flatten(0, 1)
        if pixels.is_cuda:
            # Picking images out would wait for the device at every step; it rather varies the absent ones too.
            changed = torch.where(chosen[:, None, None, None], self._vary(pixels, draws), pixels)
        else:
            index = chosen.nonzero()[:, 0]
            changed = pixels.clone()
            changed[index] = self._vary(pixels[index], draws[index.numpy()])
        return dataclasses.replace(
            column, values=changed.view_as(column.values), geometry=self._moved(column, draws, num_items)
        )

    def _moved(self, column: ColumnBatch, draws: np.ndarray, num_items: int) -> Float[Tensor, "batch 3 3"] | None:
        """How each row's images moved; NaN where a row's images each moved in a way of its own."""
        if not self.config.moves:
            return None
        first = draws[::num_items]
        augmented = (first[:, 0] < self.config.probability)[:, None, None]
        matrices = np.where(augmented, np.linalg.inv(self._sources(first, *column.values.shape[-2:])), np.eye(3))
        moved = torch.from_numpy(matrices.astype(np.float32)).to(column.values.device)
        if num_items == 1 or self.config.together:
            return moved
        return of_single_items(moved, column.lengths)

    def _vary(
        self, pixels: UInt8[Tensor, "images channels height width"], draws: np.ndarray
    ) -> UInt8[Tensor, "images channels height width"]:
        config, mean = self.config, self._mean.to(pixels.device)
        if config.policy is not None:
            pixels = self._policy(draws).colored(pixels)
        values = pixels.float()
        if values.shape[1] == 3 and (config.saturation or config.hue_degrees or config.gray_probability):
            values = self._colored(values, draws)
        values.sub_(mean)  # now 0 is the mean color, which comes in from outside
        if config.moves:
            sources = torch.from_numpy(self._sources(draws, *values.shape[2:]).astype(np.float32))
            values = sample(values, sources.to(values.device))
        if config.contrast:
            values.mul_(_per_image((1 + config.contrast) ** _symmetric(draws[:, 5]), values))
        if config.brightness:
            values.add_(_per_image(255 * config.brightness * _symmetric(draws[:, 6]), values))
        if config.erase_probability and config.erase_max_area:
            values.masked_fill_(self._erased(draws, values), 0.0)
        return values.add_(mean).round_().clamp_(0, 255).to(torch.uint8)

    def _colored(self, values: Float[Tensor, "images 3 height width"], draws: np.ndarray) -> Tensor:
        """Turns and stretches each image's colors around its grays: a linear map of the color difference."""
        config = self.config
        angle = math.radians(config.hue_degrees) * _symmetric(draws[:, 13])
        full = (1 + config.saturation) ** _symmetric(draws[:, 14])
        full = np.where(draws[:, 15] < config.gray_probability, 0.0, full)
        turn = np.zeros((len(draws), 3, 3))
        turn[:, 0, 0] = 1.0
        turn[:, 1, 1] = turn[:, 2, 2] = full * np.cos(angle)
        turn[:, 1, 2], turn[:, 2, 1] = -full * np.sin(angle), full * np.sin(angle)
        weights = np.linalg.inv(_YIQ) @ turn @ _YIQ
        # Written out rather than a matrix product, whose rounding may depend on how many images there are.
        parts = [
            sum(_per_image(weights[:, to, of], values) * values[:, of : of + 1] for of in range(3)) for to in range(3)
        ]
        return torch.cat([torch.as_tensor(part) for part in parts], dim=1)

    def _sources(self, draws: np.ndarray, height: int, width: int) -> Float64[np.ndarray, "images 3 3"]:
        """From a point of each result to where it is taken from: turned and scaled around the middle, then moved."""
        config = self.config
        matrices = self._turned(draws, height, width)
        if config.policy is not None and config.policy.moves:
            matrices = self._policy(draws).sources(height, width) @ matrices
        return self._cropped(draws, height, width) @ matrices if config.crops else matrices

    def _policy(self, draws: np.ndarray) -> PolicyDraws:
        assert self.config.policy is not None
        return PolicyDraws(self.config.policy, draws[:, _DRAWS:])

    def _cropped(self, draws: np.ndarray, height: int, width: int) -> Float64[np.ndarray, "images 3 3"]:
        """From a point of each result, an enlarged crop, to where it is taken from."""
        low, high = self.config.crop_area
        area = low + (high - low) * draws[:, 16]
        stretch = self.config.crop_stretch ** _symmetric(draws[:, 17])
        wide, tall = np.minimum(np.sqrt(area * stretch), 1), np.minimum(np.sqrt(area / stretch), 1)
        matrices = np.zeros((len(draws), 3, 3))
        matrices[:, 0, 0], matrices[:, 0, 2] = wide, (1 - wide) * draws[:, 18] * width
        matrices[:, 1, 1], matrices[:, 1, 2] = tall, (1 - tall) * draws[:, 19] * height
        matrices[:, 2, 2] = 1.0
        return matrices

    def _turned(self, draws: np.ndarray, height: int, width: int) -> Float64[np.ndarray, "images 3 3"]:
        config = self.config
        angle = math.radians(config.rotate_degrees) * _symmetric(draws[:, 1])
        shrink = (1 + config.scale) ** -_symmetric(draws[:, 2])
        mirror = np.where(draws[:, 11] < 0.5, -1.0, 1.0) if config.flip else 1.0
        sine, cosine = np.sin(angle) * shrink, np.cos(angle) * shrink
        x, y = width / 2, height / 2
        matrices = np.zeros((len(draws), 3, 3))
        matrices[:, 0, 0], matrices[:, 0, 1] = mirror * cosine, -mirror * sine
        matrices[:, 1, 0], matrices[:, 1, 1] = sine, cosine
        matrices[:, 0, 2] = x - mirror * (cosine * x - sine * y) + config.translate * width * _symmetric(draws[:, 3])
        matrices[:, 1, 2] = y - (sine * x + cosine * y) + config.translate * height * _symmetric(draws[:, 4])
        matrices[:, 2, 2] = 1.0
        return matrices

    def _erased(self, draws: np.ndarray, values: Tensor) -> Tensor:
        """Bool [images, 1, height, width]: the covered pixels."""
        config = self.config
        height, width = values.shape[2:]
        smallest = min(0.02, config.erase_max_area)
        area = (smallest + (config.erase_max_area - smallest) * draws[:, 8]) * height * width
        area = np.where(draws[:, 7] < config.erase_probability, area, 0.0)
        aspect = 3.3 ** _symmetric(draws[:, 12])
        tall = np.minimum(np.round(np.sqrt(area * aspect)), height)
        wide = np.minimum(np.round(np.sqrt(area / aspect)), width)
        top = np.floor(draws[:, 9] * (height - tall + 1))
        left = np.floor(draws[:, 10] * (width - wide + 1))
        y = torch.arange(height, device=values.device)[None, None, :, None]
        x = torch.arange(width, device=values.device)[None, None, None, :]
        in_rows = (y >= _per_image(top, values)) & (y < _per_image(top + tall, values))
        in_columns = (x >= _per_image(left, values)) & (x < _per_image(left + wide, values))
        return in_rows & in_columns


def _symmetric(draws: np.ndarray) -> np.ndarray:
    """[0, 1) to [-1, 1)."""
    return 2 * draws - 1


def _per_image(values: np.ndarray, like: Tensor) -> Float[Tensor, "images 1 1 1"]:
    """A float per image, on the device of `like`."""
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None, None]
