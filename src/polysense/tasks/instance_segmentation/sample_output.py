"""A row's things and the predicted ones, over the image."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.instance_segmentation.overlay import overlay_of
from polysense.tasks.instance_segmentation.record import InstanceTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: InstanceTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The things counted by class, and drawn over the image."""
    statistics = evaluation.statistics[target.name]
    overlay = overlay_of(target, dataset, position, statistics["predicted"][position], statistics["masks"][position])
    if overlay is None:
        return []
    section = ReportSection(
        template="polysense.tasks.instance_segmentation:overlays.html.j2", values={"overlays": [("", overlay)]}
    )
    return [SampleOutput(references=[overlay.truth], value=overlay.predicted, section=section)]
