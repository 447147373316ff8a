"""The LanceDB table in which an index lies: how it is read and written, and LanceDB's errors as ours.

Rows are the table's rows: `row_id`, `vector` and the metadata's columns. What the index records about itself stands in
the metadata of the field `vector`, so each change is one commit of LanceDB's, which every reader sees whole or not at
all, and a writer that is killed leaves the last commit. lancedb, an extra, is imported when an index is opened, and
pyarrow when one is written: they take a second or more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float32

from polysense.core.error_text import first_line
from polysense.core.files import named_path
from polysense.core.json import parse_json
from polysense.errors import DependencyError, SearchError

__all__ = ["POSITION", "ROW_ID", "VECTOR", "Ids", "LanceTable", "Options", "Rows", "ids_in"]

ROW_ID = "row_id"
"""The column of row ids; filters call it so, too."""

VECTOR = "vector"
"""The column of vectors."""

POSITION = "_rowid"
"""LanceDB's own address of a row, true of one version of a table."""

Ids: TypeAlias = Sequence[object] | np.ndarray | pl.Series
"""Row ids: whole numbers below 2^63, or texts; one kind in an index."""

Options: TypeAlias = Mapping[str, str] | None
"""LanceDB's storage options."""

_TABLE = "vectors"
_LOCK = ".writer.lock"
_KEY = "polysense"
_FORMAT = 2
_ROWS_AT_ONCE = 65_536
# LanceDB's "dot" distance is 1 - product in float32: without this the products of short vectors would all be 1.
_EXPONENT = 40


class Rows(NamedTuple):
    """Vectors of some rows, and their other columns."""

    vectors: Float32[np.ndarray, "rows dim"]
    cells: pl.DataFrame


class LanceTable:
    """The table of an index, at the version at which it was opened, last refreshed or written.

    Made by `create` or `open`.

    Attributes:
        location: In full.
        record: What the index records about itself.
        empty: A frame without rows that has the columns and their types, without the vectors.
        dim: The vectors' length.
        unit: Whether all vectors have length 1.
    """

    def __init__(self, location: str, table: Any) -> None:
        self.location = location
        self._table = table
        self._lock: Any = None
        self._load()

    @classmethod
    def create(cls, location: Path | str, dim: int, record: Mapping[str, Any], options: Options) -> LanceTable:
        """Makes an empty table."""
        full = _resolved(location)
        import pyarrow as pa

        field = pa.field(VECTOR, pa.list_(pa.float32(), dim), nullable=False, metadata={_KEY: _as_json(record)})
        with _errors_at(full):
            return cls(full, _database(full, options).create_table(_TABLE, schema=pa.schema([field])))

    @classmethod
    def open(cls, location: Path | str, options: Options) -> LanceTable | None:
        """Opens a table; None where there is none."""
        full = _resolved(location)
        if _is_local(full) and not Path(full).is_dir():
            return None  # LanceDB would make the folder
        with _errors_at(full):
            try:
                table = _database(full, options).open_table(_TABLE)
            except ValueError as error:
                if "not found" in str(error):
                    return None
                raise
        return cls(full, table)

    @classmethod
    def check_free(cls, location: Path | str, options: Options) -> None:
        """Checks that a table can be made where nothing else is."""
        if cls.open(location, options) is not None:
            raise SearchError(f"{location}: is an index already; name another, or add to the index")
        folder = Path(location).expanduser()
        if not _is_local(location) or not folder.exists():
            return
        if not folder.is_dir():
            raise SearchError(f"{folder}: is a file already; name another folder")
        if {path.name for path in folder.iterdir()} - {_LOCK, f"{_TABLE}.lance"}:
            raise SearchError(f"{folder}: is not empty; name a new folder")

    def lock(self) -> None:
        """Keeps other writers out of a folder until `unlock`, or until the process ends, however it ends."""
        from filelock import FileLock, Timeout

        if not _is_local(self.location):
            return
        lock = FileLock(Path(self.location) / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise SearchError(
                f"{self.location}: is locked by another writer; wait until it finishes, or stop it. Reading needs "
                "no lock"
            ) from error
        self._lock = lock
        self.refresh()  # what the last writer wrote since this was opened

    def unlock(self) -> None:
        """Lets other writers in."""
        if self._lock is not None:
            self._lock.release()

    @property
    def version(self) -> int:
        """Grows with every write."""
        return int(self._table.version)

    @property
    def distance(self) -> Literal["l2", "dot"]:
        """LanceDB's name of the distance: on unit vectors l2 orders as the cosine does, and makes better partitions."""
        return "l2" if self.unit else "dot"

    def refresh(self) -> None:
        """Goes to the newest version."""
        with _errors_at(self.location):
            self._table.checkout_latest()
        self._load()

    def update_record(self, **changes: Any) -> None:
        """Changes what the index records about itself."""
        metadata = {_KEY: _as_json({**self.record, **changes})}
        with _errors_at(self.location):
            self._table.update_field_metadata({"path": VECTOR, "metadata": metadata})
        self._load()

    def count(self, condition: str | None = None) -> int:
        """Rows that meet a condition."""
        with _errors_at(self.location):
            return int(self._table.count_rows(condition))

    def read(self, columns: Sequence[str], condition: str | None = None) -> Rows:
        """Some columns and the positions of rows, in no order; vectors where they are named."""
        with _errors_at(self.location):
            query = self._table.search().select(list(columns)).with_row_id(True)
            return self._split((query if condition is None else query.where(condition)).to_arrow())

    def blocks(self, condition: str | None) -> Iterator[Rows]:
        """Ids, vectors and positions of the rows that meet a condition, some at a time."""
        import pyarrow as pa

        with _errors_at(self.location):
            query = self._table.search().select([ROW_ID, VECTOR]).with_row_id(True)
            for batch in (query if condition is None else query.where(condition)).to_batches(_ROWS_AT_ONCE):
                yield self._split(pa.Table.from_batches([batch]))

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of the rows at some positions, in that order."""
        if not columns or not positions:
            return self.empty.select(columns)
        with _errors_at(self.location):
            query = self._table.take_row_ids(list(dict.fromkeys(positions))).select(list(columns))
            rows = self._split(query.with_row_id().to_arrow()).cells
        order = pl.DataFrame({POSITION: positions}, schema={POSITION: pl.UInt64})
        return order.join(rows, on=POSITION, how="left", maintain_order="left").select(columns)

    def nearest(
        self, query: Float32[np.ndarray, " dim"], count: int, condition: str | None, nprobes: int, refine_factor: int
    ) -> Rows:
        """Vectors, ids and positions of the rows that are nearest, by the ANN index; see `RecallReport`."""
        if not self.unit:
            # A power of two changes no digit, and the order not at all.
            query = np.ldexp(query, _EXPONENT - int(np.frexp(np.linalg.norm(query.astype(np.float64)))[1]))
        with _errors_at(self.location):
            search = self._table.search(query, vector_column_name=VECTOR).distance_type(self.distance)
            search = search.nprobes(nprobes).refine_factor(refine_factor)
            if condition is not None:
                search = search.where(condition, prefilter=True)
            return self._split(search.limit(count).select([ROW_ID, VECTOR, "_distance"]).with_row_id(True).to_arrow())

    def write(self, rows: pl.DataFrame, vectors: Float32[np.ndarray, "rows dim"], *, replace: bool) -> None:
        """Adds rows in one commit, or replaces those with the same ids; new columns come in a commit before."""
        import pyarrow as pa

        new = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        fields = [field for field in new.schema if field.name not in self.empty.columns]
        with _errors_at(self.location):
            if fields:
                self._table.add_columns(pa.schema(fields))
                self._load()
            columns = []
            for field in self._table.schema:
                if field.name == VECTOR:
                    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
                    columns.append(pa.FixedSizeListArray.from_arrays(flat, self.dim))
                elif field.name in new.column_names:
                    columns.append(new[field.name].cast(field.type))
                else:
                    columns.append(pa.nulls(len(rows), field.type))
            data = pa.table(columns, schema=self._table.schema)
            if replace:
                merge = self._table.merge_insert(ROW_ID).when_matched_update_all().when_not_matched_insert_all()
                merge.execute(data)
            else:
                self._table.add(data)

    def delete(self, condition: str) -> None:
        """Deletes the rows that meet a condition."""
        with _errors_at(self.location):
            self._table.delete(condition)

    def compact(self) -> None:
        """Drops deleted rows and older versions, joins small files, and takes new rows into the ANN index."""
        with _errors_at(self.location):
            self._table.optimize(cleanup_older_than=timedelta(milliseconds=1))
        self._load()

    def build_ann(self, partitions: int) -> None:
        """Builds an ANN index over all rows, in the place of the one that is there."""
        from lancedb.index import IvfFlat, IvfRq

        with _errors_at(self.location):
            # IVF_RQ packs eight numbers into a byte.
            config = (IvfFlat if self.dim % 8 else IvfRq)(distance_type=self.distance, num_partitions=partitions)
            self._table.create_index(VECTOR, config=config)

    def _load(self) -> None:
        """Takes up the table's schema and record."""
        with _errors_at(self.location):
            schema = self._table.schema
        text = (schema.field(VECTOR).metadata or {}).get(_KEY.encode()) if VECTOR in schema.names else None
        if text is None:
            raise SearchError(f"{self.location}: holds a LanceDB table that polysense did not make")
        self.record = self._parsed(text)
        version = self.record.pop("format", None)
        if version != _FORMAT:
            raise SearchError(
                f"{self.location}: is an index of format {version}; this version of polysense reads {_FORMAT}: "
                f"{'upgrade polysense' if isinstance(version, int) and version > _FORMAT else 'index the table again'}"
            )
        if self.record.get("metric") not in ("cosine", "inner_product") or not isinstance(
            self.record.get("info"), dict
        ):
            raise SearchError(f"{self.location}: what the index records about itself is broken; index the table again")
        self.unit = self.record["metric"] == "cosine"
        self.dim = int(schema.field(VECTOR).type.list_size)
        self.empty = self._split(schema.empty_table()).cells

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            return parse_json(text.decode("utf-8"), dict)
        except ValueError as error:
            raise SearchError(
                f"{self.location}: what the index records about itself can't be read: {error}; index the table again"
            ) from None

    def _split(self, table: Any) -> Rows:
        vectors = np.zeros((0, self.dim), dtype=np.float32)
        if VECTOR in table.column_names:
            chunks = [np.asarray(chunk.flatten()).reshape(-1, self.dim) for chunk in table[VECTOR].chunks]
            vectors = chunks[0] if len(chunks) == 1 else np.concatenate([vectors, *chunks])
        cells = pl.from_arrow(table.select([name for name in table.column_names if name not in (VECTOR, "_distance")]))
        assert isinstance(cells, pl.DataFrame), "a table is no series"
        return Rows(vectors, cells)


def ids_in(ids: pl.Series) -> str:
    """A condition that rows with these ids meet; texts are quoted, so that an id is never read as SQL."""
    quoted = (str(one) if isinstance(one, int) else "'" + one.replace("'", "''") + "'" for one in ids)
    return f"{ROW_ID} in ({', '.join(quoted)})" if len(ids) else "false"


def _is_local(location: Path | str) -> bool:
    return "://" not in str(location)


def _resolved(location: Path | str) -> str:
    """A location in full, where LanceDB is installed."""
    if find_spec("lancedb") is None:
        raise DependencyError(
            f"{location}: an index needs LanceDB, which is not installed: pip install 'polysense[search]'"
        )
    if _is_local(location):
        return str(named_path(location, "the index").expanduser().absolute())
    if not str(location).partition("://")[2].strip("/"):
        raise SearchError(f"{location}: names no bucket; expected s3://BUCKET/INDEX, gs://... or az://...")
    return str(location).rstrip("/")


def _database(full: str, options: Options) -> Any:
    import lancedb

    return lancedb.connect(full, storage_options=None if options is None else dict(options))


@contextmanager
def _errors_at(location: str) -> Iterator[None]:
    """Turns LanceDB's errors into ours, with the location; a panic of its Rust code, on damaged files, is one."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, SearchError) or not (
            isinstance(error, (ValueError, RuntimeError, OSError)) or type(error).__name__ == "PanicException"
        ):
            raise
        line = first_line(error, 300)
        raise SearchError(
            f"{location}: LanceDB can't do it: {line}. If another process reclaimed disk space, open the index again; "
            "if files are damaged or missing, restore them or index the table again"
        ) from error


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps({"format": _FORMAT, **record}, ensure_ascii=False)
