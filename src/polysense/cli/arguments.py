"""What several commands ask of what they were given, so that each says the same of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polysense.core.files import absolute_path, require_writable
from polysense.core.json import json_text
from polysense.errors import ConfigError

__all__ = [
    "TABLES",
    "VECTORS",
    "exports_of",
    "join_overrides",
    "joined",
    "media_root",
    "names",
    "on_device",
    "writable",
]

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
VECTORS = (".parquet", ".npz")


def joined(table: Path, join: Sequence[str] | None) -> Any:
    """The table, read with those that are joined to it, for one of the public functions; its path if there are none.

    Args:
        table: The main one.
        join: `[NAME=]TABLE` options.

    Raises:
        ConfigError: An option can't be read, or two have one name.
    """
    sides = _sides(join)
    if not sides:
        return table
    from polysense import read_table

    return read_table(table, join=sides)


def join_overrides(join: Sequence[str] | None) -> list[str]:
    """`[NAME=]TABLE` options as overrides of a recipe; errors as of `joined`."""
    return [f"data.tables[{name}].table={json_text(absolute_path(path))}" for name, path in _sides(join).items()]


def access_overrides(inside_only: bool, allow_urls: bool) -> list[str]:
    """What cells may name, as overrides of a recipe; arguments as of `media_root`."""
    return [
        *(["data.allow_outside=false"] if inside_only else []),
        *(["data.allow_urls=true"] if allow_urls else []),
    ]


def exports_of(options: Sequence[str] | None) -> dict[str | Path, Any]:
    """`NAME=PATH` options, where NAME may be keys in braces, per path.

    Raises:
        ConfigError: An option can't be read, or two have one path.
    """
    result: dict[str | Path, Any] = {}
    for option in options or ():
        start = option.rfind("}") + 1 if option.startswith("{") else 0
        equals = option.find("=", start)
        stated, path = option[:equals].strip(), option[equals + 1 :].strip()
        if equals < 0 or (stated.startswith("{") and not start) or not stated or not path or path in result:
            said = "twice the same path" if path in result else f"--export {option!r}"
            raise ConfigError(f"found {said}, expected NAME=PATH, as --export coco=results.json")
        result[path] = stated
    return result


def _sides(join: Sequence[str] | None) -> dict[str, Path]:
    sides: dict[str, Path] = {}
    for option in join or ():
        name, equals, path = option.partition("=")
        if not equals or Path(option).exists():
            name, path = re.sub(r"\W+", "_", Path(option).name.partition(".")[0]), option
        if not name.strip() or not path.strip():
            raise ConfigError(f"found --join {option!r}, expected TABLE or NAME=TABLE, as --join products=products.csv")
        if name in sides:
            raise ConfigError(f"--join names two tables {name!r}: {sides[name]} and {path}; give one another name")
        sides[name] = Path(path)
    return sides


def media_root(table: Path, inside_only: bool, allow_urls: bool) -> Path | None:
    """The folder that cells' paths start from, with what they may name; None leaves the table's own, as it is.

    Args:
        table: The table.
        inside_only: Whether cells may not lead out of its folder.
        allow_urls: Whether they may name files of the web.
    """
    if not (inside_only or allow_urls):
        return None
    from polysense import media_folder, table_folder

    return media_folder(table_folder(table), allow_outside=not inside_only, allow_urls=allow_urls)


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
