"""Objective: a loss beside the targets' own, used in training alone and gone from the bundle's predictions.

Unimodal heads, a ranking of more against fewer columns, an adversary, image-text matching, an encoder's own
reconstruction: each is a module that sees one forward of the model (`TrainingState`) and gives losses per row. It may
encode again, fuse again and read a head again, so masked modeling, preference and distillation are members too. A third
party adds one through the entry-point group `polysense.objective`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.base import Family
from polysense.config.limits import NonNegativeFloat
from polysense.core.batch import Batch, Truth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Schema
from polysense.core.task_spec import TargetReader
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.nn.head import BaseHead, Head, HeadConfig

__all__ = [
    "Beginning",
    "Blueprint",
    "Objective",
    "ObjectiveConfig",
    "Scorer",
    "TrainingState",
    "WholeModel",
    "adapters_off",
]

Scorer: TypeAlias = Callable[[Sequence[int], Mapping[str, Sequence[object]]], Mapping[str, Sequence[object]]]
"""A trained bundle that judges: from training rows by their numbers, and by column cells that stand in for theirs, to
the columns that it predicts."""


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


class WholeModel(Protocol):
    """The model that objectives are a part of, as they may use it; see `nn.model`."""

    objectives: nn.ModuleList

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Of all parts."""

    def head(self, target: str) -> Head[object]:
        """A target's head."""

    def encode(self, batch: Batch) -> dict[str, Tokens]:
        """Tokens per column."""

    def fuse(self, tokens: Mapping[str, Tokens], batch: Batch, excludes: Collection[str] = ()) -> Fused:
        """Joins tokens."""

    def context(self, batch: Batch, target: str | None = None) -> RowContext:
        """What a head is told of the rows."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """The training that is about to begin.

    Attributes:
        model: With the weights that it starts from.
        is_trained: Whether all of these came from a trained bundle or pretrained networks, and none were drawn.
        num_rows: Of the training table.
        readers: Per target how it is spelled, and what the training table's rows hold, where metrics may ask.
        scorer: Opens a bundle as a judge.
    """

    model: WholeModel
    is_trained: bool
    num_rows: int
    readers: Mapping[str, TargetReader]
    scorer: Callable[[str], Scorer]


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

    watches_start: ClassVar[bool] = False
    """Whether it asks for `begin`, also in a run that is resumed, whose weights are first put back to the start's."""

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """The weight of each loss that `forward` gives, by name; 0 of what is only to be logged."""

    @property
    def rewards(self) -> Mapping[str, int]:
        """By name those of `weights` that are rewards, which training may drive too far, and the patience with each: in
        epochs in which the reward is above, and the validation metric below, what they were in the best epoch."""
        return {}

    def begin(self, beginning: Beginning) -> None:
        """Told once of the training, before its first step, where `watches_start`.

        Raises:
            ConfigError: The training can't begin from these weights or on this table.
        """

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
