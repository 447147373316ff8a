"""Conditions on metadata columns, as SQL writes them: "label = 'cat' and year > 2000".

LanceDB runs a condition beside the data; what reaches it is put together here out of tokens that are known: columns
that exist, literals, comparisons, arithmetic, a few functions of a row's own cells. A subquery, a second statement or a
file can't be said. polars reads the condition first, for its types and for messages that name the column. A row where
a condition is unknown (a missing cell) does not meet it, and whole numbers divide to whole numbers, as in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from polysense.core.error_text import first_line
from polysense.core.spelling import did_you_mean
from polysense.errors import SearchError

__all__ = ["sql_condition"]

_EXAMPLE = "expected an SQL condition on columns, such as: label = 'cat' and year > 2000"
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d]\w*)
      | (?P<comment>--|/\*)
      | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,|-|\+|\*|/|%)
      | (?P<unknown>\S)
    )""",
    re.VERBOSE,
)
# Words that are allowed, and how the text behind them has to begin.
_WORDS = dict.fromkeys(("and", "or", "not", "in", "like", "between", "is", "null", "true", "false"), "")
_WORDS |= {"abs": "(", "lower": "(", "upper": "(", "date": "'", "timestamp": "'"}
_ALLOWED = (
    "a condition may have comparisons, arithmetic, AND, OR, NOT, IN, LIKE, BETWEEN, IS NULL, DATE '2030-01-31' and the "
    "functions abs, lower, upper"
)
# After these a minus belongs to the number that follows.
_BEFORE_SIGN = {"=", "<>", "!=", "<", "<=", ">", ">=", "(", ",", "and", "between"}
# What polars raises on bad input, a bug of its own among them.
_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError)


def sql_condition(text: str, table: pl.DataFrame) -> str:
    """An SQL condition on a table's columns as LanceDB is given it, the columns quoted.

    Raises:
        SearchError: It can't be read, names a column that is not there, compares what can't be compared, is no
            condition, or has a token that is not allowed.
    """
    columns = _checked(text, table)
    parts: list[str] = []
    rest, last, sign = text.strip(), "", ""
    while rest:
        match = _TOKEN.match(rest)
        assert match is not None, "anything that is no space is a token"
        rest = rest[match.end() :].lstrip()
        kind = str(match.lastgroup)
        token = match[kind]
        name = token[1:-1].replace('""', '"') if kind == "quoted" else token
        if kind == "quoted" or (kind == "word" and name in columns and not rest.startswith("(")):
            token = f"`{name}`"
        elif kind == "word" and rest.startswith(_WORDS.get(token.lower(), "\0")):
            token = token.lower()
        elif kind in ("word", "comment", "unknown"):
            raise SearchError(f"filter {text!r}: {token!r} is not allowed: {_ALLOWED}")
        elif last == "like" and "\\" in token:
            raise SearchError(f"filter {text!r}: a backslash in LIKE means different things in different databases")
        if token == "-" and last in _BEFORE_SIGN:
            sign = "-"
        else:
            parts.append(sign + token)
            sign = ""
        last = token
    return " ".join(parts)


def _checked(text: str, table: pl.DataFrame) -> Sequence[str]:
    """The columns that a condition reads."""
    try:
        condition = pl.sql_expr(text)
        columns = list(dict.fromkeys(condition.meta.root_names()))
    except _ERRORS as error:
        raise SearchError(f"filter {text!r}: {first_line(error)}; {_EXAMPLE}") from None
    for name in columns:
        if name.startswith("_POLARS_TMP"):
            raise SearchError(f"filter {text!r}: a subquery is not allowed: {_ALLOWED}")
        if name not in table.columns or "`" in name:
            raise SearchError(f"filter {text!r}: {_unknown(name, table.columns, text)}")
    try:
        dtype = table.clear().select(met=condition)["met"].dtype
    except _ERRORS as error:
        dtypes = ", ".join(f"{name} is {table.schema[name]}" for name in columns)
        raise SearchError(f"filter {text!r}: {first_line(error)} ({dtypes})") from None
    if dtype != pl.Boolean:
        raise SearchError(f"filter {text!r}: is no condition, its values are {dtype}; {_EXAMPLE}")
    return columns


def _unknown(name: str, names: list[str], text: str) -> str:
    if re.search(f'"{re.escape(name)}"', text):
        hint = f"; a text stands in single quotes: '{name}'"
    else:
        hint = did_you_mean(name, names)
    return f"there is no column {name!r}{hint} (columns: {', '.join(map(repr, names))})"
