"""Frozen features of augmented cells: each training cell has a number of versions, and each goes through its frozen
backbone once.

A version is a function of (seed, version, row, column) and of the cell, so it is made in the same way before training
and in its epochs. An item is found again by its values, after it was augmented: what the store gives is to the last bit
what the network would give, and an item that is not there goes through the network as ever. Training still decodes and
augments; what it saves is the network, at `data.views` times the disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from polysense.core.batch import Batch, ColumnBatch
from polysense.core.logs import get_logger
from polysense.core.pytree import map_tensors
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.core.stored import StoredCell
from polysense.data.augmentation.base import Transform
from polysense.data.batches.collate import collate, stored_items
from polysense.data.batches.dataset import TableDataset
from polysense.data.store.features import FeatureShelf, FeatureStore, item_key
from polysense.errors import DecodeError
from polysense.nn.backbone import BackboneEncoder
from polysense.nn.model import MultimodalModel
from polysense.workflows.evaluating import fitted_processor
from polysense.workflows.feature_filling import Filling, cell_progress

__all__ = ["StoredViews"]

_log = get_logger("polysense.workflows")


class StoredViews:
    """The features of the augmented cells of some columns.

    Attributes:
        shelves: Per column those of its network.
    """

    def __init__(self, shelves: Mapping[str, FeatureShelf]) -> None:
        self.shelves = dict(shelves)

    @classmethod
    def of(
        cls,
        model: MultimodalModel,
        dataset: TableDataset,
        transforms: Mapping[str, Transform],
        seed: int,
        views: int,
        *,
        progress: bool = False,
    ) -> StoredViews:
        """Computes what is not there.

        Args:
            model: Its frozen networks do not change any more.
            dataset: The training rows; the columns of which features are stored take part (`store_features`).
            transforms: Per column.
            seed: Of the training.
            views: Versions of each cell.
            progress: Whether to show how many are done.
        """
        shelves = {}
        for name, transform in transforms.items():
            whole = model.column_encoders.get(name)
            encoder = None if whole is None else whole.of_items
            if name in dataset.stored and isinstance(encoder, BackboneEncoder):
                shelf = _filled(name, encoder, dataset, transform, seed, views, progress=progress)
                if shelf is not None:
                    shelves[name] = shelf
        return cls(shelves)

    def __call__(self, batch: Batch) -> Batch:
        """An augmented batch with the features of its cells, where all items of a cell are there."""
        columns = {name: self._with_features(batch.columns[name], shelf) for name, shelf in self.shelves.items()}
        return dataclasses.replace(batch, columns={**batch.columns, **columns})

    def _with_features(self, column: ColumnBatch, shelf: FeatureShelf) -> ColumnBatch:
        cells = {}
        for row, items in enumerate(_items(column)):
            features = [shelf.get(item_key(item)) for item in items]
            there = tuple(item for item in features if item is not None)
            if items and len(there) == len(items):
                cells[row] = StoredCell(there, shelf.name)
        if not cells:
            return column
        stored = stored_items(cells, *column.lengths.shape)
        return dataclasses.replace(column, stored=map_tensors(lambda each: each.to(column.lengths.device), stored))


def _items(column: ColumnBatch) -> list[list[np.ndarray]]:
    """Each row's items, without padding; none of a row that has a gap between them."""
    values, lengths = column.values.cpu().numpy(), column.lengths.cpu().numpy()
    has_length = values.ndim == 3  # as in `BackboneEncoder`: what has more axes is one item as a whole
    cells = []
    for row, counts in zip(values, lengths, strict=True):
        num = int((counts > 0).sum())
        if num and counts[:num].min() > 0:
            pairs = zip(row[:num], counts[:num], strict=True)
            cells.append([item[:count] if has_length else item for item, count in pairs])
        else:
            cells.append([])
    return cells


def _filled(
    name: str,
    encoder: BackboneEncoder,
    dataset: TableDataset,
    transform: Transform,
    seed: int,
    views: int,
    *,
    progress: bool,
) -> FeatureShelf | None:
    """The shelf with all versions of a column's training cells; None where they can't be kept."""
    store, processor, table = FeatureStore(), fitted_processor(dataset).columns[name], dataset.table
    store.kept.add(encoder.shelf)
    schema = Schema(columns=(encoder.column,), targets=())
    try:
        with store.writing(encoder.shelf, encoder.widths) as shelf:
            if shelf.name != encoder.shelf:  # another process writes: these would be another network's, by name
                return None
            filling = Filling(store, shelf, encoder, processor)
            source = processor.source
            with cell_progress(f"{name}: features of {views} versions", progress) as show:
                total = views * len(table)
                for i in range(len(table)):
                    cell = table.cell(i, source)
                    try:
                        items, placement = processor.placed(cell, table.source(i, source), table.root_of(source))
                    except DecodeError:  # it is listed when its row is read
                        items = []
                    for view in range(views if items else 0):
                        placements = {} if placement is None else {name: placement}
                        sample = Sample(row=i, values={name: items}, placements=placements)
                        column = dataclasses.replace(collate([sample], schema).columns[name], geometry=None)
                        varied = transform(column, np.array([i]), seed, view)
                        filling.add(_items(varied)[0], total - i * views - view - 1)
                        if filling.is_full:
                            return None
                    show((i + 1) * views, total)
                filling.run(0)
    except OSError as error:
        _log.warning("column %r: its features can't be stored (%s): computed whenever they are needed", name, error)
        return None
    filling.tell(f"{views} augmented versions of {len(table)} cells")
    return None if filling.is_full else shelf
