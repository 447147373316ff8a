"""Boxes drawn over their images, and in words."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from polysense.core.preview import as_jpeg
from polysense.data.batches.dataset import TableDataset
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["BoxOverlay", "class_color", "drawn_boxes", "overlay_of", "words"]

_MOST_WORDS = 6
_MOST_DRAWN = 50
_LEAST_SIDE = 256  # pixels that a drawn image has at least, so that names can be read
_GOLDEN = 0.618033988749895


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxOverlay:
    """One row's image and boxes.

    Attributes:
        images: JPEG files: the true boxes over the image, the predicted ones.
        truth: The true boxes in words, by class.
        predicted: Likewise.
        classes: The classes of either, and their colors.
    """

    images: tuple[bytes, bytes]
    truth: str
    predicted: str
    classes: tuple[tuple[str, str], ...]


def overlay_of(
    target: DetectionTarget, dataset: TableDataset, position: int, truth: np.ndarray, predicted: np.ndarray
) -> BoxOverlay | None:
    """A row's boxes; None where its image is not there.

    Args:
        target: The detection.
        dataset: The rows.
        position: The row's in it.
        truth: See `DetectionSpec`.
        predicted: Likewise.
    """
    sample = dataset.decoding([target.over])[position]
    items, placement = sample.values.get(target.over), sample.placements.get(target.over)
    if not items or placement is None:
        return None
    pixels = np.zeros((*target.size, 3), dtype=np.uint8)
    pixels[:] = items[0].transpose(1, 2, 0)  # of one channel it is spread over three
    shown = predicted[predicted[:, 5] >= target.written_score][:_MOST_DRAWN]
    images = [
        drawn_boxes(target, pixels, placement.matrix, labels, corners, scores)
        for labels, corners, scores in (
            (truth[:, 0], truth[:, 3:7], np.full(len(truth), np.nan)),
            (shown[:, 0], shown[:, 1:5], shown[:, 5]),
        )
    ]
    listed = [int(label) for label in np.union1d(truth[:, 0], shown[:, 0]) if label < target.other]
    return BoxOverlay(
        images=(images[0], images[1]),
        truth=words(target, truth[:, 0]),
        predicted=words(target, shown[:, 0]),
        classes=tuple((target.classes[index], class_color(index)) for index in listed),
    )


def class_color(index: int) -> str:
    """A class's color, for a style sheet; neighbors differ, and all stand out from gray."""
    red, green, blue = colorsys.hls_to_rgb((index * _GOLDEN) % 1.0, 0.5, 0.9)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def words(target: DetectionTarget, labels: Iterable[float]) -> str:
    """Boxes counted by class, the most frequent first: "3 person, 1 dog"."""
    names = (*target.classes, "(unknown)")
    counts = Counter(names[int(label)] for label in labels).most_common()
    more = sum(count for _, count in counts[_MOST_WORDS:])
    listed = ", ".join(f"{count} {name}" for name, count in counts[:_MOST_WORDS])
    return (listed + (f" and {more} more" if more else "")) or "no box"


def drawn_boxes(
    target: DetectionTarget, pixels: np.ndarray, matrix: np.ndarray, labels: np.ndarray, corners: np.ndarray,
    scores: np.ndarray,
) -> bytes:  # fmt: skip
    """The image with boxes, their names and scores, as a JPEG file; the surest box on top.

    Args:
        target: What is detected.
        pixels: uint8 [height, width, 3].
        matrix: From the boxes' pixels to the image's.
        labels: [boxes], class ids.
        corners: [boxes, 4].
        scores: [boxes]; NaN for boxes that have none.
    """
    grow = max(1, -(-_LEAST_SIDE // min(pixels.shape[:2])))
    image = Image.fromarray(pixels).resize((pixels.shape[1] * grow, pixels.shape[0] * grow))
    draw = ImageDraw.Draw(image)
    names = (*target.classes, "(unknown)")
    placed = (corners * np.tile([matrix[0, 0], matrix[1, 1]], 2) + np.tile(matrix[:2, 2], 2)) * grow
    for label, box, score in reversed(list(zip(labels, placed.tolist(), scores, strict=True))):
        left, top, right, bottom = (max(-1.0, side) for side in box)
        color = class_color(int(label)) if label < target.other else "#888888"
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=2)
        text = names[int(label)] + ("" if np.isnan(score) else f" {score:.2f}")
        text = text.encode("latin-1", "replace").decode("latin-1")  # what Pillow's own font has
        where = (left + 2, max(0.0, top - 11) if top >= 11 else top + 1)
        draw.rectangle(draw.textbbox(where, text), fill=color)
        draw.text(where, text, fill="white" if _luminance(color) < 0.45 else "black")
    return as_jpeg(np.array(image))


def _luminance(color: str) -> float:
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
