"""WebDataset shards as a frame: tar archives in which files of one name, up to the first dot, are a row.

    000123.jpg  000123.txt  000123.json        a row with the columns jpg, txt, and the keys of the JSON object

| member | column and cell |
|---|---|
| KEY.TYPE | the column TYPE |
| KEY.NAME.TYPE | the column NAME, so that a row may have a PNG where another has a JPEG |
| KEY.NAME.N.TYPE | item N of the list in column NAME |
| .json | an object's keys become columns of their own names (of KEY.NAME.json: NAME.key); other values are one cell |
| .txt, .text, .transcript | the text, without line ends at its end |
| .cls, .cls2, .class, .index, .inx, .id, .count | whole numbers if all cells of the column are, else texts |
| any other | a media cell, `SHARD.tar/MEMBER`: it is read from the archive where it lies, and nothing is unpacked |

Where a row has two cells for one column, as of KEY.seg.png and KEY.seg.npy, the columns keep their longer names for the
whole table, which is said. A member that can't be read is a missing cell, which is said too; what makes rows
undecidable, such as two members of one name or a damaged header, is an error. Rows are in the order in which their keys
first occur, wherever in the shard their members are; the same key in two shards is two rows.

Members in Python's pickle format are never read: they run code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from polysense.core.files import absolute_path
from polysense.core.logs import get_logger, remark
from polysense.data.media.archives import Member, scan
from polysense.data.media.paths import RemoteFolder, fetched
from polysense.data.tables.json_table import json_cost, parse_json_text
from polysense.data.tables.limits import CELL_BYTES, TableBudget
from polysense.data.tables.python_table import RawFrame, from_columns
from polysense.errors import DecodeError, TableError

__all__ = ["KEY", "LIST_ITEMS", "TEXTS", "UNREAD", "VALUES", "read_remote_shards", "read_shards", "split_member"]

KEY = "__key__"
"""The column that names each row: SHARD:KEY."""

TEXTS = frozenset({"txt", "text", "transcript"})
NUMBERS = frozenset({"cls", "cls2", "class", "index", "inx", "id", "count"})
UNREAD = frozenset({"pyd", "pickle", "pkl", "pth", "pt"})
VALUES = TEXTS | NUMBERS | UNREAD | {"json"}
"""Types whose members are read with the table, or never."""

LIST_ITEMS = 100_000
"""Items that a list of members may have."""

_MEMBER = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
_ITEM = re.compile(r"(.+)\.(\d{1,5})\.([^.]+)", re.DOTALL)
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_log = get_logger("polysense.data.tables.shards")


def split_member(name: str) -> tuple[str, str] | None:
    """A member's key and the rest, between which the first dot of its file name stands; None if it has not both."""
    match = _MEMBER.fullmatch(name)
    if match is None or match[1].rpartition("/")[2].startswith("__"):  # notes on the shard itself, by WebDataset's rule
        return None
    return match[1], match[2]


def read_shards(paths: Sequence[Path], root: Path, label: str) -> RawFrame:
    """The rows of some archives.

    Args:
        paths: The archives, in order.
        root: The folder that media cells start from; archives elsewhere are named by their absolute path.
        label: What messages call the table.

    Raises:
        TableError: An archive is none or damaged, has two members of one name, holds no rows, or all hold more than a
            table may; names the archive.
    """
    budget = TableBudget(paths[0], num_bytes=sum(path.stat().st_size for path in paths))
    reader = _Reader(budget, label)
    for path in paths:
        try:
            reader.read(path, _shown(path, root), path.name)
        except DecodeError as error:
            raise TableError(f"{path}: {error}") from None
        except OSError as error:
            raise TableError(f"{path}: can't be read: {error.strerror or error}") from None
    return reader.frame()


def read_remote_shards(urls: Sequence[str], root: Path, label: str) -> RawFrame:
    """The rows of archives at addresses, each fetched first; otherwise as `read_shards`."""
    reader = None
    for url in urls:
        try:
            path = fetched(url, is_table=True)
            if reader is None:
                reader = _Reader(TableBudget(path, num_bytes=len(urls) * path.stat().st_size), label)
            shown = url.removeprefix(f"{root.url}/") if isinstance(root, RemoteFolder) else url
            reader.read(path, shown, url.rpartition("/")[2])
        except (DecodeError, OSError) as error:
            raise TableError(f"{url}: {error}") from None
    if reader is None:
        raise TableError(f"{label}: names no archives")
    return reader.frame()


def _shown(path: Path, root: Path) -> str:
    absolute = Path(absolute_path(path))
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()


class _Column:
    """Cells of one kind of member, or of one key, by row.

    Attributes:
        name: The column's, where no other claims it.
        longer: Its name where another does.
        cells: As many as there are rows up to the last one that has a cell.
    """

    def __init__(self, name: str, longer: str) -> None:
        self.name, self.longer = name, longer
        self.cells: list[object] = []

    def put(self, row: int, cell: object) -> None:
        """Sets the last row's cell."""
        self.cells.extend([None] * (row - len(self.cells)))
        self.cells.append(cell)

    def is_disjoint(self, other: _Column) -> bool:
        """Whether no row has a cell in both."""
        return not any(a is not None and b is not None for a, b in zip(self.cells, other.cells, strict=False))

    def take(self, other: _Column) -> None:
        """Fills its missing cells with another's."""
        mine = self.cells + [None] * (len(other.cells) - len(self.cells))
        theirs = other.cells + [None] * (len(mine) - len(other.cells))
        self.cells = [b if a is None else a for a, b in zip(mine, theirs, strict=True)]


class _Reader:
    """What was read of shards so far."""

    def __init__(self, budget: TableBudget, label: str) -> None:
        self._budget, self._label = budget, label
        self._columns: dict[tuple[str, str], _Column] = {}
        self._keys: list[object] = []
        self._said: dict[str, tuple[str, int]] = {}

    def read(self, path: Path, shown: str, file_name: str) -> None:
        """One more shard: where it lies, how cells name it, and how messages do."""
        members, left_out, archive = scan(path)
        for name, why in left_out:
            self._say(f"a member can't be read since {why}", f"{file_name}: {name!r}")
        if archive.end_note:
            self._say("an archive is not whole", f"{file_name} {archive.end_note}")
        rows: dict[str, list[tuple[str, Member]]] = {}
        for member in members:
            self._budget.spend(2 * CELL_BYTES + len(shown) + 2 * len(member.name))
            parts = split_member(member.name)
            if parts is None:
                self._say("a member is not named KEY.TYPE, and is in no row", f"{file_name}: {member.name[:200]!r}")
                continue
            row = rows.setdefault(parts[0], [])
            row.append((parts[1], member))
        with path.open("rb") as file:
            for key, cells in rows.items():
                self._row(file_name, shown, key, cells, file)
        if archive.num_members and not rows:
            raise DecodeError("holds no rows: no member is named KEY.TYPE, such as 000123.jpg")

    def _row(self, file_name: str, shown: str, key: str, members: list[tuple[str, Member]], file: BinaryIO) -> None:
        row = len(self._keys)
        where = f"{file_name}:{key}"
        self._keys.append(where)
        lists: dict[str, dict[int, str]] = {}
        seen: dict[str, Member] = {}
        for rest, member in members:
            if (other := seen.setdefault(rest, member)) is not member:
                raise DecodeError(
                    f"holds two members named {member.name[:200]!r}, at bytes {other.offset:,} and {member.offset:,}; "
                    f"each member of a row needs a name of its own"
                )
            kind = rest.rpartition(".")[2].lower()
            item = _ITEM.fullmatch(rest)
            if kind in UNREAD:
                self._say("a member is a Python pickle, which runs code when it is read, and is left out", where)
            elif kind in VALUES:
                self._value(row, rest, kind, self._content(file, member, file_name), where)
            elif item is not None:
                items = lists.setdefault(item[1], {})
                if items.setdefault(int(item[2]), f"{shown}/{member.name}") != f"{shown}/{member.name}":
                    raise DecodeError(f"key {key[:200]!r}: found two members for item {int(item[2])} of {item[1]!r}")
            else:
                self._put(row, rest.rpartition(".")[0] or kind, rest, f"{shown}/{member.name}")
        for name, items in lists.items():
            self._budget.spend(CELL_BYTES * (max(items) + 1))
            self._put(row, name, f"{name}.N", [items.get(i) for i in range(max(items) + 1)])

    def _put(self, row: int, name: str, longer: str, cell: object) -> None:
        column = self._columns.get((name, longer))
        if column is None:
            column = self._columns[name, longer] = _Column(name, longer)
            self._budget.check_columns(len(self._columns))
        self._budget.spend(CELL_BYTES * (row + 1 - len(column.cells)))
        column.put(row, cell)

    def _content(self, file: BinaryIO, member: Member, file_name: str) -> bytes | None:
        self._budget.spend(member.num_bytes)
        file.seek(member.offset)
        content = file.read(member.num_bytes)
        if len(content) < member.num_bytes:
            self._say("a member is cut short, and its cell is missing", f"{file_name}: {member.name[:200]!r}")
            return None
        return content

    def _value(self, row: int, rest: str, kind: str, content: bytes | None, where: str) -> None:
        name = rest.rpartition(".")[0]
        try:
            text = None if content is None else content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._say("a member is not in UTF-8, and its cell is missing", f"{where} ({rest}, byte {error.start:,})")
            text = None
        if kind != "json":
            text = text if text is None else text.rstrip("\r\n") if kind in TEXTS else text.strip()
            self._put(row, name or kind, rest, text)
            return
        value = None
        if text is not None and text.strip():
            self._budget.spend(json_cost(text))
            try:
                value = parse_json_text(text, where)
            except TableError as error:
                self._say("a member can't be read as JSON, and its cells are missing", str(error))
        if isinstance(value, dict):
            for key, cell in value.items():
                self._put(row, f"{name}.{key}" if name else key, f"{rest}.{key}", cell)
        else:
            self._put(row, name or kind, rest, value)

    def _say(self, what: str, example: str) -> None:
        """Counts what is to be said of members, each kind once with its first example."""
        first, number = self._said.get(what, (example, 0))
        self._said[what] = first, number + 1

    def frame(self) -> RawFrame:
        """All rows.

        Raises:
            TableError: There are none, or a cell can't be held.
        """
        for what, (example, number) in self._said.items():
            more = f" (and {number - 1:,} more)" if number > 1 else ""
            remark(_log, "%s: %s: %s%s", self._label, what, example, more)
        if not self._keys:
            raise TableError(f"{self._label}: holds no rows; expected archives with members named KEY.TYPE")
        count = len(self._keys)
        columns = dict(self._named())
        raw = from_columns({KEY: self._keys, **columns}, count, self._label)
        return RawFrame(raw.frame, raw.spelled, key=KEY)

    def _named(self) -> Iterator[tuple[str, list[object]]]:
        """Columns by name: those that share one are one column unless a row has cells in both."""
        by_name: dict[str, list[_Column]] = {}
        for column in self._columns.values():
            by_name.setdefault(column.name, []).append(column)
        taken = {KEY, *by_name}
        for name, columns in by_name.items():
            is_shared = name != KEY and all(a.is_disjoint(b) for i, a in enumerate(columns) for b in columns[i + 1 :])
            if is_shared:
                for other in columns[1:]:
                    columns[0].take(other)
                yield name, _settled(columns)
                continue
            longer = {column.longer: column for column in columns}
            if len(longer) < len(columns) or (taken - {name}) & {*longer}:
                raise TableError(f"{self._label}: two columns would be named {name!r}; give their members other names")
            remark(
                _log, "%s: rows have several cells for %r, so that these columns have longer names: %s",
                self._label, name, ", ".join(map(repr, longer)),
            )  # fmt: skip
            for each, column in longer.items():
                taken.add(each)
                yield each, _settled([column])


def _settled(parts: Sequence[_Column]) -> list[object]:
    """The first column's cells; those of a type for numbers become whole numbers if all of them are."""
    kinds = {part.longer.rpartition(".")[2].lower() for part in parts}
    cells = parts[0].cells
    if kinds <= NUMBERS and all(cell is None or (isinstance(cell, str) and _WHOLE.fullmatch(cell)) for cell in cells):
        return [None if cell is None else int(str(cell)) for cell in cells]
    return cells
