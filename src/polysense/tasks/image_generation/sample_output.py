"""A row's true image beside the generated one."""

from __future__ import annotations

from polysense.core.report_section import ReportSection
from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.image_generation.record import ImageGenerationTarget
from polysense.tasks.image_generation.sheets import generated_png, true_png, words_of

__all__ = ["sample_outputs"]


def sample_outputs(
    target: ImageGenerationTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """Both images, and what they show in words; nothing where none was generated."""
    statistics = evaluation.statistics[target.name]
    true = true_png(target, dataset, position)
    if "image" not in statistics or true is None:
        return []
    images = [(true, "true image"), (generated_png(statistics, position), "generated image")]
    section = ReportSection(template="polysense.tasks.image_generation:sheet.html.j2", values={"images": images})
    asked, shown, right = words_of(target, statistics, position)
    return [SampleOutput(references=[asked], value=shown, is_correct=right, section=section)]
