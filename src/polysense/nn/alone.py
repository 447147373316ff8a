"""A column alone: for which targets it has a head of its own, and how right that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Batch, TargetBatch
from polysense.core.modality import Task
from polysense.core.schema import Schema
from polysense.errors import ConfigError
from polysense.nn.head import HeadConfig

__all__ = ["own_scores", "own_scores_of", "own_target", "own_targets"]

_NAMES = {
    Task.GENERATION: "a text",
    Task.RETRIEVAL: "a shared space",
    Task.RECONSTRUCTION: "a reconstruction",
}


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
        if not (head.writes or head.compares_rows or head.restores):
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
    return batch.targets[target].masked(batch.columns[column].present)


def own_scores(
    heads: Sequence[tuple[str, Mapping[int, Any]]],
    output: Callable[[str, str], Tensor],
    batch: Batch,
    head_weights: Mapping[str, float],
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
    """How right each column is alone, see `MultimodalModel.own_scores`.

    Args:
        heads: Per column its own heads.
        output: What a target's head of a column gave.
        batch: With targets.
        head_weights: How much each target counts.
    """
    totals, counts = [], []
    for column, own in heads:
        pairs = []
        for head in own.values():
            name = head.target.name
            scores, weights = own_scores_of(head, output(name, column), own_target(batch, name, column))
            weights = weights * batch.weights * head_weights[name]
            pairs.append(torch.stack([(scores * weights).sum(), weights.sum()]))
        total, count = torch.stack(pairs).sum(dim=0)
        totals.append(total)
        counts.append(count)
    return torch.stack(totals), torch.stack(counts)


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
