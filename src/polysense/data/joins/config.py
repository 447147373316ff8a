"""JoinConfig: how a table's rows are joined to those of the main one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from polysense.config.base import Config
from polysense.config.limits import PositiveInt
from polysense.data.joins.keys import Comparison
from polysense.data.recipe_paths import spelled_table
from polysense.errors import ConfigError

__all__ = ["HowMany", "JoinConfig"]

HowMany = Literal["auto", "one", "many"]


@dataclass(frozen=True, kw_only=True)
class JoinConfig(Config):
    """A table whose columns are joined to the main table's rows, as `NAME.COLUMN`.

    What is null or auto is settled when a training starts; the run's recipe says what it became.

    Attributes:
        table: The table: csv, tsv, jsonl, json, parquet, arrow or feather. Null if a data frame is given in Python.
        on: The key columns: one name, a list of names that both tables have, or `HERE: THERE` where they differ, HERE
            in the main table (or in one that is joined before: products.brand). null: inferred from names and cells.
        rows: How many rows of this table a key has. one: a row's cells; several rows of one key that differ are an
            error. many: the cells of all rows of the key, as a list. auto: one where keys are unique.
        keys: How keys are compared. exact: as they are spelled; trimmed: without surrounding whitespace, in one Unicode
            form; numbers: also 007, 7 and 7.0 alike. auto: the first of these by which most rows are joined, if it
            makes no two keys of a table one.
        order: The column that lists are ordered by: numbers, or dates as 2024-01-31. null: as the rows stand.
        before: The main table's column with a row's own time: only rows whose `order` is earlier are listed, so that no
            list tells of the future; a date without an hour is over when its day is. null: all.
        last: The most rows in a list: the last ones. null: all.
    """

    table: str | None = None
    on: dict[str, str] | tuple[str, ...] | str | None = None
    rows: HowMany = "auto"
    keys: Comparison | Literal["auto"] = "auto"
    order: str | None = None
    before: str | None = None
    last: PositiveInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on is not None and not self.on:
            raise ConfigError("on: names no column; null infers the key columns")
        if self.before is not None and self.order is None:
            raise ConfigError(f"before: rows before {self.before!r} need `order`, the column with their own time")
        lists = [key for key, value in (("order", self.order), ("last", self.last)) if value is not None]
        if self.rows == "one" and lists:
            raise ConfigError(f"{lists[0]}: is of lists, and rows is one; expected rows: many")

    @property
    def pairs(self) -> dict[str, str] | None:
        """The key columns, each of the main table with that of this one; None if they are to be inferred."""
        if self.on is None or isinstance(self.on, dict):
            return self.on
        names = (self.on,) if isinstance(self.on, str) else self.on
        return {name: name for name in names}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(spelled_table, handler(source))
