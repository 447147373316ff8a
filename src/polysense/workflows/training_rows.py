"""How a training reads its rows: which are drawn, which make a step, into which others' images are pasted."""

from __future__ import annotations

from collections.abc import Callable

from polysense.core.registry import modality
from polysense.core.schema import Schema
from polysense.data.batches.batching import Batching
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.sampling import ClassSampler, ClassSamplerConfig, Sampler, row_classes
from polysense.data.batches.token_counts import RowLengths
from polysense.data.column import ColumnProcessor
from polysense.data.processor import Processor
from polysense.errors import ConfigError
from polysense.nn.model import MultimodalModel
from polysense.recipe import Recipe
from polysense.training.config import TrainingConfig

__all__ = ["batching_of", "pasted_columns", "sampler_of"]


def pasted_columns(rows: TableDataset, schema: Schema) -> list[str]:
    """The columns of images into which boxes of others are pasted: those whose images are decoded.

    Raises:
        ConfigError: There is none.
    """
    spatial = [column.name for column in schema if modality(column.modality).is_spatial]
    names = [name for name in spatial if name not in rows.stored]
    if not names:
        why = "is encoded by a frozen network, whose features are stored (data.store: off decodes it)"
        of = f"{spatial[0]!r} {why}" if spatial else "none of the input columns holds images"
        raise ConfigError(f"training.cutmix: {of}; take training.mixup, which mixes what is made of any column")
    return names


def batching_of(
    config: TrainingConfig,
    processor: Processor,
    lengths: Callable[[], RowLengths],
    some_lengths: Callable[[], RowLengths],
    model: MultimodalModel,
) -> Batching:
    """Which rows make a step; what is left to the table is decided.

    Args:
        config: Of the training.
        processor: The fitted preprocessing.
        lengths: Measures the training rows.
        some_lengths: Measures some of them, picked at random.
        model: Whose losses may compare rows.
    """
    batching = config.batching
    # Rows of one length are harder or easier to tell apart than random ones.
    differ = any(map(_has_length, processor.columns.values()))
    differ |= any(target.has_length for target in processor.targets.values())
    if differ and not model.contrasting():
        batching = batching.settled(config.batch_size, some_lengths)
    return batching.build(config.batch_size, lengths() if batching.needs_lengths else None)


def _has_length(processor: ColumnProcessor) -> bool:
    """Whether a column's cells may differ in what they cost."""
    return processor.column.multiple or modality(processor.column.modality).length_multiple is not None


def sampler_of(recipe: Recipe, processor: Processor, rows: TableDataset, model: MultimodalModel) -> Sampler | None:
    """Draws rows by their classes, where that is asked for; the target's head is told."""
    config = recipe.training.sampler
    if not isinstance(config, ClassSamplerConfig):
        return None
    name = config.resolved(tuple(recipe.data.targets))
    model.head(name).expect_even_classes()
    return ClassSampler(row_classes(rows.table, processor.targets[name]), config.power)
