"""How a training reads its rows: which are drawn, which make a step, and which others are read beside them."""

from __future__ import annotations

from collections.abc import Callable

from polysense.core.registry import modality, task
from polysense.core.schema import Schema
from polysense.core.unsupported import Unsupported
from polysense.data.batches.batching import Batching
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.mixing import Mixup
from polysense.data.batches.partners import Partners
from polysense.data.batches.sampling import ClassSampler, ClassSamplerConfig, Sampler, row_classes
from polysense.data.batches.tiling import Mosaic
from polysense.data.batches.token_counts import RowLengths
from polysense.data.column import ColumnProcessor
from polysense.data.processor import Processor
from polysense.errors import ConfigError
from polysense.nn.model import MultimodalModel
from polysense.recipe import Recipe
from polysense.training.config import TrainingConfig

__all__ = ["batching_of", "partners_of", "sampler_of"]

_MIXUP = "take training.mixup, which mixes what is made of any column"


def partners_of(config: TrainingConfig, rows: TableDataset, schema: Schema) -> Partners | None:
    """What is read beside each row, to be mixed with it.

    Raises:
        ConfigError: The rows have no images for it.
    """
    if config.mosaic:
        return Mosaic(config.mosaic, config.seed, _tiled_column(rows, schema))
    if config.cutmix:
        return Mixup(config.cutmix, config.seed, _decoded_images(rows, schema, "cutmix", _MIXUP))
    return Mixup(config.mixup, config.seed) if config.mixup else None


def _tiled_column(rows: TableDataset, schema: Schema) -> str:
    """The images of which four are put together: those that every target lies in, and nothing else is read."""
    names = _decoded_images(rows, schema, "mosaic", "leave it out (0)")
    for target in schema.targets:
        spec = task(target.task)
        if isinstance(spec.join, Unsupported):
            raise ConfigError(f"training.mosaic: target {target.name!r} can't be put together: {spec.join.reason}")
        if (over := spec.lies_in(target)) not in names:
            raise ConfigError(f"training.mosaic: target {target.name!r} lies in {over!r}, whose images are not decoded")
    others = [column.name for column in schema if column.name != names[0]]
    if others:
        raise ConfigError(
            f"training.mosaic: {', '.join(map(repr, others))} would be said of four images, but it belongs to one of "
            "them; leave mosaic out (0), or leave the column out"
        )
    return names[0]


def _decoded_images(rows: TableDataset, schema: Schema, name: str, instead: str) -> list[str]:
    """The columns of images that are decoded for training.

    Raises:
        ConfigError: There is none.
    """
    spatial = [column.name for column in schema if modality(column.modality).is_spatial]
    names = [name for name in spatial if name not in rows.stored]
    if not names:
        why = "is encoded by a frozen network, whose features are stored (data.store: off decodes it)"
        of = f"{spatial[0]!r} {why}" if spatial else "none of the input columns holds images"
        raise ConfigError(f"training.{name}: {of}; {instead}")
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
