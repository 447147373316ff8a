"""Text files: which encoding, which delimiter, and rows that are all as wide as the header.

Python's csv module reads every file, in pieces of 16,384 rows: a million cells in 0.3 s of CPU time. polars' own reader
needs 0.04 s, but it fills a short row with nulls without a word and can't name the line of a bad one; decoding the
media that such a table names takes far longer than either. Every cell is text: "007" stays "007".
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import re
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from polysense.core.logs import get_logger, remark
from polysense.data.tables.limits import CELL_BYTES, TableBudget
from polysense.data.tables.mapped_frame import GrowingFrame
from polysense.errors import TableError

__all__ = ["check_names", "open_text", "read_delimited"]

logger = get_logger("polysense.data.tables.delimited")

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_CHUNK = 16_384  # rows
_CHUNK_CELLS = 2_000_000  # 60 bytes each while they are Python's
_SAMPLE = 50  # records that choose the delimiter
_SAMPLE_CHARACTERS = 1 << 20  # likewise, beside the header
_BLOCK = 1 << 20
_MAX_NAMED = 10  # columns that a message lists
_MAX_NAME = 1_000  # characters
_LONG_LINE = 1 << 20
_REPAIR = "polysense.repair"
_HALF = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"PAR1", "a Parquet file; name it .parquet"),
    (b"ARROW1", "an Arrow file; name it .arrow"),
    (b"\x1f\x8b", "compressed with gzip; add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstandard; decompress it first"),
    (b"BZh", "compressed with bzip2; decompress it first"),
    (b"\xfd7zXZ", "compressed with xz; decompress it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)


class _Unpacked(io.RawIOBase):
    """A gzip file's content, up to what its table may take."""

    def __init__(self, path: Path) -> None:
        self._budget = TableBudget(path)
        self._file = gzip.open(path, "rb")  # noqa: SIM115 (closed with this one)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self._budget.spend(len(block), "unpacks to")
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(path: Path) -> io.BufferedReader:
    return io.BufferedReader(_Unpacked(path), _BLOCK) if path.suffix.lower() == ".gz" else path.open("rb")


class Encoding(NamedTuple):
    """What a text file is in, and how bytes are read that are no text in it."""

    name: str
    errors: str = "strict"


@contextmanager
def open_text(path: Path, encoding: Encoding | None = None) -> Iterator[io.TextIOWrapper]:
    """Opens a text file, line ends untouched.

    Args:
        path: The file; gzip if it ends in .gz.
        encoding: By default, what the file is in: a byte-order mark decides; else UTF-8; what is not UTF-8 is read as
            Windows-1252, and what is UTF-8 but for some damaged places with U+FFFD there, either with a warning in
            the log.

    Raises:
        TableError: The file can't be read, is binary or is in no known encoding.
    """
    with _explained(path):
        with _open(path) as raw:
            name, errors = encoding or _detect(path)
            stream: io.TextIOWrapper = io.TextIOWrapper(raw, encoding=name, errors=errors, newline="")
            yield stream


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        raise TableError(f"{path}: can't be decoded: {error}; save it as UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(f"{path}: is not a whole gzip file: {error}") from None
    except OSError as error:
        raise TableError(f"{path}: can't be read: {error.strerror or error}") from None


def _detect(path: Path) -> Encoding:
    """The encoding; a first pass over the whole file, in blocks."""
    with _open(path) as stream:
        head = stream.read(4096)
        for magic, what in _MAGIC:
            if head.startswith(magic):
                raise TableError(f"{path}: is not text but {what}")
        if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            return Encoding("utf-32")
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Encoding("utf-16")
        # Mostly ASCII in UTF-16 without its mark: every other byte is NUL.
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            half = head[start::2]
            if half and half.count(0) > 0.7 * len(half) and head.count(0) == half.count(0):
                return Encoding(encoding)
        controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b\0" for byte in head)
        if controls > max(8, 0.05 * len(head)):
            raise TableError(f"{path}: is not text: {controls} of its first {len(head):,} bytes are control characters")
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        line, foreign = 1, 0
        block = head
        while block:
            zero = block.find(b"\0")
            if zero >= 0:
                line += block.count(b"\n", 0, zero)
                raise TableError(
                    f"{path}, line {line}: found a NUL byte, which no text holds; is the file damaged or binary?"
                )
            if not foreign:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    foreign = line + block.count(b"\n", 0, error.start)
            line += block.count(b"\n")
            block = stream.read(_BLOCK)
        if not foreign:
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                foreign = line
    if not foreign:
        return Encoding("utf-8-sig")
    if _is_damaged(path):
        message = "%s holds bytes that are no UTF-8 (first in line %d): read as U+FFFD, the sign for what can't be read"
        remark(logger, message, path.name, foreign)
        return Encoding("utf-8-sig", _REPAIR)
    message = "%s is not UTF-8 (line %d): read as Windows-1252; save it as UTF-8 if letters look wrong"
    remark(logger, message, path.name, foreign)
    return Encoding("cp1252")


def _is_damaged(path: Path) -> bool:
    """Whether a file that is not UTF-8 was meant to be: it has more letters that are than bytes that are not."""
    decoder = codecs.getincrementaldecoder("utf-8")(_REPAIR)
    good = bad = 0
    with _open(path) as stream:
        while block := stream.read(_BLOCK):
            text = decoder.decode(block)
            damaged = text.count("\ufffd")
            halves = len(_HALF.findall(block))  # are written by programs that mean UTF-8, and by no other encoding
            good += sum(len(run) for run in _FOREIGN.findall(text)) - damaged + 2 * halves
            bad += damaged
    return good > bad


def _repair(error: UnicodeError) -> tuple[str, int]:
    """Half a character that was written as one of its own is joined with its other half; what is alone is replaced."""
    assert isinstance(error, UnicodeDecodeError)
    data, start = error.object, error.start
    pair = _PAIR.match(data, start)
    if pair is not None:
        halves = pair[0].decode("utf-8", "surrogatepass")
        return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le"), pair.end()
    half = _HALF.match(data, start)
    return "\ufffd", error.end if half is None else half.end()


codecs.register_error(_REPAIR, _repair)


def check_names(names: list[str], where: str) -> list[str]:
    """Column names, each of them there and each of them once.

    An empty name becomes "column_3" (counted from 1), which is logged. Letters are composed (NFC), so that a name is
    the same whichever system it was typed on.

    Raises:
        TableError: Names stand twice.
    """
    names = [name if name.isascii() else unicodedata.normalize("NFC", name) for name in names]
    longest = max(names, key=len, default="")
    if len(longest) > _MAX_NAME:
        raise TableError(
            f"{where}: found a column name of {len(longest):,} characters, {longest[:40]!r}..., expected at most "
            f"{_MAX_NAME:,}; is the line with the columns' names missing?"
        )
    checked = []
    stated = set(names)
    unnamed = []
    for position, name in enumerate(names, start=1):
        if not name:
            name = f"column_{position}"
            while name in stated:
                name += "_"
            unnamed.append((position, name))
        checked.append(name)
    for position, name in unnamed[:_MAX_NAMED]:
        remark(logger, "%s: column %d has no name, it is called %r", where, position, name)
    if len(unnamed) > _MAX_NAMED:
        remark(logger, "%s: %d more columns have no name either", where, len(unnamed) - _MAX_NAMED)
    twice = sorted(name for name, count in Counter(checked).items() if count > 1)
    if twice:
        more = f" and {len(twice) - _MAX_NAMED:,} more" if len(twice) > _MAX_NAMED else ""
        listed = ", ".join(map(repr, twice[:_MAX_NAMED]))
        raise TableError(f"{where}: found columns of the same name: {listed}{more}; rename them")
    return checked


def read_delimited(path: Path, tabs: bool = False) -> tuple[pl.DataFrame, str]:
    """A CSV or TSV file as columns of text, and what separates its fields.

    Args:
        path: The file; gzip if it ends in .gz.
        tabs: Whether the name says that tabs separate the fields.

    Raises:
        TableError: The file is empty or binary, a row is not as wide as the header, a quote is not closed; names the
            line.
    """
    previous = csv.field_size_limit(sys.maxsize)  # 128 KiB by default; a cell may hold a book
    try:
        with _explained(path):
            encoding = _detect(path)
        delimiter, offset = _sniff(path, encoding, tabs)
        try:
            return _read(path, encoding, delimiter, offset, csv.QUOTE_MINIMAL), delimiter
        except _QuoteError as error:
            if delimiter != "\t":
                raise TableError(str(error)) from None
            # Many text corpora are tab-separated with quotation marks that mean themselves.
            remark(logger, "%s; read again with quotation marks as plain characters", error)
            return _read(path, encoding, delimiter, offset, csv.QUOTE_NONE), delimiter
    finally:
        csv.field_size_limit(previous)


class _QuoteError(TableError):
    """Quotation marks that don't pair."""


def _sniff(path: Path, encoding: Encoding, tabs: bool) -> tuple[str, int]:
    """The delimiter, and how many lines come before the header (Excel's `sep=;`)."""
    with open_text(path, encoding) as stream:
        first = stream.readline()
        if first[:4].lower() == "sep=" and len(first.strip("\r\n")) == 5:
            return first[4], 1
        if len(first) > _LONG_LINE:
            return max(_DELIMITERS, key=lambda delimiter: first.count(delimiter, 0, _LONG_LINE)), 0
        lines, num_characters = [first], 0
        for line in itertools.islice(stream, 4 * _SAMPLE):
            num_characters += len(line)
            if num_characters > _SAMPLE_CHARACTERS:
                break
            lines.append(line)
        head = "".join(lines)
    best, best_score = "\t" if tabs else ",", (0.0, 0)
    for delimiter in (best, *(d for d in _DELIMITERS if d != best)):
        # Not strict: the last record of the sample may be cut in the middle of a quoted field.
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        records = [record for record in itertools.islice(reader, _SAMPLE) if record]
        if records and len(records[0]) > 1:
            width = len(records[0])
            score = (sum(len(record) == width for record in records) / len(records), width)
            if score > best_score:
                best, best_score = delimiter, score
    return best, 0


def _read(path: Path, encoding: Encoding, delimiter: str, offset: int, quoting: int) -> pl.DataFrame:
    budget = TableBudget(path)
    with open_text(path, encoding) as stream:
        for _ in range(offset):
            stream.readline()
        lines = _lines(path, stream, delimiter, offset, budget)
        records = _records(path, lines, delimiter, offset, quoting)
        header = next(((line, fields) for line, fields in records if fields), None)
        if header is None:
            raise TableError(f"{path}: is empty; expected a header line with the columns' names")
        budget.check_columns(len(header[1]), f"{path}, line {header[0]}")
        names = check_names([name.strip() for name in header[1]], f"{path}, line {header[0]}")
        frame = GrowingFrame()
        rows = _rows(path, records, names, delimiter, budget)
        num_rows = min(_CHUNK, max(64, _CHUNK_CELLS // len(names)))
        while chunk := list(itertools.islice(rows, num_rows)):
            columns = zip(*chunk, strict=True)
            series = [pl.Series(n, list(cells), dtype=pl.String) for n, cells in zip(names, columns, strict=True)]
            budget.spend(sum(int(part.estimated_size()) for part in series) + CELL_BYTES * len(chunk) * len(names))
            frame.add(pl.DataFrame(series))
    result = frame.finish()
    return pl.DataFrame({name: pl.Series(name, [], dtype=pl.String) for name in names}) if result is None else result


def _lines(path: Path, stream: io.TextIOWrapper, delimiter: str, offset: int, budget: TableBudget) -> Iterator[str]:
    """The lines, none of more fields than a table may have columns, as far as that is seen without parsing it."""
    for number, line in enumerate(stream, start=1 + offset):
        if len(line) > _LONG_LINE and '"' not in line:
            budget.check_columns(line.count(delimiter) + 1, f"{path}, line {number}")
        yield line


def _records(
    path: Path, lines: Iterator[str], delimiter: str, offset: int, quoting: int
) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it starts on, blank lines as []."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting)  # type: ignore[arg-type]
    while True:
        line = reader.line_num + 1 + offset
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = "a quotation mark is opened and never closed" if "end of data" in str(error) else str(error)
            raise _QuoteError(
                f"{path}, line {line}: {what}; a field with quotation marks in it stands in quotation marks, with each "
                f'of them doubled: "said ""yes"""'
            ) from None
        yield line, fields


def _rows(
    path: Path, records: Iterator[tuple[int, list[str]]], names: list[str], delimiter: str, budget: TableBudget
) -> Iterator[list[str]]:
    """The records that are rows, all of the header's width."""
    blank = 0
    for line, fields in records:
        if not fields:
            blank += 1
            if not blank % _CHUNK:
                budget.check(CELL_BYTES * blank)
            continue
        if len(fields) != len(names):
            raise TableError(
                f"{path}, line {line}: found {len(fields)} fields, expected {len(names)} as in the header "
                f"({', '.join(names[:6])}{', ...' if len(names) > 6 else ''}; the separator is a "
                f"{_NAMES.get(delimiter, repr(delimiter))}); a field that holds the separator stands in quotation marks"
            )
        if len(names) == 1:
            # In a table of one column a blank line between rows is a row whose cell is missing.
            yield from ([""] for _ in range(blank))
        blank = 0
        yield fields
