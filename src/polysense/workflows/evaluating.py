"""Evaluate a model: its predictions, some columns masked too, and how its targets are spelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.core.task_spec import TargetReader
from polysense.core.tokens import Tokens
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.evaluation.evaluator import Evaluation, evaluate
from polysense.nn.model import MultimodalModel
from polysense.workflows.feature_reading import reads_features

__all__ = ["evaluate_model", "fitted_processor", "target_readers", "within"]


def evaluate_model(
    model: MultimodalModel,
    dataset: TableDataset,
    *,
    generate: bool = True,
    batches: Iterable[Batch] | None = None,
    prediction: PredictionConfig | None = None,
    encoded: Callable[[Batch], Mapping[str, Tokens]] | None = None,
    judged: Table | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    clusters: np.ndarray | None = None,
) -> Evaluation:
    """Scores a model on prepared rows.

    Args:
        model: In eval mode.
        dataset: Rows with targets, and with the feature vectors that the model reads.
        generate: Whether what is generated step by step is; else only its likelihood is judged.
        batches: Those of the data set, by default.
        prediction: In which blocks these are computed.
        encoded: What the model's `encode` gives for a batch on the model's device, where somebody keeps it.
        judged: The same rows, whose targets and classes it is judged by; by default those of the data set.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
        clusters: int64 [rows of the data set], the group of each row; None: rows are on their own.
    """
    assert dataset.with_features or not reads_features(model), "the rows lack feature vectors that the model reads"
    device = next(model.parameters()).device
    names, rows = frozenset(model.schema.names), dataset.table if judged is None else judged

    def predict(batch: Batch, subsets: list[frozenset[str]] | None = None) -> list[dict[str, Prediction]]:
        moved = batch.to(device)
        return model.predict(moved, subsets, write=generate, tokens=None if encoded is None else encoded(moved))

    def masked(batch: Batch, groups: Sequence[tuple[str, ...]]) -> list[dict[str, Prediction]]:
        with torch.inference_mode():
            return predict(batch, [names - set(group) for group in groups])

    return evaluate(
        lambda batch: predict(batch)[0],
        PredictLoader(dataset, model.schema, prediction=prediction) if batches is None else batches,
        model.schema.targets,
        masked=masked,
        readers=target_readers(fitted_processor(dataset), rows) if generate else None,
        bootstrap=bootstrap,
        seed=seed,
        clusters=clusters,
    )


def target_readers(processor: Processor, table: Table) -> Mapping[str, TargetReader]:
    """How targets are spelled, where what is spelled is compared."""
    readers = {name: target.reader(table) for name, target in processor.targets.items()}
    return {name: reader for name, reader in readers.items() if reader is not None}


def fitted_processor(dataset: TableDataset) -> Processor:
    """The fitted preprocessing that a data set was made with."""
    assert isinstance(dataset.processor, Processor)
    return dataset.processor


def within(progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int, int], None] | None:
    """The progress of one of several passes, of which so many rows are done before, and that have so many in all."""
    return None if progress is None else lambda done, _: progress(before + done, total)
