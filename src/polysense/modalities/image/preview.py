"""An image as a person sees it: a thumbnail of the preprocessed item, so that one sees what the model gets."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["thumbnail"]

_SIDE = 128  # pixels at most


def thumbnail(
    pixels: UInt8[np.ndarray, "channels height width"], side: int = _SIDE
) -> UInt8[np.ndarray, "small_height small_width 3"]:
    """The image, shrunk if it is larger than `side`, in RGB."""
    image = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.array(image.convert("RGB"))
