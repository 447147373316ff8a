"""Bundles with other files in them and checksums of these, as whoever means harm would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polysense.core.checksum import folder_checksums, with_own_checksum

__all__ = ["manifest_of", "rewrite_manifest", "with_new_checksums"]


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a bundle's bundle.json holds."""
    plain: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    return plain


def rewrite_manifest(folder: Path, plain: Mapping[str, Any]) -> Path:
    """Writes a bundle.json with a checksum of its own that is right; the folder."""
    (folder / "bundle.json").write_text(json.dumps(with_own_checksum(plain)), encoding="utf-8")
    return folder


def with_new_checksums(folder: Path) -> Path:
    """The folder with checksums of what it holds now."""
    plain = manifest_of(folder)
    sums = {name: checksum for name, checksum in folder_checksums(folder).items() if name in plain["sha256"]}
    return rewrite_manifest(folder, plain | {"sha256": sums})
