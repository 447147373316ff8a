"""Any number of labels per row, by a binary cross entropy each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, NonNegativeFloat
from polysense.core.batch import Truth, ValueTruth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.nn.class_weights import effective_number
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.head import HeadConfig, Logits, Space, readout
from polysense.nn.layers.rowwise import weighted
from polysense.nn.tempered_head import TemperedHead
from polysense.tasks.multilabel.record import MultilabelTarget

__all__ = ["MultilabelHead", "MultilabelHeadConfig"]

_MOST = 100.0  # that a label's positive weighs: of a label of two rows among thousands nothing else would be learned


@dataclass(frozen=True, kw_only=True)
class MultilabelHeadConfig(HeadConfig):
    """A yes or no for each label, trained with binary cross entropy.

    Attributes:
        class_weights: "none"; "balanced": a label's positives weigh as much as its negatives together; or
            "effective_number": likewise, but by effective numbers of rows (see class_weight_beta). At most a hundred
            times as much for a row.
        class_weight_beta: Of "effective_number": n rows are worth (1 - beta^n) / (1 - beta). 0 weighs positives and
            negatives alike, and towards 1 it is "balanced".
        focal_gamma: Each label's loss is multiplied by (1 - p)^gamma, p the probability of what is true of it, so that
            the many labels that a row easily lacks count little (2 is common); 0 multiplies by nothing.
        threshold: A label is predicted where its probability is at least this.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"multilabel"})
    unimodal: ClassVar[bool] = True
    type: Literal["multilabel"] = "multilabel"
    class_weights: Literal["none", "balanced", "effective_number"] = "none"
    class_weight_beta: FractionBelowOne = 0.9999
    focal_gamma: NonNegativeFloat = 0.0
    threshold: float = 0.5

    @property
    def corrections(self) -> Sequence[str]:
        return () if self.class_weights == "none" else (f"class_weights: {self.class_weights}",)


class MultilabelHead(TemperedHead, config=MultilabelHeadConfig):
    """One logit per label from the fused summary."""

    score_kind: ClassVar[ScoreKind | None] = "labels"

    positive_weight: Tensor

    target: MultilabelTarget

    mixes = True

    def __init__(self, config: MultilabelHeadConfig, target: MultilabelTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.threshold = config.threshold
        self.readout = readout(width, config.hidden, config.dropout, len(target.classes))
        # A module, so that prediction rounds its probabilities alike at every position (`nn.layers.elementwise`).
        self.sigmoid = nn.Sigmoid()
        positive = torch.tensor(_positive_weights(config, target)).clamp(max=_MOST)
        self.focal_gamma = config.focal_gamma
        self.register_buffer("positive_weight", positive, persistent=False)

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        return Logits(self.readout(fused.pooled))

    def loss(self, output: Logits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        losses = F.binary_cross_entropy_with_logits(
            output.values.float(), truth.values, pos_weight=self.positive_weight, reduction="none"
        )
        if self.focal_gamma:
            # Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5.
            wrong = (output.values.float() * (1.0 - 2.0 * truth.values)).sigmoid()
            losses = losses * wrong.clamp(min=1e-12) ** self.focal_gamma
        return {"loss": RowLoss(losses.mean(dim=1) * truth.present, truth.present.float())}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        return {"loss": truth.present.float()}

    def log_loss(self, logits: Float[Tensor, "rows outputs"], truth: ValueTruth) -> Float[Tensor, " rows"]:
        return F.binary_cross_entropy_with_logits(logits, truth.values.to(logits.dtype), reduction="none").mean(dim=1)

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, output: Logits) -> Float[Tensor, " batch"]:
        """The sum of the labels' energies, each of two logits of which one is 0.

        Wang et al., "Can multi-label classification networks know what they don't know?", NeurIPS 2021, equation 6.
        """
        return -F.softplus(output.values.float()).sum(dim=-1)

    def arrays(self, output: Logits) -> dict[str, Tensor]:
        probabilities = self.sigmoid(output.values.float() / self.temperature)
        return {"values": probabilities >= self.threshold, "probabilities": probabilities}

    @property
    def num_scores(self) -> int:
        return len(self.target.classes)

    def output_of(self, scores: Float[Tensor, "batch scores"]) -> Logits:
        return Logits(scores)

    def learned_values(self, truth: Truth) -> Float[Tensor, "batch scores"]:
        assert isinstance(truth, ValueTruth)
        return truth.values.double().masked_fill(~truth.present[:, None], torch.nan)

    def combine(self, outputs: Sequence[Logits], weights: Float[Tensor, "batch experts"], space: Space) -> Logits:
        stacked = torch.stack([output.values for output in outputs], dim=1)
        if space == "logits":
            return Logits(weighted(stacked, weights))
        shares = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return Logits(weighted(self.sigmoid(stacked.float()), shares).logit(eps=1e-7))


def _positive_weights(config: MultilabelHeadConfig, target: MultilabelTarget) -> list[float]:
    """Per label what a row that has it weighs, where one that lacks it weighs 1."""
    if config.class_weights == "none":
        return [1.0] * len(target.classes)
    pairs = [(max(count, 1), max(target.num_rows - count, 1)) for count in target.class_counts]
    if config.class_weights == "balanced":
        return [negative / positive for positive, negative in pairs]
    beta = config.class_weight_beta
    return [effective_number(negative, beta) / effective_number(positive, beta) for positive, negative in pairs]
