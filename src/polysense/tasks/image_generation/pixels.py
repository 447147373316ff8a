"""Arrays of pixels as PNG files and as small thumbnails."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

__all__ = ["THUMBNAIL", "encode_png", "enlarged", "thumbnail", "thumbnail_png"]

THUMBNAIL = 16
"""Height and width of the thumbnails that images are compared by."""

_SHOWN = 96  # pixels of a page


def encode_png(pixels: np.ndarray) -> bytes:
    """The PNG file of an image, uint8 [channels, height, width], of 1 or 3 channels."""
    file = BytesIO()
    _image(pixels).save(file, "PNG")
    return file.getvalue()


def enlarged(file: bytes) -> bytes:
    """The PNG file of an image for a page: small ones with each pixel as a square."""
    with Image.open(BytesIO(file)) as image:
        factor = max(1, _SHOWN // max(image.size))
        result = BytesIO()
        image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(result, "PNG")
    return result.getvalue()


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """An image, uint8 [channels, height, width], as uint8 [channels * 256]: 16 x 16 means of its pixels."""
    small = np.asarray(_image(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    planes = small[None] if small.ndim == 2 else small.transpose(2, 0, 1)
    return planes.reshape(-1)


def thumbnail_png(small: np.ndarray) -> bytes:
    """The PNG file of a thumbnail."""
    return encode_png(small.reshape(-1, THUMBNAIL, THUMBNAIL))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
