"""Which engine an index's place means: a folder, a folder NAME.lance, or an address on object storage.

A LanceDB table is a folder named NAME.lance wherever it lies, so its place says what it is, and no option has to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polysense.search.backend import Backend, Metric
from polysense.search.index import VectorIndex
from polysense.search.lance import LanceIndex
from polysense.search.manifest import MANIFEST
from polysense.search.snapshot import check_free

__all__ = ["check_place", "create_index", "open_index"]


def create_index(
    place: Path | str, *, dim: int, metric: Metric = "cosine", info: Mapping[str, Any] | None = None
) -> Backend:
    """Makes an empty index and opens it for writing; see `VectorIndex.create`.

    Raises:
        SearchError: There is something already.
        DependencyError: It is a LanceDB table's place, and lancedb is not installed.
    """
    if _is_lance(place):
        return LanceIndex.create(place, dim=dim, metric=metric, info=info)
    return VectorIndex.create(place, dim=dim, metric=metric, info=info)


def open_index(place: Path | str, *, writable: bool = False) -> Backend:
    """Opens an index of either engine; see `VectorIndex.open`.

    Raises:
        SearchError: There is none.
        DependencyError: It is a LanceDB table, and lancedb is not installed.
    """
    if _is_lance(place):
        return LanceIndex.open(place, writable=writable)
    return VectorIndex.open(place, writable=writable)


def check_place(place: Path | str) -> None:
    """Checks that an index can be made.

    Raises:
        SearchError: There is something already.
        DependencyError: It is a LanceDB table's place, and lancedb is not installed.
    """
    if _is_lance(place):
        LanceIndex.check_free(place)
    else:
        check_free(Path(place))


def _is_lance(place: Path | str) -> bool:
    # An embedded index may have any name, also one that was given before this ending meant something.
    name = str(place)
    return "://" in name or (name.rstrip("/").endswith(".lance") and not (Path(name) / MANIFEST).exists())
