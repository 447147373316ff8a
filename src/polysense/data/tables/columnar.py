"""Parquet and Arrow files as frames, checked before they are read.

A few bytes of either can state a billion cells: run lengths, dictionaries and compressed buffers all repeat. So what
the file's own records say is held against what its table may take before anything is decoded, and what is decoded is
counted again, with texts at their full length.

polars reads Parquet (it shares a dictionary's texts between rows), unless a column is of a type that it lacks. Arrow
files are read by pyarrow, as streams: polars' reader panics on a seventh of damaged ones, and may end the process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from polysense.core.error_text import first_line
from polysense.data.tables.arrow_types import from_arrow, is_plain
from polysense.data.tables.limits import CELL_BYTES, TableBudget
from polysense.data.tables.python_table import RawFrame
from polysense.errors import TableError

__all__ = ["read_arrow", "read_parquet"]

_BATCH = 65_536  # rows
_MARK = b"ARROW1"
_FEATHER_1 = b"FEA1"


def read_parquet(path: Path) -> RawFrame:
    """A Parquet file.

    Raises:
        TableError: It is none, is damaged, or holds more than a table may.
    """
    import pyarrow.parquet as pq

    budget = TableBudget(path)
    with _explained(path, "a Parquet file"), path.open("rb") as stream, pq.ParquetFile(stream) as file:
        _check_parquet(file.metadata, budget)
        schema = file.schema_arrow
        budget.check_columns(len(schema))
        try:
            all_plain = all(is_plain(field.type) for field in schema)
        except ValueError:
            all_plain = False  # from_arrow names the column
        if all_plain and len(set(schema.names)) == len(schema.names):
            raw = RawFrame(pl.read_parquet(_readable(path, stream), **_AS_IT_IS))
        else:
            raw = from_arrow(_in_batches(file, budget), path.name, budget)
    _check_frame(raw.frame, budget)
    return raw


# A name with brackets is no pattern, and folders' names are no columns.
_AS_IT_IS: dict[str, Any] = {"glob": False, "hive_partitioning": False}


def _readable(path: Path, stream: BinaryIO) -> Path | bytes:
    """What polars opens: the path, or the open file where the path is no valid text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        stream.seek(0)
        return stream.read()
    return path


def _check_parquet(metadata: Any, budget: TableBudget) -> None:
    """Checks the rows and values that the file states, at the least that they take."""
    what = "states cells that take"
    budget.check_columns(metadata.num_columns)
    widths = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}
    rows = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        rows += group.num_rows
        for j in range(group.num_columns):
            chunk = group.column(j)
            budget.spend(max(chunk.num_values, 0) * widths.get(chunk.physical_type, CELL_BYTES), what)
    budget.check(max(rows, metadata.num_rows) * metadata.num_columns, what)


def _in_batches(file: Any, budget: TableBudget) -> Any:
    """All columns by pyarrow, in batches so small that none can take more than the table may."""
    import pyarrow as pa

    metadata, batches = file.metadata, []
    spent = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        # A dictionary's longest text is at most as long as the column, and each row may repeat it.
        longest = max((group.column(j).total_uncompressed_size for j in range(group.num_columns)), default=1)
        rows = int(min(_BATCH, max(1, budget.limit // max(longest, 1))))
        for batch in file.iter_batches(batch_size=rows, row_groups=[i], use_threads=False):
            spent += batch.nbytes
            budget.check(spent)
            batches.append(batch)
    return pa.Table.from_batches(batches, schema=file.schema_arrow)


def read_arrow(path: Path) -> RawFrame:
    """An Arrow file (Feather 2, as well as the stream that `datasets` writes).

    Raises:
        TableError: It is none, is damaged, or holds more than a table may.
    """
    import pyarrow as pa

    budget = TableBudget(path)
    with _explained(path, "an Arrow or Feather file"):
        if not path.stat().st_size:
            raise pa.ArrowInvalid("it is empty")
        with pa.memory_map(str(path)) as file:
            head = file.read(8)
            if head.startswith(_FEATHER_1):
                raise pa.ArrowInvalid("it is in the first version of Feather, which is no longer read; write it again")
            file.seek(0)
            if head.startswith(_MARK):
                _check_blocks(memoryview(file.read_buffer()), budget)
                with pa.ipc.open_file(file) as whole:
                    batches = (whole.get_batch(i) for i in range(whole.num_record_batches))
                    table = _table(batches, whole.schema, budget)
            else:
                _check_messages(file, budget)
                file.seek(0)
                with pa.ipc.open_stream(file) as reader:
                    table = _table(reader, reader.schema, budget)
            raw = from_arrow(table, path.name, budget)
    _check_frame(raw.frame, budget, num_mapped=path.stat().st_size)
    return raw


def _table(batches: Iterable[Any], schema: Any, budget: TableBudget) -> Any:
    import pyarrow as pa

    budget.check_columns(len(schema))
    results, rows = [], 0
    for batch in batches:
        rows += batch.num_rows
        budget.check(rows * len(schema), "states cells that take")
        results.append(batch)
    return pa.Table.from_batches(results, schema=schema)


# Arrow's records are flatbuffers (https://flatbuffers.dev/internals): a table's first 4 bytes lead back to a list of
# its fields' places. The fields' numbers are those of Arrow's format/Message.fbs and File.fbs.


def _number(form: str, record: memoryview, at: int) -> int:
    value: int = struct.unpack_from(form, record, at)[0]
    return value


def _field(record: memoryview, table: int, index: int) -> int | None:
    """Where a field of a table stands; None if the table lacks it."""
    fields = table - _number("<i", record, table)
    if _number("<H", record, fields) < 6 + 2 * index:
        return None
    offset = _number("<H", record, fields + 4 + 2 * index)
    return table + offset if offset else None


def _target(record: memoryview, table: int, index: int) -> int | None:
    """Where the table or the vector that a field names begins."""
    at = _field(record, table, index)
    return None if at is None else at + _number("<I", record, at)


def _unpacked_size(record: memoryview, body: memoryview) -> int:
    """The bytes that a message's compressed buffers state in front of them; 0 where they are not compressed."""
    message = _number("<I", record, 0)
    batch = _target(record, message, 2)  # Message.header
    kind_at = _field(record, message, 1)
    if batch is not None and kind_at is not None and record[kind_at] == 2:  # a DictionaryBatch, and its .data
        batch = _target(record, batch, 1)
    if batch is None or _field(record, batch, 3) is None:  # RecordBatch.compression
        return 0
    buffers = _target(record, batch, 2)  # RecordBatch.buffers
    size = 0
    for i in range(0 if buffers is None else _number("<I", record, buffers)):
        offset, length = struct.unpack_from("<qq", record, (buffers or 0) + 4 + 16 * i)
        size += max(_number("<q", body, offset), 0) if length >= 8 else 0  # -1: this one is not compressed
    return size


def _check_messages(file: Any, budget: TableBudget) -> None:
    """Checks what the messages of a stream unpack to."""
    import pyarrow as pa

    reader = pa.ipc.MessageReader.open_stream(file)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type in ("record batch", "dictionary") and message.body is not None:
            budget.spend(_unpacked_size(memoryview(message.metadata), memoryview(message.body)), "unpacks to")


def _check_blocks(file: memoryview, budget: TableBudget) -> None:
    """Checks what the messages that a file's footer lists unpack to."""
    end = len(file) - 10  # the footer's length and the mark
    footer = file[end - _number("<i", file, end) : end]
    root = _number("<I", footer, 0)
    for index in (2, 3):  # Footer.dictionaries and .recordBatches
        blocks = _target(footer, root, index)
        for i in range(0 if blocks is None else _number("<I", footer, blocks)):
            start, num_metadata = struct.unpack_from("<qi", footer, (blocks or 0) + 4 + 24 * i)
            begin = 8 if _number("<I", file, start) == 0xFFFFFFFF else 4  # older files have the length alone
            record = file[start + begin : start + num_metadata]
            budget.spend(_unpacked_size(record, file[start + num_metadata :]), "unpacks to")


def _check_frame(frame: pl.DataFrame, budget: TableBudget, *, num_mapped: int = 0) -> None:
    """Checks what is held now, each text at its full length: it is copied where a cell is read.

    Args:
        frame: As it was read.
        budget: What it may take.
        num_mapped: Bytes that stay in the file: a table of images may be larger than the memory.
    """
    size = CELL_BYTES * frame.height * frame.width - num_mapped
    for series in frame:
        size += _size(series)
        budget.check(size)


def _size(series: pl.Series) -> int:
    """The bytes of a column's cells, each by itself. A category is stored once however many cells have it."""
    kind = series.dtype
    if isinstance(kind, (pl.Categorical, pl.Enum)):
        counts = series.value_counts(name="count")
        lengths = counts[series.name].cast(pl.String).str.len_bytes()
        return int((lengths.cast(pl.Int64) * counts["count"].cast(pl.Int64)).sum())
    if "Categorical" not in repr(kind) and "Enum" not in repr(kind):
        return int(series.estimated_size())
    if isinstance(kind, pl.Struct):
        return sum(map(_size, series.struct.unnest()))
    return _size(series.explode())


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except TableError:
        raise
    except (
        pa.ArrowException,
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        struct.error,
        OSError,
        LookupError,
        ValueError,
        OverflowError,
        NotImplementedError,  # what pyarrow and polars raise of types that they do not read
        MemoryError,
    ) as error:
        raise TableError(f"{path}: is not {what}, or is damaged: {first_line(error, 300)}") from None
