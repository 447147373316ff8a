"""The catalogues that targets are chosen from, given to a model as batches that it encodes once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from polysense.core.batch import Batch
from polysense.core.registry import named, task
from polysense.core.unsupported import Unsupported
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.nn.model import MultimodalModel

__all__ = ["give_candidates"]

_CACHE_BYTES = 2**28


def give_candidates(
    model: MultimodalModel, processor: Processor, table: Table, prediction: PredictionConfig | None = None
) -> list[TableDataset]:
    """Gives a model the candidates that a table tells of.

    Args:
        model: Which has kept what it knows of them, or learns it.
        processor: The fitted preprocessing.
        table: Rows, with the tables that are joined to them.
        prediction: In which blocks candidates are computed.

    Returns:
        The catalogues, for what reads features of their cells beforehand.
    """
    catalogues = []
    for target in model.schema.targets:
        named_function = task(target.task).candidates
        if isinstance(named_function, Unsupported) or target.name in model.candidates:
            continue
        catalogue = named(named_function)(processor.targets[target.name], table)
        if isinstance(catalogue, Table):
            dataset = TableDataset(catalogue, processor, cache_bytes=_CACHE_BYTES)
            model.candidates[target.name] = partial(_batches, dataset, model, prediction)
            catalogues.append(dataset)
    return catalogues


def _batches(dataset: TableDataset, model: MultimodalModel, prediction: PredictionConfig | None) -> Iterator[Batch]:
    yield from PredictLoader(dataset, model.schema, prediction=prediction)
