"""Frozen features once: before a table is read for the first time, each of its cells goes through its frozen backbone.

Training then reads what the backbone gave for a cell from a memory map, decodes nothing and runs fusion and heads
alone; the next run, a comparison's next candidate and the evaluation find it there. A column takes part if its
encoder's network is frozen, its cells are not augmented (or in a few ways, see `stored_views`) and nobody reads the
cells themselves (what is reconstructed or tagged). What the store gives is to the last bit what the network
would give, since the network runs item by item either way.

Where a head reads feature maps, the levels that it reads are stored with the features.

The price is disk: tokens of a picture of MobileNetV2 are 250 kB, its maps from a quarter of the pixels on 500 kB more,
tokens of five seconds in Whisper tiny 380 kB.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import torch

from polysense.bundle import Bundle
from polysense.core.logs import get_logger
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.data.store.features import FeatureStore
from polysense.data.store.prepared import PreparedStore
from polysense.data.store.stored_column import StoredColumn
from polysense.data.tables.sources import Table
from polysense.nn.backbone import BackboneEncoder
from polysense.nn.encoder import EncoderConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.network_fingerprint import network_fingerprint
from polysense.workflows.evaluating import fitted_processor
from polysense.workflows.feature_filling import fill_shelf

__all__ = ["read_prepared", "store_features", "store_for_bundle", "stored_of"]

_log = get_logger("polysense.workflows")


def store_features(
    model: MultimodalModel,
    encoders: Mapping[str, EncoderConfig],
    datasets: Sequence[TableDataset],
    *,
    mode: Literal["auto", "off"],
    augmented: Collection[str] = (),
    device: torch.device | None = None,
    fill: bool = True,
    progress: bool = False,
) -> None:
    """Has data sets take the features of frozen backbones from the store, where they can.

    Args:
        model: As it will be used; its frozen networks do not change any more.
        encoders: Per column what its encoder was built from.
        datasets: Of one preprocessing, and from now on for this model alone; what they took from a store before is
            forgotten.
        mode: "off" takes nothing from a store.
        augmented: Columns whose cells are varied.
        device: On which frozen networks run; None: where they are.
        fill: Whether what is not there is computed and added; else only what is there is used.
        progress: Whether to show how many cells are done.
    """
    stored: Mapping[str, StoredColumn] = {}
    if datasets:
        tables = [dataset.table for dataset in datasets] if fill else None
        processor = fitted_processor(datasets[0])
        stored = _stored(model, encoders, processor, tables, mode, augmented, device, progress=progress)
    for dataset in datasets:
        dataset.use_stored(stored)


def store_for_bundle(bundle: Bundle, datasets: Sequence[TableDataset], *, fill: bool = True) -> None:
    """As `store_features`, for a trained model whose recipe says whether; and it reads prepared cells."""
    read_prepared(bundle.processor, _mode(bundle))
    store_features(bundle.model, bundle.model_config.encoders, datasets, mode=_mode(bundle), fill=fill)


def stored_of(bundle: Bundle) -> Mapping[str, StoredColumn]:
    """What is stored for a model's columns at this moment; from now on it reads prepared cells, too."""
    read_prepared(bundle.processor, _mode(bundle))
    return _stored(bundle.model, bundle.model_config.encoders, bundle.processor, None, _mode(bundle))


def read_prepared(processor: Processor, mode: Literal["auto", "off"]) -> list[str]:
    """Has columns read prepared cells, where there are any; "off" reads none. Gives the columns that have some."""
    return processor.use_prepared(PreparedStore() if mode == "auto" else None)


def _mode(bundle: Bundle) -> Literal["auto", "off"]:
    return "off" if bundle.recipe.get("data", {}).get("store") == "off" else "auto"


def _stored(
    model: MultimodalModel,
    encoders: Mapping[str, EncoderConfig],
    processor: Processor,
    tables: Sequence[Table] | None,
    mode: Literal["auto", "off"],
    augmented: Collection[str] = (),
    device: torch.device | None = None,
    *,
    progress: bool = False,
) -> dict[str, StoredColumn]:
    """Arguments as in `store_features`; tables: whose cells are added; None: none are."""
    stored: dict[str, StoredColumn] = {}
    store = FeatureStore()
    raw = {*augmented, *_read_raw(model, processor)}
    of_items = {name: encoder.of_items for name, encoder in model.column_encoders.items()}
    backbones = {name: encoder for name, encoder in of_items.items() if isinstance(encoder, BackboneEncoder)}
    shelves: dict[str, str] = {}
    for name, encoder in backbones.items():
        encoder.shelf = ""
        if mode == "auto" and encoder.keeps_features and name not in raw and store.max_bytes > 0:
            if device is not None:
                encoder.to(device)
            shelves[name] = network_fingerprint(encoder, encoders[name].of_items)
    store.kept.update(shelves.values())
    for name, shelf in shelves.items():
        encoder, own = backbones[name], processor.columns[name]
        try:
            if tables is not None:
                column = fill_shelf(store, shelf, encoder, own, tables, progress=progress)
            else:
                column = StoredColumn.of(own, store.reading(shelf, encoder.widths)) if store.has(shelf) else None
        except OSError as error:
            _log.warning("column %r: its features can't be stored (%s): computed whenever they are needed", name, error)
            continue
        if column is not None:
            stored[name], encoder.shelf = column, column.shelf.name
    return stored


def _read_raw(model: MultimodalModel, processor: Processor) -> set[str]:
    """Columns whose cells are read by more than their encoders: by targets that lie in them, by what corrupts them."""
    placed = [target for target in processor.targets.values() if target.config.reads_items]
    names = {target.over for target in placed if target.over is not None}
    parts = [*model.by_target().values(), *model.by_objective().values()]
    return names | (set(model.schema.names) if any(part.reads_cells for part in parts) else set())
