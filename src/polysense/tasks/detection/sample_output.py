"""A row's boxes and the predicted ones, over the image."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.detection.overlay import overlay_of
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: DetectionTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The boxes counted by class, and drawn over the image."""
    statistics = evaluation.statistics[target.name]
    overlay = overlay_of(target, dataset, position, statistics["truth"][position], statistics["predicted"][position])
    if overlay is None:
        return []
    section = ReportSection(template="polysense.tasks.detection:overlays.html.j2", values={"overlays": [("", overlay)]})
    return [SampleOutput(references=[overlay.truth], value=overlay.predicted, section=section)]
