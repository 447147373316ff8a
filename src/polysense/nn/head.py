"""Head: Fused to one target's outputs, loss and prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from polysense.config.base import Family
from polysense.core.batch import ColumnBatch, TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Loss, Prediction
from polysense.core.schema import Column, Requirements, Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError

__all__ = ["Head", "HeadConfig", "Space", "readout", "safe", "weighted"]


Space: TypeAlias = Literal["logits", "probabilities"]
"""Where the outputs of several experts are combined."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Family, family="head", homes=("tasks.*.heads.*",)):
    """How one target is read from what was fused.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Width of a hidden layer before the output; 0 = the output is linear in the fused summary.
        dropout: Before the output.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset()
    writes: ClassVar[bool] = False
    """Whether it writes its output step by step; columns have no heads of their own for such a target."""
    compares_rows: ClassVar[bool] = False
    """Whether its loss is about a whole batch, because rows are compared; columns have no heads of their own either."""
    restores: ClassVar[bool] = False
    """Whether its truth are the input columns, which say nothing of one column alone: nor then."""
    type: str
    loss_weight: float = 1.0
    hidden: int = 0
    dropout: float = 0.1

    def build(self, target: Target, width: int) -> Head:
        """Builds the head for a fitted target."""
        raise ConfigError(f"the head {self.type!r} can't be built: its config has no build method")

    def create(self, target: Target, width: int, resources: Path | None = None) -> Head:
        """Builds the head; one that has files of its own replaces this.

        Args:
            target: The fitted target.
            width: Width of the tokens that are read.
            resources: The folder that this head's `save_resources` wrote, where a bundle is loaded.
        """
        return self.build(target, width)

    def requirements(self, target_name: str) -> Requirements:
        """What this head asks of the target's preprocessing; only a pretrained one asks for anything."""
        del target_name
        return Requirements()

    @property
    def excluded(self) -> tuple[str, ...]:
        """Input columns that the head must never see, such as the caption that it is to generate."""
        return ()

    def for_column(self, column: str) -> HeadConfig:
        """The head of a model that has this input column alone."""
        del column
        return self

    def check(self, target: Target) -> None:
        """Raises ConfigError if the target is of a task that this head can't serve."""
        if target.task not in self.tasks:
            raise ConfigError(
                f"the head {self.type!r} serves {', '.join(sorted(self.tasks))}; target {target.name!r} is a "
                f"{target.task}. Choose another head for it under model.heads, or correct its type under data.targets"
            )


def readout(width: int, hidden: int, dropout: float, num_outputs: int) -> nn.Sequential:
    """From a summary to outputs: linear, or with one hidden layer."""
    if hidden == 0:
        return nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_outputs))
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, num_outputs)
    )


class Head(nn.Module, ABC):
    """Reads Fused for one target.

    Args:
        target: The fitted target.
        loss_weight: Its share in the sum of losses.

    Attributes:
        learning_rate_scale: The learning rate of `pretrained_parameters` over the rest's.
        without: Input columns that it doesn't read; the model keeps them from it.
    """

    learning_rate_scale: float = 1.0
    without: tuple[str, ...] = ()

    def __init__(self, target: Target, loss_weight: float) -> None:
        super().__init__()
        self.target = target
        self.loss_weight = loss_weight

    def connect(self, columns: Sequence[Column]) -> None:
        """Told of the model's input columns once, when it is built; a head that reads one of them settles which.

        Raises:
            ConfigError: None of them can be read, or several can and the recipe names none.
        """

    @property
    def auxiliary_losses(self) -> Mapping[str, float]:
        """Training losses beside its target's: name to weight. The model takes them, as they need more than Fused."""
        return {}

    @property
    def learns_from_texts(self) -> bool:
        """Whether `fit_texts` is to be called before training."""
        return False

    def fit_texts(self, texts: Iterable[Sequence[int]]) -> None:
        """Learns what is counted, not trained, such as a language model, from the training rows' texts.

        Args:
            texts: Token ids of every text (each reference is one), from the begin token to the end token.
        """
        raise AssertionError(f"{type(self).__name__} learns nothing from texts")

    @property
    def learns_from_columns(self) -> bool:
        """Whether `fit_columns` is to be called before training."""
        return False

    def fit_columns(self, batches: Sequence[Mapping[str, ColumnBatch]]) -> None:
        """Learns what is counted, not trained, such as a mean predictor, from training rows' input columns."""
        raise AssertionError(f"{type(self).__name__} learns nothing from columns")

    @property
    def selection_metric(self) -> str | None:
        """What the best checkpoint is selected by because of how this head is trained; None: by what its task says."""
        return None

    @abstractmethod
    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch ..."]:
        """The raw outputs: logits, or standardised numbers.

        Args:
            fused: What is read.
            target: The truth, for a head that is trained to go on from it (teacher forcing); others leave it alone.
        """

    @abstractmethod
    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        """Each row's loss, summed over what `row_counts` counts in it; 0 where the target is absent."""

    @abstractmethod
    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        """What each row adds to what the summed loss is divided by, known without a forward; 0 where absent."""

    def loss(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch, weights: Float[Tensor, " batch"]) -> Loss:
        """Summed over the rows that have the target; its count equals `count`'s."""
        return Loss((self.row_losses(outputs, target) * weights).sum(), self.count(target, weights))

    def count(self, target: TargetBatch, weights: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
        """What the summed loss is divided by."""
        return (self.row_counts(target) * weights).sum()

    def combine(
        self, outputs: Float[Tensor, "batch experts ..."], votes: Float[Tensor, "batch experts"], space: Space
    ) -> Float[Tensor, "batch ..."]:
        """Several experts' outputs as one: their mean, weighted by votes.

        Args:
            outputs: What `forward` gave for each expert.
            votes: How much each counts in each row.
            space: Where a head whose outputs are logits combines them: "logits", p = softmax(sum_m w_m l_m), in which
                votes need not sum to 1, or "probabilities".
        """
        return weighted(outputs, votes / votes.sum(dim=1, keepdim=True).clamp(min=1e-12))

    @abstractmethod
    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        """The outputs in the table's own terms."""

    def read(self, fused: Fused, target: TargetBatch | None = None, *, write: bool = True) -> Prediction:
        """The prediction for what was fused; a head that writes replaces this.

        Args:
            fused: What is read.
            target: The truth where it is known, for a head that says how likely it finds it. It changes no prediction.
            write: Whether a head that writes does so, or only says how likely the truth is, which costs far less.
        """
        return self.predict(self(fused))

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that came with weights, which learn more slowly."""
        return iter(())

    def save_resources(self, folder: Path) -> None:
        """Writes what `create` needs besides the config and the weights, such as a pretrained model's own config."""


def weighted(
    outputs: Float[Tensor, "batch experts ..."], votes: Float[Tensor, "batch experts"]
) -> Float[Tensor, "batch ..."]:
    """The sum over experts of votes times outputs."""
    return torch.einsum("be...,be->b...", outputs.float(), votes.float())


def safe(values: Shaped[Tensor, "batch ..."], present: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
    """Values with 0 where absent, so that arithmetic there stays finite and its gradient 0."""
    return values.masked_fill(~present, 0)
