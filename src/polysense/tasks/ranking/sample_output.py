"""A row's ranking in words."""

from __future__ import annotations

from polysense.core.sample_output import SampleOutput
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.ranking.mistakes import rank_in_words
from polysense.tasks.ranking.record import RankingTarget
from polysense.tasks.ranking.target import RankingProcessor

__all__ = ["sample_outputs"]

_MOST = 5


def sample_outputs(
    target: RankingTarget, evaluation: Evaluation, position: int, dataset: TableDataset
) -> list[SampleOutput]:
    """The item that the user chose, where it stands in the ranking, and the first items."""
    statistics = evaluation.statistics[target.name]
    processor = dataset.processor.targets[target.name]  # type: ignore[attr-defined]
    assert isinstance(processor, RankingProcessor)
    first = [processor.render(number) for number in statistics["listed"][position][:_MOST] if number > 0]
    chosen = processor.render(statistics["item"][position])
    rank = float(statistics["rank"][position])
    return [
        SampleOutput(
            references=[] if chosen is None else [chosen],
            value=f"{rank_in_words(rank, target.num_items)}; first: {', '.join(map(str, first))}",
            is_correct=rank <= 20,
        )
    ]
