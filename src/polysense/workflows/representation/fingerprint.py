"""Which model made an index's vectors: those of two models can't be compared, and nothing in a vector says so."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from polysense.bundle import IMPUTER, Bundle
from polysense.core.json import parse_json
from polysense.errors import SearchError
from polysense.search import VectorIndex

__all__ = ["check_model", "fingerprint"]


def fingerprint(bundle: Bundle) -> str:
    """A hash of everything that makes a model's vectors: weights, preprocessing, architecture.

    Raises:
        SearchError: The bundle is in no folder.
    """
    if bundle.folder is None:
        raise SearchError("the model is in no folder, so an index could not name it; save it first (Bundle.save)")
    folders = [bundle.folder / "processor", *([] if bundle.imputer is None else [bundle.folder / IMPUTER])]
    parts = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    files = [bundle.folder / "weights.safetensors", *parts]
    # Hashing half a gigabyte takes a second; a file that was not written since need not be read for each search.
    described = tuple(
        (str(path.relative_to(bundle.folder)), path.stat().st_mtime_ns, path.stat().st_size) for path in files
    )
    return _hash(bundle.folder.absolute(), (bundle.folder / "bundle.json").read_text(encoding="utf-8"), described)


@lru_cache(maxsize=8)
def _hash(folder: Path, description: str, described: tuple[tuple[str, int, int], ...]) -> str:
    plain = parse_json(description, dict)
    made_by = [plain["model"], plain["imputer"]] if "imputer" in plain else plain["model"]
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode())
    for name, _, _ in described:
        digest.update(f"\0{name}\0".encode())
        with (folder / name).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def check_model(index: VectorIndex, bundle: Bundle, column: str | None) -> None:
    """Checks that a model's vectors of a column are what an index holds.

    Raises:
        SearchError: Another model made them, or they are of another column.
    """
    known = index.info.get("fingerprint")
    if known is None:
        raise SearchError(f"{index.location}: its vectors are of no model that it remembers; search it by vectors")
    if known != fingerprint(bundle):
        raise SearchError(
            f"{index.location}: was made by another model (once at {index.info.get('bundle')}) than the one at "
            f"{bundle.folder}: their vectors can't be compared. Name the model that made it, or index the table again"
        )
    if column != index.info.get("column"):
        kinds = [repr(one) if one is not None else "all columns together" for one in (index.info["column"], column)]
        raise SearchError(f"{index.location}: holds vectors of {kinds[0]}, not of {kinds[1]}; an index has one kind")
