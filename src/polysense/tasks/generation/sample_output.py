"""A row's references and the generated text."""

from __future__ import annotations

from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.generation.record import GenerationTarget

__all__ = ["sample_outputs"]


def sample_outputs(
    target: GenerationTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The generated text; none where the evaluation generated none."""
    statistics = evaluation.statistics[target.name]
    if "predicted" not in statistics:
        return []
    references, text = list(statistics["references"][position]), str(statistics["predicted"][position])
    return [SampleOutput(references=references, value=text, is_correct=text in references)]
