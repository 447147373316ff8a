"""Rows as vectors: embeddings in a joint embedding space, or the summaries that any model makes on its way to a
prediction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars
import torch
from torch.nn import functional as F

from polysense.bundle import Bundle, as_bundle
from polysense.core.batch import Batch
from polysense.core.files import named_path
from polysense.core.json import json_text
from polysense.core.registry import task
from polysense.core.sample import Unreadable
from polysense.core.schema import Target
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.frame_file import frame_file
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, TableError
from polysense.nn.model import MultimodalModel

__all__ = ["Embeddings", "embed", "embeddings", "read_rows", "reconstructed_from", "row_vectors", "shared_space"]

K = TypeVar("K")


@dataclass(frozen=True, eq=False, kw_only=True)
class Embeddings:
    """A table's rows as vectors.

    Attributes:
        rows: int64 [rows], positions in the table.
        vectors: Per column, and under None of all columns together, float32 [rows, size]; NaN where there is nothing.
        kinds: Likewise what they are, in words.
        unreadable: Cells that could not be read, with the reason; they count as missing.
    """

    rows: np.ndarray
    vectors: Mapping[str | None, np.ndarray]
    kinds: Mapping[str | None, str]
    unreadable: tuple[Unreadable, ...] = ()

    def of(self, column: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The rows that have a column, int64 [rows], and their vectors, float32 [rows, size].

        Args:
            column: The column, or None for all together.

        Raises:
            ConfigError: There is no such column.
        """
        if column not in self.vectors:
            names = ", ".join(name for name in self.vectors if name is not None)
            raise ConfigError(f"the model has no input column {column!r}; there are: {names}")
        vectors = self.vectors[column]
        there = ~np.isnan(vectors).any(axis=1)
        return self.rows[there], vectors[there]

    def write(self, path: Path | str) -> None:
        """Writes .parquet, with a column of row numbers and one of lists for each entry, or .npz with an array each.

        Raises:
            TableError: The ending is none of these, or the file can't be written.
        """
        path = named_path(path)
        with frame_file(path, (".parquet", ".npz")) as part:
            if path.suffix.lower() == ".parquet":
                self._frame().write_parquet(part)
            else:
                kinds = np.array(json_text({_named(name): kind for name, kind in self.kinds.items()}))
                named = {_named(name): vectors for name, vectors in self.vectors.items()}
                with part.open("wb") as stream:
                    np.savez(stream, row_number=self.rows, kinds=kinds, **named)  # type: ignore[arg-type]  # names

    def _frame(self) -> polars.DataFrame:
        columns: dict[str, polars.Series] = {"row_number": polars.Series(self.rows)}
        for name, vectors in self.vectors.items():
            cells = [None if np.isnan(vector).any() else vector.tolist() for vector in vectors]
            columns[_named(name)] = polars.Series(cells, dtype=polars.List(polars.Float32))
        return polars.DataFrame(columns)


def _named(column: str | None) -> str:
    """What a file calls an entry."""
    return "embedding" if column is None else f"embedding[{column}]"


def embed(
    bundle: Bundle | str | Path, source: Any, *, column: str | None = None, root: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A table's rows as vectors of one kind.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        column: Which input column; None for all together. In a joint embedding space all columns' vectors can be
            compared.
        root: The folder that media paths are relative to; by default the table's own.

    Returns:
        int64 [rows], the positions of the rows that have the column, and float32 [rows, size], their vectors; of length
        1 in a joint embedding space.

    Raises:
        UserError: The bundle or the table can't be read, or there is no such column.
    """
    loaded = as_bundle(bundle)
    only = column if column in loaded.schema.names else None  # an unknown one is refused below
    return embeddings(loaded, source, only=only, root=root).of(column)


def embeddings(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    only: str | None = None,
    root: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """A table's rows as vectors: of each column, and of all together.

    In a joint embedding space these are embeddings in it, and all together lie in the middle of them. The vector of a
    column outside of one is its summary, before the columns are fused, and that of all together what they are fused to;
    of a model that reconstructs columns, the code that it reconstructs them from.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        only: A column whose vectors alone are wanted: no other is read or encoded, and the others' vectors may be
            missing. All are read even so where they may fill it (`data.impute`).
        root: The folder that media paths are relative to; by default the table's own.
        progress: Called after each batch with the rows that are done and the rows there are.

    Raises:
        UserError: The bundle or the table can't be read.
    """
    loaded = as_bundle(bundle)
    model, names, space = loaded.model.eval(), loaded.schema.names, shared_space(loaded)
    target = space or reconstructed_from(loaded)
    table = loaded.read(source, root=root)
    read: Collection[str] = names
    if only is not None and loaded.imputer is None:
        table, read = _without_others(table, loaded, only), {only}
    rows, vectors, unreadable = read_rows(
        loaded, table, lambda batch: row_vectors(model, batch.only(read), target), progress=progress
    )
    if not len(rows):
        raise TableError("the table has no rows to embed")
    return Embeddings(rows=rows, vectors=vectors, kinds=_kinds(loaded, space), unreadable=tuple(unreadable))


def read_rows(
    bundle: Bundle,
    table: Table,
    read: Callable[[Batch], Mapping[K, torch.Tensor]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, dict[K, np.ndarray], list[Unreadable]]:
    """What is read off a model for a table's rows, in their order.

    Args:
        bundle: Whose preprocessing is used.
        table: The rows.
        read: A batch on the bundle's device to tensors with rows first, the same ones for each batch.
        progress: Called with the rows that are done and the rows there are.

    Returns:
        int64 [rows], the arrays by name (none of a table without rows), and the cells that could not be read.
    """
    rows: list[np.ndarray] = []
    parts: dict[K, list[np.ndarray]] = {}
    unreadable: list[Unreadable] = []
    dataset = TableDataset(table, bundle.processor, with_targets=False)
    bundle.processor.require_any(dataset.table)
    for batch in bundle.batches(dataset, progress=progress):
        real = batch.rows >= 0
        with torch.inference_mode():
            for name, values in read(batch.to(bundle.device)).items():
                parts.setdefault(name, []).append(values.cpu()[real].numpy())
        rows.append(batch.rows[real].numpy())
        unreadable.extend(batch.unreadable)
    numbers = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    order = np.argsort(numbers, kind="stable")
    unreadable.sort(key=lambda cell: (cell.source.row, cell.source.column))
    return numbers[order], {name: np.concatenate(part)[order] for name, part in parts.items()}, unreadable


def row_vectors(model: MultimodalModel, batch: Batch, target: Target | None) -> dict[str | None, torch.Tensor]:
    """Each column's vector and, under None, that of all together; float32 [batch, size], NaN where there is nothing.

    Args:
        model: In evaluation mode.
        batch: On the model's device.
        target: A joint embedding space, or one that reconstructs columns from a code; None: what was fused.
    """
    fused, names = model.fused(batch), model.schema.names
    there: dict[str | None, torch.Tensor] = {name: batch.columns[name].present for name in names}
    vectors: dict[str | None, torch.Tensor] = {name: fused.columns[name].summary.float() for name in names}
    together = fused.pooled.float()
    if target is not None:
        context = model.context(batch, target.name)
        together = model.head(target.name).brief(model.fused(batch, target.name), context)["values"].float()
        if task(target.task).embeds_columns:
            points = together.nan_to_num()
            vectors |= {name: points[:, index] for index, name in enumerate(target.members)}
            together, names = F.normalize(points.sum(dim=1), dim=1), target.members
    there[None], vectors[None] = batch.presence(names).any(dim=1), together
    return {name: values.masked_fill(~there[name][:, None], torch.nan) for name, values in vectors.items()}


def _without_others(table: Table, bundle: Bundle, column: str) -> Table:
    """The table with the cells of other input columns missing, but of those that are read from the same cells."""
    own = bundle.processor.columns[column].source
    others = {part.source for part in bundle.processor.columns.values()} - {own}
    gone = [polars.lit(None, dtype=table.frame.schema[name]).alias(name) for name in table.names if name in others]
    return replace(table, frame=table.frame.with_columns(gone)) if gone else table


def shared_space(bundle: Bundle) -> Target | None:
    """The target that is a joint embedding space, the first of several; None where there is none."""
    return next((target for target in bundle.schema.targets if task(target.task).embeds_columns), None)


def reconstructed_from(bundle: Bundle) -> Target | None:
    """The target whose columns are reconstructed from a code, the first of several; None where there is none."""
    return next((target for target in bundle.schema.targets if task(target.task).reconstructs_columns), None)


def _kinds(bundle: Bundle, space: Target | None) -> dict[str | None, str]:
    if space is None:
        alone = "the column's summary, before the columns are fused"
        together = "the summary of all columns, fused"
        if reconstructed_from(bundle) is not None:
            together = "the code of the reconstruction"
        return {**dict.fromkeys(bundle.schema.names, alone), None: together}
    shared = f"the embedding in the joint embedding space {space.name!r}"
    return {
        **{
            name: shared if name in space.members else "the column's summary, before the columns are fused"
            for name in bundle.schema.names
        },
        None: f"{shared}, in the middle of the row's columns",
    }
