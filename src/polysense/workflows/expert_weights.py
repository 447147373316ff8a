"""Each expert's own best weights, where experts share none (`nn.expert_parts`).

Columns learn at speeds far apart, and one epoch for all is too late for some and too early for others. What an expert
is judged by is the log loss (or its task's like) of the validation rows with the best factor on its output, for that
factor is what its weight in the ensemble is: by the bare loss an expert is best before it is sharp, and in two of eight
trainings such an ensemble had .06 and .08 more than that of one epoch.

The best weights so far are one copy of the columns' networks, in main memory and in checkpoints/experts.safetensors,
with the averaged weights where these are what is validated. A run that is killed reads the file; epochs that it then
repeats are the same to the last bit, so that the same weights win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from polysense.core.logs import get_logger
from polysense.core.pytree import concatenate
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.ensemble_weights import scaled_losses
from polysense.nn.expert_parts import expert_parts
from polysense.nn.held_out import HeldOut
from polysense.nn.model import MultimodalModel
from polysense.training.checkpoint import load_checkpoint, save_checkpoint

__all__ = ["ExpertWeights"]

_log = get_logger("polysense.workflows")


class ExpertWeights:
    """The best weights of every column's expert so far.

    Args:
        model: Whose experts share nothing.
        folder: The run's.
        resume: Whether the run is resumed.

    Raises:
        CheckpointError: The run is resumed, and what it kept is damaged.
    """

    def __init__(self, model: MultimodalModel, folder: Path, *, resume: bool) -> None:
        self._parts = expert_parts(model)
        self._path = folder / "checkpoints" / "experts.safetensors"
        self._tensors: dict[str, Tensor] = {}
        self._best: dict[str, tuple[int, float]] = {}
        if resume and self._path.is_file():
            self._tensors, state = load_checkpoint(self._path)
            self._best = {column: (epoch, loss) for column, (epoch, loss) in state["best"].items()}

    def update(self, model: MultimodalModel, held_out: HeldOut, epoch: int) -> None:
        """Keeps the weights of experts that were never better.

        Args:
            model: In evaluation mode, as it was validated.
            held_out: The validation rows as it reads them.
            epoch: From 1.
        """
        losses: dict[str, float] = {}
        for name, head in model.by_target().items():
            assert isinstance(head, EnsembleHead)
            if held_out.experts[name]:
                for column, loss in scaled_losses(head, *concatenate(held_out.experts[name])).items():
                    if math.isfinite(loss):  # else no validation row has the column
                        losses[column] = losses.get(column, 0.0) + loss
        better = [column for column, loss in losses.items() if column not in self._best or loss < self._best[column][1]]
        if not better:
            return
        state = model.state_dict()
        for column in better:
            self._best[column] = epoch, losses[column]
            self._tensors |= {name: state[name].detach().to("cpu", copy=True) for name in self._parts[column]}
        save_checkpoint(self._path, self._tensors, {"best": self._best})

    @torch.no_grad()
    def restore(self, model: MultimodalModel) -> Mapping[str, int]:
        """Puts them into the model; per column the epoch that they are of."""
        state = model.state_dict()
        for name, tensor in self._tensors.items():
            state[name].copy_(tensor)
        epochs = {column: epoch for column, (epoch, _) in self._best.items()}
        if epochs:
            listed = ", ".join(f"{column} of epoch {epoch}" for column, epoch in epochs.items())
            _log.info("each expert has its own best weights: %s", listed)
        return epochs
