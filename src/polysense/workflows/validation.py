"""Validate a model in training: every row's statistics, and of some rows what takes many passes to generate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.nn.model import MultimodalModel
from polysense.reports.sample_log import SampleLog
from polysense.workflows.blind_control import generates
from polysense.workflows.evaluating import evaluate_model, fitted_processor

__all__ = ["Validation"]


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
        resume: Whether the run is resumed.

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
        resume: bool = False,
    ) -> None:
        self._model, self._dataset, self._prediction = model, dataset, prediction
        self._part: TableDataset | None = None
        if generates(model.schema):
            chosen = np.sort(permutation(len(dataset), seed, "written")[:num_rows])
            if len(chosen) < len(dataset):
                table, processor = dataset.table.select(chosen), fitted_processor(dataset)
                self._part = TableDataset(table, processor, cache_bytes=dataset.cache_bytes)
        listed = dataset if self._part is None else self._part
        self.samples = SampleLog(listed, num_samples=num_samples, folder=folder, seed=seed, resume=resume)

    def __call__(self, epoch: int) -> dict[str, float]:
        """The metrics by target/metric, after an epoch, from 1."""
        part = self._part
        evaluation = evaluate_model(self._model, self._dataset, generate=part is None, prediction=self._prediction)
        metrics = evaluation.as_flat()
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
