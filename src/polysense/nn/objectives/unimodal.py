"""Unimodal heads: in training every column also predicts every target alone, from its own summary.

So the column that learns first does not leave the others lazy (Wang, Tran, Feiszli, "What Makes Training Multi-modal
Classification Networks Hard?", CVPR 2020, section 3). It costs a readout per column and target, and nothing at
prediction. What reads a summary is the target's own head; of a text it is the bag of its tokens, for a decoder of each
column would cost more than the rest.

Each loss is divided by its target's count over all rows, not over those that have the column: a column that few rows
have would otherwise weigh as much per batch as one that all have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.rows import RowLoss
from polysense.nn.head import Head
from polysense.nn.objectives.base import Blueprint, Objective, ObjectiveConfig, TrainingState

__all__ = ["UnimodalConfig", "UnimodalHeads", "row_count", "sum_weighted"]


@dataclass(frozen=True, kw_only=True)
class UnimodalConfig(ObjectiveConfig):
    """Every column also predicts every target by itself, so that no column is ignored.

    Attributes:
        weight: Weight of each column's unimodal loss; the fused loss has weight 1.
    """

    type: Literal["unimodal"] = "unimodal"
    weight: float = 0.5

    def build(self, blueprint: Blueprint) -> UnimodalHeads | None:
        targets = [name for name, head in blueprint.heads.items() if head.learns_alone]
        if len(blueprint.schema.columns) < 2 or not targets:
            return None
        return UnimodalHeads(self, blueprint, targets)


class UnimodalHeads(Objective):
    """A head per target and column.

    Attributes:
        targets: Their names.
        columns: Likewise.
        heads: [target][column].
    """

    mixes = True

    def __init__(self, config: UnimodalConfig, blueprint: Blueprint, targets: list[str]) -> None:
        super().__init__()
        self.targets, self.columns = tuple(targets), blueprint.schema.names
        self.heads = nn.ModuleList(
            nn.ModuleList(
                blueprint.heads[name].alone(blueprint.schema.target(name), blueprint.width) for _ in self.columns
            )
            for name in targets
        )
        self._weights = {
            self.loss_name(target, column): config.weight * blueprint.heads[target].loss_weight
            for target in targets
            for column in self.columns
        }

    @staticmethod
    def loss_name(target: str, column: str) -> str:
        """What the loss of a column alone is called in `weights`, and in the log."""
        return f"{target}/{column}"

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    def by_column(self) -> dict[str, dict[str, Head[object]]]:
        """Per target and column the head."""
        return {
            target: {
                column: head for column, head in zip(self.columns, of_columns, strict=True) if isinstance(head, Head)
            }
            for target, of_columns in zip(self.targets, self.heads, strict=True)
            if isinstance(of_columns, nn.ModuleList)
        }

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        losses = {}
        for target, heads in self.by_column().items():
            truth = state.truths[target]
            counts = next(iter(heads.values())).count(truth)
            for column, head in heads.items():
                output = head(state.fused.unimodal(column), state.context)
                own = head.loss(output, truth.masked(state.batch.columns[column].present))
                total = sum_weighted(head, {name: loss.total for name, loss in own.items()})
                losses[self.loss_name(target, column)] = RowLoss(total, sum_weighted(head, counts))
        return losses

    def count(self, batch: Batch, heads: Mapping[str, Head[object]]) -> dict[str, Float[Tensor, " batch"]]:
        del heads  # those of the columns may count otherwise: the tokens of a bag
        counts: dict[str, Tensor] = {}
        for target in self.targets:
            count = row_count(next(iter(self.by_column()[target].values())), batch)
            counts |= {self.loss_name(target, column): count for column in self.columns}
        return counts


def row_count(head: Head[object], batch: Batch) -> Float[Tensor, " batch"]:
    """What each row adds to the divisor of a head's losses together."""
    truth = head.truth(batch)
    assert truth is not None, f"the batch has no truth of {head.target.name!r}"
    return sum_weighted(head, head.count(truth))


def sum_weighted(head: Head[object], values: Mapping[str, Float[Tensor, " batch"]]) -> Float[Tensor, " batch"]:
    """A head's several losses (or counts) as one; of a single one the same."""
    weights = head.loss_weights
    if len(weights) == 1:
        return next(iter(values.values()))
    first, *rest = (values[name] * weight for name, weight in weights.items())
    for value in rest:
        first = first + value
    return first
