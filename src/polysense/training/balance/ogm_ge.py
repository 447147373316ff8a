"""OGM-GE: the encoder of the column that is ahead gets smaller gradients, so that the others can catch up.

Peng et al., "Balanced multimodal learning via on-the-fly gradient modulation", CVPR 2022, equations 6 to 12. In each
step s_m is the mean score that column m alone gives to the right class, rho_m the ratio of s_m to the others', and
where rho_m > 1 the gradients of m's encoder are multiplied by k_m = 1 - tanh(alpha rho_m). GE, generalization
enhancement, adds Gaussian noise of each gradient's own standard deviation, since smaller gradients also mean less of
the noise that makes stochastic gradient descent generalize. As in the authors' code the noise goes to the encoders of
all columns, and to weights of two dimensions or more, not to biases and gains; it is drawn for the unscaled gradient.

What differs: the paper reads s_m off slices of a linear classifier over concatenated features; here it is read off the
columns' own heads, so any fusion will do, and the objective `unimodal` is needed. With more than two columns rho_m
is the ratio to the mean of the others. A target that is not a class has no right class: the score of a row is then
exp(-loss), which for a class's cross entropy is the same.

The trade-off: AdamW divides a gradient by its own running size, so that a constant factor cancels out; scaling acts
fully under SGD (the paper's optimizer), and under AdamW only as far as k_m changes, or through clipping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.config.limits import NonNegativeFloat, PositiveInt
from polysense.core.batch import Batch
from polysense.core.random import fold
from polysense.core.rows import RowLoss
from polysense.errors import ConfigError
from polysense.training.balance.base import Balance, BalanceConfig, Setting
from polysense.training.balance.measure import unimodal_scores

__all__ = ["OGMGE", "OGMGEConfig", "coefficients"]


@dataclass(frozen=True, kw_only=True)
class OGMGEConfig(BalanceConfig):
    """OGM-GE: smaller gradients for the encoder of the column that is ahead, and noise for all encoders.

    Needs the objective unimodal. Acts most with training.optimizer.type=sgd: AdamW undoes much of the scaling.

    Attributes:
        alpha: How strongly the leading column is slowed down; its gradients are multiplied by 1 - tanh(alpha * ratio).
            0: not at all.
        noise: Whether each weight's gradient gets Gaussian noise of its own standard deviation.
        start_epoch: The first epoch in which it acts, from 1.
        end_epoch: The last one; null: that of the run.
    """

    type: Literal["ogm_ge"] = "ogm_ge"
    alpha: NonNegativeFloat = 0.3
    noise: bool = True
    start_epoch: PositiveInt = 1
    end_epoch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end_epoch is not None and self.end_epoch < self.start_epoch:
            raise ConfigError(
                f"training.balance.end_epoch must be at least start_epoch, {self.start_epoch}; found {self.end_epoch}"
            )

    def build(self, setting: Setting) -> OGMGE:
        return OGMGE(self, setting)


def coefficients(
    totals: Float[Tensor, " columns"], counts: Float[Tensor, " columns"], alpha: float
) -> Float[Tensor, " columns"]:
    """k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1 (equations 9 and 10).

    Args:
        totals: Each column's summed scores of what is right.
        counts: The rows that they are summed over; a column that no row has is left out, and gets 1.
        alpha: How strongly the column that is ahead is held back.
    """
    seen = counts > 0
    means = torch.where(seen, totals / counts.clamp(min=1e-30), 0.0)
    apart = ~torch.eye(len(means), dtype=torch.bool, device=means.device) & seen
    # Not the sum less the own share, which would round: two columns alike have the ratio 1 exactly.
    others = (means * apart).sum(dim=1) / apart.sum(dim=1).clamp(min=1)
    ahead = seen & apart.any(dim=1) & (means > others)
    scales = 1 - torch.tanh(alpha * means / others.clamp(min=1e-30))
    return torch.where(ahead, scales, 1.0)


class OGMGE(Balance):
    """Scales the encoders' gradients in each step.

    Args:
        config: Its settings.
        setting: The run.
    """

    def __init__(self, config: OGMGEConfig, setting: Setting) -> None:
        setting.require_unimodal_losses("ogm_ge")
        self._config, self._setting = config, setting
        num_columns = len(setting.columns)
        self._seen = torch.zeros(2, num_columns, device=setting.device)
        # Of the epoch, for the log: the coefficients' sum, and how many steps.
        self._sum = torch.zeros(num_columns, device=setting.device)
        self._steps = 0

    def observe(self, losses: Mapping[str, RowLoss], batch: Batch, epoch: int) -> None:
        if self._acts(epoch):
            with torch.no_grad():
                self._seen += torch.stack(unimodal_scores(self._setting.model, losses, batch))

    @torch.no_grad()
    def adjust(self, epoch: int, step: int) -> None:
        if not self._acts(epoch):
            return
        setting = self._setting
        totals, counts = setting.distributed.sum(self._seen)
        scales = coefficients(totals, counts, self._config.alpha)
        self._seen = torch.zeros_like(self._seen)
        self._sum += scales
        self._steps += 1
        generator = torch.Generator(setting.device)
        # The same draws in every process: the weights would drift apart otherwise.
        generator.manual_seed(int(fold(setting.seed, epoch, step, "gradient noise")))
        for encoder, factor in zip(setting.model.column_encoders.values(), scales, strict=True):
            gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
            if not gradients:
                continue
            noisy = [gradient for gradient in gradients if gradient.ndim > 1] if self._config.noise else []
            noise = [_noise_like(gradient, generator) for gradient in noisy]
            torch._foreach_mul_(gradients, factor)
            if noise:
                torch._foreach_add_(noisy, noise)

    def _acts(self, epoch: int) -> bool:
        end = self._config.end_epoch
        return self._config.start_epoch <= epoch + 1 and (end is None or epoch + 1 <= end)

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        means = [1.0] * len(self._sum) if not self._steps else (self._sum / self._steps).tolist()
        self._sum, self._steps = torch.zeros_like(self._sum), 0
        return {name: round(mean, 6) for name, mean in zip(self._setting.columns, means, strict=True)}

    def state(self) -> dict[str, Any]:
        return {"sum": self._sum.tolist(), "steps": self._steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._sum = torch.tensor(state["sum"], device=self._setting.device)
        self._steps = state["steps"]


def _noise_like(gradient: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(gradient.shape, generator=generator, device=gradient.device, dtype=gradient.dtype)
    return noise * gradient.std(correction=0)
