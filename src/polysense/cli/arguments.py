"""What several commands ask of what they were given, so that each says the same of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from polysense.core.files import require_writable
from polysense.errors import ConfigError

__all__ = ["TABLES", "VECTORS", "media_root", "names", "on_device", "writable"]

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
VECTORS = (".parquet", ".npz")


def media_root(table: Path, inside_only: bool) -> Path | None:
    """The folder that cells' paths start from, if they may not lead out of it; None leaves the table's own."""
    if not inside_only:
        return None
    from polysense import ConfinedFolder

    return ConfinedFolder(table.absolute().parent)


def names(value: str | None, option: str) -> list[str] | None:
    """Names separated by commas, each stripped; one that holds a comma stands in quotation marks.

    Args:
        value: What stands behind the option; None where it is not there.
        option: Its name, for the error.

    Raises:
        ConfigError: There is no name in it.
    """
    if value is None:
        return None
    results = [name.strip() for name in next(csv.reader([value], skipinitialspace=True), [])]
    if not any(results):
        raise ConfigError(f"{option}: found {value!r}, expected names separated by commas")
    return [name for name in results if name]


def on_device(bundle: Path, device: str) -> Any:
    """A trained model for one of the public functions: loaded where a device is named, by its path where none is.

    Raises:
        BundleError: There is no bundle, or it is broken.
        ConfigError: This machine has no such device.
    """
    if device == "auto":
        return bundle
    from polysense import api

    return api.load(bundle, device=device)


def writable(
    output: Path, table: Path, what: str, endings: tuple[str, ...] = TABLES, *, force: bool | None = None
) -> None:
    """Tells before the work is done what would go wrong when its result is written.

    Args:
        output: The file to write.
        table: The table that is read.
        what: What would be written: "the predictions".
        endings: Those that can be written.
        force: Whether the table may be replaced; None where that is never so.

    Raises:
        ConfigError: The file's ending says no format that can be written, or the file is the table itself.
        OSError: Its folder can't be made or written to.
    """
    if output.suffix.lower() not in endings:
        requested = ", ".join(endings) if len(endings) > 2 else " or ".join(endings)
        raise ConfigError(f"{output}: can't write {output.suffix or 'a file without an ending'}; use {requested}")
    if not force and table.exists() and output.exists() and output.samefile(table):
        way = "" if force is None else ", or say --force"
        raise ConfigError(f"{what} would overwrite the table {table}; name another file with -o{way}")
    require_writable(output)
