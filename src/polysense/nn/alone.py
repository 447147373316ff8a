"""A column alone: for which targets it has a head of its own, and how right that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Batch, TargetBatch
from polysense.core.modality import Task
from polysense.core.schema import Schema
from polysense.errors import ConfigError
from polysense.nn.heads import HeadConfig

__all__ = ["own_scores_of", "own_target", "own_targets"]

_NAMES = {Task.GENERATION: "a text", Task.CONTRASTIVE: "a shared space"}


def own_targets(schema: Schema, heads: Mapping[str, HeadConfig], fusion: str | None) -> list[int]:
    """The positions of the targets that each column has a head of its own for.

    Args:
        schema: All targets.
        heads: Per target how it is read.
        fusion: The fusion's type, if it combines the decisions of these heads.

    Raises:
        ConfigError: It does, and a target has none.
    """
    found = []
    for position, target in enumerate(schema.targets):
        head = heads[target.name]
        if not head.writes and not head.compares_rows:
            found.append(position)
        elif fusion is not None:
            instead = "concat" if head.compares_rows else "transformer"
            raise ConfigError(
                f"model.fusion: {fusion!r} combines the decisions of the columns' own heads, and "
                f"{_NAMES.get(target.task, 'segments')}, as target {target.name!r} is, has none; choose another "
                f"fusion, such as {instead}"
            )
    return found


def own_target(batch: Batch, target: str, column: str) -> TargetBatch:
    """The target, in the rows that have the column."""
    values = batch.columns.get(column)
    found = batch.targets[target]
    return replace(found, present=found.present & (False if values is None else values.present))


def own_scores_of(
    head: Any, outputs: Float[Tensor, "batch ..."], target: TargetBatch
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Each row's score from 0 to 1, and 1 where it counts."""
    counts = head.row_counts(target)
    if head.target.task is Task.CLASSIFICATION:
        scores = head.predict(outputs).probabilities.gather(1, target.values[:, None])[:, 0]
    else:
        scores = torch.exp(-head.row_losses(outputs, target) / counts.clamp(min=1e-12))
    return scores, (counts > 0).float()
