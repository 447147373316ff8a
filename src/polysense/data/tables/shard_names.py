"""Names of shards: one archive, a folder of them, a pattern, or a numbered series in braces.

`photos-{000000..000012}.tar` is what WebDataset calls thirteen archives, in that order. All of a series have to be
there: a gap would be rows that nobody misses.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from polysense.core.addresses import address
from polysense.data.media.archives import SUFFIX
from polysense.data.media.file_names import existing
from polysense.data.media.paths import RemoteFolder
from polysense.errors import TableError

__all__ = ["expanded", "shard_paths", "table_folder"]

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_MOST = 1_000_000


def shard_paths(path: Path) -> list[Path] | None:
    """The archives that a table's name stands for, in their order; None if it names no archives.

    Args:
        path: A .tar file; a folder that holds some, and no table of another kind beside them; a pattern (`*`, `?`,
            `[...]`) or a series (`{000..012}`, `{train,extra}`) whose name ends in .tar.

    Raises:
        TableError: Archives of a series are not there, none fits a pattern, or a folder holds tables too.
    """
    path = existing(path)
    if path.is_dir():
        return _of_folder(path)
    if not path.name.lower().endswith(SUFFIX):
        return None
    if path.exists():
        return [path]
    text = str(path)
    if _BRACES.search(text):
        return _of_series(text)
    if glob.has_magic(text):
        names = sorted(glob.glob(text))  # noqa: PTH207 (a pattern may be absolute)
        paths = [Path(name) for name in names if Path(name).is_file()]
        if not paths:
            raise TableError(f"{path}: no file fits this pattern")
        return paths
    return None


def table_folder(path: Path) -> Path:
    """The folder that the media of a table start from by default: the file's, or what is common to all archives."""
    url = address(path)
    if url is not None:
        return RemoteFolder(url if url.endswith("/") else url.rpartition("/")[0])
    try:
        paths = shard_paths(path)
    except (OSError, ValueError):  # whoever reads it says why
        paths = None
    if not paths:
        return path.absolute().parent
    parents = {each.absolute().parent for each in paths}
    return Path(os.path.commonpath(parents))


def _of_folder(folder: Path) -> list[Path] | None:
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    shards = [name for name in names if name.lower().endswith(SUFFIX) and (folder / name).is_file()]
    return [folder / name for name in shards] or None


def _of_series(text: str) -> list[Path]:
    paths = [existing(Path(each)) for each in expanded(text)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise TableError(f"{text}: {len(missing):,} of {len(paths):,} archives are not there: {_listed(missing)}{more}")
    return paths


def expanded(text: str) -> list[str]:
    """The names that a series in braces stands for; the text itself where it has none.

    Raises:
        TableError: What is in the braces is no series.
    """
    parts = _BRACES.split(text)
    choices = [_choices(part, text) if i % 2 else [part] for i, part in enumerate(parts)]
    number = 1
    for each in choices:
        number *= len(each)
        if number > _MOST:
            raise TableError(f"{text}: names more than {_MOST:,} archives")
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3])


def _choices(inside: str, text: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if match is None:
        if "," not in inside:
            raise TableError(f"{text}: found {{{inside}}}, expected numbers such as {{000..012}}, or names with commas")
        return inside.split(",")
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + _MOST:
        raise TableError(f"{text}: found {{{inside}}}, expected a first and a last number, at most {_MOST:,} apart")
    width = len(match[1]) if len(match[1]) == len(match[2]) or match[1].startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(first, last + 1)]
