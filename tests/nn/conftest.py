"""A small schema of every modality, and batches of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from polysense.core.batch import Batch, ColumnBatch, TargetBatch
from polysense.core.modality import Modality, Task
from polysense.core.schema import Column, Schema, Target


@pytest.fixture
def schema() -> Schema:
    return Schema(
        columns=(
            Column(
                name="photo",
                modality=Modality.IMAGE,
                image_size=(16, 24),
                num_channels=3,
                mean=(0.5, 0.4, 0.3),
                std=(0.2, 0.2, 0.2),
            ),
            Column(name="speech", modality=Modality.AUDIO, sample_rate=8000, typical_length=1600),
            Column(name="note.of day", modality=Modality.TEXT, vocabulary_size=50, typical_length=8),
            Column(name="age", modality=Modality.NUMBER, mean=(0.0,), std=(1.0,)),
            Column(name="type", modality=Modality.CATEGORY, num_categories=5),
        ),
        targets=(
            Target(
                name="label",
                task=Task.CLASSIFICATION,
                columns=("label",),
                classes=("a", "b", "c"),
                class_counts=(5, 3, 2),
                num_rows=10,
            ),
            Target(
                name="tags",
                task=Task.MULTILABEL,
                columns=("tags",),
                classes=("x", "y"),
                class_counts=(4, 2),
                num_rows=10,
            ),
            Target(
                name="size",
                task=Task.REGRESSION,
                columns=("width", "height"),
                mean=(10.0, -5.0),
                std=(2.0, 4.0),
                num_rows=10,
            ),
        ),
    )


def random_column(column: Column, batch: int, length: int, generator: torch.Generator, items: int = 1) -> ColumnBatch:
    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    lengths = torch.ones(batch, items, dtype=torch.int64)
    match column.modality:
        case Modality.IMAGE:
            height, width = column.image_size or (8, 8)
            values = integers(0, 256, batch, items, column.num_channels or 1, height, width).to(torch.uint8)
        case Modality.AUDIO:
            values = integers(-9000, 9000, batch, items, length).to(torch.int16)
            lengths = integers(length // 2, length + 1, batch, items)
        case Modality.TEXT:
            values = integers(0, column.vocabulary_size or 1, batch, items, length).to(torch.int32)
            lengths = integers(1, length + 1, batch, items)
        case Modality.NUMBER:
            values = torch.randn(batch, items, 1, generator=generator)
        case _:
            values = integers(0, column.num_categories or 1, batch, items, 1)
    return ColumnBatch(values=values, lengths=lengths)


@pytest.fixture
def make_batch(schema: Schema) -> Callable[..., Batch]:
    def make(batch: int = 4, seed: int = 0, audio_length: int = 1600, text_length: int = 6) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        sizes = {Modality.AUDIO: audio_length, Modality.TEXT: text_length}
        return Batch(
            rows=torch.arange(batch),
            columns={c.name: random_column(c, batch, sizes.get(c.modality, 1), generator) for c in schema.columns},
            targets={
                "label": TargetBatch(
                    values=torch.randint(0, 3, (batch,), generator=generator),
                    present=torch.ones(batch, dtype=torch.bool),
                ),
                "tags": TargetBatch(
                    values=torch.randint(0, 2, (batch, 2), generator=generator).float(),
                    present=torch.ones(batch, dtype=torch.bool),
                ),
                "size": TargetBatch(
                    values=torch.randn(batch, 2, generator=generator), present=torch.ones(batch, dtype=torch.bool)
                ),
            },
        )

    return make
