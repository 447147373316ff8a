"""Masks of things drawn over their images, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from polysense.core.preview import as_jpeg
from polysense.data.batches.dataset import TableDataset
from polysense.data.media.mask_codes import colors, from_runs
from polysense.data.media.pixels import to_original
from polysense.tasks.instance_segmentation.placed import unpacked
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.target import NUM_FIELDS

__all__ = ["InstanceOverlay", "colored", "overlay_of", "words"]

_OPACITY = 0.55
_MOST_WORDS = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceOverlay:
    """One row's image and things.

    Attributes:
        images: JPEG files: the true things over the image, the predicted ones; each thing has a color of its own.
        truth: The true things in words, by class.
        predicted: Likewise.
    """

    images: tuple[bytes, bytes]
    truth: str
    predicted: str


def overlay_of(
    target: InstanceTarget, dataset: TableDataset, position: int, predicted: np.ndarray, numbers: np.ndarray
) -> InstanceOverlay | None:
    """A row's things; None where its image or its target is not there.

    Args:
        target: What is predicted.
        dataset: The rows.
        position: The row's in it.
        predicted: See `InstanceSegmentationSpec`.
        numbers: Its `masks`.
    """
    sample = dataset.decoding([target.over])[position]
    items, placement = sample.values.get(target.over), sample.placements.get(target.over)
    value = sample.targets.get(target.name)
    if not items or placement is None or value is None:
        return None
    pixels = np.zeros((*target.size, 3), dtype=np.uint8)
    pixels[:] = items[0].transpose(1, 2, 0)  # of one channel it is spread over three
    end = NUM_FIELDS + (int(value[0, 3]) if len(value) else 0)
    truth = [from_runs(runs, target.size) for runs in value[:, NUM_FIELDS:end].astype(np.int64)]
    masks = unpacked(numbers)
    shown = np.flatnonzero(predicted[: len(masks), 1] >= target.written_score)
    back = np.linalg.inv(placement.matrix)
    guesses = [
        to_original(from_runs(masks[i], placement.size).astype(np.uint8), back, target.size) > 0 for i in shown.tolist()
    ]
    return InstanceOverlay(
        images=(as_jpeg(colored(pixels, truth)), as_jpeg(colored(pixels, guesses))),
        truth=words(target, value[:, 0]),
        predicted=words(target, predicted[shown, 0]),
    )


def words(target: InstanceTarget, labels: Iterable[float]) -> str:
    """Things counted by class, the most frequent first: "3 person, 1 dog"."""
    names = (*target.classes, "(unknown)")
    counts = Counter(names[int(label)] for label in labels).most_common()
    more = sum(count for _, count in counts[_MOST_WORDS:])
    listed = ", ".join(f"{count} {name}" for name, count in counts[:_MOST_WORDS])
    return (listed + (f" and {more} more" if more else "")) or "nothing"


def colored(pixels: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """An image with things in colors of their own, the first on top.

    Args:
        pixels: uint8 [height, width, 3].
        masks: bool [height, width] each.
    """
    result, palette = pixels.astype(np.float64), colors(256)[1:]
    for index in reversed(range(len(masks))):
        inside = masks[index]
        result[inside] = pixels[inside] * (1 - _OPACITY) + palette[index % len(palette)] * _OPACITY
    drawn: np.ndarray = result.round().astype(np.uint8)
    return drawn
