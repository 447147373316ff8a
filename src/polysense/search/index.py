"""Vectors with ids and metadata in a LanceDB table, searched by similarity.

Exact search is a matrix product. While an index's vectors take at most `MEMORY_BYTES` they are read once and stay in
memory, several times as fast as LanceDB's own scan (docs/results.md); above that they are read in blocks for each
search, and LanceDB's ANN index is worth its building. Whatever names the candidates, their scores are computed here, so
a row's score depends on the row and the query alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from polysense.errors import SearchError
from polysense.search.ann import NUM_QUERIES, RecallReport, build_ann
from polysense.search.exact import MARGIN, best_rows, nearest_rows, pairs_of_rows
from polysense.search.filters import sql_condition
from polysense.search.rows import Metadata, as_ids, as_metadata, as_queries, as_vectors
from polysense.search.table import POSITION, ROW_ID, VECTOR, Ids, LanceTable, Options, Rows, ids_in

__all__ = ["MEMORY_BYTES", "Metric", "Neighbors", "VectorIndex"]

Metric = Literal["cosine", "inner_product"]

MEMORY_BYTES = 1 << 29
"""Of vectors that are searched in memory: 512 MiB, half a million rows of 256 numbers."""

_NO_ROWS = pl.DataFrame(schema={ROW_ID: pl.Int64})


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbors:
    """Rows of an index, nearest first; equal scores by row id.

    Attributes:
        ids: The rows' ids.
        scores: Their cosines or inner products with the query.
        metadata: Their columns, in the same order.
        approximate: Whether the ANN index was used; then a nearer row may be missing.
    """

    ids: list[int] | list[str]
    scores: Float32[np.ndarray, " k"]
    metadata: pl.DataFrame
    approximate: bool

    def __len__(self) -> int:
        return len(self.ids)

    def as_json(self) -> list[dict[str, object]]:
        """A dictionary for each row."""
        cells = self.metadata.to_dicts() if self.metadata.width else [{} for _ in self.ids]
        return [
            {"row_id": row_id, "score": float(score), "metadata": row}
            for row_id, score, row in zip(self.ids, self.scores, cells, strict=True)
        ]


class VectorIndex:
    """Vectors with ids and metadata, searched by similarity; made by `create` or `open`.

    An index lies in a folder, or on object storage (s3://BUCKET/INDEX, gs://..., az://...; `storage_options` are
    LanceDB's keys, region and endpoint, by default the environment's). A reader sees the version that it opened, or
    last refreshed. In a folder one process writes at a time, by a lock; on object storage LanceDB reconciles writers,
    and two that add the same new id at the same moment leave it twice.

    Methods raise a SearchError for what can't be done, and then no row was changed; a DependencyError where lancedb is
    not installed.
    """

    def __init__(self, table: LanceTable, *, writable: bool) -> None:
        if writable:
            table.lock()
        self._table = table
        self._writable = writable
        self._memory: tuple[int, Rows] | None = None  # all rows at a version

    @classmethod
    def create(
        cls,
        location: Path | str,
        *,
        dim: int,
        metric: Metric = "cosine",
        info: Mapping[str, Any] | None = None,
        storage_options: Options = None,
    ) -> VectorIndex:
        """Makes an empty index in a new or empty folder, and opens it for writing.

        Args:
            location: See the class.
            dim: The vectors' length.
            metric: "cosine" stores vectors at length 1; "inner_product" as they are.
            info: What the index is to record for its user.
            storage_options: See the class.
        """
        if dim < 1 or metric not in ("cosine", "inner_product"):
            raise SearchError(f"expected dim >= 1 and metric cosine or inner_product; found {dim} and {metric!r}")
        cls.check_free(location, storage_options=storage_options)
        record = {"metric": metric, "info": dict(info or {}), "ann": None}
        return cls(LanceTable.create(location, dim, record, storage_options), writable=True)

    @classmethod
    def open(cls, location: Path | str, *, writable: bool = False, storage_options: Options = None) -> VectorIndex:
        """Opens an index; `writable` takes a folder's lock, until `close`."""
        table = LanceTable.open(location, storage_options)
        if table is None:
            raise SearchError(f"{location}: there is no index; expected one that `polysense index` made")
        return cls(table, writable=writable)

    @classmethod
    def check_free(cls, location: Path | str, *, storage_options: Options = None) -> None:
        """Checks that an index can be made."""
        LanceTable.check_free(location, storage_options)

    def __len__(self) -> int:
        return self._table.count()

    def __enter__(self) -> VectorIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends writing; reading goes on."""
        self._writable = False
        self._table.unlock()

    def refresh(self) -> bool:
        """Goes to the newest version; returns whether there was a newer one."""
        before = self._table.version
        self._table.refresh()
        return self._table.version != before

    @property
    def location(self) -> str:
        """The folder's absolute path, or the address on object storage."""
        return self._table.location

    @property
    def dim(self) -> int:
        """The vectors' length."""
        return self._table.dim

    @property
    def metric(self) -> str:
        """What scores are: "cosine" or "inner_product"."""
        return str(self._table.record["metric"])

    @property
    def info(self) -> Mapping[str, Any]:
        """What the index records for its user, such as the bundle that made the vectors."""
        return dict(self._table.record["info"])

    @property
    def id_type(self) -> str | None:
        """Whether row ids are "int" or "str"; None while there never was a row."""
        dtype = self._table.empty.schema.get(ROW_ID)
        return None if dtype is None else "str" if dtype == pl.String else "int"

    @property
    def columns(self) -> list[str]:
        """The metadata's columns; one whose cells were all missing is not there yet."""
        return [name for name in self._table.empty.columns if name != ROW_ID]

    @property
    def ann(self) -> RecallReport | None:
        """The measured recall of the ANN index; None where there is none."""
        report = self._table.record["ann"]
        return None if report is None else RecallReport(**report)

    @property
    def ids(self) -> pl.Series:
        """The ids of all rows."""
        return self._read([ROW_ID]).cells[ROW_ID]

    def contains(self, ids: Ids) -> Bool[np.ndarray, " ids"]:
        """Which of some ids are in the index."""
        requested = as_ids(ids, self.id_type)
        return requested.is_in(self._existing(requested).implode()).to_numpy()

    def get(self, ids: Ids) -> tuple[Float32[np.ndarray, "ids dim"], pl.DataFrame]:
        """Stored vectors and metadata by id, in that order."""
        requested = as_ids(ids, self.id_type)
        rows = self._read([ROW_ID, VECTOR, *self.columns], ids_in(requested))
        row_of = {row_id: row for row, row_id in enumerate(rows.cells[ROW_ID].to_list())}
        if missing := [row_id for row_id in requested.to_list() if row_id not in row_of]:
            raise SearchError(
                f"{self.location}: row id {missing[0]!r} is not there ({len(missing)} of {len(requested)} are not)"
            )
        order = [row_of[row_id] for row_id in requested.to_list()]
        return rows.vectors[order], rows.cells[order].select(self.columns)

    def add(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> None:
        """Adds rows, all or none; they are stored when this returns.

        Args:
            ids: None of them in the index yet.
            vectors: [rows, dim], each finite and not zero.
            metadata: A row for each id.
        """
        rows, stored = self._checked(ids, vectors, metadata)
        existing = self._existing(rows[ROW_ID])
        if len(existing):
            raise SearchError(
                f"{self.location}: row id {existing[0]!r} is there already ({len(existing)} of {len(rows)} are); "
                "update the rows, or leave them out"
            )
        if len(rows):
            self._table.write(rows, stored, replace=False)

    def update(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> int:
        """Adds rows, or replaces those that are in the index, metadata and all; returns how many were replaced."""
        rows, stored = self._checked(ids, vectors, metadata)
        existing = self._existing(rows[ROW_ID])
        if len(rows):
            self._table.write(rows, stored, replace=len(existing) > 0)
        return len(existing)

    def delete(self, ids: Ids) -> int:
        """Deletes rows, ignoring ids that are not in the index; returns how many were."""
        self._check_writable()
        existing = self._existing(as_ids(ids, self.id_type))
        if len(existing):
            self._table.delete(ids_in(existing))
        return len(existing)

    def update_info(self, **info: Any) -> None:
        """Adds to `info`."""
        self._check_writable()
        self._table.update_record(info={**self.info, **info})

    def compact(self) -> None:
        """Reclaims the disk space of deleted rows and older versions, and takes new rows into the ANN index.

        Readers of an older version have to open the index again.
        """
        self._check_writable()
        self._table.compact()

    def build_ann(self, *, queries: Float32[np.ndarray, "queries dim"] | None = None, seed: int = 0) -> RecallReport:
        """Builds an ANN index over all rows, and measures its recall against exact search.

        Args:
            queries: A sample of the queries to come; by default some of the rows, each left out of its own results.
                Queries of another modality may lie elsewhere, and have another recall.
            seed: Of that sample.
        """
        self._check_writable()
        if not len(self):
            raise SearchError(f"{self.location}: has no rows to build an ANN index over")
        own = [] if queries is not None else self.ids.sample(min(NUM_QUERIES, len(self)), seed=seed).to_list()
        sample = as_queries(self.get(own)[0] if queries is None else queries, self.dim, unit=self._table.unit)
        self._table.update_record(ann=None)  # what was measured is not true of the new index
        report = build_ann(self._table, sample, own, self._exact_candidates)
        self._table.update_record(ann=asdict(report))
        return report

    def search(
        self, queries: np.ndarray, k: int = 10, *, filter: str | None = None, exact: bool | None = None
    ) -> list[Neighbors]:
        """The k rows nearest to each query.

        Args:
            queries: [queries, dim].
            k: How many; fewer are returned only where fewer rows meet the filter.
            filter: An SQL condition on metadata columns and `row_id`: "label = 'cat' and year > 2000". It is met by
                every row that is returned, and applied before ranking.
            exact: True: score every row. False: use the ANN index. None: the ANN index where there is one that was
                measured to be good and faster.
        """
        requested = as_queries(queries, self.dim, unit=self._table.unit, k=k)
        condition = self._condition(filter)
        ann = self.ann
        if ann is None and exact is False:
            raise SearchError(f"{self.location}: has no ANN index; build one (`build_ann`, `polysense index --ann`)")
        if self.id_type is None:
            nothing = np.zeros(0, dtype=np.float32)
            return [Neighbors(ids=[], scores=nothing, metadata=pl.DataFrame(), approximate=False) for _ in requested]
        if ann is None or exact or (exact is None and not ann.is_worthwhile):
            candidates = self._exact_candidates(requested, k + MARGIN, condition)
            approximate = [False] * len(requested)
        else:
            candidates, approximate = self._ann_candidates(requested, k, condition, ann)
        best = [best_rows(query, rows, k) for query, rows in zip(requested, candidates, strict=True)]
        # All queries' rows at once: a table's cells cost less together.
        metadata = self._table.take([position for rows in best for position in rows[POSITION].to_list()], self.columns)
        starts = np.cumsum([0, *map(len, best)]).tolist()
        return [
            Neighbors(
                ids=rows[ROW_ID].to_list(),
                scores=rows["score"].to_numpy(),
                metadata=metadata[start : start + len(rows)],
                approximate=by_ann,
            )
            for rows, start, by_ann in zip(best, starts[:-1], approximate, strict=True)
        ]

    def duplicates(self, threshold: float, *, filter: str | None = None, limit: int = 1_000_000) -> pl.DataFrame:
        """All pairs of rows whose vectors' cosine is at least a threshold, exactly; reads the vectors into memory.

        Args:
            threshold: Between -1 and 1; 0.95 and more for near duplicates.
            filter: Which rows are compared, as in `search`.
            limit: Of pairs.

        Returns:
            Columns `first`, `second` (row ids, the smaller first) and `score`, the most similar first.
        """
        rows = self._read([ROW_ID, VECTOR], self._condition(filter))
        return pairs_of_rows(rows.vectors, rows.cells[ROW_ID], threshold, limit=limit)

    def _check_writable(self) -> None:
        if not self._writable:
            raise SearchError(f"{self.location}: was opened for reading; open it with writable=True")

    def _condition(self, text: str | None) -> str | None:
        return None if text is None else sql_condition(text, self._table.empty if self.id_type else _NO_ROWS)

    def _checked(self, ids: Ids, vectors: np.ndarray, metadata: Metadata) -> tuple[pl.DataFrame, np.ndarray]:
        self._check_writable()
        names = as_ids(ids, self.id_type)
        stored = as_vectors(vectors, names, self.dim, unit=self._table.unit)
        return as_metadata(metadata, names, self._table.empty), stored

    def _read(self, columns: Sequence[str], condition: str | None = None) -> Rows:
        """As the table's `read`, where there may never have been a row."""
        if self.id_type is None:
            return Rows(np.zeros((0, self.dim), dtype=np.float32), _NO_ROWS)
        return self._table.read(columns, condition)

    def _existing(self, ids: pl.Series) -> pl.Series:
        """Those of some ids that are in the index, in their order."""
        if not len(ids):
            return ids
        existing = self._read([ROW_ID], ids_in(ids)).cells[ROW_ID]
        return ids.filter(ids.is_in(existing.cast(ids.dtype).implode()))

    def _blocks(self, condition: str | None) -> Iterator[tuple[Rows, Bool[np.ndarray, " rows"] | None]]:
        """All rows, at once or some at a time, and which of them meet a condition; None: all."""
        if len(self) * self.dim * 4 > MEMORY_BYTES:
            for block in self._table.blocks(condition):
                yield block, None
            return
        if self._memory is None or self._memory[0] != self._table.version:
            self._memory = self._table.version, self._table.read([ROW_ID, VECTOR])
        rows, met = self._memory[1], None
        if condition is not None:
            positions = self._table.read([ROW_ID], condition).cells[POSITION]
            met = rows.cells[POSITION].is_in(positions.implode()).to_numpy()
        yield rows, met

    def _exact_candidates(
        self, queries: Float32[np.ndarray, "queries dim"], count: int, condition: str | None = None
    ) -> list[Rows]:
        """More than the nearest rows to each query, in no order."""
        cells = self._table.empty.select(ROW_ID, pl.lit(0, pl.UInt64).alias(POSITION))
        best = [[Rows(np.zeros((0, self.dim), dtype=np.float32), cells)] for _ in queries]
        for block, met in self._blocks(condition):
            for parts, chosen in zip(best, nearest_rows(queries, block.vectors, met, count), strict=True):
                parts.append(Rows(block.vectors[chosen], block.cells.select(cells.columns)[chosen]))
        vectors = (np.concatenate([one.vectors for one in parts]) for parts in best)
        return [Rows(v, pl.concat(one.cells for one in parts)) for v, parts in zip(vectors, best, strict=True)]

    def _ann_candidates(
        self, queries: Float32[np.ndarray, "queries dim"], k: int, condition: str | None, ann: RecallReport
    ) -> tuple[list[Rows], list[bool]]:
        """Likewise by the ANN index, and whether it gave them."""
        effort = ann.nprobes, ann.refine_factor
        candidates = [self._table.nearest(query, k + MARGIN, condition, *effort) for query in queries]
        # The partitions that were read may hold fewer rows that meet the filter than there are.
        short = [number for number, rows in enumerate(candidates) if len(rows.cells) < k]
        num_rows = self._table.count(condition) if short else 0
        short = [number for number in short if len(candidates[number].cells) < num_rows]
        for number in short:
            (candidates[number],) = self._exact_candidates(queries[number, None], k + MARGIN, condition)
        return candidates, [number not in short for number in range(len(queries))]
