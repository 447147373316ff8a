"""Generated images in the report: contact sheets beside the true images, and beside the nearest training images."""

from __future__ import annotations

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset, row_number
from polysense.data.processor import Processor
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.image_generation.metrics import copied_below
from polysense.tasks.image_generation.pixels import enlarged, thumbnail_png
from polysense.tasks.image_generation.record import ImageGenerationTarget
from polysense.tasks.image_generation.sheets import generated_png, true_png, words_of
from polysense.tasks.image_generation.target import ImageGenerationProcessor

__all__ = ["report_sections"]

_NUM_IMAGES = 24
_NUM_NEAREST = 6
_MEMORIZED = 0.1  # of the generated images, where a hundredth is expected


def report_sections(
    target: ImageGenerationTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """A sheet of generated images, the true images of the same rows, and the images that lie nearest to training
    ones."""
    statistics = evaluation.statistics[target.name]
    if "image" not in statistics or not evaluation.num_counted(target.name):
        return []
    rows = evaluation.example_rows(target.name, _NUM_IMAGES)
    sheets: list[tuple[str, list[tuple[bytes, str]]]] = []
    generated, true = list[tuple[bytes, str]](), list[tuple[bytes, str]]()
    for i in rows.tolist():
        caption = f"row {evaluation.rows[i]}"
        if dataset is not None:
            position = int(evaluation.rows[i])
            caption = f"row {row_number(dataset, position)}"
            if (file := true_png(target, dataset, position)) is not None:
                true.append((file, caption))
        asked, _, right = words_of(target, statistics, i)
        mark = "" if right is None else f": {asked}" if right else f": {asked}, not recognized"
        generated.append((generated_png(statistics, i), caption + mark))
    sheets.append(("Generated", generated))
    if true:
        sheets.append(("True images of the same rows", true))
    if nearest := _nearest(target, evaluation, dataset):
        sheets.append(("The generated images that lie nearest to a training image, each beside it", nearest))
    values = {"target": target, "note": _note(evaluation, target), "sheets": sheets}
    return [ReportSection(template="polysense.tasks.image_generation:report.html.j2", values=values)]


def _note(evaluation: Evaluation, target: ImageGenerationTarget) -> str:
    """What KID is measured by, and how near the images come to the training images."""
    statistics = evaluation.statistics[target.name]
    there = statistics["present"]
    own, true = statistics["distance"][there], statistics["true_distance"][there]
    note = (
        "KID compares histograms of oriented gradients and of colors, which need no weights, of all generated images "
        "with those of the true ones; it compares models of this target, not with published numbers. To the nearest "
        f"training image the generated images have a median distance of {np.median(own):.1f} levels of 255, the true "
        f"images of these rows one of {np.median(true):.1f}. "
    )
    share = float(np.mean(own < copied_below(true)))
    if share > _MEMORIZED:
        return note + (
            f"{share:.0%} of the generated images lie nearer to one than 99% of the true images do: the model has "
            "memorized training images; train for fewer epochs, or on more images."
        )
    return note + f"{share:.1%} lie nearer than 99% of the true ones do, where 1% is expected of chance."


def _nearest(
    target: ImageGenerationTarget, evaluation: Evaluation, dataset: TableDataset | None
) -> list[tuple[bytes, str]]:
    """Generated images and their nearest training images, by turns."""
    if dataset is None or not isinstance(dataset.processor, Processor):
        return []
    processor, statistics = dataset.processor.targets[target.name], evaluation.statistics[target.name]
    assert isinstance(processor, ImageGenerationProcessor)
    rows = np.flatnonzero(statistics["present"] & np.isfinite(statistics["distance"]))
    images = list[tuple[bytes, str]]()
    for i in rows[np.argsort(statistics["distance"][rows], kind="stable")][:_NUM_NEAREST].tolist():
        thumbnail = processor.training_images.thumbnails[statistics["nearest"][i]]
        images.append((generated_png(statistics, i), f"row {row_number(dataset, int(evaluation.rows[i]))}"))
        images.append(
            (enlarged(thumbnail_png(thumbnail)), f"{statistics['distance'][i]:.0f} levels away, as a thumbnail")
        )
    return images
