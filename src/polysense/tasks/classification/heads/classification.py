"""One class of several, by a softmax; two classes are the same with two logits.

Where classes are uneven, one correction is chosen of several: class weights, a loss (`tasks.classification.losses`), or
logit adjustment after training, which takes the training shares out of the probabilities: p_y proportional to
softmax(logits / temperature)_y / share_y^tau (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021,
section 4, equation 9). It trains nothing anew and is exact where probabilities are; tau 1 is for balanced accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, NonNegativeFloat
from polysense.core.batch import Batch, Truth, ValueTruth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.class_weights import balanced_weights, effective_number_weights, named_weights
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.head import HeadConfig, Logits, Space, readout
from polysense.nn.layers.cosine import CosineLinear
from polysense.nn.layers.rowwise import weighted
from polysense.nn.tempered_head import TemperedHead
from polysense.tasks.classification.losses.base import ClassLossConfig, log_prior
from polysense.tasks.classification.losses.cross_entropy import CrossEntropyConfig
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["ClassificationHead", "ClassificationHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class ClassificationHeadConfig(HeadConfig):
    """Softmax over the classes.

    Attributes:
        loss: What is minimized: cross_entropy, logit_adjusted, focal or ldam.
        class_weights: "none"; "balanced": each class weighs as if all were equally frequent; "effective_number":
            likewise, but a class of few rows less than "balanced" says (see class_weight_beta); or a weight per class
            name (others weigh 1).
        class_weight_beta: Of "effective_number": a class of n rows weighs 1 / (1 - beta^n). 0 weighs all classes alike,
            and towards 1 it is "balanced"; .9999 counts the first ten thousand rows of a class.
        class_weights_from: Share of the epochs after which class_weights hold, for example .8; 0: from the beginning.
        logit_adjustment: How far the classes' training shares are taken out of what is predicted, after training: each
            probability is divided by its class's share to this power. 1 is for balanced accuracy; 0 leaves them.
        label_smoothing: Share of the target probability that is spread over all classes.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    unimodal: ClassVar[bool] = True
    type: Literal["classification"] = "classification"
    loss: ClassLossConfig = field(default_factory=CrossEntropyConfig)
    class_weights: Literal["none", "balanced", "effective_number"] | Mapping[str, float] = "none"
    class_weight_beta: FractionBelowOne = 0.9999
    class_weights_from: FractionBelowOne = 0.0
    logit_adjustment: NonNegativeFloat = 0.0
    label_smoothing: FractionBelowOne = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.class_weights_from and self.class_weights == "none":
            raise ConfigError(
                f"class_weights_from: found {self.class_weights_from:g} without class_weights; say which weights begin "
                "then (class_weights: effective_number), or leave it out"
            )

    @property
    def corrections(self) -> Sequence[str]:
        weights = self.class_weights if isinstance(self.class_weights, str) else "by name"
        after = (f"logit_adjustment: {self.logit_adjustment:g}",) if self.logit_adjustment else ()
        # LDAM's schedule begins its weights late: by design the two are one correction.
        together = self.loss.type == "ldam" and self.class_weights_from > 0
        weighted = () if weights == "none" or together else (f"class_weights: {weights}",)
        return (*weighted, *self.loss.corrections, *after)


def class_weights(config: ClassificationHeadConfig, target: ClassificationTarget) -> list[float]:
    """One weight per class.

    Raises:
        ConfigError: A weight names a class that the training rows don't have.
    """
    if config.class_weights == "none":
        return [1.0] * len(target.classes)
    if config.class_weights == "balanced":
        return balanced_weights(target.class_counts)
    if config.class_weights == "effective_number":
        return effective_number_weights(target.class_counts, config.class_weight_beta)
    requested: str | Mapping[str, float] = config.class_weights
    assert not isinstance(requested, str)
    return named_weights(f"model.heads.{target.name}.class_weights", requested, target.classes)


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class ScheduledTruth(ValueTruth):
    """A class, and how far the training has come.

    Attributes:
        progress: As in `Batch`; None outside of training.
    """

    progress: Float[Tensor, ""] | None = None


class ClassificationHead(TemperedHead, config=ClassificationHeadConfig):
    """Logits from the fused summary."""

    score_kind: ClassVar[ScoreKind | None] = "choice"

    class_weights: Tensor
    log_prior: Tensor

    target: ClassificationTarget

    mixes = True

    def __init__(self, config: ClassificationHeadConfig, target: ClassificationTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.label_smoothing = config.label_smoothing
        self.logit_adjustment = config.logit_adjustment
        self.weights_from = config.class_weights_from
        self.corrects = bool(config.corrections)
        self.criterion = config.loss.build(target)
        self.readout = readout(width, config.hidden, config.dropout, len(target.classes))
        if self.criterion.scale is not None:
            last = self.readout[-1]
            assert isinstance(last, nn.Linear)
            self.readout[-1] = CosineLinear(last.in_features, last.out_features, self.criterion.scale)
        weights = torch.tensor(class_weights(config, target))
        if self.weights_from:
            # When they begin, the loss of an average row stays what it was.
            counts = torch.tensor(target.class_counts, dtype=weights.dtype)
            weights = weights * counts.sum() / (weights * counts).sum().clamp(min=1e-12)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("log_prior", log_prior(target), persistent=False)

    def truth(self, batch: Batch) -> Truth | None:
        truth = super().truth(batch)
        if not self.weights_from or not isinstance(truth, ValueTruth):
            return truth
        return ScheduledTruth(present=truth.present, values=truth.values, progress=batch.progress)

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        return Logits(self.readout(fused.pooled))

    def loss(self, output: Logits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        counts = self._counts(truth)
        losses = self.criterion(output.values.float(), truth.values, self.label_smoothing)
        return {"loss": RowLoss(losses * counts, counts)}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        assert isinstance(truth, ValueTruth)
        return {"loss": self._counts(truth)}

    def _counts(self, truth: ValueTruth) -> Float[Tensor, " batch"]:
        weights = self.class_weights[truth.values]
        if isinstance(truth, ScheduledTruth) and truth.progress is not None:
            # A hair above, since progress is a float32 share of the epochs.
            weights = torch.where(truth.progress > self.weights_from + 1e-6, weights, torch.ones_like(weights))
        return truth.present * weights

    def expect_even_classes(self) -> None:
        self.corrects = True

    @property
    def selection_metric(self) -> str | None:
        """Balanced accuracy where uneven classes are corrected for: the log loss of uneven rows speaks against it."""
        return "balanced_accuracy" if self.corrects else None

    def log_loss(self, logits: Float[Tensor, "rows outputs"], truth: ValueTruth) -> Float[Tensor, " rows"]:
        return F.cross_entropy(self.criterion.under_training_shares(logits), truth.values, reduction="none")

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, output: Logits) -> Float[Tensor, " batch"]:
        return -output.values.float().logsumexp(dim=-1)

    def arrays(self, output: Logits) -> dict[str, Tensor]:
        logits = output.values.float() / self.temperature
        if self.logit_adjustment:
            logits = logits - self.logit_adjustment * self.log_prior
        probabilities = logits.softmax(dim=-1)
        return {"values": probabilities.argmax(dim=-1), "probabilities": probabilities}

    @property
    def num_scores(self) -> int:
        return len(self.target.classes)

    def output_of(self, scores: Float[Tensor, "batch scores"]) -> Logits:
        # An estimator learned the rows as they are; here its scores become what its own logits would be with these
        # class weights (posteriors in proportion to p(class | row) * weight) and this loss.
        zero = torch.zeros_like(self.log_prior)[None]
        shifts = self.class_weights.clamp(min=1e-6).log() - self.criterion.under_training_shares(zero)[0]
        return Logits(scores + shifts)

    def learned_values(self, truth: Truth) -> Float[Tensor, "batch 1"]:
        assert isinstance(truth, ValueTruth)
        return truth.values.double().masked_fill(~truth.present, torch.nan)[:, None]

    def combine(self, outputs: Sequence[Logits], weights: Float[Tensor, "batch experts"], space: Space) -> Logits:
        stacked = torch.stack([output.values for output in outputs], dim=1)
        if space == "logits":
            return Logits(weighted(stacked, weights))
        shares = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
        # The log of a mean of probabilities, whose softmax is that mean; a floor keeps rows without weights finite.
        return Logits(
            (stacked.float().log_softmax(dim=-1) + shares.clamp(min=1e-30).log()[:, :, None]).logsumexp(dim=1)
        )
