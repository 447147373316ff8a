"""Class names: a class is known by one spelling (see `category_key`), and rendered as the training table had it.

So a model trained on the integers 0 and 1 reads "0" and 1.0 in another table too, and what it predicts are integers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from polysense.data.media.media import short
from polysense.data.values.category_key import category_key, truth_keys, unified
from polysense.errors import ColumnError, DecodeError

__all__ = ["Classes"]

_MAX_LISTED = 10  # classes that a message lists


class Classes:
    """Class names, the look-up of cells among them, and how they are rendered."""

    def __init__(self, names: Sequence[str], kind: str) -> None:
        self.names = tuple(names)
        self.kind = kind
        self._ids = {category_key(name): position for position, name in enumerate(self.names)}
        self._truths = truth_keys([key for key in self._ids if key is not None])

    @staticmethod
    def learn(
        where: str, name: str, values: Sequence[object], fixed: Sequence[object] | None, first: str | None
    ) -> tuple[Classes, tuple[int, ...]]:
        """The classes and how often each stands among the found labels.

        Raises:
            ColumnError: No label is a class, or the fixed ones name one twice, or one that no label can be.
        """
        counts: Counter[str] = Counter()
        spellings: dict[str, Counter[str]] = {}
        for value in values:
            key = category_key(value)
            if key is not None:
                counts[key] += 1
                spellings.setdefault(key, Counter())[_spelled(value, key)] += 1
        if fixed is None:
            keys = sorted(counts, key=_order(counts))
        else:
            keys = [_named(where, value) for value in fixed]
            if len(set(keys)) < len(keys):
                raise ColumnError(f"{where}: classes names {max(keys, key=keys.count)!r} twice; name each class once")
            for key, value in zip(keys, fixed, strict=True):
                spellings.setdefault(key, Counter([_spelled(value, key)]))
        if not counts:
            raise ColumnError(
                f"{where}: no training row has a label that can be read; first {first or 'give some labels'}"
            )
        if fixed is not None and not any(counts[key] for key in keys):
            raise ColumnError(
                f"{where}: no training row has one of the classes {_listed(keys)}; found {_listed(list(counts))}"
            )
        kinds = {type(value) for value in values if value is not None}
        whole = all(not isinstance(value, float) or value.is_integer() for value in values)
        kind = "bool" if kinds == {bool} else "int" if kinds and kinds <= {int, float} and whole else "str"
        # The most frequent spelling; of equally frequent ones the first by name.
        names = [min(spellings[key], key=lambda text, key=key: (-spellings[key][text], text)) for key in keys]  # type: ignore[misc]
        return Classes(names, kind), tuple(counts[key] for key in keys)

    def find(self, value: object) -> int:
        """A label's id.

        Raises:
            DecodeError: No such class.
        """
        key = category_key(value)
        position = self._ids.get(key)
        if position is None and key is not None:
            position = self._ids.get(self._truths.get(key.casefold()))
        if position is None:
            raise DecodeError(
                f"found the label {short(value)}, which training did not know (known: {_listed(self.names)})"
            )
        return position

    def as_lists(self, rows: Sequence[list[Any]]) -> pl.Series:
        """Rendered classes, several in a row, as a column; of their type where no row has one."""
        return pl.Series(rows, dtype=pl.List({"bool": pl.Boolean, "int": pl.Int64, "str": pl.String}[self.kind]))

    def render(self, position: int) -> Any:
        """A class as the training table had it: an int, a bool or a str."""
        name = self.names[position]
        if self.kind == "bool":
            return category_key(name) == "true"
        return int(name) if self.kind == "int" else name


def _named(where: str, value: object) -> str:
    """A fixed class's key."""
    key = category_key(value)
    if key is None:
        raise ColumnError(f"{where}: classes holds an empty name, {short(value)}, which no label has; leave it out")
    return key


def _spelled(value: object, key: str) -> str:
    return unified(value) if isinstance(value, str) and key in ("true", "false") else key


def _order(keys: Mapping[str, int]) -> Any:
    """Numbers by value if all are numbers, else names alphabetically."""
    try:
        values = {key: float(key) for key in keys}
    except ValueError:
        return str
    return lambda key: (values[key], key) if math.isfinite(values[key]) else (math.inf, key)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(map(repr, names[:_MAX_LISTED])) + more
