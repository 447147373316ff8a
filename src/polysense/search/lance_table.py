"""A LanceDB table as an index uses it: what is read, what is written, and LanceDB's errors told as ours.

lancedb, an extra, is imported when a place is opened, and pyarrow when one is written: they take a second or more.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32, Int

from polysense.errors import DependencyError, SearchError
from polysense.search.segment import ROW_ID

__all__ = ["VECTOR", "LanceTable", "ids_in"]

VECTOR = "vector"
"""The vectors' column."""

_KEY = "polysense"
_FORMAT = 1
# LanceDB gives 1 - product in float32: without this the products of short vectors would all be 1.
_LONG = 40


class LanceTable:
    """A table with the columns `row_id`, `vector` and others; what is remembered stands in the vectors' field.

    Made by `create` or `open`.

    Attributes:
        place: In full.
        kept: What is remembered.
        types: The columns' polars types, the vectors' left out.
    """

    def __init__(self, place: str, table: Any) -> None:
        self.place = place
        self._table = table
        self.load()

    @classmethod
    def create(
        cls, place: Path | str, dim: int, kept: Mapping[str, Any], options: Mapping[str, str] | None
    ) -> LanceTable:
        """Makes an empty table.

        Raises:
            SearchError: The storage can't be reached, or there is a table.
            DependencyError: lancedb is not installed.
        """
        import pyarrow as pa

        database, name, where = _connected(place, options)
        field = pa.field(VECTOR, pa.list_(pa.float32(), dim), nullable=False, metadata={_KEY: _spelled(kept)})
        with _told(where):
            table = database.create_table(name, schema=pa.schema([field]))
        return cls(where, table)

    @classmethod
    def open(cls, place: Path | str, options: Mapping[str, str] | None) -> LanceTable | None:
        """Opens a table; None where there is none.

        Raises:
            SearchError: polysense did not make it, or the storage can't be reached.
            DependencyError: lancedb is not installed.
        """
        database, name, where = _connected(place, options)
        try:
            table = database.open_table(name)
        except (ValueError, RuntimeError, OSError) as error:
            if isinstance(error, ValueError) and "not found" in str(error):
                return None
            raise SearchError(f"{where}: {_first(error)}") from error
        return cls(where, table)

    @property
    def version(self) -> int:
        """Grows with every write."""
        return int(self._table.version)

    @property
    def dim(self) -> int:
        """Of the vectors."""
        return int(self._schema.field(VECTOR).type.list_size)

    def newest(self) -> None:
        """Takes up what others wrote."""
        with _told(self.place):
            self._table.checkout_latest()
        self.load()

    def load(self) -> None:
        """Takes up the table's schema and what it remembers."""
        with _told(self.place):
            schema = self._table.schema
        found = (schema.field(VECTOR).metadata or {}).get(_KEY.encode()) if VECTOR in schema.names else None
        if found is None:
            raise SearchError(f"{self.place}: is a LanceDB table that polysense did not make")
        kept = json.loads(found)
        if kept["format"] > _FORMAT:
            raise SearchError(
                f"{self.place}: written in format {kept['format']}; this version reads up to {_FORMAT}: "
                "upgrade polysense"
            )
        self._schema = schema
        self.kept: Mapping[str, Any] = kept
        _, frame = self._split(schema.empty_table())
        self.types: Mapping[str, Any] = dict(frame.schema)

    def keep(self, **changes: Any) -> None:
        """Changes what is remembered."""
        with _told(self.place):
            self._table.update_field_metadata({"path": VECTOR, "metadata": {_KEY: _spelled({**self.kept, **changes})}})
        self.load()

    def count(self, condition: str | None = None) -> int:
        """Rows that meet a condition."""
        with _told(self.place):
            return int(self._table.count_rows(condition))

    def read(
        self, columns: Sequence[str], condition: str | None = None
    ) -> tuple[Float32[np.ndarray, "rows dim"], pl.DataFrame]:
        """Vectors (none, unless they are named) and other columns of rows, in no order."""
        with _told(self.place):
            asked = self._table.search().select(list(columns))
            found = (asked if condition is None else asked.where(condition)).to_arrow()
        return self._split(found)

    def take(self, places: Int[np.ndarray, " places"]) -> tuple[Float32[np.ndarray, "rows dim"], pl.DataFrame]:
        """Vectors and ids at some places below `count`, in no order."""
        with _told(self.place):
            found = self._table.take_offsets(places.tolist()).select([ROW_ID, VECTOR]).to_arrow()
        return self._split(found)

    def nearest(
        self,
        query: Float32[np.ndarray, " dim"],
        count: int,
        condition: str | None,
        breadth: int | None,
        columns: Sequence[str],
    ) -> tuple[Float32[np.ndarray, "rows dim"], pl.DataFrame]:
        """Vectors and other columns of the rows that are nearest by inner product.

        Args:
            query: What is looked for.
            count: How many.
            condition: That they meet.
            breadth: Lists that are read; None: every row.
            columns: Besides the ids.
        """
        # A power of two changes no digit, and the order not at all.
        long = np.ldexp(query, _LONG - int(np.frexp(np.linalg.norm(query.astype(np.float64)))[1]))
        with _told(self.place):
            asked = self._table.search(long, vector_column_name=VECTOR).distance_type("dot")
            asked = asked.bypass_vector_index() if breadth is None else asked.nprobes(breadth)
            if condition is not None:
                asked = asked.where(condition, prefilter=True)
            found = asked.limit(count).select([ROW_ID, VECTOR, *columns, "_distance"]).to_arrow()
        return self._split(found.drop_columns(["_distance"]))

    def write(self, rows: pl.DataFrame, vectors: Float32[np.ndarray, "rows dim"], *, replace: bool) -> None:
        """Adds rows in one commit; columns that are new come first, in a commit of their own.

        Args:
            rows: Ids and other columns.
            vectors: Theirs.
            replace: Whether rows with these ids may be there; they are replaced.
        """
        import pyarrow as pa

        new = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        fields = [field for field in new.schema if field.name not in self.types]
        if fields:
            with _told(self.place):
                self._table.add_columns(pa.schema(fields))
            self.load()
        blocks = []
        for field in self._schema:
            if field.name == VECTOR:
                flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
                blocks.append(pa.FixedSizeListArray.from_arrays(flat, self.dim))
            elif field.name in new.column_names:
                blocks.append(new[field.name].cast(field.type))
            else:
                blocks.append(pa.nulls(len(rows), field.type))
        data = pa.table(blocks, schema=self._schema)
        with _told(self.place):
            if replace:
                merge = self._table.merge_insert(ROW_ID).when_matched_update_all().when_not_matched_insert_all()
                merge.execute(data)
            else:
                self._table.add(data)

    def delete(self, condition: str) -> None:
        """Deletes the rows that meet a condition."""
        with _told(self.place):
            self._table.delete(condition)

    def compact(self) -> None:
        """Drops deleted rows and older versions, and takes new rows into the lists."""
        with _told(self.place):
            self._table.optimize(cleanup_older_than=timedelta(milliseconds=1))
        self.load()

    def sort_into_lists(self, count: int) -> None:
        """Builds LanceDB's IVF_FLAT index over all rows."""
        kinds: Any = importlib.import_module("lancedb.index")
        with _told(self.place):
            self._table.create_index(VECTOR, config=kinds.IvfFlat(distance_type="dot", num_partitions=count))

    def _split(self, found: Any) -> tuple[Float32[np.ndarray, "rows dim"], pl.DataFrame]:
        """Vectors, and the other columns."""
        vectors = np.zeros((0, self.dim), dtype=np.float32)
        if VECTOR in found.column_names:
            chunks = [np.asarray(chunk.flatten()) for chunk in found[VECTOR].chunks]
            vectors = np.concatenate([vectors, *(chunk.reshape(-1, self.dim) for chunk in chunks)])
            found = found.drop_columns([VECTOR])
        rows = pl.from_arrow(found)
        assert isinstance(rows, pl.DataFrame), "a table is no series"
        return vectors, rows


def _connected(place: Path | str, options: Mapping[str, str] | None) -> tuple[Any, str, str]:
    """The database that a place lies in, the table's name there, and the place in full."""
    where = str(place).rstrip("/")
    if "://" not in where:
        where = str(Path(where).expanduser().absolute())
    database, _, last = where.rpartition("/")
    name = last.removesuffix(".lance")
    if name == last or not name or database.endswith(":/"):
        raise SearchError(
            f"{place}: names no LanceDB table; expected FOLDER/NAME.lance, or on object storage "
            "s3://BUCKET/NAME.lance, gs://BUCKET/NAME.lance or az://CONTAINER/NAME.lance"
        )
    try:
        lancedb: Any = importlib.import_module("lancedb")
    except ImportError as error:
        raise DependencyError(
            f"{place}: is a LanceDB table's place, and lancedb is not installed: pip install 'polysense[lancedb]'. "
            "An index in a folder on this machine needs nothing; its name does not end in .lance"
        ) from error
    with _told(where):
        return lancedb.connect(database or "/", storage_options=None if options is None else dict(options)), name, where


@contextmanager
def _told(where: str) -> Iterator[None]:
    """What LanceDB refuses, as an error of ours that says where."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        raise SearchError(f"{where}: LanceDB refuses: {_first(error)}") from error


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _spelled(kept: Mapping[str, Any]) -> str:
    return json.dumps({"format": _FORMAT, **kept}, ensure_ascii=False)


def ids_in(ids: pl.Series | Sequence[Any]) -> str:
    """A condition that rows with these ids meet."""
    names = ids.to_list() if isinstance(ids, pl.Series) else ids
    quoted = (str(one) if isinstance(one, int) else "'" + one.replace("'", "''") + "'" for one in names)
    return f"{ROW_ID} in ({', '.join(quoted)})"
