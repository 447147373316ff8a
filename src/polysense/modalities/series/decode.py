"""Cells read as time series: lists of numbers, lists of channels, and files (.npy, .csv, .tsv, .parquet).

A step that was not measured stays missing (NaN); nothing is filled in. A file's column that is a clock (`time`, `t s`,
`timestamp`, ...) is no channel: a model would learn when an audio clip was made. Where it counts seconds, it gives the
sampling rate.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from polysense.data.media.media import Media, locate, reason, short
from polysense.errors import DecodeError

__all__ = ["MAX_VALUES", "SUFFIXES", "Series", "is_numeric_list", "read_series"]

SUFFIXES = (".npy", ".csv", ".tsv", ".parquet")
"""Files that are read."""

MAX_VALUES = 2**26
"""Steps times channels of one series: half a gigabyte as float64."""

# As of a table file: a Parquet file of 6 kB can state a gigabyte, since run lengths and dictionaries repeat.
_UNSUSPICIOUS = 2**24
_VALUES_PER_BYTE = 25
_MAX_CHANNELS = 20_000

# numpy reads a header as Python's source.
_NPY_ERRORS = (
    ValueError, OSError, EOFError, MemoryError, SyntaxError, RecursionError, TypeError, KeyError, OverflowError,
    tokenize.TokenError,
)  # fmt: skip
_NPY_MAGIC = b"\x93NUMPY"
_PARQUET_MAGIC = b"PAR1"
_CLOCK = re.compile(r"(t|time|times|timestamp|seconds?|secs?|s|date|datetime|index)([\s_(\[].*)?", re.IGNORECASE)
_IN_SECONDS = re.compile(r"(t|time|seconds?|secs?|s)([\s_(\[]+(s|secs?|seconds?)[\])]?)?", re.IGNORECASE)


T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Series:
    """One series.

    Attributes:
        values: float64 [steps, channels], NaN where not measured.
        channels: Their names; None where the cell has none.
        steps_per_second: From its clock; None where there is none that counts seconds.
    """

    values: np.ndarray
    channels: tuple[str, ...] | None = None
    steps_per_second: float | None = None


def is_numeric_list(cell: object) -> bool:
    """Whether a cell is a list of numbers, or of equally long lists of numbers; numbers may be missing (null)."""
    if not isinstance(cell, (list, tuple)) or not cell:
        return False
    if any(isinstance(part, (list, tuple)) for part in cell):
        return (
            all(isinstance(part, (list, tuple)) for part in cell)
            and len({len(part) for part in cell}) == 1
            and len(cell[0]) > 0
            and all(_is_number(value) for part in cell for value in part)
            and any(value is not None for part in cell for value in part)
        )
    return all(map(_is_number, cell)) and any(value is not None for value in cell)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def read_series(cell: object, root: Path) -> Series:
    """Reads a cell.

    Args:
        cell: [numbers], one channel; [[numbers], ...], a list for each channel, equally long; a path relative to
            `root`, or bytes, of a .npy file ([steps] or [steps, channels]) or of a .csv, .tsv or .parquet file (a row
            for each step, a column for each channel, with a header).
        root: The folder that relative paths start from.

    Raises:
        DecodeError: It is none of these, has no step, channels of unequal length, or what is not a number.
    """
    if isinstance(cell, np.ndarray):
        return Series(_checked(cell))
    if isinstance(cell, (list, tuple)):
        return Series(_from_lists(cell))
    media = locate(cell, root, "time series")
    suffix, head = media.suffix, media.read(16)
    if head.startswith(_NPY_MAGIC):
        return Series(_from_npy(media))
    if head.startswith(_PARQUET_MAGIC):
        return _from_parquet(media)
    if suffix in (".npy", ".parquet"):
        raise DecodeError(f"is no {suffix} file")
    if b"\0" in media.read(4096):
        raise DecodeError(f"is a binary file, expected one of {', '.join(SUFFIXES)}")
    separator = "\t" if suffix == ".tsv" else ","
    content = io.BytesIO(media.read())
    _check_channels(content.readline().count(separator.encode()) + 1)
    content.seek(0)
    return _from_frame(_parsed("CSV", lambda: pl.read_csv(content, separator=separator, infer_schema_length=None)))


def _from_lists(cell: Sequence[object]) -> np.ndarray:
    if not cell:
        raise DecodeError("found an empty list, expected at least one step")
    if not any(isinstance(part, (list, tuple)) for part in cell):
        return _checked(np.array([_number(value) for value in cell], dtype=np.float64))
    channels = []
    for position, part in enumerate(cell):
        if not isinstance(part, (list, tuple)):
            raise DecodeError(f"channel {position}: found {short(part)}, expected a list of numbers")
        channels.append([_number(value) for value in part])
    lengths = sorted({len(channel) for channel in channels})
    if len(lengths) > 1:
        raise DecodeError(
            f"found channels of {lengths[0]} to {lengths[-1]} steps, expected the same for all; write null for steps "
            f"that a channel lacks"
        )
    return _checked(np.array(channels, dtype=np.float64).T)


def _number(value: object) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DecodeError(f"found {short(value)}, expected a number or null")
    try:
        return float(value)
    except OverflowError:
        raise DecodeError(f"found {short(value)}, which is too large for a float") from None


def _from_npy(media: Media) -> np.ndarray:
    try:
        with media.open() as file:
            major, _ = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, kind = read(file)
            # numpy makes room for what a header states before it looks whether so much follows.
            if math.prod(shape) * kind.itemsize > media.num_bytes - file.tell():
                raise DecodeError(f"is cut short: its header states {' x '.join(map(str, shape))} values")
            _check_size(shape)
            if not kind.hasobject:
                _check_kind(kind)
            file.seek(0)
            array = np.load(file, allow_pickle=False)  # a pickle runs code
    except DecodeError:
        raise
    except _NPY_ERRORS as error:
        raise DecodeError(f"can't be read as a .npy file: {reason(error)}") from None
    return _checked(array)


def _from_parquet(media: Media) -> Series:
    """Its columns of numbers; the number of its values is checked before they are unpacked."""
    content = io.BytesIO(media.read())
    empty = _parsed("Parquet", lambda: pl.DataFrame(schema=pl.read_parquet_schema(content)))
    num_steps = _parsed("Parquet", lambda: int(pl.scan_parquet(content).select(pl.len()).collect().item()))
    _check_channels(empty.width)
    _check_numeric(empty)
    used = [series.name for series in empty if _is_numeric(series)]
    _check_size((num_steps, len(used)), media.num_bytes)
    return _from_frame(_parsed("Parquet", lambda: pl.read_parquet(content, columns=used)))


def _parsed(kind: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise DecodeError(f"can't be read as a {kind} file: {reason(error)}") from None


def _from_frame(frame: pl.DataFrame) -> Series:
    if not len(frame) or not frame.width:
        raise DecodeError(f"holds no step: {len(frame)} rows and {frame.width} columns, expected a header and numbers")
    names = [name for name in frame.columns if not _CLOCK.fullmatch(name.strip())]
    clocks = [name for name in frame.columns if name not in names]
    if not names:  # a single column that is called `t` is what there is
        names, clocks = frame.columns, []
    _check_numeric(frame)
    _check_size((len(frame), len(names)))
    columns = [frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in names]
    rate = next((_rate(frame[name]) for name in clocks if _IN_SECONDS.fullmatch(name.strip())), None)
    return Series(_checked(np.stack(columns, axis=1)), tuple(names), rate)


def _is_numeric(series: pl.Series) -> bool:
    kind = series.dtype
    return kind.is_numeric() or kind == pl.Null or kind == pl.Boolean


def _check_numeric(frame: pl.DataFrame) -> None:
    """Raises unless every column but a clock holds numbers; says which by its place, for a name may be anything."""
    names = [name for name in frame.columns if not _CLOCK.fullmatch(name.strip())] or frame.columns
    for name in names:
        if not _is_numeric(frame[name]):
            raise DecodeError(
                f"its column {frame.columns.index(name) + 1} of {frame.width} holds {frame[name].dtype.base_type()} "
                "values, expected numbers in every column but a clock (time, timestamp)"
            )


def _check_size(shape: Sequence[int], num_bytes: int | None = None) -> None:
    """Raises for more values than a series may have; `num_bytes` are those of a compressed file."""
    size = " x ".join(f"{size:,}" for size in shape)
    if math.prod(shape) > MAX_VALUES:
        raise DecodeError(f"has {size} values, expected at most {MAX_VALUES:,}")
    if num_bytes is not None and math.prod(shape) > max(_UNSUSPICIOUS, _VALUES_PER_BYTE * num_bytes):
        raise DecodeError(
            f"unpacks to {size} values from {num_bytes:,} bytes, expected at most {_VALUES_PER_BYTE} a byte (or "
            f"{_UNSUSPICIOUS:,}), so that a crafted file can't exhaust the memory; if you trust it, save it as .npy"
        )


def _check_channels(number: int) -> None:
    if number > _MAX_CHANNELS:
        raise DecodeError(f"has {number:,} channels, expected at most {_MAX_CHANNELS:,}")


def _check_kind(kind: np.dtype) -> None:
    if kind.kind not in "fiub":
        raise DecodeError(f"has values of the type {kind}, expected numbers")


def _rate(clock: pl.Series) -> float | None:
    """Steps per second by the median step of a clock that counts seconds."""
    if not clock.dtype.is_numeric():
        return None
    steps = np.diff(clock.cast(pl.Float64).drop_nulls().to_numpy())
    steps = steps[np.isfinite(steps) & (steps > 0)]
    return float(1 / np.median(steps)) if len(steps) else None


def _checked(array: np.ndarray) -> np.ndarray:
    """float64 [steps, channels]; infinite values count as not measured."""
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise DecodeError(f"has the shape {list(array.shape)}, expected [steps] or [steps, channels]")
    if not array.shape[0] or not array.shape[1]:
        raise DecodeError(f"has the shape {list(array.shape)}, expected at least one step and one channel")
    _check_size(array.shape)
    _check_kind(array.dtype)
    values = array.astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        raise DecodeError("holds no number: every step is missing")
    return values
