"""A model's predictions as a table: one row for each row that was read, to be looked at, joined or written.

The row's number and the kept columns come first, for they say what a prediction is of; names follow one rule
(`core.output_names`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars

from polysense.core.files import named_path, replacing_folder, write_bytes
from polysense.core.json import write_json_lines
from polysense.core.output_names import output_columns
from polysense.core.sample import Unreadable
from polysense.data.tables.frame_file import frame_file, naming, write_frame
from polysense.data.values.cells import MEDIA
from polysense.escaping import visible

__all__ = ["Predictions", "predictions_frame"]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """What a model says of a table, one row for each of its rows, in order.

    Attributes:
        frame: `row`: the row's number in the table that was read, from 0; the columns that were to be kept; per target
            its prediction and probabilities; `no_input`: whether the row has nothing to read, and the prediction is the
            prior (`TaskSpec.prior`); `missing`: which input columns it lacked. Where the model has an imputer also
            `imputed`: which of them it filled. Named as `core.output_names` says.
        unreadable: Cells that could not be read, with the reason; they count as missing.
        warnings: Per column what could be read and still means little to the model: categories that it does not know.
    """

    frame: polars.DataFrame
    unreadable: tuple[Unreadable, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        unread = f", {len(self.unreadable)} cells could not be read" if self.unreadable else ""
        return visible(f"Predictions of {len(self):,} rows{unread}\n{self.frame}", keep="\n")

    def _repr_html_(self) -> str:
        page: str = self.frame._repr_html_()
        return page

    def with_files(self, folder: Path | None = None) -> polars.DataFrame:
        """The frame with the files that it holds as texts: in base64, or their paths beside a folder.

        Args:
            folder: Where they are written, each column's in a folder of its own; what was there is replaced.
        """
        media = [name for name, kind in self.frame.schema.items() if kind == MEDIA]
        columns = []
        for index, name in enumerate(media):
            cells: list[Any] = self.frame[name].to_list()
            if folder is None:
                texts = [None if cell is None else base64.b64encode(cell["bytes"]).decode("ascii") for cell in cells]
            else:
                inner = f"{index}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}"
                with replacing_folder(folder / inner) as part:
                    for cell in cells:
                        if cell is not None:
                            write_bytes(part / cell["path"], cell["bytes"], durable=False)
                texts = [None if cell is None else f"{folder.name}/{inner}/{cell['path']}" for cell in cells]
            columns.append(polars.Series(name, texts, dtype=polars.String))
        return self.frame.with_columns(columns)

    def write(self, path: Path | str, *, csv_safe: bool = True) -> None:
        """Writes the frame as .csv, .tsv, .jsonl or .parquet, and unreadable cells beside it as PATH.unreadable.jsonl.

        Files that it holds, such as masks, are written to the folder PATH.files; the table has their paths, relative to
        its own folder.

        Args:
            path: The file.
            csv_safe: Whether texts in .csv and .tsv that a spreadsheet would take for a formula get an apostrophe in
                front; numbers stay as they are, and .jsonl and .parquet hold every text as it is.

        Raises:
            TableError: The ending is none of these, or a file can't be written.
        """
        path = named_path(path)
        with frame_file(path, (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")) as part:
            frame = self.with_files(path.with_name(path.name + ".files"))
            write_frame(frame, part, path.suffix, csv_safe=csv_safe, lists_as_texts=True)
        beside = path.with_name(path.name + ".unreadable.jsonl")
        with naming(beside):
            if self.unreadable:
                write_json_lines(beside, [cell.as_dict() for cell in self.unreadable])
            else:
                beside.unlink(missing_ok=True)


def predictions_frame(
    targets: Sequence[tuple[Collection[str], Mapping[str, Any]]],
    *,
    kept: Mapping[str, polars.Series],
    numbers: np.ndarray,
    facts: Mapping[str, Any],
) -> polars.DataFrame:
    """The columns of a table of predictions, named and in order.

    Args:
        targets: Of each target the names that are the table's, and its columns.
        kept: Columns of the table.
        numbers: int64 [rows], each row's number in what was read.
        facts: What else is known of each row.
    """
    beside = [(kept.keys(), kept), ((), {"row": polars.Series(numbers, dtype=polars.Int64)})]
    # A prediction has its target's name before a kept column has its own, though it stands behind it.
    columns = output_columns([*targets, *beside, ((), facts)])
    names, made = list(columns), sum(len(each) for _, each in targets)
    ahead = names[made : made + len(kept) + 1]
    order = [ahead[-1], *ahead[:-1], *names[:made], *names[made + len(ahead) :]]
    return polars.DataFrame({name: columns[name] for name in order})
