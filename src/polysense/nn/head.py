"""Head: Fused to one target's outputs, losses and prediction.

A head's output is a dataclass of its own (a pytree, see `core.pytree`), tensors with rows first: a mask, a validity or
a scale is a field and hides in no logit. Losses are per row, each with its own count, which is known before the forward
(a text's tokens, an image's pixels), so that sums over micro-batches and ranks divide exactly.

Whatever touches parameters runs in a method that `FORWARD_METHODS` names: sharded parameters are gathered around these
(`register_fsdp_forward_method`), and around nothing else. So an output is never a view of a parameter.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeAlias, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.base import Configured, Family
from polysense.config.limits import FractionBelowOne, NonNegativeFloat
from polysense.core.batch import Batch, ColumnBatch, Truth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column, Requirements, Target
from polysense.core.tokens import Fused, PyramidLevel
from polysense.errors import ConfigError
from polysense.nn.circumstances import Circumstances
from polysense.nn.decoding.base import DecodingConfig
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.encoder import EncoderConfig
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.temperature import SubsetRows

__all__ = ["BaseHead", "Head", "HeadConfig", "Logits", "Space", "readout"]

O = TypeVar("O")  # noqa: E741  # a head's output

Space: TypeAlias = Literal["logits", "probabilities"]
"""Where the outputs of several experts are combined."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Family, family="head", homes=("nn.ensemble_head", "tasks.*.heads.*")):
    """How one target is read from what was fused.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Width of a hidden layer before the output; 0 = the output is linear in the fused summary.
        dropout: Before the output.
    """

    tasks: ClassVar[frozenset[str]] = frozenset()
    unimodal: ClassVar[bool] = False
    """Whether a column alone can have such a head: it reads `Fused.pooled` and nothing else, and `combine` is there."""
    contrasts_rows: ClassVar[bool] = False
    """Whether its loss compares the rows of a batch with one another."""
    reads_features: ClassVar[bool] = False
    """Whether its head reads feature vectors in training too, so that they are made for every batch."""
    prediction_settings: ClassVar[tuple[str, ...]] = ()
    """Those that say how is predicted, not what was learned, and that can be changed after training."""
    framework: ClassVar[str] = ""
    """The library that loads the pretrained network that it is; "" of one trained from scratch."""
    steps_to_adapt: ClassVar[int | None] = None
    """After how many optimizer steps one that came with weights has learned what a table teaches; None: it has none."""
    type: str
    loss_weight: NonNegativeFloat = 1.0
    hidden: int = 0
    dropout: FractionBelowOne = 0.1

    @classmethod
    def serves(cls) -> frozenset[str]:
        """The tasks that it serves."""
        return cls.tasks

    def build(self, target: Target, width: int) -> BaseHead:
        """Builds the head for a fitted target."""
        self.check(target)
        if self.builds is None:
            raise ConfigError(f"the head {self.type!r} can't be built: no class names its config")
        head: BaseHead = self.builds(self, target, width)
        return head

    @property
    def learns_alone(self) -> bool:
        """Whether a column alone can be trained on its target, by what `alone` builds."""
        return self.unimodal

    def alone(self, target: Target, width: int) -> BaseHead:
        """What reads one column's summary in training, so that no column is ignored (`objectives.unimodal`)."""
        return self.build(target, width)

    @property
    def corrections(self) -> Sequence[str]:
        """What of it corrects for uneven classes, in words, such as "class_weights: balanced"; mostly nothing."""
        return ()

    def create(self, target: Target, width: int, resources: Path | None = None) -> BaseHead:
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

    def resolve(
        self,
        encoders: Mapping[str, EncoderConfig],
        circumstances: Circumstances | None = None,
        cells: Iterable[object] = (),
    ) -> tuple[HeadConfig, str]:
        """The head that this one stands for, settled when a training starts, and why; mostly itself, for no reason.

        Args:
            encoders: Of the input columns, settled.
            circumstances: What else the choice depends on; by default those of a small table on a CPU.
            cells: Some of the target's, for the language of texts.
        """
        del encoders, circumstances, cells
        return self, ""

    @property
    def strategy(self) -> DecodingConfig | None:
        """How its tokens are decoded; None where it generates none."""
        return None

    def with_strategy(self, strategy: DecodingConfig) -> HeadConfig:
        """The same, decoded in another way."""
        raise AssertionError(f"the head {self.type!r} generates nothing token by token")

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


class BaseHead(nn.Module, Configured, ABC):
    """What every head answers, whatever its output is; subclass `Head`.

    Args:
        target: The fitted target.
        loss_weight: Its share in the sum of losses.

    Attributes:
        learning_rate_scale: The learning rate of `pretrained_parameters` over the rest's.
        excludes: Input columns that it must never see; the model keeps them from it.
        reads_pyramids: Input columns whose feature maps it reads (`Tokens.pyramid`), which encoders give only where a
            head asks; settled by `connect` at the latest.
        num_levels_read: By column in `reads_pyramids` how many of the levels it reads, the coarsest ones; settled by
            `connect_pyramids`. All of a column that is not there.
        reads_features: Input columns whose feature vectors it reads (`FusedColumn.features`), likewise.
        contrasts_rows: Whether `loss` compares rows with one another. Then the training step gathers outputs and truths
            over micro-batches and ranks, so `loss` may use no parameters: what it learns (a temperature) is a field of
            the output.
        reads_cells: Whether its truth, or what it hides in training, are the cells of the inputs.
        mixes: Whether it can learn from rows that are mixed after the encoders: `read` asks for nothing but summaries,
            and the sum of the losses for two truths, each times its share, is one that makes sense.
        can_be_drawn: Whether its prediction is a distribution, drawn from where `RowContext.is_drawn`.
        warm_up_epochs: Epochs of a cheap loss before the training, which teaches what leads into the head; 0: none.
    """

    FORWARD_METHODS: ClassVar[tuple[str, ...]] = ("forward", "read", "loss", "predict", "brief", "score", "decoder")

    learning_rate_scale: float = 1.0
    excludes: tuple[str, ...] = ()
    reads_pyramids: tuple[str, ...] = ()
    reads_features: tuple[str, ...] = ()
    contrasts_rows: bool = False
    reads_cells: bool = False
    mixes: bool = False
    can_be_drawn: bool = False
    warm_up_epochs: int = 0

    def __init__(self, target: Target, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.target = target
        self.loss_weight = loss_weight
        self.num_levels_read: dict[str, int] = {}

    def connect(self, columns: Sequence[Column]) -> None:
        """Told of the model's input columns once, when it is built; a head that reads one of them settles which.

        Raises:
            ConfigError: None of them can be read, or several can and the recipe names none.
        """

    def connect_pyramids(self, levels: Mapping[str, tuple[PyramidLevel, ...]]) -> None:
        """Told once, after `connect`, what `reads_pyramids` are, from fine to coarse; it makes its layers."""

    def connect_features(self, sizes: Mapping[str, int]) -> None:
        """Told once, after `connect`, how many features each column in `reads_features` has; 0 where it has none."""

    # --- training ------------------------------------------------------------------------------------------------

    def truth(self, batch: Batch) -> Truth | None:
        """What it learns from: the batch's truth of its target, unless the inputs are the truth. None without one."""
        return batch.truths.get(self.target.name)

    def corrupt(self, batch: Batch) -> Batch:
        """The batch as encoders get it in training. A head that reconstructs hides what its loss then asks for."""
        return batch

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """The weight of each loss that `loss` and `count` name, beside `loss_weight`; of weight 0 it is only logged."""
        return {"loss": 1.0}

    @property
    def loss_names(self) -> dict[str, str]:
        """What its losses are called among all of a model's: a single one like its target."""
        name, losses = self.target.name, list(self.loss_weights)
        return {losses[0]: name} if len(losses) == 1 else {loss: f"{name}/{loss}" for loss in losses}

    @abstractmethod
    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """What each row adds to the divisor of each loss, from the truth alone; 0 where it is absent."""

    # --- prediction ----------------------------------------------------------------------------------------------

    @abstractmethod
    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        """What is predicted, as arrays with rows first, by the names that its task knows them by."""

    def brief(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        """The cheap part of `predict`, where nobody will read texts or reconstructed columns."""
        return self.predict(fused, context)

    def score(self, fused: Fused, context: RowContext, truth: Truth) -> dict[str, Tensor]:
        """Arrays that say how well the truth is explained (likelihoods, errors); they change no prediction."""
        return {}

    def decoder(
        self, fused: Fused, context: RowContext, max_new_tokens: int, *, use_cache: bool = True
    ) -> IncrementalDecoder:
        """The incremental decoder at the beginning of a text, one row for each row of the batch.

        Args:
            fused: What is read.
            context: Of the rows; a prompt is among its inputs.
            max_new_tokens: How often it will be called at most.
            use_cache: Whether to keep what is computed for the past; without, it is slow, for comparison.
        """
        raise AssertionError(f"{type(self).__name__} generates nothing token by token")

    def stream(self, fused: Fused, context: RowContext, row: int) -> Iterator[list[int]]:
        """The token ids of one row while they are generated, the same that `predict` gives."""
        raise AssertionError(f"{type(self).__name__} generates nothing token by token")

    def redecoded(self, strategy: DecodingConfig) -> BaseHead:
        """The same head, weights shared, that decodes in another way."""
        raise AssertionError(f"{type(self).__name__} generates nothing token by token")

    def with_settings(self, config: HeadConfig) -> BaseHead:
        """The same head, weights shared, that predicts by a config whose `prediction_settings` are others."""
        raise AssertionError(f"{type(self).__name__} has no settings that can be changed after training")

    def compared(self, columns: Mapping[str, ColumnBatch]) -> dict[str, Tensor]:
        """Of a head that reconstructs: what a reconstruction is compared with, where that is not the cell itself."""
        del columns
        return {}

    def adapters_off(self) -> AbstractContextManager[None]:
        """Within it the head is what it was before low-rank adapters."""
        return nullcontext()

    # --- the rest ------------------------------------------------------------------------------------------------

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
    def learns_from_features(self) -> bool:
        """Whether `fit_features` is to be called before training."""
        return False

    def fit_features(
        self, features: Mapping[str, Float[Tensor, "rows _"]], present: Mapping[str, Bool[Tensor, " rows"]]
    ) -> None:
        """Learns what is counted, not trained, such as means, from feature vectors of training rows.

        Args:
            features: Per column in `reads_features` that has any.
            present: Which rows have the column.
        """
        raise AssertionError(f"{type(self).__name__} learns nothing from features")

    def warm_up_loss(self, fused: Fused, context: RowContext, truth: Truth) -> RowLoss:
        """The loss of `warm_up_epochs`.

        Args:
            fused: What is read.
            context: What is known of the rows.
            truth: Of the same rows.
        """
        raise AssertionError(f"{type(self).__name__} has no warm-up")

    @property
    def selection_metric(self) -> str | None:
        """What the best checkpoint is selected by because of how this head is trained; None: by what its task says."""
        return None

    def expect_even_classes(self) -> None:
        """Told before training that a sampler draws rare classes more often than they are."""

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that came with weights, which learn more slowly."""
        return iter(())

    def save_resources(self, folder: Path) -> None:
        """Writes what `create` needs besides the config and the weights, such as a pretrained model's own config."""


class Head(BaseHead, Generic[O]):
    """Reads Fused for one target; its output is an `O`, a pytree."""

    @abstractmethod
    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> O:
        """The outputs: logits, standardized numbers, whatever the losses need.

        Args:
            fused: What is read.
            context: What is known of the rows.
            truth: For a head that is conditioned on it in training (teacher forcing); others leave it alone.
        """

    def forward(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> O:
        """The same as `read`."""
        return self.read(fused, context, truth)

    @abstractmethod
    def loss(self, output: O, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        """Each row's losses.

        Args:
            output: What `read` gave.
            truth: Of the same rows.
            own: Of a head that contrasts rows: those whose losses are asked for, compared with all.
        """

    def arrays(self, output: O) -> dict[str, Tensor]:
        """An output as what is predicted: arrays with rows first. By default its own fields, as they are."""
        assert dataclasses.is_dataclass(output), f"{type(self).__name__}: its output is a {type(output).__name__}"
        return {name: value for name, value in vars(output).items() if isinstance(value, Tensor)}

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        """By default the arrays of what is read."""
        return self.arrays(self.tempered(self.read(fused, context), fused))

    def tempered(self, output: O, fused: Fused) -> O:
        """An output as sure of itself as `calibrate_subsets` found to be right for the columns that each row has."""
        return output

    @property
    def calibrates(self) -> bool:
        """Whether `calibrate` is to be called once everything is trained."""
        return False

    def calibrate(self, output: O, truth: Truth, weights: Float[Tensor, " batch"]) -> str | None:
        """Fits how sure a prediction says that it is, on rows that were not trained on; it changes no best guess.

        Args:
            output: What `read` gave for the rows, in evaluation mode.
            truth: Of the same rows.
            weights: Of the rows.

        Returns:
            What was fitted, for the log; None where the rows are too few.
        """
        raise AssertionError(f"{type(self).__name__} calibrates nothing")

    def calibrate_subsets(self, subsets: Sequence[SubsetRows[O]]) -> str | None:
        """Fits the same for rows that lack columns, after `calibrate`; a head may leave it.

        Args:
            subsets: Each with rows enough.

        Returns:
            What was fitted, for the log; None for nothing.
        """
        return None

    def temperature_of(self, columns: Collection[str]) -> float | None:
        """What divides the logits of rows that have these input columns and no others; None of a head without."""
        del columns
        return None

    @property
    def has_energy(self) -> bool:
        """Whether `energy` says how little a row is like those that were trained on."""
        return False

    def energy(self, output: O) -> Float[Tensor, " batch"]:
        """The free energy of each row's logits at temperature 1; higher where rows are unlike the training rows.

        Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, equation 4. A fitted temperature has no
        part in it: it may differ between rows, whose energies would not compare, and 1 is what the paper recommends.
        """
        raise AssertionError(f"{type(self).__name__} has no energy")

    def translated(self, output: O, other: Head[O]) -> O:
        """What another model's head of the same target gave, in this head's terms.

        Args:
            output: Of that head, for any rows.
            other: That head; of the same kind and classes, though fitted on other rows.
        """
        del other
        return output

    def combine(self, outputs: Sequence[O], weights: Float[Tensor, "batch experts"], space: Space) -> O:
        """Several experts' outputs as one, for heads that a column alone can have.

        Args:
            outputs: What `read` gave for each expert.
            weights: How much each counts in each row.
            space: Where a head whose outputs are logits combines them: "logits", p = softmax(sum_m w_m l_m), in which
                weights need not sum to 1, or "probabilities".
        """
        raise AssertionError(f"{type(self).__name__} combines no experts; its config says `unimodal = False`")

    score_kind: ClassVar[ScoreKind | None] = None
    """What the scores of an estimator are that `output_of` takes; None: an estimator can't be an expert beside it."""

    @property
    def num_scores(self) -> int:
        """Scores of a row."""
        raise AssertionError(f"{type(self).__name__} takes no scores")

    def output_of(self, scores: Float[Tensor, "batch scores"]) -> O:
        """An estimator's scores as its output."""
        raise AssertionError(f"{type(self).__name__} takes no scores")

    def learned_values(self, truth: Truth) -> Float[Tensor, "batch _"]:
        """What an estimator learns: [batch, 1], a class's id, or a value for each score; NaN where it is unknown."""
        raise AssertionError(f"{type(self).__name__} takes no scores")


@pytree_node
@dataclass(frozen=True, eq=False)
class Logits:
    """The output of a head that is one readout of the summary.

    Attributes:
        values: Logits, or standardized numbers.
    """

    values: Float[Tensor, "batch outputs"]


def readout(width: int, hidden: int, dropout: float, num_outputs: int) -> nn.Sequential:
    """From a summary to outputs: linear, or with one hidden layer."""
    if hidden == 0:
        return nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_outputs))
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, num_outputs)
    )
