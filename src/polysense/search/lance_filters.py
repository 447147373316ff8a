"""Conditions as LanceDB is given them: those that mean the same there as in an embedded index, and no others.

LanceDB runs conditions itself, beside the data, in another dialect of SQL: there 7 / 2 is 3 and -7 % 2 is -1, where
polars says 3.5 and 1. So arithmetic and functions are refused by name, and what is left is comparisons, AND, OR, NOT,
IN, LIKE, BETWEEN and IS NULL. `Filter` has read the condition before, so it is whole and names columns that there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from polysense.errors import SearchError
from polysense.search.filters import Filter

__all__ = ["lance_condition"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,|-)
      | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in", "like", "between", "is", "null", "true", "false"}
# After these a minus belongs to the number that follows.
_BEFORE_MINUS = {"=", "<>", "!=", "<", "<=", ">", ">=", "(", ",", "and", "between"}


def lance_condition(text: str, schema: Mapping[str, Any]) -> str:
    """A condition with its columns quoted as LanceDB quotes them.

    Args:
        text: An SQL condition.
        schema: The columns that there are, with their polars types.

    Raises:
        SearchError: `Filter` refuses it, or LanceDB would read it in another way.
    """
    columns = Filter(text, schema).columns
    parts: list[str] = []
    rest, last, minus = text.strip(), "", ""
    while rest:
        match = _TOKEN.match(rest)
        assert match is not None, "anything that is no space is a token"
        rest = rest[match.end() :].lstrip()
        kind = str(match.lastgroup)
        token = match[kind]
        if kind == "quoted":
            token = token[1:-1].replace('""', '"')
        if kind == "quoted" or (kind == "word" and token in columns):
            token = f"`{token}`"
        elif kind == "word" and token.lower() in _WORDS:
            token = token.lower()
        elif (
            kind in ("word", "other")
            or (token == "-" and last not in _BEFORE_MINUS)
            or (last == "like" and "\\" in token)
        ):
            raise SearchError(
                f"filter {text!r}: {token!r} could mean something else in LanceDB; there a condition may have "
                "comparisons with =, <>, <, <=, > and >=, AND, OR, NOT, IN, LIKE, BETWEEN and IS NULL"
            )
        last = token
        if token == "-":
            minus = "-"
        else:
            parts.append(minus + token)
            minus = ""
    return " ".join(parts)
