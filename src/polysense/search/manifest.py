"""What an index consists of at one moment: the one file that is ever replaced.

Readers hold the manifest that they opened, so they see one moment, whatever a writer does meanwhile.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from polysense.errors import SearchError
from polysense.search.durable import FileRecord, replace_file

__all__ = ["ENOUGH", "FORMAT", "MANIFEST", "GraphEntry", "Manifest", "Measured", "SegmentEntry"]

ENOUGH = 0.95
"""Recall@10 from which approximate search is used without being asked for."""

FORMAT = 1
"""Raised when an older polysense could no longer read what this one writes."""

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class SegmentEntry:
    """Rows that were written together.

    Attributes:
        num_rows: Deleted ones among them.
        vectors: float32 [num_rows, dim], nothing else.
        rows: An Arrow file: the column `row_id` and the metadata.
        low: The smallest row id.
        high: The largest.
        deleted: A bit for each row; None while all are there.
        num_deleted: Of the rows.
    """

    num_rows: int
    vectors: FileRecord
    rows: FileRecord
    low: int | str
    high: int | str
    deleted: FileRecord | None = None
    num_deleted: int = 0

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """All of its files."""
        return (self.vectors, self.rows, *([] if self.deleted is None else [self.deleted]))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of approximate search when it was prepared.

    Attributes:
        breadth: How thoroughly it looks: candidates that a walk keeps (faiss's efSearch), or lists that are read
            (LanceDB's nprobes). The smallest that finds 95%, or the largest that was tried.
        recall: Share of the true 10 nearest that it found.
        num_queries: The sample's size.
        exact_ms: Milliseconds for a query, exactly (median, one query at a time).
        approximate_ms: The same, approximately.
    """

    breadth: int
    recall: float
    num_queries: int
    exact_ms: float
    approximate_ms: float

    @property
    def is_worthwhile(self) -> bool:
        """Whether to use it unasked: it finds enough, and is faster than exact search."""
        return self.recall >= ENOUGH and self.approximate_ms < self.exact_ms

    def as_dict(self) -> dict[str, Any]:
        """What was measured, and nothing of what it was measured of."""
        return {one.name: getattr(self, one.name) for one in fields(Measured)}

    def text(self) -> str:
        """For people."""
        use = "" if self.is_worthwhile else "; exact search stays the default"
        return (
            f"recall@10 {self.recall:.3f} over {self.num_queries} queries, {self.approximate_ms:.2f} ms a query "
            f"against {self.exact_ms:.2f} ms exactly{use}"
        )


@dataclass(frozen=True, kw_only=True)
class GraphEntry(Measured):
    """A graph for approximate search over the first segments; its recall is of queries that it did not hold.

    Attributes:
        file: The graph, as faiss writes it.
        order: int64 [num_rows], the position of each of the graph's rows.
        num_segments: How many of the manifest's segments it covers, from the first.
        num_rows: Rows in them.
    """

    file: FileRecord
    order: FileRecord
    num_segments: int
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An index at one moment.

    Attributes:
        version: Grows with every write.
        next_file: The number of the next file; never used twice, so no reader finds another file under a known name.
        dim: Of the vectors.
        metric: "cosine" or "inner_product".
        id_type: "int" or "str"; None while the index never had a row.
        info: What the index remembers for its user, such as the bundle that made the vectors.
        segments: In order.
        graph: For approximate search, if one was built.
    """

    version: int
    next_file: int
    dim: int
    metric: str
    id_type: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    segments: tuple[SegmentEntry, ...] = ()
    graph: GraphEntry | None = None

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """Every file that it names."""
        own = [file for segment in self.segments for file in segment.files]
        return (*own, *([] if self.graph is None else [self.graph.file, self.graph.order]))

    @property
    def num_rows(self) -> int:
        """Rows that are there."""
        return sum(segment.num_rows - segment.num_deleted for segment in self.segments)

    def write(self, folder: Path) -> None:
        """Replaces the folder's manifest; when this returns, the write is acknowledged."""
        plain = asdict(self)
        replace_file(
            folder / MANIFEST,
            json.dumps({"format": FORMAT, "crc32": _checksum(plain), "manifest": plain}, ensure_ascii=False).encode(),
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads a folder's manifest.

        Raises:
            SearchError: There is none, it is damaged, or a newer polysense wrote it.
        """
        path = folder / MANIFEST
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            kind = (
                "no such folder" if not folder.exists() else "is a file" if folder.is_file() else f"has no {MANIFEST}"
            )
            raise SearchError(f"{folder}: {kind}; expected an index, as `polysense index` makes it") from None
        try:
            whole = json.loads(data)
            if whole["format"] > FORMAT:
                raise SearchError(
                    f"{folder}: written in format {whole['format']}; this version reads up to {FORMAT}: "
                    "upgrade polysense"
                )
            plain = whole["manifest"]
            if whole["crc32"] != _checksum(plain):
                raise SearchError(f"{path}: does not have its checksum; restore the index from a copy")
            return _manifest(plain)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, SearchError):
                raise
            raise SearchError(f"{path}: is damaged ({error}); restore the index from a copy") from error


def _checksum(plain: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def _manifest(plain: dict[str, Any]) -> Manifest:
    def file(record: dict[str, Any] | None) -> FileRecord | None:
        return None if record is None else FileRecord(**record)

    segments = tuple(
        SegmentEntry(**{**entry, **{name: file(entry[name]) for name in ("vectors", "rows", "deleted")}})
        for entry in plain["segments"]
    )
    graph = plain["graph"]
    return Manifest(
        **{
            **plain,
            "segments": segments,
            "graph": None
            if graph is None
            else GraphEntry(**{**graph, "file": file(graph["file"]), "order": file(graph["order"])}),
        }
    )
