"""A reference model: what the model was when its training began, to compare it with while it trains.

Only what is trained is copied. Whatever is frozen (a pretrained backbone, a language model under low-rank adapters) is
the very same tensors in both, so a reference of a tuned adapter costs an adapter.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from polysense.core.batch import Batch
from polysense.core.rows import RowContext
from polysense.core.tokens import Fused
from polysense.nn.head import Head
from polysense.nn.objectives.base import WholeModel

__all__ = ["ReferenceModel"]


class ReferenceModel:
    """A copy in evaluation mode that nothing trains. It is no module, so no checkpoint and no bundle holds it.

    Attributes:
        num_copied: Numbers that are its own.
    """

    def __init__(self, model: WholeModel) -> None:
        shared = {id(tensor): tensor for tensor in model.parameters() if not tensor.requires_grad}
        objectives = {id(objective): nn.Identity() for objective in model.objectives}
        self._model: WholeModel = copy.deepcopy(model, {**shared, **objectives})
        self._module.requires_grad_(False)
        self._module.eval()
        self._device: torch.device | None = None
        self.num_copied = sum(tensor.numel() for tensor in self._model.parameters() if id(tensor) not in shared)

    @property
    def _module(self) -> nn.Module:
        assert isinstance(self._model, nn.Module)
        return self._model

    @torch.no_grad()
    def read(self, batch: Batch, target: str) -> tuple[Head[object], Fused, RowContext]:
        """A target's head, and what it reads of a batch, on the batch's device."""
        if self._device != batch.device:
            self._module.to(batch.device)
            self._device = batch.device
        head = self._model.head(target)
        fused = self._model.fuse(self._model.encode(batch), batch, head.excludes)
        return head, fused, self._model.context(batch, target)
