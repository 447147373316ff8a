"""A small model that writes a text from a category, and batches of its training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polysense.core.batch import Batch
from polysense.core.rows import RowLoss
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import TrainLoader
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.modalities.category.column import CategoryColumnConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.nn.head import HeadConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.base import Beginning, ObjectiveConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.target import GenerationTargetConfig

__all__ = ["COLORS", "Writer", "writer"]

COLORS = ("red", "green", "blue")


@dataclass
class Writer:
    """A model with objectives, told of its training.

    Attributes:
        model: In training mode.
        batch: All rows.
    """

    model: MultimodalModel
    batch: Batch
    beginning: Beginning

    def losses(self, batch: Batch | None = None) -> Mapping[str, RowLoss]:
        """Each loss of each row."""
        losses: Mapping[str, RowLoss] = self.model(self.batch if batch is None else batch).losses
        return losses

    def means(self) -> dict[str, float]:
        """Each loss's mean over the rows that count."""
        return {
            name: float(row.total.detach().sum() / row.count.sum().clamp(min=1)) for name, row in self.losses().items()
        }


def writer(
    objectives: Mapping[str, ObjectiveConfig],
    *,
    head: HeadConfig | None = None,
    rows: list[dict[str, Any]] | None = None,
    root: Path | None = None,
    is_trained: bool = True,
    **target: Any,
) -> Writer:
    """Builds it.

    Args:
        objectives: By name.
        head: That writes; by default a decoder from nothing.
        rows: With the columns color, say and, where the target has one, worse.
        root: Of media.
        is_trained: What the objectives are told of the weights.
        target: Settings of the target.
    """
    rows = rows or [{"color": color, "say": f"the {color} one", "worse": f"well it is {color}"} for color in COLORS * 4]
    table = read_table(rows, root=root)
    data = DataConfig(
        columns={"color": CategoryColumnConfig()},
        targets={"say": GenerationTargetConfig(tokens="words", min_frequency=1, **target)},
    )
    config = ModelConfig(
        width=16,
        encoders={"color": CategoryEmbeddingConfig()},
        heads={"say": head or GenerationHeadConfig(num_layers=1, num_heads=2)},
        objectives=objectives,
    )
    processor = Processor.fit(table, data, config.requirements({"color": "category"}), config.target_requirements())
    torch.manual_seed(0)
    model = config.build(processor.schema)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" not in name and parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    readers = {name: reader for name, each in processor.targets.items() if (reader := each.reader(table)) is not None}

    def scorer(path: str) -> Any:
        return lambda numbers, cells: {
            "score": [float(len(text)) for text in cells["text"]],
            "name": ["a"] * len(numbers),
        }

    beginning = Beginning(model, is_trained, len(table), readers, scorer)
    for objective in model.by_objective().values():
        if objective.watches_start:
            objective.begin(beginning)
    loader = TrainLoader(TableDataset(table, processor, with_targets=True), processor.schema, len(rows), 0)
    batch = next(iter(loader.epoch(0, 0)))
    return Writer(model.train(), batch, beginning)
