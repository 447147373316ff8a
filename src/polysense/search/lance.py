"""The same index as a LanceDB table: on a local disk, or on object storage (s3://, gs://, az://) for several machines.

Rows are the table's rows: `row_id`, `vector` and the metadata's columns. What the index remembers stands in the
metadata of the field `vector`, so each change is one commit of LanceDB's, which every reader sees whole or not at all.
Candidates come from LanceDB; they are scored again here as an embedded index scores, so both give the same bits.

What differs from an embedded index: no lock (writers at the same time are LanceDB's to reconcile, and two that add the
same new id at the same moment leave it twice), no checksums, no fsync on a local disk, a column keeps its first type,
and conditions are comparisons only (`lance_filters`).

Approximate search is LanceDB's IVF_FLAT: lists of about 8,192 near rows, of which the nearest few are read. Its
vectors are whole, so nothing is lost but what lies in lists that are not read, and a row's own vector is a fair query
once the row itself is left out: lists, unlike a graph's links, don't lead to a row because it is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from polysense.errors import SearchError
from polysense.search.backend import Metric
from polysense.search.duplicates import pairs_of_rows
from polysense.search.exact import MARGIN, score_again
from polysense.search.lance_filters import lance_condition
from polysense.search.lance_table import VECTOR, LanceTable, ids_in
from polysense.search.manifest import Measured
from polysense.search.measure import NEAREST, measured
from polysense.search.neighbours import Neighbours
from polysense.search.rows import Ids, Metadata, as_ids, as_metadata, as_queries, as_vectors
from polysense.search.segment import ROW_ID
from polysense.search.snapshot import check_free

__all__ = ["LanceIndex"]

_BREADTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_ROWS_IN_LIST = 8192
_NUM_QUERIES = 100


class LanceIndex:
    """Vectors with ids and metadata in a LanceDB table, searched by similarity; see `Backend`.

    Made by `create` or `open`.
    """

    def __init__(self, table: LanceTable, *, writable: bool) -> None:
        self._table = table
        self._writable = writable

    @classmethod
    def create(
        cls,
        place: Path | str,
        *,
        dim: int,
        metric: Metric = "cosine",
        info: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> LanceIndex:
        """Makes an empty table and opens it for writing.

        Args:
            place: FOLDER/NAME.lance, or s3://BUCKET/NAME.lance, gs://..., az://...
            dim: Of the vectors.
            metric: "cosine" stores vectors at length 1; "inner_product" as they are.
            info: What the index is to remember.
            storage_options: As LanceDB takes them (keys, region, endpoint); by default the environment's.

        Raises:
            SearchError: There is something already, or the storage can't be reached.
            DependencyError: lancedb is not installed.
        """
        if dim < 1 or metric not in ("cosine", "inner_product"):
            raise SearchError(f"expected dim >= 1 and metric cosine or inner_product; found {dim} and {metric!r}")
        cls.check_free(place, storage_options=storage_options)
        kept = {"metric": metric, "info": dict(info or {})}
        return cls(LanceTable.create(place, dim, kept, storage_options), writable=True)

    @classmethod
    def open(
        cls, place: Path | str, *, writable: bool = False, storage_options: Mapping[str, str] | None = None
    ) -> LanceIndex:
        """Opens a table that `create` made.

        Args:
            place: As in `create`.
            writable: Whether to change it.
            storage_options: As in `create`.

        Raises:
            SearchError: There is none, somebody else made it, or the storage can't be reached.
            DependencyError: lancedb is not installed.
        """
        table = LanceTable.open(place, storage_options)
        if table is None:
            raise SearchError(
                f"{place}: there is no such LanceDB table; expected an index, as `polysense index` makes it"
            )
        return cls(table, writable=writable)

    @classmethod
    def check_free(cls, place: Path | str, *, storage_options: Mapping[str, str] | None = None) -> None:
        """Checks that an index can be made.

        Raises:
            SearchError: There is something already, or the storage can't be reached.
            DependencyError: lancedb is not installed.
        """
        if LanceTable.open(place, storage_options) is not None:
            raise SearchError(f"{place}: is an index already; name another, or add to the index")
        if "://" not in str(place):
            check_free(Path(place))

    def __len__(self) -> int:
        return self._table.count()

    def __enter__(self) -> LanceIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends writing."""
        self._writable = False

    def refresh(self) -> bool:
        """Takes up what was written since; returns whether there was anything."""
        before = self._table.version
        self._table.newest()
        return self._table.version != before

    @property
    def place(self) -> str:
        """FOLDER/NAME.lance, or an address on object storage."""
        return self._table.place

    @property
    def dim(self) -> int:
        """Of the vectors."""
        return self._table.dim

    @property
    def metric(self) -> str:
        """What scores are."""
        return str(self._table.kept["metric"])

    @property
    def info(self) -> Mapping[str, Any]:
        """What the index remembers for its user."""
        return dict(self._table.kept["info"])

    @property
    def id_type(self) -> str | None:
        """Whether row ids are "int" or "str"; None while there never was a row."""
        return None if ROW_ID not in self._table.types else "str" if self._table.types[ROW_ID] == pl.String else "int"

    @property
    def columns(self) -> list[str]:
        """The metadata's columns; one whose cells were all missing is not there yet."""
        return [name for name in self._table.types if name != ROW_ID]

    @property
    def graph(self) -> Measured | None:
        """What was measured of approximate search; None where nothing is prepared for it."""
        found = self._table.kept.get("graph")
        return None if found is None else Measured(**found)

    @property
    def ids(self) -> pl.Series:
        """The ids of all rows that are there."""
        if self.id_type is None:
            return pl.Series(ROW_ID, [], dtype=pl.Int64)
        return self._table.read([ROW_ID])[1][ROW_ID]

    def contains(self, ids: Ids) -> Bool[np.ndarray, " ids"]:
        """Which of some ids are there."""
        asked = as_ids(ids, self.id_type)
        there = set(self._there(asked))
        return np.array([one in there for one in asked.to_list()], dtype=bool)

    def get(self, ids: Ids) -> tuple[Float32[np.ndarray, "ids dim"], pl.DataFrame]:
        """Stored vectors and metadata by id, in that order.

        Raises:
            SearchError: A row is not there.
        """
        asked = as_ids(ids, self.id_type)
        if not len(asked) or self.id_type is None:
            found, rows = np.zeros((0, self.dim), dtype=np.float32), pl.DataFrame(schema=dict(self._table.types))
        else:
            found, rows = self._table.read([ROW_ID, VECTOR, *self.columns], ids_in(asked))
        places = {one: place for place, one in enumerate(rows[ROW_ID].to_list() if len(rows) else [])}
        lost = [one for one in asked.to_list() if one not in places]
        if lost:
            raise SearchError(
                f"{self.place}: row id {lost[0]!r} is not there (of {len(asked)} asked, {len(lost)} are not)"
            )
        order = [places[one] for one in asked.to_list()]
        return found[order], rows[order].select(self.columns)

    def add(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> None:
        """Adds rows, all or none; they are stored when this returns.

        Args:
            ids: None of them there yet.
            vectors: [rows, dim].
            metadata: A row for each id.

        Raises:
            SearchError: As `VectorIndex.add`, or a column's name or type is none that LanceDB takes.
        """
        rows, stored = self._prepared(ids, vectors, metadata)
        there = self._there(rows[ROW_ID])
        if there:
            raise SearchError(
                f"{self.place}: row id {there[0]!r} is there already ({len(there)} of {len(rows)} are); update the "
                "rows, or leave them out"
            )
        if len(rows):
            self._table.write(rows, stored, replace=False)

    def update(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> int:
        """Adds rows, or replaces those that are there, metadata and all; all or none.

        Returns:
            How many were replaced.

        Raises:
            SearchError: As `add`, but ids may be there.
        """
        rows, stored = self._prepared(ids, vectors, metadata)
        there = self._there(rows[ROW_ID])
        if len(rows):
            self._table.write(rows, stored, replace=bool(there))
        return len(there)

    def delete(self, ids: Ids) -> int:
        """Deletes rows; ids that are not there are left alone.

        Returns:
            How many were there.
        """
        self._check_writable()
        there = self._there(as_ids(ids, self.id_type))
        if there:
            self._table.delete(ids_in(there))
        return len(there)

    def remember(self, **info: Any) -> None:
        """Adds to what the index remembers."""
        self._check_writable()
        self._table.keep(info={**self.info, **info})

    def compact(self) -> None:
        """Gives back the space of deleted rows and of older versions; readers that hold one open the index again."""
        self._check_writable()
        self._table.compact()

    def build_graph(self, *, queries: Float32[np.ndarray, "queries dim"] | None = None, seed: int = 0) -> Measured:
        """Sorts all rows into lists for approximate search, and measures it.

        Args:
            queries: A sample of what will be asked; by default 100 of the rows, each without itself.
            seed: Of that sample.

        Returns:
            The fewest lists that find 95% of the true 10 nearest, with recall and times.

        Raises:
            SearchError: There is no row.
        """
        self._check_writable()
        asked = None if queries is None else as_queries(queries, self.dim, unit=self.metric == "cosine")
        if not len(self):
            raise SearchError(f"{self.place}: has no rows to build a graph over")
        self._table.keep(graph=None)  # what was measured is not true of the new lists
        lists = max(1, len(self) // _ROWS_IN_LIST)
        self._table.sort_into_lists(lists)
        own: list[Any] = []
        if asked is None:
            places = np.random.default_rng(seed).choice(len(self), min(_NUM_QUERIES, len(self)), replace=False)
            asked, rows = self._table.take(np.sort(places))
            own = rows[ROW_ID].to_list()

        def top(breadth: int | None) -> list[list[Any]]:
            found = []
            for number, query in enumerate(asked):
                ids = self._ranked(query, NEAREST + len(own[:1]), None, breadth, [])[0].to_list()
                found.append([one for one in ids if not own or one != own[number]][:NEAREST])
            return found

        count = NEAREST + MARGIN
        result = measured(
            asked,
            top(None),
            top,
            lambda query: self._table.nearest(query[0], count, None, None, []),
            lambda query, breadth: self._table.nearest(query[0], count, None, breadth, []),
            [one for one in _BREADTHS if one <= lists] or [1],
        )
        self._table.keep(graph=result.as_dict())
        return result

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        filter: str | None = None,
        exact: bool | None = None,
        with_metadata: bool = True,
    ) -> list[Neighbours]:
        """The k rows nearest to each query; see `VectorIndex.search`.

        Raises:
            SearchError: The queries or the filter are wrong or can't be run by LanceDB, or nothing is prepared for
                approximate search.
        """
        asked = as_queries(queries, self.dim, unit=self.metric == "cosine", k=k)
        graph = self.graph
        if exact is False and graph is None:
            raise SearchError(f"{self.place}: has no graph to search with; build one (`build_graph`, `--graph`)")
        walk = graph is not None and (exact is False or (exact is None and graph.is_worthwhile))
        breadth = graph.breadth if graph is not None and walk else None
        condition = self._condition(filter)
        columns = self.columns if with_metadata else []
        if self.id_type is None:
            nothing = pl.DataFrame(schema={name: self._table.types[name] for name in columns})
            return [
                Neighbours(ids=[], scores=np.zeros(0, dtype=np.float32), metadata=nothing, approximate=False)
                for _ in asked
            ]
        found = []
        for query in asked:
            ids, scores, metadata = self._ranked(query, k, condition, breadth, columns)
            walked = breadth is not None
            # Lists that are read may hold fewer rows that meet the filter than there are.
            if walked and len(ids) < k and len(ids) < self._table.count(condition):
                ids, scores, metadata = self._ranked(query, k, condition, None, columns)
                walked = False
            found.append(Neighbours(ids=ids.to_list(), scores=scores, metadata=metadata, approximate=walked))
        return found

    def duplicates(self, threshold: float, *, filter: str | None = None, limit: int = 1_000_000) -> pl.DataFrame:
        """All pairs of rows whose vectors' cosine is at least a threshold, exactly; reads the vectors into memory.

        Args:
            threshold: Between -1 and 1; 0.95 and more for near duplicates.
            filter: Which rows are looked at, as in `search`.
            limit: Of pairs.

        Returns:
            Columns `first`, `second` (row ids, the smaller first) and `score`, the most similar first.

        Raises:
            SearchError: The threshold is no cosine, or there are more pairs.
        """
        condition = self._condition(filter)
        if self.id_type is None:
            return pairs_of_rows([], self.ids, threshold, limit=limit)
        vectors, rows = self._table.read([ROW_ID, VECTOR], condition)
        return pairs_of_rows([vectors], rows[ROW_ID], threshold, limit=limit)

    def verify(self) -> int:
        """LanceDB keeps no checksums.

        Raises:
            SearchError: Always.
        """
        raise SearchError(
            f"{self.place}: a LanceDB table has no checksums to compare; object storage keeps its own. An index in a "
            "folder has them"
        )

    def _check_writable(self) -> None:
        if not self._writable:
            raise SearchError(f"{self.place}: was opened for reading; open it with writable=True")

    def _prepared(self, ids: Ids, vectors: np.ndarray, metadata: Metadata) -> tuple[pl.DataFrame, np.ndarray]:
        self._check_writable()
        names = as_ids(ids, self.id_type)
        stored = as_vectors(vectors, names, self.dim, unit=self.metric == "cosine")
        rows = as_metadata(metadata, names, self._table.types)
        columns = []
        for series in rows:
            kind = self._table.types.get(series.name)
            if series.name == VECTOR or series.name.startswith("_") or set(series.name) & set(".`"):
                raise SearchError(
                    f"column {series.name!r}: LanceDB takes no name with '.' or '`', and '{VECTOR}' and names that "
                    "begin with '_' are taken; rename it"
                )
            if kind is None and series.dtype == pl.Null:
                continue  # of no type yet; what is not there is missing
            if kind is not None and series.dtype != kind:
                try:
                    cast = series.cast(kind, strict=True)
                except pl.exceptions.PolarsError:
                    cast = None
                if cast is None or (series.dtype.is_numeric() and (cast != series).any()):
                    raise SearchError(
                        f"column {series.name!r} is {kind} in the index, and {series.dtype} here, such as "
                        f"{series.drop_nulls()[0]!r}; a LanceDB table keeps a column's type: rename it, or index anew"
                    )
                series = cast
            columns.append(series)
        return pl.DataFrame(columns), stored

    def _there(self, ids: pl.Series) -> list[Any]:
        """Those of some ids that are there, in the order in which they were asked for."""
        if not len(ids) or self.id_type is None:
            return []
        found = set(self._table.read([ROW_ID], ids_in(ids))[1][ROW_ID].to_list())
        return [one for one in ids.to_list() if one in found]

    def _condition(self, text: str | None) -> str | None:
        return None if text is None else lance_condition(text, self._table.types or {ROW_ID: pl.Int64})

    def _ranked(
        self,
        query: Float32[np.ndarray, " dim"],
        k: int,
        condition: str | None,
        breadth: int | None,
        columns: Sequence[str],
    ) -> tuple[pl.Series, Float32[np.ndarray, " found"], pl.DataFrame]:
        """Ids, scores and columns of the k best candidates, equal scores by row id."""
        vectors, rows = self._table.nearest(query, k + MARGIN, condition, breadth, columns)
        scores = score_again(query, vectors)
        names = rows[ROW_ID].to_list()
        order = sorted(range(len(names)), key=lambda i: (-scores[i], names[i]))[:k]
        return rows[ROW_ID][order], scores[order], rows[order].select(columns)
