"""A row's segments and the predicted ones, marked in their text or over their time."""

from __future__ import annotations

import numpy as np

from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.tagged import Marked, marked_section, spelled
from polysense.tasks.tagging.target import TaggingProcessor

__all__ = ["sample_outputs"]


def sample_outputs(
    target: TaggingTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The predicted segments in words; correct if they are the true ones."""
    statistics = evaluation.statistics[target.name]
    processor = dataset.processor
    assert isinstance(processor, Processor)
    fitted = processor.targets[target.name]
    assert isinstance(fitted, TaggingProcessor)
    length = float(statistics["length"][position])
    whole = np.array([(0.0, length, -1.0, 0.0)])
    # A truth has no probability; every segment's is 1.
    truth = np.pad(statistics["truth"][position], ((0, 0), (0, 1)), constant_values=1.0)
    true = fitted.located(np.concatenate([whole, truth]), dataset.table, position)
    predicted = fitted.located(np.concatenate([whole, statistics["predicted"][position]]), dataset.table, position)
    if true is None or predicted is None:
        return []
    content, segments = true
    extent = length / target.units_per_second if target.units_per_second else float(len(content or ""))
    marked = Marked(content=content, extent=extent, truth=segments, predicted=predicted[1], classes=target.classes)
    output = SampleOutput(
        references=[spelled(content, segments)],
        value=spelled(content, predicted[1]),
        is_correct=predicted[1] == segments,
        section=marked_section(marked),
    )
    return [output]
