"""One class of several, by softmax cross entropy; two classes are the same with two logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne
from polysense.core.batch import Truth, ValueTruth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.estimators.base import ScoreKind
from polysense.nn.head import Head, HeadConfig, Logits, Space, readout, weighted
from polysense.nn.temperature import fit_temperature
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["ClassificationHead", "ClassificationHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class ClassificationHeadConfig(HeadConfig):
    """Softmax over the classes, trained with cross entropy.

    Attributes:
        class_weights: "none"; "balanced": each class weighs as if all were equally frequent; or a weight per class
            name (others weigh 1).
        label_smoothing: Share of the target probability that is spread over all classes.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    unimodal: ClassVar[bool] = True
    type: Literal["classification"] = "classification"
    class_weights: Literal["none", "balanced"] | Mapping[str, float] = "none"
    label_smoothing: FractionBelowOne = 0.0


def class_weights(config: str | Mapping[str, float], target: ClassificationTarget) -> list[float]:
    """One weight per class.

    Raises:
        ConfigError: A weight names a class that the training rows don't have.
    """
    if config == "none":
        return [1.0] * len(target.classes)
    if config == "balanced":
        total = sum(target.class_counts)
        return [total / (len(target.classes) * max(count, 1)) for count in target.class_counts]
    assert not isinstance(config, str)
    unknown = sorted(set(config) - set(target.classes))
    if unknown:
        raise ConfigError(
            f"model.heads.{target.name}.class_weights: no class is named {unknown[0]!r} "
            f"(known: {', '.join(target.classes)})"
        )
    return [float(config.get(name, 1.0)) for name in target.classes]


class ClassificationHead(Head[Logits], config=ClassificationHeadConfig):
    """Logits from the fused summary."""

    score_kind: ClassVar[ScoreKind | None] = "choice"

    class_weights: Tensor

    temperature: Tensor
    target: ClassificationTarget

    def __init__(self, config: ClassificationHeadConfig, target: ClassificationTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.register_buffer("temperature", torch.ones(()))
        self.label_smoothing = config.label_smoothing
        self.readout = readout(width, config.hidden, config.dropout, len(target.classes))
        weights = torch.tensor(class_weights(config.class_weights, target))
        self.register_buffer("class_weights", weights, persistent=False)

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        return Logits(self.readout(fused.pooled))

    def loss(self, output: Logits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        counts = self._counts(truth)
        losses = F.cross_entropy(
            output.values.float(), truth.values, reduction="none", label_smoothing=self.label_smoothing
        )
        return {"loss": RowLoss(losses * counts, counts)}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        assert isinstance(truth, ValueTruth)
        return {"loss": self._counts(truth)}

    def _counts(self, truth: ValueTruth) -> Float[Tensor, " batch"]:
        return truth.present * self.class_weights[truth.values]

    @property
    def calibrates(self) -> bool:
        return True

    def calibrate(self, output: Logits, truth: Truth, weights: Float[Tensor, " batch"]) -> str | None:
        """Fits the temperature."""
        assert isinstance(truth, ValueTruth)
        temperature = fit_temperature(
            lambda logits: F.cross_entropy(logits, truth.values, reduction="none"),
            output.values,
            truth.present * weights,
        )
        if temperature is None:
            return None
        self.temperature.fill_(temperature.value)
        return str(temperature)

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, output: Logits) -> Float[Tensor, " batch"]:
        return -output.values.float().logsumexp(dim=-1)

    def arrays(self, output: Logits) -> dict[str, Tensor]:
        probabilities = (output.values.float() / self.temperature).softmax(dim=-1)
        return {"values": probabilities.argmax(dim=-1), "probabilities": probabilities}

    @property
    def num_scores(self) -> int:
        return len(self.target.classes)

    def output_of(self, scores: Float[Tensor, "batch scores"]) -> Logits:
        return Logits(scores)

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
