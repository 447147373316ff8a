"""Balance: what is done about columns that learn at different speeds.

Trained together, the column that is easiest to learn from soon explains most of the training rows; the gradient that
reaches the others fades before they have learned what they could (Wang, Tran, Feiszli, CVPR 2020; Peng et al., CVPR
2022). The members of this family look at how each column does alone, and change the losses' weights or the encoders'
gradients. They cost a pass over some rows now and then, or a little in each step, and nothing at prediction.

Their published gains vary from study to study, so compare with the simple remedy, columns' own losses
(`model.objectives`, type unimodal), and with the unimodal ensemble before you rely on one.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from polysense.config.base import Family
from polysense.core.batch import Batch
from polysense.core.logs import get_logger
from polysense.core.rows import ColumnLosses, RowLoss
from polysense.errors import ConfigError
from polysense.training.balance.measure import OwnLosses
from polysense.training.distributed import Distributed
from polysense.training.protocols import ColumnsModel, TrainableModel

__all__ = ["ALL_COLUMNS", "Balance", "BalanceConfig", "Setting", "build_balance"]

_LOG = get_logger("polysense.training")

ALL_COLUMNS = "all columns"
"""What the loss of all columns together is called in the log."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What a balance works with.

    Attributes:
        model: The model in training.
        own_losses: Measures each loss apart.
        distributed: This process among its peers.
        device: Where the model lies.
        seed: Of all draws.
        epochs: Of the whole run.
    """

    model: ColumnsModel
    own_losses: OwnLosses
    distributed: Distributed
    device: torch.device
    seed: int
    epochs: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, in the model's order."""
        return tuple(self.model.column_encoders)

    def require_unimodal_losses(self, name: str) -> Mapping[str, ColumnLosses]:
        """Per target the losses of each column alone.

        Raises:
            ConfigError: The columns have no losses of their own.
        """
        losses = self.model.unimodal_losses()
        if not losses:
            raise ConfigError(
                f"training.balance: {name} looks at how each column does alone, and the columns have no losses of "
                "their own; add the objective: model.objectives.unimodal=unimodal"
            )
        return losses

    def require_rows(self, name: str, *splits: str, instead: str = "") -> None:
        """Checks that there are rows to measure on.

        Raises:
            ConfigError: A split has none.
        """
        for split in splits:
            if split not in self.own_losses.splits:
                raise ConfigError(
                    f"training.balance: {name} measures each column's loss on {split} rows, and there are none; "
                    f"set some aside under data.split (or name a table as data.{split}){instead}"
                )


@dataclass(frozen=True, kw_only=True)
class BalanceConfig(Family, family="balance", homes=("training.balance.*",)):
    """Balancing of columns that learn at different speeds."""

    type: str

    def build(self, setting: Setting) -> Balance:
        """The balance of a run.

        Raises:
            ConfigError: The model or the data can't serve it.
        """
        raise AssertionError(f"{type(self).__name__} builds nothing")


class Balance(ABC):  # noqa: B024 (a member overrides the hooks that it needs)
    """Follows a run and interferes with it; each hook is called in every process, and must do the same in each."""

    def start(self) -> None:  # noqa: B027
        """Before the first step of a run that is not resumed."""

    def observe(self, losses: Mapping[str, RowLoss], batch: Batch, epoch: int) -> None:  # noqa: B027
        """After each forward pass in training, with the losses that it gave."""

    def adjust(self, epoch: int, step: int) -> None:  # noqa: B027
        """Once a step's gradients are complete, before they are clipped and used."""

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """After an epoch and its validation.

        Args:
            epoch: The epoch that was trained, from 0.

        Returns:
            What the epoch's record in log.jsonl is to say of it.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must remember: numbers, strings, None, lists and dicts."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Takes up what `state` gave."""


def build_balance(
    config: BalanceConfig | None,
    model: TrainableModel,
    rows: Mapping[str, Iterable[Batch]],
    *,
    distributed: Distributed,
    device: torch.device,
    seed: int,
    epochs: int,
) -> Balance | None:
    """The balance of a run; None without one, or where there is nothing to balance.

    Nothing is to be balanced with a single column, and in an ensemble, whose columns are trained each on its own: the
    baselines that a recipe is compared with are such models.

    Args:
        config: Its settings.
        model: The model in training.
        rows: Batches per split to measure losses on, "train" and "validation" where there are any.
        distributed: This process among its peers.
        device: Where the model lies.
        seed: Of all draws.
        epochs: Of the whole run.

    Raises:
        ConfigError: The model or the data can't serve it.
    """
    if config is None:
        return None
    if not isinstance(model, ColumnsModel):
        raise ConfigError(f"training.balance: a {type(model).__name__} has no columns to balance; set it to null")
    if len(model.column_encoders) < 2:
        _LOG.info("training.balance does nothing: there is a single column")
        return None
    unimodal = model.unimodal_losses().values()
    if unimodal and not any(model.loss_weights[named.together] for named in unimodal):
        _LOG.info("training.balance does nothing: the columns are trained each on its own")
        return None
    return config.build(
        Setting(
            model=model,
            own_losses=OwnLosses(model, rows, device, distributed),
            distributed=distributed,
            device=device,
            seed=seed,
            epochs=epochs,
        )
    )
