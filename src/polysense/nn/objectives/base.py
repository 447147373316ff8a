"""Objective: a loss beside the targets' own, used in training alone and gone from the bundle's predictions.

Unimodal heads, a ranking of more against fewer columns, an adversary, image-text matching, an encoder's own
reconstruction: each is a module that sees one forward of the model (`TrainingState`) and gives losses per row. It may
encode again, fuse again and read a head again, so masked modeling, preference and distillation are members too. A third
party adds one through the entry-point group `polysense.objective`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.base import Family
from polysense.config.limits import NonNegativeFloat
from polysense.core.batch import Batch, Truth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Schema
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.nn.head import BaseHead, Head, HeadConfig

__all__ = ["Blueprint", "Objective", "ObjectiveConfig", "TrainingState", "adapters_off"]


@dataclass(frozen=True, eq=False)
class Blueprint:
    """What an objective is built from.

    Attributes:
        schema: The fitted columns and targets.
        width: Of the tokens.
        heads: Per target how it is read.
    """

    schema: Schema
    width: int
    heads: Mapping[str, HeadConfig]


@dataclass(frozen=True, eq=False)
class TrainingState:
    """One forward of the model in training.

    Attributes:
        batch: As the encoders got it, after every `corrupt`.
        truths: Per target, where the batch has it.
        context: Of the rows.
        tokens: Per column, as encoded.
        fused: All columns.
        heads: Per target.
        outputs: Per target what its head read.
        losses: Per target its head's losses, by name; without those of heads that contrast rows where the step takes
            them over several micro-batches or ranks.
        encoders: Per column.
        encode: Encodes another batch.
        fuse: Joins other tokens, of which some columns may be excluded.
        read: Reads a head from what was fused.
        adapters_off: Within it the model is the reference model, without low-rank adapters.
    """

    batch: Batch
    truths: Mapping[str, Truth]
    context: RowContext
    tokens: Mapping[str, Tokens]
    fused: Fused
    heads: Mapping[str, Head[object]]
    outputs: Mapping[str, object]
    losses: Mapping[str, Mapping[str, RowLoss]]
    encoders: Mapping[str, nn.Module]
    encode: Callable[[Batch], dict[str, Tokens]]
    fuse: Callable[[Mapping[str, Tokens], Collection[str]], Fused]
    read: Callable[[str, Fused], object]
    adapters_off: Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Family, family="objective", homes=("nn.objectives.*", "tasks.*.objectives.*")):
    """A loss in addition to those of the targets.

    Attributes:
        weight: Of the loss in the sum. 0 builds nothing of it.
    """

    type: str
    weight: NonNegativeFloat = 1.0

    def build(self, blueprint: Blueprint) -> Objective | None:
        """Builds the objective; None where there is nothing for it to do (a single column has no others to rank)."""
        raise ConfigError(f"the objective {self.type!r} can't be built: its config has no build method")


class Objective(nn.Module, ABC):
    """Losses beside the targets' own."""

    FORWARD_METHODS: ClassVar[tuple[str, ...]] = ("forward",)

    mixes: ClassVar[bool] = False
    """Whether it can be asked twice of rows that are mixed after the encoders, with either truth; then it encodes
    nothing by itself."""

    reads_cells: ClassVar[bool] = False
    """Whether it looks at the cells of the inputs, or changes them in `corrupt`."""

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """The weight of each loss that `forward` gives, by name."""

    def corrupt(self, batch: Batch) -> Batch:
        """The batch as encoders get it in training; what changes cells says so by `reads_cells`."""
        return batch

    @abstractmethod
    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        """The losses of each row; 0, and in the graph, where there is nothing to say."""

    def count(self, batch: Batch, heads: Mapping[str, Head[object]]) -> dict[str, Float[Tensor, " batch"]]:
        """What each row adds to the divisor of each loss, without a forward; by default every row counts.

        Args:
            batch: As it is before anything is corrupted.
            heads: Per target, for a loss that is counted as a target is.
        """
        real = (batch.rows >= 0).float()
        return dict.fromkeys(self.weights, real)


@contextmanager
def adapters_off(heads: Iterable[BaseHead]) -> Iterator[None]:
    """Within it the model is the reference model: what it was before low-rank adapters."""
    with ExitStack() as stack:
        for head in heads:
            stack.enter_context(head.adapters_off())
        yield
