"""What the folds' models say of the rows that they have not seen, for the choices of the model that saw all.

A model that is trained on all rows has none left to choose by. But of every row there is what a model of the same
recipe says that did not see it: the experts' weights, the temperature and the intervals' margins are fitted on these,
over all rows, which are many times those of a validation split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import map_tensors
from polysense.data.batches.dataset import TableDataset
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.head import Head
from polysense.nn.model import MultimodalModel
from polysense.workflows.calibration import MOST_MASKED_ROWS, JudgedOutputs, SubsetOutputs, read_subsets
from polysense.workflows.folds.models import FoldModels
from polysense.workflows.stored_features import store_for_bundle

__all__ = ["JudgedRows"]

_Part: TypeAlias = tuple[Head[object], object, Truth, Tensor]


class JudgedRows(JudgedOutputs):
    """The outputs of the folds' models.

    Args:
        models: Trained.
    """

    def __init__(self, models: FoldModels) -> None:
        self._models = models
        self._parts: dict[str, list[_Part]] | None = None
        self._subsets: dict[str, dict[frozenset[str], list[_Part]]] = {}

    def __call__(self, model: MultimodalModel) -> Mapping[str, list[tuple[object, Truth, Tensor]]]:
        """Per target whose head chooses anything: its output, the truth and the rows' weights, part by part.

        Args:
            model: In whose terms the outputs are.
        """
        parts, device = self._read(), next(model.parameters()).device
        return {
            name: _translated(head, parts.get(name, ()), device)
            for name, head in model.by_target().items()
            if _chooses(head)
        }

    def subsets(self, model: MultimodalModel) -> SubsetOutputs:
        """The same of some rows with each subset of the columns, see `read_subsets`."""
        self._read()
        device = next(model.parameters()).device
        return {
            name: {columns: _translated(head, parts, device) for columns, parts in self._subsets.get(name, {}).items()}
            for name, head in model.by_target().items()
            if head.calibrates
        }

    @torch.no_grad()
    def _read(self) -> dict[str, list[_Part]]:
        if self._parts is not None:
            return self._parts
        results: dict[str, list[_Part]] = {}
        for each in self._models:
            model = each.bundle.model.eval()
            heads = {name: head for name, head in model.by_target().items() if _chooses(head)}
            if not heads:
                continue
            dataset = TableDataset(each.tables["test"], each.bundle.processor)
            store_for_bundle(each.bundle, [dataset])
            for batch in each.bundle.batches(dataset):
                moved = batch.to(each.bundle.device)
                outputs = model(moved, only=tuple(heads)).outputs
                for name, head in heads.items():
                    truth = head.truth(moved)
                    assert truth is not None
                    weights = moved.weights * (moved.rows >= 0)
                    output = map_tensors(Tensor.cpu, outputs[name])
                    results.setdefault(name, []).append((head, output, truth.to("cpu"), weights.cpu()))
            subsets = read_subsets(
                model, dataset, prediction=each.bundle.prediction,
                most_rows=math.ceil(MOST_MASKED_ROWS / self._models.plan.num_folds),
            )  # fmt: skip
            for name, by_columns in subsets.items():
                for columns, parts in by_columns.items():
                    self._subsets.setdefault(name, {}).setdefault(columns, []).extend(
                        (heads[name], map_tensors(Tensor.cpu, output), truth.to("cpu"), weights.cpu())
                        for output, truth, weights in parts
                    )
        self._parts = results
        return results


def _translated(head: Head[object], parts: Iterable[_Part], device: torch.device) -> list[tuple[object, Truth, Tensor]]:
    """The outputs of other models' heads in a head's terms."""
    return [
        (
            head.translated(map_tensors(lambda value: value.to(device), output), other),
            truth.to(device),
            weights.to(device),
        )
        for other, output, truth, weights in parts
    ]


def _chooses(head: Head[object]) -> bool:
    """Whether a head has anything to choose on rows that were not trained on."""
    return head.calibrates or (isinstance(head, EnsembleHead) and head.fits_weights)
