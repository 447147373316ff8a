"""Staged freezing: the weakest column's encoder learns first, alone, and the others join it one after another.

Stage k trains the encoders of the k weakest columns and freezes the others'; in the last stage all learn. While the
easy columns are frozen, the error that they leave reaches the hard one, which would be drowned out if all learned at
once. Fusion and heads always learn. Which column is weak shows after a short probe in which all learn: the one with the
highest loss of its own on validation rows. Or you say the order.

Frozen means that nothing moves a weight, momentum and weight decay included: the optimizer isn't given the gradient,
and leaves a parameter without one alone. Dropout and the running statistics of batch norms go on. The backward pass is
as dear as ever, because several processes must agree on which gradients they exchange.

The trade-off: each column but the weakest learns for fewer epochs, so give the run more of them. Early stopping may
strike before the last stage; leave `training.early_stopping` at null or above a stage's epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from polysense.config.limits import PositiveInt
from polysense.core.logs import get_logger
from polysense.errors import ConfigError
from polysense.training.balance.base import Balance, BalanceConfig, Setting

__all__ = ["StagedFreezing", "StagedFreezingConfig"]

_LOG = get_logger("polysense.training")


@dataclass(frozen=True, kw_only=True)
class StagedFreezingConfig(BalanceConfig):
    """Staged freezing: the weakest column's encoder learns first, the others join it one after another.

    Without `order` it needs the objective unimodal and validation rows.

    Attributes:
        order: The columns, weakest first; null finds out in the first `probe_epochs`.
        probe_epochs: Epochs in which all encoders learn before the columns are compared. Not used with `order`.
        stage_epochs: Epochs of each stage but the last, which has the rest; null gives all stages the same.
    """

    type: Literal["staged_freezing"] = "staged_freezing"
    order: tuple[str, ...] | None = None
    probe_epochs: PositiveInt = 1
    stage_epochs: PositiveInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None and len(set(self.order)) != len(self.order):
            raise ConfigError(f"training.balance.order names a column twice: {', '.join(self.order)}")

    def build(self, setting: Setting) -> StagedFreezing:
        return StagedFreezing(self, setting)


class StagedFreezing(Balance):
    """Drops the gradients of the encoders that are not to learn yet.

    Args:
        config: Its settings.
        setting: The run.
    """

    def __init__(self, config: StagedFreezingConfig, setting: Setting) -> None:
        self._setting = setting
        self._probe_epochs = 0 if config.order is not None else config.probe_epochs
        self._order = config.order
        columns = setting.columns
        if config.order is None:
            setting.require_unimodal_losses("staged_freezing")
            instead = ", or say the columns' order as training.balance.order"
            setting.require_rows("staged_freezing", "validation", instead=instead)
        elif set(config.order) != set(columns):
            raise ConfigError(
                f"training.balance.order must name each column once, weakest first; found {', '.join(config.order)}, "
                f"and the columns are {', '.join(columns)}"
            )
        left = setting.epochs - self._probe_epochs
        self._stage_epochs = config.stage_epochs or max(1, left // len(columns))
        needed = self._probe_epochs + self._stage_epochs * (len(columns) - 1) + 1
        if 0 < setting.epochs < needed:
            raise ConfigError(
                f"training.balance: staged_freezing of {len(columns)} columns needs at least {needed} epochs to reach "
                f"the stage in which all learn; training.epochs is {setting.epochs}"
            )

    def trained(self, epoch: int) -> tuple[str, ...]:
        """The columns whose encoders learn in an epoch, counted from 0."""
        if self._order is None or epoch < self._probe_epochs:
            return self._setting.columns
        stage = 1 + (epoch - self._probe_epochs) // self._stage_epochs
        return self._order[:stage]

    def adjust(self, epoch: int, step: int) -> None:
        trained = self.trained(epoch)
        for name, encoder in self._setting.model.column_encoders.items():
            if name not in trained:
                for parameter in encoder.parameters():
                    parameter.grad = None

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        done = self.trained(epoch)
        if self._order is None and epoch + 1 >= self._probe_epochs:
            losses = dict(zip(self._setting.columns, self._setting.own_losses("validation")[1:], strict=True))
            # A column that no validation row has is as weak as can be.
            self._order = tuple(sorted(losses, key=lambda n: -math.inf if math.isnan(losses[n]) else -losses[n]))
            listed = ", ".join(f"{name} (loss {losses[name]:.3f})" for name in self._order)
            _LOG.info("staged freezing: the columns from the weakest on are %s", listed)
        following = self.trained(epoch + 1)
        if following != done and epoch + 1 < self._setting.epochs:
            _LOG.info("staged freezing: from epoch %d on the encoders of %s learn", epoch + 2, ", ".join(following))
        return {"trained": list(done)}

    def state(self) -> dict[str, Any]:
        order = None if self._order is None else list(self._order)
        return {"order": order, "probe_epochs": self._probe_epochs, "stage_epochs": self._stage_epochs}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._order = None if state["order"] is None else tuple(state["order"])
        self._probe_epochs, self._stage_epochs = state["probe_epochs"], state["stage_epochs"]
