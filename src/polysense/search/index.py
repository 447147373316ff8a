"""An embedded vector index: one folder, no server.

INDEX/
  manifest.json      what there is now, replaced in one step
  files/             segments (vectors, ids and metadata, deleted rows) and a graph; a written file never changes
  lock               held by the one writer

Exact search multiplies every vector by the query, out of files that are mapped into memory; it needs no preparation, is
never wrong, and costs about 0.25 ms for each thousand vectors of 256. A graph (`build_graph`) answers in some
milliseconds whatever the number, and takes minutes to build; it is used where it was measured to find 95% of the true
neighbours in less time. Compressed lists (IVF-PQ) are not offered: what they save in memory they lose in recall.

Scores are cosines or inner products with the stored vectors, each from its own row alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from polysense.errors import DependencyError, SearchError
from polysense.search.answer import nearest, ranked
from polysense.search.backend import Metric
from polysense.search.duplicates import pairs_of_rows
from polysense.search.filters import Filter
from polysense.search.graph import Graph
from polysense.search.manifest import GraphEntry, Manifest
from polysense.search.measure import grow
from polysense.search.neighbours import Neighbours
from polysense.search.rows import Ids, Metadata, as_ids, as_metadata, as_queries, as_vectors
from polysense.search.segment import ROW_ID
from polysense.search.snapshot import FILES, Snapshot, check_free
from polysense.search.writer import Writer

__all__ = ["VectorIndex"]

_log = logging.getLogger("polysense.search")


class VectorIndex:
    """Vectors with ids and metadata, searched by similarity.

    Made by `create` or `open`; a reader sees the index as it was when it was opened, or last refreshed.
    """

    def __init__(self, folder: Path, snapshot: Snapshot, writer: Writer | None) -> None:
        self.folder = folder
        self._snapshot = snapshot
        self._writer = writer
        self._graph: tuple[GraphEntry, Graph] | None = None

    @classmethod
    def create(
        cls,
        folder: Path | str,
        *,
        dim: int,
        metric: Metric = "cosine",
        info: Mapping[str, Any] | None = None,
    ) -> VectorIndex:
        """Makes an empty index and opens it for writing.

        Args:
            folder: Where; a new folder, or an empty one.
            dim: Of the vectors.
            metric: "cosine" stores vectors at length 1; "inner_product" as they are.
            info: What the index is to remember.

        Raises:
            SearchError: There is something already.
        """
        folder = Path(folder)
        if dim < 1 or metric not in ("cosine", "inner_product"):
            raise SearchError(f"expected dim >= 1 and metric cosine or inner_product; found {dim} and {metric!r}")
        check_free(folder)
        (folder / FILES).mkdir(parents=True, exist_ok=True)
        Manifest(version=0, next_file=0, dim=dim, metric=metric, info=dict(info or {})).write(folder)
        return cls.open(folder, writable=True)

    @classmethod
    def open(cls, folder: Path | str, *, writable: bool = False) -> VectorIndex:
        """Opens an index.

        Args:
            folder: Where it is.
            writable: Whether to change it: takes the lock, until `close`.

        Raises:
            SearchError: There is none, it is damaged, or somebody else is writing it.
        """
        folder = Path(folder)
        writer = Writer(folder) if writable else None
        return cls(folder, writer.snapshot if writer else Snapshot.newest(folder), writer)

    def __len__(self) -> int:
        return self._snapshot.manifest.num_rows

    def __enter__(self) -> VectorIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the lock back, if there is one; what was read stays readable."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def refresh(self) -> bool:
        """Takes up what was written since; returns whether there was anything."""
        before = self._snapshot
        self._snapshot = self._writer.snapshot if self._writer else Snapshot.newest(self.folder, before.known)
        return self._snapshot.manifest.version != before.manifest.version

    @property
    def place(self) -> str:
        """The folder's name."""
        return str(self.folder)

    @property
    def dim(self) -> int:
        """Of the vectors."""
        return self._snapshot.manifest.dim

    @property
    def metric(self) -> str:
        """What scores are."""
        return self._snapshot.manifest.metric

    @property
    def info(self) -> Mapping[str, Any]:
        """What the index remembers for its user."""
        return self._snapshot.manifest.info

    @property
    def version(self) -> int:
        """Grows with every write."""
        return self._snapshot.manifest.version

    @property
    def id_type(self) -> str | None:
        """Whether row ids are "int" or "str"; None while there never was a row."""
        return self._snapshot.manifest.id_type

    @property
    def num_deleted(self) -> int:
        """Rows that still take space until `compact`."""
        return sum(entry.num_deleted for entry in self._snapshot.manifest.segments)

    @property
    def columns(self) -> list[str]:
        """The metadata's columns."""
        return [name for name in self._snapshot.schema if name != ROW_ID]

    @property
    def graph(self) -> GraphEntry | None:
        """What was measured of the graph; None without one."""
        return self._snapshot.manifest.graph

    @property
    def ids(self) -> pl.Series:
        """The ids of all rows that are there."""
        parts = [s.rows[ROW_ID] if s.alive is None else s.rows[ROW_ID].filter(s.alive) for s in self._snapshot.segments]
        return pl.concat(parts) if parts else pl.Series(ROW_ID, [], dtype=self._snapshot.schema[ROW_ID])

    def contains(self, ids: Ids) -> Bool[np.ndarray, " ids"]:
        """Which of some ids are there."""
        asked = as_ids(ids, self.id_type)
        found = [segment.rows[ROW_ID].gather(rows) for segment, rows in self._snapshot.find(asked)]
        there = set(pl.concat(found).to_list()) if found else set()
        return np.array([one in there for one in asked.to_list()], dtype=bool)

    def get(self, ids: Ids) -> tuple[Float32[np.ndarray, "ids dim"], pl.DataFrame]:
        """Stored vectors and metadata by id, in that order.

        Raises:
            SearchError: A row is not there.
        """
        asked = as_ids(ids, self.id_type)
        snapshot = self._snapshot
        starts = {id(segment): int(start) for segment, start in zip(snapshot.segments, snapshot.starts, strict=False)}
        places: dict[Any, int] = {}
        for segment, rows in snapshot.find(asked):
            found = segment.rows[ROW_ID].gather(rows).to_list()
            places |= dict(zip(found, (starts[id(segment)] + rows).tolist(), strict=True))
        lost = [one for one in asked.to_list() if one not in places]
        if lost:
            raise SearchError(
                f"{self.folder}: row id {lost[0]!r} is not there (of {len(asked)} asked, {len(lost)} are not)"
            )
        positions = np.array([places[one] for one in asked.to_list()], dtype=np.int64)
        return snapshot.vectors(positions), snapshot.rows(positions, self.columns)

    def add(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> None:
        """Adds rows, all or none; they are on the disk when this returns.

        Args:
            ids: None of them there yet.
            vectors: [rows, dim].
            metadata: A row for each id.

        Raises:
            SearchError: An id is there already or twice, a vector is zero or not finite, or columns do not fit.
        """
        writer, (rows, stored) = self._writing(), self._prepared(ids, vectors, metadata)
        found = self._snapshot.find(rows[ROW_ID])
        if found:
            segment, positions = found[0]
            total = sum(len(positions) for _, positions in found)
            raise SearchError(
                f"{self.folder}: row id {segment.rows[ROW_ID][int(positions[0])]!r} is there already ({total} of "
                f"{len(rows)} are); update the rows, or leave them out"
            )
        if len(rows):
            writer.write(rows, stored)
            self.refresh()

    def update(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> int:
        """Adds rows, or replaces those that are there, metadata and all; all or none.

        Returns:
            How many were replaced.

        Raises:
            SearchError: As `add`, but ids may be there.
        """
        writer, (rows, stored) = self._writing(), self._prepared(ids, vectors, metadata)
        found = self._snapshot.find(rows[ROW_ID])
        if len(rows):
            writer.write(rows, stored, found)
            self.refresh()
        return sum(len(positions) for _, positions in found)

    def delete(self, ids: Ids) -> int:
        """Deletes rows; ids that are not there are left alone.

        Returns:
            How many were there.
        """
        writer = self._writing()
        found = self._snapshot.find(as_ids(ids, self.id_type))
        if found:
            writer.delete(found)
            self.refresh()
        return sum(len(positions) for _, positions in found)

    def remember(self, **info: Any) -> None:
        """Adds to what the index remembers."""
        self._writing().remember({**self.info, **info})
        self.refresh()

    def compact(self) -> None:
        """Gives back the space of deleted rows and joins segments. A graph has to be built again afterwards."""
        self._writing().compact()
        self.refresh()

    def build_graph(self, *, queries: Float32[np.ndarray, "queries dim"] | None = None, seed: int = 0) -> GraphEntry:
        """Builds a graph for approximate search, or adds to it what was added since, and measures it.

        Args:
            queries: A sample of what will be asked. Without one, 200 of the rows (a tenth, if they are fewer) are asked
                for before the graph has them. Queries of another modality may lie elsewhere, and find less.
            seed: Of that sample.

        Returns:
            The smallest breadth that finds 95% of the true 10 nearest, with recall and times.

        Raises:
            DependencyError: faiss is not installed.
            SearchError: There is no row.
        """
        writer = self._writing()
        asked = None if queries is None else as_queries(queries, self.dim, unit=self.metric == "cosine")
        if not len(self):
            raise SearchError(f"{self.folder}: has no rows to build a graph over")
        if self.num_deleted:
            writer.compact()
            self.refresh()
        graph = Graph.empty(self.dim) if self.graph is None else self._loaded_graph()
        self._graph = None  # it is changed below, and is the snapshot's again when all of it is written
        found = grow(graph, self._snapshot, asked, seed=seed)
        file, order = graph.save(*writer.new_graph_paths())
        segments = len(self._snapshot.segments)
        entry = GraphEntry(file=file, order=order, num_segments=segments, num_rows=len(graph), **found.as_dict())
        writer.commit_graph(entry)
        self.refresh()
        self._graph = (entry, graph)
        return entry

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        filter: str | None = None,
        exact: bool | None = None,
        with_metadata: bool = True,
        threads: int = 1,
    ) -> list[Neighbours]:
        """The k rows nearest to each query.

        Args:
            queries: [queries, dim].
            k: How many; fewer come back only where fewer rows meet the filter.
            filter: An SQL condition on metadata columns and `row_id`: "label = 'cat' and year > 2000". It is met by
                every row that comes back, and applied before ranking.
            exact: True: score every row. False: use the graph. None: the graph where there is one that was measured
                to be good and faster.
            with_metadata: Whether to read the found rows' columns.
            threads: Of the exact search, see `exact.best`.

        Raises:
            SearchError: The queries or the filter are wrong, or there is no graph to use.
            DependencyError: exact is False and faiss is not installed.
        """
        asked = as_queries(queries, self.dim, unit=self.metric == "cosine", k=k)
        snapshot = self._snapshot
        wanted = snapshot.wanted(None if filter is None else Filter(filter, snapshot.schema))
        found = nearest(snapshot, self._graph_to_use(exact), asked, k, wanted, threads=threads)
        return ranked(snapshot, asked, found, k, self.columns if with_metadata else [])

    def duplicates(
        self, threshold: float, *, filter: str | None = None, limit: int = 1_000_000
    ) -> pl.DataFrame:  # fmt: skip
        """All pairs of rows whose vectors' cosine is at least a threshold, exactly.

        Args:
            threshold: Between -1 and 1; 0.95 and more for near duplicates.
            filter: Which rows are looked at, as in `search`.
            limit: Of pairs.

        Returns:
            Columns `first`, `second` (row ids, the smaller first) and `score`, the most similar first.

        Raises:
            SearchError: The threshold is no cosine, or there are more pairs.
        """
        snapshot = self._snapshot
        wanted = snapshot.wanted(None if filter is None else Filter(filter, snapshot.schema))
        pairs = list(zip(snapshot.segments, wanted, strict=True))
        vectors = [s.vectors if keep is None else s.vectors[keep] for s, keep in pairs]
        ids = [s.rows[ROW_ID] if keep is None else s.rows[ROW_ID].filter(keep) for s, keep in pairs]
        return pairs_of_rows(vectors, pl.concat(ids) if ids else self.ids, threshold, limit=limit)

    def verify(self) -> int:
        """Reads every byte and compares checksums; opening compares sizes only.

        Returns:
            How many files were read.

        Raises:
            SearchError: A file was changed; says which.
        """
        files = self._snapshot.manifest.files
        for file in files:
            try:
                file.check(self.folder / FILES)
            except FileNotFoundError as error:
                raise SearchError(f"{self.folder}: is damaged: {file.name} is not there") from error
        return len(files)

    def _writing(self) -> Writer:
        if self._writer is None:
            raise SearchError(f"{self.folder}: was opened for reading; open it with writable=True")
        return self._writer

    def _prepared(self, ids: Ids, vectors: np.ndarray, metadata: Metadata) -> tuple[pl.DataFrame, np.ndarray]:
        names = as_ids(ids, self.id_type)
        stored = as_vectors(vectors, names, self.dim, unit=self.metric == "cosine")
        return as_metadata(metadata, names, self._snapshot.schema), stored

    def _graph_to_use(self, exact: bool | None) -> Graph | None:
        entry = self.graph
        if exact is True or (entry is None and exact is None):
            return None
        if entry is None:
            raise SearchError(f"{self.folder}: has no graph to search with; build one (`build_graph`, `--graph`)")
        if exact is None and not entry.is_worthwhile:
            return None
        try:
            return self._loaded_graph()
        except DependencyError:
            if exact is None:
                _log.warning("%s has a graph, and faiss is not installed: searching exactly", self.folder)
                return None
            raise

    def _loaded_graph(self) -> Graph:
        entry = self.graph
        assert entry is not None
        if self._graph is None or self._graph[0] != entry:
            path, order = (self.folder / FILES / file.name for file in (entry.file, entry.order))
            try:
                for file in (entry.file, entry.order):
                    file.check(self.folder / FILES)
                graph = Graph.load(path, order)
            except FileNotFoundError as error:
                raise SearchError(f"{path}: is gone; the index was changed since: refresh, or open it again") from error
            self._graph = (entry, graph)
        return self._graph[1]
