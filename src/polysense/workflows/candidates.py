"""The catalogues that targets are chosen from, given to a model as batches that it encodes once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.registry import named, task
from polysense.core.unsupported import Unsupported
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.nn.model import MultimodalModel
from polysense.workflows.stored_features import store_for_bundle

__all__ = ["bundle_choosing", "choosing"]

_CACHE_BYTES = 2**28


@contextmanager
def choosing(
    model: MultimodalModel, processor: Processor, table: Table, prediction: PredictionConfig | None = None
) -> Iterator[list[TableDataset]]:
    """Within it, a model chooses from the candidates that a table tells of; afterwards, from what its heads have kept.

    Within another one nothing changes: the candidates are those that were given first.

    Args:
        model: Which has kept what it knows of them, or learns it.
        processor: The fitted preprocessing.
        table: Rows, with the tables that are joined to them.
        prediction: In which blocks candidates are computed.

    Yields:
        The catalogues, for what reads features of their cells beforehand.
    """
    catalogues, given = [], list[str]()
    for target in model.schema.targets:
        named_function = task(target.task).candidates
        if isinstance(named_function, Unsupported) or target.name in model.candidates:
            continue
        catalogue = named(named_function)(processor.targets[target.name], table)
        if isinstance(catalogue, Table):
            dataset = TableDataset(catalogue, processor, cache_bytes=_CACHE_BYTES)
            model.candidates[target.name] = partial(_batches, dataset, model, prediction)
            given.append(target.name)
            catalogues.append(dataset)
    try:
        yield catalogues
    finally:
        for name in given:
            del model.candidates[name]
        if given:
            model.forget_catalogues()


@contextmanager
def bundle_choosing(bundle: Bundle, table: Table) -> Iterator[None]:
    """Within it, a trained model chooses from the candidates that a table tells of, see `choosing`.

    What a frozen network gave for their cells before is read from the store.
    """
    with choosing(bundle.model, bundle.processor, table, bundle.prediction) as catalogues:
        if catalogues:
            store_for_bundle(bundle, catalogues)
        yield


def _batches(dataset: TableDataset, model: MultimodalModel, prediction: PredictionConfig | None) -> Iterator[Batch]:
    yield from PredictLoader(dataset, model.schema, prediction=prediction)
