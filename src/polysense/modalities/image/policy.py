"""A policy of random operations: a few of them, drawn for each image, all at one magnitude.

After Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", NeurIPS 2020,
section 3: two numbers in place of a search. The ranges are those of AutoAugment (Cubuk et al., CVPR 2019, table 6), an
operation that has a direction goes either way, and operations of color equal Pillow's (`ImageOps`, `ImageEnhance`) up
to the rounding of one level. Unlike there all moves of an image are one matrix, so that masks follow and nothing is
blurred twice; colors change before anything moves.

Sums over an image (its mean, its histograms) are of integers, so no bit depends on what other images there are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from polysense.config.base import Config
from polysense.config.limits import Limit, PositiveInt
from polysense.errors import ConfigError

__all__ = ["COLORING", "MOVING", "Operation", "PolicyConfig", "PolicyDraws"]

Operation: TypeAlias = Literal[
    "identity", "autocontrast", "equalize", "posterize", "solarize", "color", "contrast", "brightness", "sharpness",
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y",
]  # fmt: skip

MOVING: tuple[Operation, ...] = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
COLORING: tuple[Operation, ...] = (
    "autocontrast", "equalize", "posterize", "solarize", "color", "contrast", "brightness", "sharpness",
)  # fmt: skip
_ALL: tuple[Operation, ...] = ("identity", *COLORING, *MOVING)
_MOST, _SLIGHT = 10.0, 3.0  # the largest magnitude, and one that changes no meaning
_DISTURBING: dict[str, tuple[Operation, ...]] = {
    "colors": ("solarize", "color", "equalize"),
    "light and dark": ("solarize", "brightness", "autocontrast", "equalize"),
}
_LIGHT = (19595, 38470, 7471)  # of red, green and blue in 65536ths, as Pillow converts to gray
_SMOOTH = torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]])  # in 13ths

Pixels: TypeAlias = UInt8[Tensor, "images channels height width"]


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(Config):
    """How many random operations, and how strong.

    Attributes:
        operations: Operations of each image, drawn with replacement.
        magnitude: From 0 (hardly any change) to 10: turns by 30 degrees, shears of 0.3, moves of 45%, colors, contrast,
            brightness and sharpness from 0.1 to 1.9 times, 4 bits a channel, all levels inverted.
        choices: The operations that are drawn from. Leave out what changes an image's meaning: solarize and color where
            colors matter, rotate and the shears where directions do.
    """

    operations: PositiveInt = 2
    magnitude: Annotated[float, Limit(0, 10)] = 9.0
    choices: tuple[Operation, ...] = _ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.choices or len(set(self.choices)) != len(self.choices):
            raise ConfigError(f"policy.choices: found {list(self.choices)}, expected at least one, each once")

    @property
    def moves(self) -> bool:
        """Whether one of the operations moves what is in an image."""
        return bool(self.magnitude) and not set(MOVING).isdisjoint(self.choices)

    @property
    def disturbs(self) -> Mapping[str, tuple[Operation, ...]]:
        """Per property of an image that it changes the operations that do, see `TransformConfig.disturbs`."""
        if self.magnitude <= _SLIGHT:
            return {}
        each = {name: tuple(one for one in self.choices if one in those) for name, those in _DISTURBING.items()}
        return {name: those for name, those in each.items() if those}

    def without(self, name: str) -> PolicyConfig | None:
        """The policy without the operations that disturb a property; None where nothing is left of it."""
        choices = tuple(each for each in self.choices if each not in self.disturbs.get(name, ()))
        return dataclasses.replace(self, choices=choices) if choices else None

    @property
    def num_draws(self) -> int:
        """Uniforms for each image."""
        return 2 * self.operations


class PolicyDraws:
    """What a policy does to each of some images.

    Args:
        config: The policy.
        draws: [images, config.num_draws], uniforms in [0, 1).
    """

    def __init__(self, config: PolicyConfig, draws: np.ndarray) -> None:
        self._choices = config.choices
        self._which = (draws[:, : config.operations] * len(config.choices)).astype(np.int64)
        self._strength = config.magnitude / _MOST
        self._sign = np.where(draws[:, config.operations :] < 0.5, -1.0, 1.0)

    def sources(self, height: int, width: int) -> Float64[np.ndarray, "images 3 3"]:
        """From a point of each result to where it is taken from."""
        result = np.tile(np.eye(3), (len(self._which), 1, 1))
        middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
        back = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        for step in range(self._which.shape[1]):
            amounts = self._strength * self._sign[:, step]
            for number, operation in enumerate(self._choices):
                if operation in MOVING:
                    rows = self._which[:, step] == number
                    matrices = _moved(operation, amounts[rows], height, width)
                    result[rows] = result[rows] @ middle @ matrices @ back
        return result

    def colored(self, pixels: Pixels) -> Pixels:
        """The images with their colors changed; none of them moves."""
        result = pixels
        for step in range(self._which.shape[1]):
            for number, operation in enumerate(self._choices):
                rows = np.flatnonzero(self._which[:, step] == number)
                change = _CHANGES.get(operation)
                if change is None or not len(rows):
                    continue
                if result is pixels:
                    result = pixels.clone()
                # Where the draws lie is known here, so no device is waited for.
                index = torch.from_numpy(rows).to(pixels.device)
                result[index] = change(result[index], self._strength, self._sign[rows, step])
        return result


def _moved(operation: Operation, amounts: np.ndarray, height: int, width: int) -> Float64[np.ndarray, "images 3 3"]:
    """From a point of the result to where it is taken from, the middle being 0."""
    matrices = np.tile(np.eye(3), (len(amounts), 1, 1))
    if operation == "rotate":
        angle = math.radians(30) * amounts
        matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
        matrices[:, 0, 1], matrices[:, 1, 0] = -np.sin(angle), np.sin(angle)
    elif operation == "shear_x":
        matrices[:, 0, 1] = 0.3 * amounts
    elif operation == "shear_y":
        matrices[:, 1, 0] = 0.3 * amounts
    elif operation == "translate_x":
        matrices[:, 0, 2] = 0.45 * amounts * width
    else:
        assert operation == "translate_y", operation
        matrices[:, 1, 2] = 0.45 * amounts * height
    return matrices


def _light(pixels: Pixels) -> UInt8[Tensor, "images 1 height width"]:
    """In gray, as Pillow's mode L."""
    if pixels.shape[1] == 1:
        return pixels
    each = pixels.int()
    total = sum(weight * each[:, channel : channel + 1] for channel, weight in enumerate(_LIGHT))
    return ((total + 32768) >> 16).to(torch.uint8)  # type: ignore[union-attr]


def _blended(less: Tensor, pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    """From a degenerate image towards the image and beyond, 0.1 to 1.9 times at the largest magnitude."""
    factor = torch.from_numpy((1 + 0.9 * strength * sign).astype(np.float32)).to(pixels.device)[:, None, None, None]
    less = less.float()
    return (less + factor * (pixels.float() - less)).clamp_(0, 255).to(torch.uint8)


def _color(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    return _blended(_light(pixels), pixels, strength, sign)


def _contrast(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    light = _light(pixels)
    mean = light.long().sum(dim=(1, 2, 3), keepdim=True).double() / light[0].numel()
    return _blended((mean + 0.5).floor(), pixels, strength, sign)


def _brightness(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    return _blended(torch.zeros_like(pixels), pixels, strength, sign)


def _sharpness(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    smooth = pixels.float()
    if min(pixels.shape[2:]) > 2:
        # Sums of integers below 2^24 are exact in whatever order; the border stays.
        padded = smooth.clone()
        inner = sum(
            float(_SMOOTH[y, x]) * smooth[:, :, y : y + smooth.shape[2] - 2, x : x + smooth.shape[3] - 2]
            for y in range(3)
            for x in range(3)
        )
        padded[:, :, 1:-1, 1:-1] = (inner / 13).round()  # type: ignore[union-attr]
        smooth = padded
    return _blended(smooth, pixels, strength, sign)


def _posterize(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    del sign
    bits = 8 - round(4 * strength)
    return pixels & (256 - (1 << (8 - bits)))


def _solarize(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    del sign
    return torch.where(pixels.int() < round(256 * (1 - strength)), pixels, 255 - pixels)


def _autocontrast(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    del strength, sign
    low, high = (pick(pixels.flatten(2), dim=2)[..., None, None].double() for pick in (torch.amin, torch.amax))
    scale = 255 / (high - low).clamp(min=1)
    stretched = (pixels.double() * scale - low * scale).floor().clamp_(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, pixels)


def _equalize(pixels: Pixels, strength: float, sign: np.ndarray) -> Pixels:
    del strength, sign
    flat = pixels.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.int64, device=pixels.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    step = (flat.shape[2] - counts.gather(2, flat.amax(dim=2, keepdim=True))) // 255
    before = counts.cumsum(dim=2) - counts
    levels = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    changed = levels.gather(2, flat).view_as(pixels).to(torch.uint8)
    return torch.where(step[..., None] > 0, changed, pixels)


_CHANGES: dict[Operation, Callable[[Pixels, float, np.ndarray], Pixels]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}
