"""JSON and JSON Lines files as frames.

Python's reader parses them: it names the line and column of a mistake, and keeps integers of any size. What it makes
of a text takes some 64 bytes for each item and comma beside the characters, which are counted before it is asked, so
that no file takes more than its table may.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polysense.core.logs import get_logger
from polysense.data.tables.delimited import open_text
from polysense.data.tables.limits import CELL_BYTES, TableBudget
from polysense.data.tables.python_table import GrowingRows, RawFrame, described, from_mapping, from_rows
from polysense.errors import TableError

__all__ = ["json_cost", "parse_json_text", "read_json", "read_json_lines"]

logger = get_logger("polysense.data.tables.json_table")

_ITEM_BYTES = 64  # of an empty list or dict, which are two characters
_LINE_START = 1 << 24  # characters in which a file of lines shows its first one


def read_json_lines(path: Path) -> RawFrame:
    """A file of one JSON object per line; gzip if it ends in .gz.

    Raises:
        TableError: It is empty, a line is no object, or it holds more than a table may; names the line.
    """
    budget = TableBudget(path)
    rows = GrowingRows()
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                budget.spend(json_cost(line))
                row = parse_json_text(line, f"{path}, line {number}")
                if not isinstance(row, dict):
                    raise TableError(
                        f'{path}, line {number}: found {described(row)}, expected an object: {{"text": "hello"}}'
                    )
                rows.add(row, f"{path}, line {number}")
                # The table's cells are rows times columns, whatever the lines hold.
                budget.check_columns(rows.num_columns, f"{path}, line {number}")
                budget.check(CELL_BYTES * rows.num_rows * rows.num_columns)
    if not rows.num_rows:
        raise TableError(f"{path}: is empty; expected one JSON object per line")
    return rows.finish(path.name)


def read_json(path: Path) -> RawFrame:
    """A file with a list of objects, or an object of lists; gzip if it ends in .gz.

    Raises:
        TableError: It is neither, or holds more than a table may; names the row or the place.
    """
    budget = TableBudget(path)
    with open_text(path) as stream:
        text = stream.read()
    if not text.strip():
        raise TableError(f"{path}: is empty; expected a JSON list of objects")
    budget.spend(json_cost(text))
    try:
        value = parse_json_text(text, str(path))
    except TableError:
        start = text.lstrip()[:_LINE_START].splitlines()
        if len(start) > 1 and start[0].strip().startswith("{") and start[0].strip().endswith("}"):
            logger.info("%s holds one JSON object per line: read as JSON lines", path)
            return read_json_lines(path)
        raise
    del text
    if isinstance(value, dict):
        if not value or not all(isinstance(cells, list) for cells in value.values()):
            raise TableError(f"{path}: found {described(value)}; expected a list of objects, or an object of lists")
        budget.check_columns(len(value))
        return from_mapping(value, path.name)
    if not isinstance(value, list):
        raise TableError(f"{path}: found {described(value)}; expected a list of objects")
    names: set[str] = set()
    for i, row in enumerate(value):
        names.update(row if isinstance(row, dict) else ())
        budget.check_columns(len(names), f"{path}, row {i}")
    budget.spend(CELL_BYTES * len(value) * len(names))
    return from_rows(value, path.name)


def json_cost(text: str) -> int:
    """About how many bytes what a JSON text holds takes."""
    return len(text) + _ITEM_BYTES * (text.count(",") + text.count("[") + text.count("{"))


def parse_json_text(text: str, where: str) -> Any:
    """What a JSON text holds.

    Raises:
        TableError: It is no JSON, or an object in it has a key twice; begins with `where`.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise TableError(f"{where}: the key {twice!r} stands twice")
        return result

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise TableError(f"{where}: is not valid JSON at {at}: {error.msg}") from None
    except RecursionError:
        raise TableError(f"{where}: is nested too deeply") from None
    except TableError:
        raise
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise TableError(f"{where}: holds a number of more than 4,300 digits; write it as a text") from None
