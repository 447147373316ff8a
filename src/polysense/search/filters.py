"""A condition on metadata columns, as SQL writes it: "label = 'cat' and year > 2000".

polars reads and runs it, and nothing else can be said in it: no files, no tables, no functions over several rows. A row
where the condition is unknown (a missing cell) does not meet it, as in SQL.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from polysense.errors import SearchError

__all__ = ["Filter"]

# What polars raises on bad input, a bug of its own among them.
_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError)


class Filter:
    """A condition that each row meets or not, by its own cells alone.

    Args:
        text: An SQL condition.
        schema: The columns that there are.

    Attributes:
        columns: Those that it reads.

    Raises:
        SearchError: It can't be read, names a column that is not there, compares what can't be compared, is no
            condition, or looks at several rows at once.
    """

    def __init__(self, text: str, schema: Mapping[str, Any]) -> None:
        self.text = text
        try:
            self._condition = pl.sql_expr(text)
            self.columns = tuple(dict.fromkeys(self._condition.meta.root_names()))
        except _ERRORS as error:
            raise SearchError(f"filter {text!r}: {_first(error)}; {_EXAMPLE}") from None
        for name in self.columns:
            if name not in schema:
                raise SearchError(f"filter {text!r}: {_unknown(name, list(schema), text)}")
        try:
            found = pl.DataFrame(schema=schema).lazy().select(met=self._condition).collect_schema()["met"]
            own = _reads_one_row(self._condition)
        except _ERRORS as error:
            raise SearchError(f"filter {text!r}: {_first(error)} ({_kinds(self.columns, schema)})") from None
        if found != pl.Boolean:
            raise SearchError(f"filter {text!r}: is no condition, its values are {found}; {_EXAMPLE}")
        if not own:
            raise SearchError(f"filter {text!r}: looks at several rows at once; a condition may use a row's own cells")

    def met(self, frame: pl.DataFrame) -> np.ndarray:
        """Which rows of a frame meet it: bool [rows].

        Raises:
            SearchError: A cell can't be evaluated.
        """
        if not self.columns:  # a constant: one value for all rows
            value = pl.select(met=self._condition)["met"][0]
            return np.full(len(frame), bool(value))
        try:
            found = frame.lazy().select(met=self._condition.fill_null(value=False)).collect()["met"]
        except _ERRORS as error:
            raise SearchError(f"filter {self.text!r}: {_first(error)}") from None
        return found.to_numpy().astype(bool)


_EXAMPLE = "expected an SQL condition on columns, such as: label = 'cat' and year > 2000"


def _reads_one_row(condition: pl.Expr) -> bool:
    """Whether no part of an expression looks beyond a row: no aggregate, no window."""
    try:
        own = condition.meta.is_row_separable() or condition.meta.is_literal()
    except pl.exceptions.ColumnNotFoundError:
        own = True  # `in` and `%`, which polars only resolves with a schema; their parts are looked at all the same
    return own and all(_reads_one_row(part) for part in condition.meta.pop())


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _kinds(columns: Sequence[str], schema: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} is {schema[name]}" for name in columns)


def _unknown(name: str, names: list[str], text: str) -> str:
    if re.search(f'"{re.escape(name)}"', text):
        hint = f"; a text stands in single quotes: '{name}'"
    else:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no column {name!r}{hint} (columns: {', '.join(map(repr, names))})"
