"""What a page shows of a row: each cell by its modality, files by row, column and place, never by path."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import polars as pl

from polysense.core.display import CellDisplay, DisplayFile
from polysense.core.registry import modality
from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, DecodeError

__all__ = ["RowDisplays"]

_LONGEST_TEXT = 20_000  # characters of a cell that are shown
_CACHED_BYTES = 64 * 2**20
_MOST_RESULTS = 50
_MOST_LISTED = 40  # columns


class RowDisplays:
    """The cells of a table, for pages.

    Args:
        table: The rows.
        guesses: What its columns are.
        target: The column of labels, which is not shown.
        columns: Those to show, in this order; None: the inputs, then the rest in a folded part.

    Raises:
        TableError: There is no such column.
    """

    def __init__(
        self, table: Table, guesses: Sequence[ColumnGuess], target: str, columns: Sequence[str] | None = None
    ) -> None:
        self._table = table
        self._lock = Lock()
        self._files: OrderedDict[tuple[int, int, int, bool], DisplayFile] = OrderedDict()
        self._num_bytes = 0
        known = {guess.column or guess.name: guess for guess in guesses if guess.name != target}
        inputs = [guess for guess in guesses if guess.role in (Role.INPUT, Role.GROUP) and guess.name != target]
        others = [guess for guess in guesses if guess not in inputs and guess.name != target]
        if columns is not None:
            for name in columns:
                table.require(name, "column to show")
            inputs = [known[name] for name in columns]
            others = []
        self._guesses = [*inputs, *others[:_MOST_LISTED]]
        self._num_inputs = len(inputs)

    @property
    def texts(self) -> list[str]:
        """The columns whose cells are free text."""
        return [
            guess.name for guess in self._guesses if guess.modality is not None and modality(guess.modality).is_prose
        ]

    def row(self, row: int) -> list[dict[str, Any]]:
        """A row's cells in JSON's types."""
        return [self._cell(row, column) for column in range(len(self._guesses))]

    def _cell(self, row: int, column: int) -> dict[str, Any]:
        guess = self._guesses[column]
        is_prose = guess.modality is not None and modality(guess.modality).is_prose
        entry: dict[str, Any] = {
            "column": guess.name,
            "folded": column >= self._num_inputs,
            "whole": is_prose,
        }
        cell = self._table.cell(row, guess.column or guess.name)
        if cell is None:
            return {**entry, "texts": [], "media": [], "note": "missing", "absent": True}
        try:
            display = self._display(row, column)
        except DecodeError as error:
            named = [str(cell)[:300]] if isinstance(cell, str) else []
            return {**entry, "texts": named, "media": [], "note": f"can't be read: {error}", "absent": True}
        media = [
            {
                "element": each.element,
                "url": f"media/{row}/{column}/{index}",
                "fallback": None if each.fallback is None else f"media/{row}/{column}/{index}?fallback=1",
            }
            for index, each in enumerate(display.media)
        ]
        texts = [text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..." for text in display.texts]
        return {**entry, "texts": texts, "media": media, "note": display.note, "absent": False}

    def _display(self, row: int, column: int) -> CellDisplay:
        guess = self._guesses[column]
        name = guess.column or guess.name
        cell = self._table.cell(row, name)
        if guess.modality is None:
            return CellDisplay(texts=[str(cell)])
        return modality(guess.modality).display(cell, self._table.root_of(name))

    def file(self, row: int, column: int, index: int, *, fallback: bool = False) -> DisplayFile:
        """A file of a cell, made anew or from memory.

        Raises:
            ConfigError: There is no such row, column or file.
            DecodeError: It can't be read.
        """
        key = (row, column, index, fallback)
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        if not (0 <= row < len(self._table) and 0 <= column < len(self._guesses)):
            raise ConfigError(f"found row {row} and column {column}, expected those of a cell of the table")
        media = self._display(row, column).media
        if not 0 <= index < len(media):
            raise ConfigError(f"found file {index} of a cell with {len(media)}")
        read = media[index].fallback if fallback else media[index].read
        if read is None:
            raise ConfigError("the file has no image to fall back on")
        file = read()
        self._remember(key, file)
        return file

    def _remember(self, key: tuple[int, int, int, bool], file: DisplayFile) -> None:
        size = len(file.data or b"")
        if size > _CACHED_BYTES // 4:
            return
        with self._lock:
            if key not in self._files:
                self._files[key] = file
                self._num_bytes += size
            while self._num_bytes > _CACHED_BYTES:
                _, oldest = self._files.popitem(last=False)
                self._num_bytes -= len(oldest.data or b"")

    def search(self, text: str) -> list[int]:
        """The first rows one of whose cells holds a text, whatever the case of its letters; or the row of a number."""
        text = text.strip()
        if not text:
            return []
        matches = pl.repeat(False, len(self._table), eager=True)
        for guess in self._guesses:
            series = self._table.column(guess.column or guess.name)
            if series.dtype.is_nested() or series.dtype == pl.Binary:
                continue
            texts = series.cast(pl.String, strict=False).str.to_lowercase()
            matches = matches | texts.str.contains(text.lower(), literal=True).fill_null(False)
        rows: list[int] = matches.arg_true()[:_MOST_RESULTS].to_list()
        if text.isdecimal() and len(text) < 10 and int(text) < len(self._table):
            rows = [int(text), *(row for row in rows if row != int(text))]
        return rows

    def excerpt(self, row: int) -> str:
        """A row in a few words, for a list."""
        parts = []
        for guess in self._guesses[: self._num_inputs]:
            cell = self._table.cell(row, guess.column or guess.name)
            if isinstance(cell, (str, int, float)):
                parts.append(f"{cell:.6g}" if isinstance(cell, float) else str(cell)[:80])
        return " · ".join(parts)[:160] or f"row {row}"
