"""A row's searches, one in each direction of the joint embedding space."""

from __future__ import annotations

from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.retrieval.metrics import directions
from polysense.tasks.retrieval.nearest import can_search, nearest
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["sample_outputs"]

_NUM_NEAREST = 3


def sample_outputs(
    target: RetrievalTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The nearest cells and the rank of the correct one, in each direction that the row can search."""
    statistics = evaluation.statistics[target.name]
    embeddings, keys, present = (statistics[name] for name in ("embeddings", "keys", "present"))
    outputs = []
    for one, other in directions(target.members, target.anchor):
        if position not in can_search(embeddings, keys, present, one, other):
            continue
        column = target.members[other]
        (result,) = nearest(embeddings, keys, (one, other), [position], _NUM_NEAREST, column=column)
        outputs.append(
            SampleOutput(
                references=[],
                value=f"rank {result.rank:g} of {result.num_candidates:,}",
                is_correct=result.correct[0],
                direction=f"{target.members[one]} to {column}",
                nearest=result,
            )
        )
    return outputs
