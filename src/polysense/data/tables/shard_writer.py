"""Tables written as WebDataset shards: tar archives that `data.tables.shards` reads back as the same rows.

A row is a member KEY.json, with every cell that is no file, and a member KEY.COLUMN.TYPE for each file,
KEY.COLUMN.N.TYPE for item N of a list. Every JSON object names all columns, in order; files are null in it, so that a
column of which a shard has none is there all the same. A file that can't be read keeps its name as a text, so that
whoever reads the shards is told of it as well.

The bytes of a shard are a function of the table, its files and the two limits: no time, no owner, no path of this
machine is in it. Beside the shards lies `shards.json`, which says what was written; a call that was stopped goes on
after the last whole shard.
"""

from __future__ import annotations

import json
import math
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import polars as pl

from polysense.core.files import replacing, sweep
from polysense.core.json import read_json, write_json
from polysense.core.lock import locked
from polysense.core.sample import Unreadable
from polysense.data.media.archives import SUFFIX
from polysense.data.media.media import Media, locate
from polysense.data.media.sniff import file_kind
from polysense.data.tables.fingerprint import table_changes, table_fingerprint
from polysense.data.tables.shards import LIST_ITEMS, VALUES, split_member
from polysense.data.tables.sources import Table
from polysense.data.values.cells import MEDIA
from polysense.errors import BundleError, ConfigError, DecodeError, TableError

__all__ = ["FileWritten", "ShardsWritten", "media_columns", "write_shards"]

_STATE = "shards.json"
_BLOCK = 512
_END = 20 * _BLOCK  # what a shard is filled up to
_TYPE = re.compile(r"\.[a-z0-9]{1,8}")
_IN_NAMES = re.compile(r"[^/\\\0]{1,200}")
_SAMPLED = 1000
_MAJORITY = 0.5


class FileWritten(NamedTuple):
    """A shard.

    Attributes:
        name: The file's name.
        num_rows: In it.
        num_bytes: Of the file.
    """

    name: str
    num_rows: int
    num_bytes: int


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardsWritten:
    """What was written.

    Attributes:
        folder: Where.
        shards: All that are there now, in order.
        num_new: Of them, how many were written by this call.
        columns: The columns whose cells are members of their own.
        unreadable: Files that could not be read, and are named in the shards only; of the new ones.
    """

    folder: Path
    shards: tuple[FileWritten, ...]
    num_new: int
    columns: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]

    @property
    def num_rows(self) -> int:
        """Of all shards."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Of all shards."""
        return sum(shard.num_bytes for shard in self.shards)


def media_columns(table: Table) -> list[str]:
    """The columns whose cells are files, or name some; of others half the cells or fewer do."""
    names = []
    for name in table.names:
        kind = table.dtype(name)
        if kind == pl.Binary or kind == MEDIA or (isinstance(kind, pl.List) and kind.inner in (pl.Binary, MEDIA)):
            names.append(name)
        elif kind == pl.String or kind == pl.List(pl.String):
            cells = [cell for cell in _sampled(table, name) if cell is not None]
            items = [
                item for cell in cells for item in (cell if isinstance(cell, list) else [cell]) if item is not None
            ]
            files = sum(file_kind(item) is not None for item in items)
            if items and files > _MAJORITY * len(items):
                names.append(name)
    return names


def _sampled(table: Table, name: str) -> list[object]:
    step = max(1, len(table) // _SAMPLED)
    return [table.cell(i, name) for i in range(0, len(table), step)]


def write_shards(
    table: Table,
    folder: Path,
    *,
    max_bytes: int,
    max_rows: int,
    columns: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ShardsWritten:
    """Writes a table as shards.

    Args:
        table: The table.
        folder: Where `shard-000000.tar` and so on go; is made.
        max_bytes: Of a shard, unless one row alone has more.
        max_rows: Of a shard.
        columns: Those whose cells are files; None: `media_columns`.
        progress: Called with the rows that are done and all rows.

    Raises:
        TableError: A column can't be written; a file changed while it was read.
        ConfigError: The folder holds shards of another table, or of other limits.
        LockedError: Another process writes there.
        OSError: A file can't be written.
    """
    writer = _Writer(table, media_columns(table) if columns is None else list(columns))
    unreadable: list[Unreadable] = []
    facts = {"format": 1, "max_bytes": max_bytes, "max_rows": max_rows, "columns": list(writer.media)}
    with locked(folder):
        sweep(folder)
        shards = _there(folder, facts, table)
        num_before, done = len(shards), sum(shard.num_rows for shard in shards)
        if not shards:
            _save(folder, facts, table, shards)
        while done < len(table):
            path = folder / f"shard-{len(shards):06d}{SUFFIX}"
            shards.append(_write(path, writer.rows(done), max_bytes, max_rows, unreadable))
            done += shards[-1].num_rows
            _save(folder, facts, table, shards)
            if progress is not None:
                progress(done, len(table))
    return ShardsWritten(
        folder=folder,
        shards=tuple(shards),
        num_new=len(shards) - num_before,
        columns=tuple(writer.media),
        unreadable=tuple(unreadable),
    )


def _save(folder: Path, facts: Mapping[str, Any], table: Table, shards: Sequence[FileWritten]) -> None:
    entries = [{"name": each.name, "rows": each.num_rows, "bytes": each.num_bytes} for each in shards]
    write_json(folder / _STATE, {**facts, "table": table_fingerprint(table), "rows": len(table), "shards": entries})


def _there(folder: Path, facts: Mapping[str, Any], table: Table) -> list[FileWritten]:
    """The whole shards that an earlier call left, up to the first that is not there any more."""
    path = folder / _STATE
    if not path.exists():
        others = sorted(each.name for each in folder.iterdir() if each.suffix.lower() == SUFFIX)
        if others:
            raise ConfigError(
                f"{folder}: holds archives that were not written by this ({others[0]}); name another folder"
            )
        return []
    try:
        state = read_json(path, dict)
        changes = table_changes(state["table"], table_fingerprint(table))
        shards = [FileWritten(each["name"], each["rows"], each["bytes"]) for each in state["shards"]]
        other = [key for key in facts if state[key] != facts[key]]
    except (BundleError, OSError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); name another folder") from None
    if changes:
        raise ConfigError(f"{folder}: holds shards of another table: {changes}; name another folder")
    if other:
        result = f"found {other[0]} {state[other[0]]}, expected {facts[other[0]]}"
        raise ConfigError(f"{folder}: holds shards that were written otherwise: {result}; name another folder")
    whole: list[FileWritten] = []
    for shard in shards:
        place = folder / shard.name
        if not place.is_file() or place.stat().st_size != shard.num_bytes:
            break
        whole.append(shard)
    return whole


class _Row(NamedTuple):
    """A row's members, and its files that can't be read."""

    parts: list[_Part]
    unreadable: list[Unreadable]


class _Part(NamedTuple):
    """A member to be written: its name, its size, and its bytes or where they are."""

    name: str
    num_bytes: int
    content: bytes | Media

    @property
    def stored(self) -> int:
        """The bytes that it takes in an archive, at most."""
        long = 3 * _BLOCK if len(self.name.encode()) > 90 else 0
        return _BLOCK + long + -(-self.num_bytes // _BLOCK) * _BLOCK


def _write(
    path: Path, rows: Iterator[_Row], max_bytes: int, max_rows: int, unreadable: list[Unreadable]
) -> FileWritten:
    """Writes the next rows, as many as fit into a shard; at least one."""
    num_rows, size = 0, _END
    with replacing(path) as part, tarfile.TarFile(part, "w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        while num_rows < max_rows:
            row = next(rows, None)
            if row is None:
                break
            size += sum(each.stored for each in row.parts)
            if num_rows and size > max_bytes:
                break
            for each in row.parts:
                _add(archive, each)
            unreadable += row.unreadable
            num_rows += 1
    return FileWritten(path.name, num_rows, path.stat().st_size)


def _add(archive: tarfile.TarFile, part: _Part) -> None:
    info, media = tarfile.TarInfo(part.name), part.content
    info.size, info.mode = part.num_bytes, 0o644
    try:
        source = media.open() if isinstance(media, Media) else BytesIO(media)
        with source as file:
            archive.addfile(info, cast(BinaryIO, file))
    except DecodeError as error:
        raise TableError(f"{part.name}: the file can't be opened any more: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise TableError(f"{part.name}: the file changed while it was read; write the shards again") from None


class _Writer:
    """A table's rows as members.

    Attributes:
        media: The columns whose cells are files, in the table's order.
    """

    def __init__(self, table: Table, columns: Collection[str]) -> None:
        for name in columns:
            table.require(name)
        self._table = table
        self.media = [name for name in table.names if name in set(columns)]
        self._names = [name for name in table.names if name != table.key]
        for name in self.media:
            if _IN_NAMES.fullmatch(name) is None or not name.strip(". ") or name != name.strip():
                raise TableError(
                    f"{table.name}, column {name!r}: holds files, and its name can't be part of theirs; rename it"
                )
            if re.search(r"\.\d{1,5}$", name):
                raise TableError(f"{table.name}, column {name!r}: ends like an item of a list of files; rename it")
        for name in self._names:
            if name not in self.media and _holds_bytes(table.dtype(name)):
                raise TableError(f"{table.name}, column {name!r}: holds bytes within structures, which JSON can't")
        self._keys = _keys(table)

    def rows(self, start: int) -> Iterator[_Row]:
        """The members of each row from there on."""
        return (self._row(i) for i in range(start, len(self._table)))

    def _row(self, i: int) -> _Row:
        key = f"{i:09d}" if self._keys is None else self._keys[i]
        cells: dict[str, object] = {}
        row = _Row([], [])
        for name in self._names:
            cells[name] = None
            if name not in self.media:
                cells[name] = self._table.cell(i, name, literal=True)
            elif (cell := self._table.cell(i, name)) is not None:
                cells[name] = self._files(row, i, f"{key}.{name}", name, cell)
        content = _json(cells).encode("utf-8", "surrogatepass")
        return _Row([_Part(f"{key}.json", len(content), content), *row.parts], row.unreadable)

    def _files(self, row: _Row, i: int, start: str, name: str, cell: object) -> str | None:
        """Adds a cell's files; gives what stands for it in JSON: None, or a file's name where it can't be read."""
        items = cell if isinstance(cell, list) else [cell]
        if len(items) > LIST_ITEMS:
            where = self._table.source(i, name)
            raise TableError(f"{where}: holds {len(items):,} files, expected at most {LIST_ITEMS:,}")
        for n, item in enumerate(items):
            if item is None:
                continue
            start_of_name = f"{start}.{n}" if isinstance(cell, list) else start
            try:
                row.parts.append(_part(start_of_name, item, self._table.root_of(name)))
            except DecodeError as error:
                named = _named(item)
                row.unreadable.append(Unreadable(source=self._table.source(i, name, named), reason=str(error)))
                if named is not None and not isinstance(cell, list):
                    return named
                row.parts.append(_Part(f"{start_of_name}.bin", 0, b""))  # as unreadable as the item was
        return None


def _named(cell: object) -> str | None:
    path = cell.get("path") if isinstance(cell, dict) else cell
    return path[:500] if isinstance(path, str) else None


def _part(name: str, item: object, root: Path) -> _Part:
    """A file of a cell as a member."""
    media = locate(item, root, "media")
    hint = item.get("path") if isinstance(item, dict) else None
    suffix = media.suffix or (Path(hint).suffix.lower() if isinstance(hint, str) else "")
    if not _TYPE.fullmatch(suffix) or suffix[1:] in VALUES:
        suffix = ".bin"
    return _Part(f"{name}{suffix}", media.num_bytes, media if media.data is None else media.data)


def _holds_bytes(kind: Any) -> bool:
    if isinstance(kind, pl.List):
        return _holds_bytes(kind.inner)
    if isinstance(kind, pl.Struct):
        return any(_holds_bytes(field.dtype) for field in kind.fields)
    return bool(kind == pl.Binary)


def _keys(table: Table) -> list[str] | None:
    """The rows' own keys, where each has one that no other has; else None."""
    if table.key is None or not table.has(table.key):
        return None
    keys = [str(cell).rpartition(":")[2] if cell is not None else "" for cell in table.cells(table.key, literal=True)]
    if len(set(keys)) < len(keys) or not all(split_member(f"{key}.json") == (key, "json") for key in keys):
        return None
    return keys


def _json(cells: Mapping[str, object]) -> str:
    try:
        return json.dumps(cells, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return (
            "{"
            + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_text(value)}" for key, value in cells.items())
            + "}"
        )


def _text(value: object) -> str:
    """A value as JSON, in which numbers that are none are null, and infinite ones too large to be others."""
    if isinstance(value, float) and not math.isfinite(value):
        return "null" if value != value else "1e999" if value > 0 else "-1e999"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return _json(value)
    return json.dumps(value, ensure_ascii=False)
