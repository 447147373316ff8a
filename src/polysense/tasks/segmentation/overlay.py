"""Masks drawn over their images, and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.preview import as_jpeg
from polysense.data.batches.dataset import TableDataset
from polysense.data.media.mask_codes import colors
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.runs import plane_of

__all__ = ["Overlay", "class_color", "colored", "overlay_of", "words"]

_OPACITY = 0.55
_MOST_WORDS = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class Overlay:
    """One row's image and masks.

    Attributes:
        images: JPEG files: the image, the true mask over it, the predicted one.
        truth: The true classes in words, those with the most pixels first.
        predicted: Likewise.
        classes: The classes of either, and their colors.
    """

    images: tuple[bytes, bytes, bytes]
    truth: str
    predicted: str
    classes: tuple[tuple[str, str], ...]


def overlay_of(target: SegmentationTarget, dataset: TableDataset, position: int, runs: np.ndarray) -> Overlay | None:
    """A row's masks; None where it has no mask.

    Args:
        target: The segmentation.
        dataset: The rows.
        position: The row's in it.
        runs: The predicted mask, see `runs_of`.
    """
    sample = dataset.decoding([target.over])[position]
    truth = sample.targets.get(target.name)
    if truth is None:
        return None
    predicted = plane_of(runs, target.size)
    items = sample.values.get(target.over)
    image = np.full((*target.size, 3), 128, dtype=np.uint8)
    if items:
        image[:] = items[0].transpose(1, 2, 0)  # of one channel it is spread over three
    listed = np.union1d(truth, predicted)
    return Overlay(
        images=(as_jpeg(image), as_jpeg(colored(target, image, truth)), as_jpeg(colored(target, image, predicted))),
        truth=words(target, truth),
        predicted=words(target, predicted),
        classes=tuple((target.classes[i], class_color(target, i)) for i in listed.tolist() if i < target.other),
    )


def class_color(target: SegmentationTarget, index: int) -> str:
    """A class's color in overlays and written masks, for a style sheet."""
    return f"#{colors(256)[target.values[index] % 256].tobytes().hex()}"


def words(target: SegmentationTarget, plane: np.ndarray) -> str:
    """The classes with the most pixels, void ones left out: "road 61%, sky 30%"."""
    counts = np.bincount(plane.ravel(), minlength=target.void + 1)[: target.void]
    order = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
    names = (*target.classes, "(unknown)")
    parts = [f"{names[i]} {counts[i] / counts.sum():.0%}" for i in order[:_MOST_WORDS]]
    more = len(order) - _MOST_WORDS
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "") or "no class"


def colored(target: SegmentationTarget, image: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """The image with the classes' colors; void pixels and those of no known class show the image alone.

    Args:
        target: The segmentation.
        image: uint8 [height, width, 3].
        plane: [height, width], ids.
    """
    table = np.zeros((target.void + 1, 3))
    table[: target.other] = colors(256)[np.array(target.values) % 256]
    opacity = np.where(plane < target.other, _OPACITY, 0.0)[..., None]
    mixed: np.ndarray = (image * (1 - opacity) + table[plane] * opacity).round().astype(np.uint8)
    return mixed
