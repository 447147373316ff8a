"""Resize: images brought to one size for a column, with the geometry of what was done.

One object serves a column and whatever has to follow it: a mask, boxes, a map that goes back to original pixels. Its
`matrix` says where a point of the original lies in the result, and its `resized` takes any array over the same pixels
along, class ids included (`nearest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np
from jaxtyping import Float64, Shaped
from PIL import Image

__all__ = ["Fit", "Resize", "common_size", "moments", "to_original"]

Fit = Literal["pad", "crop", "stretch"]

_LONGEST = 128  # pixels: above it, a network trained from scratch gains little and costs in proportion to the area
_MULTIPLE = 8  # three halvings without a remainder


@dataclass(frozen=True)
class Resize:
    """How an image of any size becomes one of a given size.

    Attributes:
        size: (height, width) of the result.
        fit: pad keeps the shape and fills the rest; crop keeps it and cuts what juts out; stretch bends it.
    """

    size: tuple[int, int]
    fit: Fit = "pad"

    def inner(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that an image is scaled to, before it is padded or cropped."""
        if self.fit == "stretch" or (height, width) == self.size:
            return self.size
        scales = self.size[0] / height, self.size[1] / width
        scale = min(scales) if self.fit == "pad" else max(scales)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def matrix(self, height: int, width: int) -> Float64[np.ndarray, "3 3"]:
        """From (x, y, 1) in an image of that size to (x, y, 1) in the result; pixel i spans [i, i + 1]."""
        inner = self.inner(height, width)
        top, left = (_offset(have, want) for have, want in zip(inner, self.size, strict=True))
        return np.array([[inner[1] / width, 0, left], [0, inner[0] / height, top], [0, 0, 1]], dtype=np.float64)

    def scaled(
        self,
        image: Image.Image,
        size: tuple[int, int] | None = None,
        box: tuple[float, float, float, float] | None = None,
        *,
        nearest: bool = False,
    ) -> Image.Image:
        """The image, scaled only.

        Args:
            image: The original, or a reduced copy of it.
            size: (height, width) of the original, where the image is a reduced copy.
            box: What of the copy is the original, see `raster.Upright`.
            nearest: For class ids, which have no mean.
        """
        whole = (0.0, 0.0, float(image.width), float(image.height))
        height, width = self.inner(*(size or (image.height, image.width)))
        if image.size == (width, height) and box in (None, whole):
            return image
        method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        return image.resize((width, height), method, box or whole)

    def placed(
        self, pixels: Shaped[np.ndarray, "channels height width"], fill: Shaped[np.ndarray, " num"]
    ) -> Shaped[np.ndarray, "num new_height new_width"]:
        """Scaled pixels in the middle of the result, cut where they jut out; contiguous. One channel is spread over
        as many as `fill` has."""
        pixels = self.cropped(pixels)
        shape = (len(fill), *self.size)
        if pixels.shape == shape:
            return np.ascontiguousarray(pixels)
        canvas = np.empty(shape, dtype=pixels.dtype)
        canvas[:] = fill[:, None, None]
        starts = [(want - have) // 2 for have, want in zip(pixels.shape[1:], self.size, strict=True)]
        (top, left), (height, width) = starts, pixels.shape[1:]
        canvas[:, top : top + height, left : left + width] = pixels
        return canvas

    def cropped(
        self, pixels: Shaped[np.ndarray, "channels height width"]
    ) -> Shaped[np.ndarray, "channels low_height low_width"]:
        """The middle of scaled pixels, no larger than the result."""
        starts = [max(0, have - want) // 2 for have, want in zip(pixels.shape[1:], self.size, strict=True)]
        return pixels[:, starts[0] : starts[0] + self.size[0], starts[1] : starts[1] + self.size[1]]

    def resized(
        self, pixels: Shaped[np.ndarray, "height width"], fill: int, *, nearest: bool = True
    ) -> Shaped[np.ndarray, "new_height new_width"]:
        """One uint8 plane over the same pixels, such as a mask of class ids: scaled and placed."""
        image = self.scaled(Image.fromarray(pixels), nearest=nearest)
        plane: np.ndarray = self.placed(np.array(image)[None], np.array([fill], dtype=pixels.dtype))[0]
        return plane


def to_original(
    plane: Shaped[np.ndarray, "height width"],
    matrix: Shaped[np.ndarray, "3 3"],
    size: tuple[int, int],
    *,
    fill: float | int = 0,
    nearest: bool = True,
) -> Shaped[np.ndarray, "new_height new_width"]:
    """A plane over the model's input, brought back to an original's pixels.

    Args:
        plane: uint8, int32 or float32, such as a mask of class ids or one class's probabilities.
        matrix: From the original to the input (`core.geometry.Geometry.matrices`).
        size: (height, width) of the original.
        fill: What the model did not see: what `crop` cut off.
        nearest: For class ids; else bilinear.
    """
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    coefficients = tuple(matrix[:2].flatten().tolist())  # Pillow, too, counts from pixels' edges
    return np.array(
        Image.fromarray(plane).transform(size[::-1], Image.Transform.AFFINE, coefficients, method, fillcolor=fill)
    )


def _offset(have: int, want: int) -> int:
    shared = min(have, want)
    return (want - shared) // 2 - (have - shared) // 2


def common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) for a column: the images' own if all are equal and at most 128 pixels high and wide; else their
    median height and width, shrunk together until the longer is at most 128, each rounded to a multiple of 8."""
    if len(set(sizes)) == 1 and max(sizes[0]) <= _LONGEST:
        return sizes[0]
    height, width = median(size[0] for size in sizes), median(size[1] for size in sizes)
    scale = min(1.0, _LONGEST / max(height, width))
    return _rounded(height * scale), _rounded(width * scale)


def _rounded(pixels: float) -> int:
    return max(_MULTIPLE, int(pixels / _MULTIPLE + 0.5) * _MULTIPLE)


def moments(image: Image.Image) -> Float64[np.ndarray, "3 4"]:
    """Whether it is gray; means of R, G, B and gray; means of their squares; all of values in [0, 1]."""
    pixels = np.asarray(image)
    gray = pixels if pixels.ndim == 2 else np.asarray(image.convert("L"))
    is_gray = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
    planes = [gray] * 3 if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]
    values = [plane.astype(np.float64) / 255 for plane in [*planes, gray]]
    return np.array([[is_gray] * 4, [v.mean() for v in values], [(v * v).mean() for v in values]])
