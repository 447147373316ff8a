"""Predicted masks in pixels of the original images, and how much they overlap with the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.media.mask_codes import from_runs, run_lengths
from polysense.data.media.pixels import to_original

__all__ = ["box_runs", "in_original", "mask_overlaps", "packed", "unpacked"]

_HALF = 128  # of 255, from which a pixel is the thing's


def in_original(
    output: Arrays, geometry: Geometry | None, row: int, size: tuple[int, int], least: float = 0.0
) -> tuple[Float[np.ndarray, "detections 3"], list[np.ndarray]]:
    """What a head predicts of one row, in pixels of the original image.

    Args:
        output: The head's arrays, see `QueryMaskHead.arrays`.
        geometry: Of the rows; None where it is not known, and masks are those of the model's input.
        row: Which one.
        size: (height, width) of the model's input.
        least: Less sure things are left out.

    Returns:
        (label, score, area), the surest first, and the masks' runs; those without a pixel left out.
    """
    matrix = np.eye(3)
    if geometry is not None:
        size = (int(geometry.sizes[row, 0]), int(geometry.sizes[row, 1]))
        matrix = geometry.matrices[row]
    detections, masks = [], list[np.ndarray]()
    if all(size) and np.isfinite(matrix).all():
        down, right = output["strides"][row].tolist()
        to_cells = np.diag([1 / right, 1 / down, 1.0]) @ matrix
        for (label, score), plane in zip(output["values"][row].tolist(), output["masks"][row], strict=True):
            if score <= 0 or score < least:
                continue
            inside = to_original(np.ascontiguousarray(plane), to_cells, size, nearest=False) >= _HALF
            if inside.any():
                detections.append([label, score, float(inside.sum())])
                masks.append(run_lengths(inside))
    return np.array(detections, dtype=np.float64).reshape(-1, 3), masks


def mask_overlaps(
    masks: Sequence[Int[np.ndarray, " _runs"]],
    things: Sequence[Int[np.ndarray, " _runs"]],
    size: tuple[int, int],
    crowd: Bool[np.ndarray, " things"],
) -> Float[np.ndarray, "masks things"]:
    """IoU of each pair; of a crowd the share of the mask that lies in it. Memory is that of one picture.

    Args:
        masks: Runs of what was predicted.
        things: Runs of what is there; of another picture than `size` nothing overlaps.
        size: (height, width) of the picture.
        crowd: Which things are one.
    """
    overlaps = np.zeros((len(masks), len(things)))
    num_pixels = size[0] * size[1]
    edges = [np.cumsum(runs) for runs in things]
    fitting = [index for index, each in enumerate(edges) if len(each) and each[-1] == num_pixels]
    for row, runs in enumerate(masks):
        # How many of the first n pixels are the mask's; a thing's runs then read what they share.
        counted = np.concatenate([[0], np.cumsum(from_runs(runs, size).T.ravel())])
        for index in fitting:
            ends = edges[index]
            starts, stops = ends[:-1:2], ends[1::2]
            both = float((counted[stops] - counted[starts[: len(stops)]]).sum())
            own, other = float(counted[-1]), float((stops - starts[: len(stops)]).sum())
            either = own if crowd[index] else own + other - both
            overlaps[row, index] = both / either if either else 0.0
    return overlaps


def box_runs(
    boxes: Float[np.ndarray, "boxes 4"], size: tuple[int, int]
) -> tuple[list[Int[np.ndarray, " _runs"]], Float[np.ndarray, " boxes"]]:
    """Boxes, corners as fractions of a picture of that (height, width), as masks and their areas in pixels."""
    runs, areas = [], []
    for left, top, right, bottom in boxes.tolist():
        inside = np.zeros(size, dtype=bool)
        inside[round(top * size[0]) : round(bottom * size[0]), round(left * size[1]) : round(right * size[1])] = True
        runs.append(run_lengths(inside))
        areas.append(float(inside.sum()))
    return runs, np.array(areas)


def packed(masks: Sequence[Int[np.ndarray, " _runs"]]) -> Int[np.ndarray, " numbers"]:
    """Several masks' runs in one array, each after their number."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.append(len(runs), runs) for runs in masks)])


def unpacked(numbers: Int[np.ndarray, " numbers"]) -> list[Int[np.ndarray, " _runs"]]:
    """What `packed` was given."""
    masks, start = [], 0
    while start < len(numbers):
        stop = start + 1 + int(numbers[start])
        masks.append(numbers[start + 1 : stop])
        start = stop
    return masks
