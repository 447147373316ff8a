"""Pixels of any mode and depth as 8 bits, gray or RGB, opaque: deep ones scaled by their range, alpha on white."""

from __future__ import annotations

import numpy as np
from PIL import Image

from polysense.data.media.deep_pixels import DEEP_MODES, DeepRange, extent_of, scaled
from polysense.data.media.media import short, too_many_pixels
from polysense.errors import DecodeError

__all__ = ["as_gray_or_rgb", "channels_last", "colors", "from_array", "from_deep"]


def colors(values: np.ndarray) -> np.ndarray:
    """[height, width] or [height, width, channels] without alpha, which is the last channel where there are 2 or 4."""
    return values[..., :-1] if values.ndim == 3 and values.shape[-1] in (2, 4) else values


def from_deep(values: np.ndarray, deep: DeepRange | None) -> Image.Image:
    """A file's [height, width, channels] of 16 bits, alpha included."""
    pixels = _scaled(values, deep, opaque=65535.0)
    return Image.fromarray(pixels) if pixels.shape[-1] % 2 else _on_white(pixels)


def _scaled(values: np.ndarray, deep: DeepRange | None, opaque: float) -> np.ndarray:
    """uint8 of the same shape: the colors by their range, alpha by what is opaque."""
    visible = colors(values)
    if visible is values:
        return scaled(values, deep)
    alpha = scaled(values[..., -1:], DeepRange(whole=(0.0, opaque)))
    return np.concatenate([scaled(visible, deep), alpha], axis=-1)


def _opaque(values: np.ndarray, deep: DeepRange | None) -> float:
    """An array's opaque alpha: its container's, unless it is counted like the colors (12 bits in all four channels)."""
    white = ((deep and deep.whole) or DeepRange.of([extent_of(colors(values))]).whole or (0.0, 65535.0))[1]
    return white if values[..., -1].max() <= white else 65535.0


def as_gray_or_rgb(image: Image.Image, deep: DeepRange | None) -> Image.Image:
    mode = image.mode
    if "transparency" in image.info and mode in ("1", "L", "P", "RGB"):
        image = image.convert("LA" if mode in ("1", "L") else "RGBA")
    elif mode in ("L", "RGB"):
        return image
    if image.mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        if image.mode in ("PA", "La", "RGBa"):
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        return _on_white(np.asarray(image))
    if mode == "1":
        return image.convert("L")
    if mode in DEEP_MODES:
        return Image.fromarray(scaled(np.asarray(image), deep))
    return image.convert("RGB")


def _on_white(pixels: np.ndarray) -> Image.Image:
    """Composites [height, width, colors + alpha] on white."""
    colors, alpha = pixels[..., :-1], pixels[..., -1:]
    if alpha.min() < 255:
        weight = alpha.astype(np.uint16)
        colors = ((colors * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(colors[..., 0] if colors.shape[-1] == 1 else colors))


def channels_last(values: np.ndarray, max_pixels: int) -> np.ndarray:
    """An array as [height, width] or [height, width, 1 | 3 | 4]."""
    if values.ndim == 3 and values.shape[-1] not in (1, 3, 4) and values.shape[0] in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.size == 0 or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (1, 3, 4)):
        raise DecodeError(
            f"found an array of shape {list(values.shape)}, expected [height, width] or [height, width, 1 | 3 | 4]"
        )
    if values.shape[0] * values.shape[1] > max_pixels:
        raise DecodeError(too_many_pixels(f"{values.shape[1]:,} x {values.shape[0]:,}", max_pixels))
    return values


def from_array(values: np.ndarray, max_pixels: int, deep: DeepRange | None) -> Image.Image:
    values = channels_last(values, max_pixels)
    kind = values.dtype
    if kind == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    elif kind == np.uint16:
        values = _scaled(values, deep, _opaque(values, deep))
    elif np.issubdtype(kind, np.floating):
        low, high = float(values.min()), float(values.max())
        if not (low >= 0.0 and high <= 1.0):  # NaN fails too
            raise DecodeError(f"has float pixels from {low:g} to {high:g}, expected 0 to 1 (or uint8)")
        values = scaled(values, DeepRange(floats=(0.0, 1.0)))
    elif np.issubdtype(kind, np.integer) and kind != np.uint8:
        if values.min() < 0 or values.max() > 255:
            raise DecodeError(f"has {kind} pixels from {values.min()} to {values.max()}, expected 0 to 255 (or uint16)")
        values = values.astype(np.uint8)
    elif kind != np.uint8:
        raise DecodeError(f"found an array of {kind}, expected uint8 pixels; it starts with {short(values.flat[0])}")
    if values.ndim == 3 and values.shape[-1] == 4:
        return _on_white(values)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return Image.fromarray(np.ascontiguousarray(values))
