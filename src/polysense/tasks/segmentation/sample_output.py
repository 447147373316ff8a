"""A row's mask and the predicted one, over the image."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.segmentation.overlay import overlay_of
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: SegmentationTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The classes in words, and the masks over the image."""
    overlay = overlay_of(target, dataset, position, evaluation.statistics[target.name]["mask"][position])
    if overlay is None:
        return []
    section = ReportSection(
        template="polysense.tasks.segmentation:overlays.html.j2", values={"overlays": [("", overlay)]}
    )
    return [SampleOutput(references=[overlay.truth], value=overlay.predicted, section=section)]
