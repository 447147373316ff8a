"""Targets that are texts: how an evaluation reads them, what it is compared with, how a training is validated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from polysense.core.batch import Batch
from polysense.core.modality import Modality, Task
from polysense.core.prediction import Prediction
from polysense.core.random import permutation
from polysense.core.schema import Schema
from polysense.data.dataset import TableDataset
from polysense.data.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.data.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import DecodeError
from polysense.evaluation.evaluator import Evaluation, evaluate
from polysense.nn.model import MultimodalModel
from polysense.reports.sample_log import SampleLog
from polysense.tasks.generation.text_target import TextTarget
from polysense.tasks.generation.texts import TextSource
from polysense.tasks.reconstruction.reconstructions import ReconstructionSource
from polysense.workflows.restored import reconstruction_sources

__all__ = ["WrittenValidation", "fit_texts", "shuffled_inputs", "text_sources", "writes"]

_MEDIA = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


def writes(schema: Schema) -> bool:
    """Whether a target is a text."""
    return any(target.task is Task.GENERATION for target in schema.targets)


def text_sources(processor: Processor, table: Table) -> dict[str, TextSource]:
    """Per text target how the texts of a table are read."""
    return {
        name: TextSource(decode=target.decode, references=_references(target, table))
        for name, target in processor.targets.items()
        if isinstance(target, TextTarget)
    }


def _references(target: TextTarget, table: Table) -> Callable[[int], list[str]]:
    return lambda row: target.references(table, row)


def fit_texts(model: MultimodalModel, dataset: TableDataset) -> None:
    """Gives the training texts to the heads that count something of them, such as a language model.

    Args:
        model: Not trained yet.
        dataset: The training rows.
    """
    for target in model.schema.targets:
        head = model.head(target.name)
        if head.learns_from_texts:
            head.fit_texts(_token_ids(model_processor(dataset).targets[target.name], dataset.table))


def _token_ids(processor: TargetProcessor, table: Table) -> Iterator[list[int]]:
    """Every reference of every row; cells that can't be read are listed when the row is."""
    begin_id = processor.target.begin_id
    for row in range(len(table)):
        try:
            value = processor.transform(table, row)
        except DecodeError:
            continue
        if value is not None:
            yield from (part.tolist() for part in np.split(value, np.flatnonzero(value == begin_id)[1:]))


def shuffled_inputs(table: Table, schema: Schema, seed: int) -> Table | None:
    """The blind control's table: every row has the media of another row, all of them of the same one.

    Who writes as well from a stranger's picture has not looked at the picture. Where no column is a picture, a sound or
    a video, all inputs are exchanged.

    Args:
        table: The rows.
        schema: Which columns are inputs.
        seed: Of the exchange.

    Returns:
        None where there is no other row to take them from.
    """
    if len(table) < 2:
        return None
    media = [column.table_column for column in schema if column.modality in _MEDIA]
    media = list(dict.fromkeys(media or [column.table_column for column in schema]))
    # Each row takes those of the next one in a random order: one circle, so no row keeps its own.
    order = permutation(len(table), seed, "shuffled inputs")
    taken = np.empty_like(order)
    taken[order] = np.roll(order, -1)
    foreign = table.frame.select(name for name in media if table.has(name))[taken]
    # What filled the row's cells was made of its own media.
    return dataclasses.replace(table, frame=table.frame.with_columns(pl.Series(s) for s in foreign), fills=None)


class WrittenValidation:
    """Validates a model in training: every row's likelihood, and of some rows what is written.

    Args:
        model: In training.
        dataset: The validation rows.
        num_rows: Rows whose texts are written; writing costs as many steps as the longest text has tokens.
        num_samples: Of them, how many are shown.
        folder: The run's.
        seed: Of the choice of rows.
        resume: Whether the run is gone on with.

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
        resume: bool = False,
    ) -> None:
        self._model, self._dataset, self._processor = model, dataset, model_processor(dataset)
        chosen = np.sort(permutation(len(dataset), seed, "written")[:num_rows])
        self._all = len(chosen) == len(dataset)
        self._part = (
            dataset
            if self._all
            else TableDataset(dataset.table.select(chosen), self._processor, cache_bytes=dataset.cache_bytes)
        )
        self.samples = SampleLog(self._part, num_samples=num_samples, folder=folder, seed=seed, resume=resume)

    def __call__(self, predict: Callable[[Batch, bool], Mapping[str, Prediction]], epoch: int) -> dict[str, float]:
        """The metrics by target/metric.

        Args:
            predict: A batch, and whether texts are written, to predictions.
            epoch: From 1, for the samples.
        """
        targets = self._model.schema.targets
        metrics: dict[str, float] = {}
        schema, restored = self._model.schema, reconstruction_sources(self._model)
        if not self._all:
            metrics = _evaluated(predict, self._dataset, schema, restored, write=False).as_flat()
        if len(self._part):
            written = _evaluated(predict, self._part, schema, restored, write=True)
            texts = {target.name for target in targets if target.task is Task.GENERATION}
            for key, value in written.as_flat().items():
                target, _, _ = key.rpartition("/")
                if self._all or (target in texts and not np.isfinite(metrics[key])):
                    metrics[key] = value
            self.samples.add(written, epoch)
        return metrics


def model_processor(dataset: TableDataset) -> Processor:
    """The fitted preprocessing that a data set was made with."""
    assert isinstance(dataset.processor, Processor)
    return dataset.processor


def _evaluated(
    predict: Callable[[Batch, bool], Mapping[str, Prediction]],
    dataset: TableDataset,
    schema: Schema,
    restored: Mapping[str, ReconstructionSource],
    *,
    write: bool,
) -> Evaluation:
    return evaluate(
        lambda batch: predict(batch, write),
        PredictLoader(dataset, schema),
        schema.targets,
        bootstrap=0,
        texts=text_sources(model_processor(dataset), dataset.table) if write else None,
        restored=restored,
    )
