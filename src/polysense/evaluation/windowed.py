"""Predictions of large pictures, window by window, where a head asks for it.

A picture that is larger than a window is decoded once more, cut into overlapping windows, and each window brought to
the column's size as any picture is; the model sees it beside the row's other columns, and the head puts the outputs
together. The windows of one row are computed by themselves, so that a row's prediction depends on nothing else. A
picture that fits into one window is predicted as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars
import torch
from jaxtyping import Bool
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.geometry import Geometry
from polysense.core.logs import get_logger
from polysense.core.prediction import Prediction, as_arrays
from polysense.core.pytree import map_tensors
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.windows import Window, Windows
from polysense.data.column import ColumnProcessor
from polysense.data.exporting import Export, decoded_columns
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError
from polysense.nn.model import MultimodalModel
from polysense.nn.windowed import WindowedHead

__all__ = ["target_columns"]

_log = get_logger("polysense.evaluation.windowed")

_TOGETHER = 16  # windows


@runtime_checkable
class _Cuts(Protocol):
    """A column whose cells can be cut."""

    def cut(self, cell: object, root: Path, windows: Windows) -> list[tuple[np.ndarray, Window]]:
        """The windows of a cell, as `transform` gives items, and where they lie."""


def target_columns(
    model: MultimodalModel,
    target: Target,
    prediction: Prediction,
    processor: Processor,
    table: Table,
    batch: Batch,
    exports: Sequence[Export] = (),
) -> Mapping[str, Any]:
    """A target's columns in a table of predictions.

    Args:
        model: In evaluation mode.
        target: Which one.
        prediction: Of the batch, of whole pictures.
        processor: The fitted preprocessing.
        table: The batch's rows, without those that fill its shape.
        batch: In main memory.
        exports: What the predictions are handed to, too.
    """
    real = batch.rows >= 0
    outputs, geometry, own = as_arrays(prediction, real), batch.located(real), processor.targets[target.name]
    head, over = model.head(target.name), task(target.task).lies_in(target)
    column = processor.columns.get(over or "")
    if not isinstance(head, WindowedHead) or head.windows is None or over not in geometry or column is None:
        return decoded_columns(target, outputs, own, table, geometry, exports)
    windows = head.windows
    whole, parts, order = list[int](), list[polars.DataFrame](), list[int]()
    for i, place in enumerate(torch.nonzero(real)[:, 0].tolist()):
        height, width = (int(side) for side in geometry[over].sizes[i])
        cut = _cut(column, table, i, windows) if windows.cut((height, width)) else []
        if not cut:
            whole.append(i)
            continue
        seen = _predicted(model, batch, place, over, cut, target.name)
        blended = head.blended(seen, [window for _, window in cut], (height, width))
        alone = {name: located[np.array([i])] for name, located in geometry.items()}
        alone[over] = Geometry(np.eye(3)[None], np.array([[height, width]]))
        columns = decoded_columns(target, blended, own, table.select(np.array([i])), alone, exports)
        parts.append(polars.DataFrame(dict(columns)))
        order.append(i)
    if not parts:
        return decoded_columns(target, outputs, own, table, geometry, exports)
    if whole:
        rows = np.array(whole)
        some = {name: values[rows] for name, values in outputs.items()}
        places = {name: located[rows] for name, located in geometry.items()}
        columns = decoded_columns(target, some, own, table.select(rows), places, exports)
        parts.append(polars.DataFrame(dict(columns)))
        order += whole
    joined = polars.concat(parts)[np.argsort(order)]
    return {name: joined[name] for name in joined.columns}


def _cut(column: ColumnProcessor, table: Table, i: int, windows: Windows) -> list[tuple[np.ndarray, Window]]:
    """A row's windows; none where its file can't be read any more, as of features that were stored."""
    if not isinstance(column, _Cuts):
        return []
    try:
        return column.cut(table.cell(i, column.source), table.root_of(column.source), windows)
    except DecodeError as error:
        _log.warning("%s: not cut into windows: %s", table.source(i, column.source), error)
        return []


def _predicted(
    model: MultimodalModel, batch: Batch, place: int, over: str, cut: Sequence[tuple[np.ndarray, Window]], name: str
) -> dict[str, np.ndarray]:
    """The outputs of a target's head for the windows of one row."""
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, len(cut), _TOGETHER):
        some = cut[start : start + _TOGETHER]
        chosen = torch.full((len(some),), place)
        row = _rows(batch, chosen)
        column = row.columns[over]
        seen = replace(
            column,
            values=torch.from_numpy(np.stack([values for values, _ in some]))[:, None],
            lengths=torch.ones(len(some), 1, dtype=column.lengths.dtype),
            stored=None,
        )
        row = replace(row, columns={**row.columns, over: seen})
        parts.append(as_arrays(model.predict(row.to(next(model.parameters()).device))[0][name]))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _rows(batch: Batch, chosen: Tensor | Bool[Tensor, " batch"]) -> Batch:
    return map_tensors(lambda tensor: tensor[chosen] if tensor.dim() else tensor, batch)
