"""Paths in a recipe's plain values: absolute in memory, relative in files, so that a file and its tables move together.

It knows the keys and not the recipe, since a bundle, which is below the recipe, holds one as plain values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from polysense.core.files import absolute_path, relative_path

__all__ = [
    "INIT_FROM",
    "PATHS",
    "PRETRAINED",
    "PRETRAINED_WORDS",
    "TABLES",
    "absolute_paths",
    "path_from",
    "relative_paths",
    "spelled_out",
    "spelled_table",
]

PATHS = ("table", "validation", "test", "root", "impute")
"""The keys below `data` that name a file or a folder."""

TABLES = "tables"
"""The key below `data` whose entries' `table` is a file."""

INIT_FROM = "init_from"
"""The key whose `bundle` is a folder."""

PRETRAINED = "pretrained"
"""The key that names a folder, where it is none of these words."""

PRETRAINED_WORDS = ("auto", "off", "download")
"""What that key may say instead of a folder."""


def absolute_paths(
    plain: Mapping[str, Any], folder: Path, only: Collection[str] = (*PATHS, TABLES, INIT_FROM, PRETRAINED)
) -> dict[str, Any]:
    """A copy of a recipe whose paths start from a folder, with absolute ones.

    No file is asked, so that a path that this system can't name is no error before it is read.

    Args:
        plain: The recipe as plain values; what is no recipe stays as it is.
        folder: Where they start from.
        only: The keys that are changed.
    """
    return _mapped(plain, lambda path: absolute_path(path, folder), only)


def relative_paths(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of a recipe with absolute paths whose paths start from a folder; it holds no path of this machine."""
    return _mapped(plain, lambda path: path_from(folder, path), (*PATHS, TABLES, INIT_FROM, PRETRAINED))


def path_from(folder: Path, path: str) -> str:
    """A recipe's path as it reads from a folder; a relative one and an address stay as they are."""
    if not _is_local(path) or not Path(path).is_absolute():
        return path
    # Both folders are resolved, for `..` leads out of where a link points to. The last part isn't: media lie beside the
    # link to a table that the user named, not beside what it points to.
    try:
        above = Path(path).parent.resolve()
    except UnicodeEncodeError:  # this system can't name it, so nothing there is a link
        above = Path(absolute_path(path)).parent
    return relative_path(above / Path(path).name, folder.resolve())


def _mapped(plain: Mapping[str, Any], change: Callable[[str], str], keys: Collection[str]) -> dict[str, Any]:
    changed = copy.deepcopy(dict(plain))
    data = changed.get("data")
    if isinstance(data, dict):
        for key in keys:
            if isinstance(data.get(key), str) and _is_local(data[key]):
                data[key] = change(data[key])
        if TABLES in keys and isinstance(data.get(TABLES), dict):
            for name, plain_join in data[TABLES].items():
                join = data[TABLES][name] = spelled_table(plain_join)
                if isinstance(join, dict) and isinstance(join.get("table"), str) and _is_local(join["table"]):
                    join["table"] = change(join["table"])
    if INIT_FROM in keys and changed.get(INIT_FROM) is not None:
        start = changed[INIT_FROM] = spelled_out(changed[INIT_FROM])
        if isinstance(start, dict) and isinstance(start.get("bundle"), str) and _is_local(start["bundle"]):
            start["bundle"] = change(start["bundle"])
    given = changed.get(PRETRAINED)
    if PRETRAINED in keys and isinstance(given, str) and given.strip() and given not in PRETRAINED_WORDS:
        changed[PRETRAINED] = change(str(Path(given).expanduser()))
    return changed


def spelled_out(start: Any) -> Any:
    """`init_from: BUNDLE` is short for `init_from: {bundle: BUNDLE}`."""
    if isinstance(start, dict) and "type" in start and "bundle" not in start:
        start = {("bundle" if key == "type" else key): below for key, below in start.items()}  # of an override below it
    return {"bundle": str(start)} if isinstance(start, (str, Path)) else start


def spelled_table(join: Any) -> Any:
    """`tables: {NAME: PATH}` is short for `tables: {NAME: {table: PATH}}`."""
    if isinstance(join, dict) and "type" in join and "table" not in join:
        join = {("table" if key == "type" else key): below for key, below in join.items()}  # of an override below it
    return {"table": str(join)} if isinstance(join, (str, Path)) else join


def _is_local(path: str) -> bool:
    return "://" not in path
