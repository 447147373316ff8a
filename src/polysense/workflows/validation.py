"""Validate a model in training: every row's statistics, and of some rows what takes many passes to generate.

Ensemble weights are fitted first, so that what is judged is the ensemble as it would be delivered after this epoch.
That takes two passes, over losses and over predictions; what encoders give is kept from the first to the second, and
small batches from one epoch to the next. The rows are always the same, so no rows fill their blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.pytree import tensors
from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.core.tokens import Tokens
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.nn.ensemble_weights import fit_ensemble_weights
from polysense.nn.held_out import read_held_out
from polysense.nn.model import MultimodalModel
from polysense.reports.sample_log import SampleLog
from polysense.workflows.blind_control import generates
from polysense.workflows.evaluating import evaluate_model, fitted_processor
from polysense.workflows.expert_weights import ExpertWeights

__all__ = ["Validation"]


_MOST_BYTES = 2**28
"""Of batches that are kept, and of tokens: 256 MB each."""


class _Encoded:
    """The batches of the rows, and what the model's encoders give for them while that is not forgotten."""

    def __init__(self, model: MultimodalModel, loader: PredictLoader) -> None:
        self._model, self._loader = model, loader
        self._batches: list[Batch] | None = None
        self._tokens: dict[int, tuple[Tensor, Mapping[str, Tokens]]] = {}
        self._size = 0

    def __iter__(self) -> Iterator[Batch]:
        if self._batches is not None:
            yield from self._batches
            return
        device = next(self._model.parameters()).device
        batches, size = list[Batch](), 0
        for batch in self._loader:
            moved = batch.to(device)
            size += _bytes(moved)
            if size <= _MOST_BYTES:
                batches.append(moved)
            yield moved
        if size <= _MOST_BYTES:
            self._batches = batches

    def tokens(self, batch: Batch) -> Mapping[str, Tokens]:
        """What `encode` gives for one of the batches."""
        known = self._tokens.get(id(batch.rows))
        if known is not None and known[0] is batch.rows:
            return known[1]
        with torch.no_grad():
            tokens = self._model.encode(batch)
        self._size += _bytes(tokens)
        if self._size <= _MOST_BYTES:
            self._tokens[id(batch.rows)] = batch.rows, tokens
        return tokens

    def forget(self) -> None:
        """To be called before the weights change."""
        self._tokens, self._size = {}, 0


def _bytes(tree: object) -> int:
    return sum(each.nbytes for each in tensors(tree))


class Validation:
    """The metrics after each epoch.

    Args:
        model: In training.
        dataset: The validation rows.
        num_rows: Rows for which outputs are generated; that costs as many steps as the longest text has tokens.
        num_samples: Of them, how many are shown.
        folder: The run's.
        seed: Of the choice of rows.
        prediction: In which blocks rows are computed.
        fillers: Whether blocks have one shape, which a compiled graph needs.
        resume: Whether the run is resumed.
        judged: The part of the delivered model that is judged, as in `training.run.Run`.
        experts: What keeps the best weights of each expert, if anything does.

    Attributes:
        samples: The rows that are shown.
    """

    def __init__(
        self,
        model: MultimodalModel,
        dataset: TableDataset,
        *,
        num_rows: int,
        num_samples: int,
        folder: Path,
        seed: int,
        prediction: PredictionConfig,
        fillers: bool = False,
        resume: bool = False,
        judged: str = "",
        experts: ExpertWeights | None = None,
    ) -> None:
        self._experts = experts
        self._model, self._dataset, self._prediction = model, dataset, prediction
        self._rows = _Encoded(model, PredictLoader(dataset, model.schema, prediction=prediction, fillers=fillers))
        self._part: TableDataset | None = None
        if generates(model.schema):
            chosen = np.sort(permutation(len(dataset), seed, "written")[:num_rows])
            if len(chosen) < len(dataset):
                table, processor = dataset.table.select(chosen), fitted_processor(dataset)
                self._part = TableDataset(table, processor, cache_bytes=dataset.cache_bytes, stored=dataset.stored)
        listed = dataset if self._part is None else self._part
        self.samples = SampleLog(
            listed, num_samples=num_samples, folder=folder, seed=seed, resume=resume, judged=judged
        )

    def __call__(self, epoch: int) -> dict[str, float]:
        """The metrics by target/metric, after an epoch, from 1; `loss` is what training adds up, of the same losses."""
        part = self._part
        losses = self._held_out(epoch)
        evaluation = evaluate_model(
            self._model, self._dataset, generate=part is None, batches=self._rows, encoded=self._rows.tokens
        )
        self._rows.forget()
        metrics = evaluation.as_flat() | losses
        if part is not None and len(part):
            evaluation = evaluate_model(self._model, part, prediction=self._prediction)
            generated = {target.name for target in self._model.schema.targets if task(target.task).generates}
            for key, value in evaluation.as_flat().items():
                target, _, _ = key.rpartition("/")
                if target in generated and not np.isfinite(metrics[key]):
                    metrics[key] = value
        if part is None or len(part):
            self.samples.add(evaluation, epoch)
        return metrics

    def _held_out(self, epoch: int) -> dict[str, float]:
        """Fits the ensembles' weights; the weighted sum of all losses, and each by its name where there are several.

        Experts that were never better are kept before. A loss that compares the rows of a batch with one another is
        another quantity in other batches: then there is none.
        """
        model = self._model
        # A loss that compares rows encodes what it compares, and `only` reads heads alone.
        losses = not model.contrasting()
        held_out = read_held_out(model, self._rows, losses=losses, encoded=self._rows.tokens if losses else None)
        if self._experts is not None:
            self._experts.update(model, held_out, epoch)
        fit_ensemble_weights(model, held_out, sparse=False)
        known = {name: loss for name, loss in held_out.losses.items() if model.loss_weights.get(name, 0.0) > 0}
        if not known:
            return {}
        total = sum(model.loss_weights[name] * loss for name, loss in known.items())
        return {"loss": total, **({f"loss/{name}": loss for name, loss in known.items()} if len(known) > 1 else {})}
