"""Encoders' own losses, such as the reconstruction of an autoencoder that learns its column's code along the way.

The model has this objective by itself wherever an encoder has such a loss; no recipe names it.
"""

from __future__ import annotations

from collections.abc import Mapping

from polysense.core.rows import RowLoss
from polysense.nn.encoder import Encoder
from polysense.nn.objectives.base import Objective, TrainingState

__all__ = ["EncoderLosses"]


class EncoderLosses(Objective):
    """Asks every encoder for its losses; it has no parameters.

    Args:
        encoders: Per column.
    """

    def __init__(self, encoders: Mapping[str, Encoder]) -> None:
        super().__init__()
        self._names = {
            name: {f"{name}/{loss}": loss for loss in encoder.auxiliary_losses} for name, encoder in encoders.items()
        }
        self._weights = {
            full: encoders[name].auxiliary_losses[loss]
            for name, own in self._names.items()
            for full, loss in own.items()
        }

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        real = (state.batch.rows >= 0).float()
        losses: dict[str, RowLoss] = {}
        for name, own in self._names.items():
            if own:
                encoder = state.encoders[name]
                assert isinstance(encoder, Encoder)
                totals = encoder.own_losses(state.batch.columns[name], state.tokens[name])
                losses |= {full: RowLoss(totals[loss], real) for full, loss in own.items()}
        return losses
