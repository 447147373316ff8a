"""Rows as vectors: places in a shared space, or the summaries that any model makes on its way to a prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars
import torch
from torch.nn import functional as F

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import replacing
from polysense.core.json import json_text
from polysense.core.registry import task
from polysense.core.sample import Unreadable
from polysense.core.schema import Target
from polysense.data.dataset import TableDataset
from polysense.data.loader import PredictLoader
from polysense.data.sources import Table, read_table
from polysense.errors import ConfigError, TableError

__all__ = ["Embeddings", "embed", "embeddings", "restored_from", "shared_space"]


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
        path = Path(path)
        try:
            match path.suffix.lower():
                case ".parquet":
                    with replacing(path) as part:
                        self._frame().write_parquet(part)
                case ".npz":
                    kinds = np.array(json_text({_named(n): kind for n, kind in self.kinds.items()}))
                    named = {_named(name): vectors for name, vectors in self.vectors.items()}
                    with replacing(path) as part, part.open("wb") as stream:
                        np.savez(stream, row_number=self.rows, kinds=kinds, **named)  # type: ignore[arg-type]  # names
                case other:
                    raise TableError(f"{path}: can't write {other or 'a file without an ending'}; use .parquet or .npz")
        except OSError as error:
            raise TableError(f"{path}: can't be written: {error}") from error

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
        column: Which input column; None for all together. In a shared space all columns' vectors can be compared.
        root: The folder that media paths are relative to; by default the table's own.

    Returns:
        int64 [rows], the positions of the rows that have the column, and float32 [rows, size], their vectors; of length
        1 in a shared space.

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

    In a shared space these are places in it, and all together lie in the middle of them. The vector of a column outside
    of one is its summary, before the columns are fused, and that of all together what they are fused to; of a model
    that restores columns, the code that it restores them from.

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
    model, schema, space, code = loaded.model.eval(), loaded.schema, shared_space(loaded), restored_from(loaded)
    device = loaded.device
    table = read_table(source, root=root)
    read = set(schema.names)
    if only is not None and loaded.imputer is None:
        table, read = _without_others(table, loaded, only), {only}
    dataset = TableDataset(table, loaded.processor, with_targets=False)
    rows: list[np.ndarray] = []
    parts: dict[str | None, list[np.ndarray]] = {name: [] for name in (*schema.names, None)}
    unreadable: list[Unreadable] = []
    num_done = 0
    for batch in PredictLoader(dataset, schema):
        moved = batch.only(read).to(device)
        with torch.inference_mode():
            fused = model.fused(moved)
            there: dict[str | None, torch.Tensor] = {name: moved.columns[name].present for name in schema.names}
            columns = fused.columns
            vectors_of: dict[str | None, torch.Tensor] = {name: columns[name].summary.float() for name in schema.names}
            vectors_of[None], there[None] = fused.pooled.float(), torch.stack(list(there.values())).any(dim=0)
            if space is not None:
                context = model.context(moved, space.name)
                places = model.head(space.name).brief(model.fused(moved, space.name), context)["values"].nan_to_num()
                vectors_of |= {name: places[:, index] for index, name in enumerate(space.members)}
                there[None] = torch.stack([there[name] for name in space.members]).any(dim=0)
                vectors_of[None] = F.normalize(places.sum(dim=1), dim=1)
            elif code is not None:
                context = model.context(moved, code.name)
                vectors_of[None] = model.head(code.name).brief(model.fused(moved, code.name), context)["values"].float()
            real = batch.rows >= 0
            for name, vectors in vectors_of.items():
                parts[name].append(vectors.masked_fill(~there[name][:, None], torch.nan).cpu()[real].numpy())
        rows.append(batch.rows[real].numpy())
        unreadable.extend(batch.unreadable)
        num_done += len(rows[-1])
        if progress is not None:
            progress(num_done, len(dataset))
    if not rows:
        raise TableError("the table has no rows to embed")
    numbers = np.concatenate(rows)
    order = np.argsort(numbers, kind="stable")
    return Embeddings(
        rows=numbers[order],
        vectors={name: np.concatenate(part)[order] for name, part in parts.items()},
        kinds=_kinds(loaded, space),
        unreadable=tuple(sorted(unreadable, key=lambda cell: (cell.source.row, cell.source.column))),
    )


def _without_others(table: Table, bundle: Bundle, column: str) -> Table:
    """The table with the cells of other input columns missing, but of those that are read from the same cells."""
    own = bundle.processor.columns[column].source
    others = {part.source for part in bundle.processor.columns.values()} - {own}
    gone = [polars.lit(None, dtype=table.frame.schema[name]).alias(name) for name in table.names if name in others]
    return replace(table, frame=table.frame.with_columns(gone)) if gone else table


def shared_space(bundle: Bundle) -> Target | None:
    """The target that is a shared space, the first of several; None where there is none."""
    return next((target for target in bundle.schema.targets if task(target.task).embeds_columns), None)


def restored_from(bundle: Bundle) -> Target | None:
    """The target whose columns are restored from a code, the first of several; None where there is none."""
    return next((target for target in bundle.schema.targets if task(target.task).reconstructs_columns), None)


def _kinds(bundle: Bundle, space: Target | None) -> dict[str | None, str]:
    if space is None:
        alone = "the column's summary, before the columns are fused"
        together = "the summary of all columns, fused"
        if restored_from(bundle) is not None:
            together = "the code that the columns are restored from"
        return {**dict.fromkeys(bundle.schema.names, alone), None: together}
    shared = f"the place in the shared space {space.name!r}"
    return {
        **{
            name: shared if name in space.members else "the column's summary, before the columns are fused"
            for name in bundle.schema.names
        },
        None: f"{shared}, in the middle of the row's columns",
    }
