"""Gradient blending: each loss weighs as much as learning from it pays off on rows that were not trained on.

Wang, Tran, Feiszli, "What makes training multi-modal classification networks hard?", CVPR 2020, section 3: columns
overfit and generalize at different rates, so one set of weights suits none of them. Between two measurements, a loss
has a gain G, by how much it fell on validation rows, and an overfitting O, by how much the gap between its validation
and its training value grew. The blend that is best in expectation is w_m ~ G_m / O_m^2, for the losses of the
columns' own heads and for that of all columns together.

This is the online form, with weights measured anew every few epochs. Two things differ from the paper. It trains a
copy of each part alone from the current weights to measure it; here the heads of the model in training are read as
they are, which costs two passes over some rows instead of several trainings. And the shares are mixed with an even
one, because a loss of weight 0 stops learning and would look as useless at the next measurement, for ever.

What it needs are enough validation rows: G and O are differences of losses, and on a hundred rows they are noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from polysense.config.limits import Fraction, PositiveFloat, PositiveInt
from polysense.core.logs import get_logger
from polysense.training.balance.base import ALL_COLUMNS, Balance, BalanceConfig, Setting

__all__ = ["GradientBlending", "GradientBlendingConfig", "blend"]

_LOG = get_logger("polysense.training")


@dataclass(frozen=True, kw_only=True)
class GradientBlendingConfig(BalanceConfig):
    """Gradient blending: losses weighted by their gain on validation rows over the square of their overfitting.

    Needs the objective unimodal, whose weight it starts from, and validation rows.

    Attributes:
        every_epochs: Epochs from one measurement to the next.
        evenly: Share of the weights that is spread evenly over all losses, so that none is switched off for ever. 0 is
            the method as published.
        min_overfitting: Lower bound of the measured overfitting (in the loss's unit), which avoids a division by 0 or
            by noise.
    """

    type: Literal["gradient_blending"] = "gradient_blending"
    every_epochs: PositiveInt = 1
    evenly: Fraction = 0.1
    min_overfitting: PositiveFloat = 0.01

    def build(self, setting: Setting) -> GradientBlending:
        return GradientBlending(self, setting)


def blend(
    before: Float[np.ndarray, "splits losses"],
    after: Float[np.ndarray, "splits losses"],
    *,
    min_overfitting: float = 0.01,
) -> list[float] | None:
    """The shares w_m ~ G_m / O_m^2, which sum to 1.

    A loss that did not fall on validation rows, or could not be measured (NaN), gets 0. An overfitting that did not
    grow counts as `min_overfitting`.

    Args:
        before: On training rows and on validation rows, at the start of the epochs in question.
        after: At their end.
        min_overfitting: The smallest O.

    Returns:
        One share per loss; None where none of them fell, which says nothing of how to weigh them.
    """
    gain = before[1] - after[1]
    overfitting = (after[1] - after[0]) - (before[1] - before[0])
    values = np.nan_to_num(np.maximum(gain, 0.0) / np.maximum(overfitting, min_overfitting) ** 2)
    return (values / values.sum()).tolist() if values.sum() > 0 else None


class GradientBlending(Balance):
    """Measures each loss every few epochs and changes the model's `loss_weights`.

    Args:
        config: Its settings.
        setting: The run.
    """

    def __init__(self, config: GradientBlendingConfig, setting: Setting) -> None:
        self._config, self._setting = config, setting
        self._losses = setting.require_unimodal_losses("gradient_blending")
        setting.require_rows("gradient_blending", "train", "validation")
        self._names = (ALL_COLUMNS, *setting.columns)
        # Of all columns together and of each alone, beside the target's own weight.
        self._targets = {t: setting.model.loss_weights[named.together] for t, named in self._losses.items()}
        target, first = next(iter(self._losses.items()))
        unimodal = [setting.model.loss_weights[name] / self._targets[target] for name in first.columns.values()]
        self._weights = [1.0, *unimodal]
        # As in the recipe: the learning rate and the clipping keep their meaning.
        self._total = sum(self._weights)
        self._before: np.ndarray | None = None

    def start(self) -> None:
        self._before = self._measure()

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        assert self._before is not None, "neither started nor resumed"
        if (epoch + 1) % self._config.every_epochs == 0:
            after = self._measure()
            shares = blend(self._before, after, min_overfitting=self._config.min_overfitting)
            self._before = after
            if shares is None:
                _LOG.info("gradient blending: no loss fell on validation rows; the weights stay as they were")
            else:
                even = self._config.evenly / len(shares)
                self._apply([self._total * (even + (1 - self._config.evenly) * share) for share in shares])
                weights = zip(self._names, self._weights, strict=True)
                listed = ", ".join(f"{name} {weight:.3f}" for name, weight in weights)
                _LOG.info("gradient blending: the losses weigh %s", listed)
        return {name: round(weight, 6) for name, weight in zip(self._names, self._weights, strict=True)}

    def _measure(self) -> np.ndarray:
        return np.array([self._setting.own_losses(split) for split in ("train", "validation")])

    def _apply(self, weights: list[float]) -> None:
        self._weights = weights
        for target, named in self._losses.items():
            own, names = self._targets[target], (named.together, *named.columns.values())
            changed = dict(zip(names, (own * weight for weight in weights), strict=True))
            self._setting.model.loss_weights.update(changed)

    def state(self) -> dict[str, Any]:
        return {"before": None if self._before is None else self._before.tolist(), "weights": self._weights}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._apply(list(state["weights"]))
        self._before = None if state["before"] is None else np.array(state["before"])
