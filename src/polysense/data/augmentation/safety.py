"""Augmentation against what texts and labels of the same rows say: a mirrored photograph whose caption says "left".

A transform says which properties of its cells it changes and by which of its settings; here the other columns are asked
whether they speak of these. Where they do, presets leave the settings at what changes nothing, and a recipe that asks
for them gets a warning with words and rows. Nothing is refused: whether "right" is a side or an answer, no list knows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from polysense.config.base import Config
from polysense.config.codec import to_dict
from polysense.core.json import json_text
from polysense.core.random import permutation
from polysense.data.augmentation.base import TransformConfig
from polysense.data.augmentation.properties import PROPERTIES, spoken_words
from polysense.data.tables.sources import Table

__all__ = ["Conflict", "Mention", "conflicts", "spared"]

_LOOKED_AT = 5_000  # rows
_SHARE = 0.01  # of a column's cells, from which on it speaks of a property; of labels one row is enough
_ROWS, _WORDS = 3, 4  # that are named
_LONGEST = 20_000  # characters of a text
_FILE = re.compile(r"\S*[^\s.]\.\w{2,5}")  # "masks/left_3.png" says nothing of a side


@dataclass(frozen=True)
class Mention:
    """A column that speaks of a property.

    Attributes:
        column: The table's.
        words: The most frequent ones, without accents.
        rows: The numbers of some of the rows, in the table as it was read.
        count: In how many of the rows that were looked at.
        looked_at: Rows that were looked at and have a text there.
    """

    column: str
    words: tuple[str, ...]
    rows: tuple[int, ...]
    count: int
    looked_at: int

    def __str__(self) -> str:
        words = ", ".join(map(repr, self.words))
        numbers = f"{'row' if len(self.rows) == 1 else 'rows'} {', '.join(map(str, self.rows))}"
        return f"{self.column!r} has {words} in {self.count:,} of {self.looked_at:,} rows ({numbers})"


@dataclass(frozen=True)
class Conflict:
    """A transform that changes what a column speaks of.

    Attributes:
        column: The input column that is transformed.
        name: The property, see `PROPERTIES`.
        settings: Those that change it, with what they would be if they did not.
        mention: Who speaks of it.
    """

    column: str
    name: str
    settings: Mapping[str, object]
    mention: Mention

    def warning(self) -> str:
        """What it is, and what to do."""
        settings = " and ".join(self.settings)
        return (
            f"data.transforms.{self.column}: {settings} changes {self.name}, and column {self.mention}. If these words "
            f"are meant so, varied cells no longer fit them: set {self._neutral()}; if they are not, all is well"
        )

    def note(self) -> str:
        """What a preset left out, and why."""
        settings = " and ".join(self.settings)
        return f"{self.column}: no {settings} in training, which changes {self.name}: column {self.mention}"

    def _neutral(self) -> str:
        each = {name: _spelled(value) for name, value in self.settings.items()}
        return " and ".join(f"{name}: {value}" for name, value in each.items())


def conflicts(
    transforms: Mapping[str, TransformConfig],
    table: Table,
    spoken: Mapping[str, bool],
    sources: Mapping[str, str],
) -> list[Conflict]:
    """Which transforms change what other columns speak of.

    Args:
        transforms: Per input column.
        table: The training rows.
        spoken: The table's columns that hold words, and whether these are labels.
        sources: Per input column the table's column that it is read from.
    """
    disturbed = {name: transform.disturbs for name, transform in transforms.items()}
    names = {each for settings in disturbed.values() for each in settings if each in PROPERTIES}
    if not names:
        return []
    mentions = {
        column: _mentions(table, column, names, is_label=is_label)
        for column, is_label in spoken.items()
        if table.has(column)
    }
    return [
        Conflict(name, each, neutral, by_property[each])
        for name, settings in disturbed.items()
        for each, neutral in settings.items()
        for column, by_property in mentions.items()
        if each in by_property and column != sources.get(name, name)
    ]


def spared(transform: TransformConfig, names: Iterable[str]) -> TransformConfig:
    """The transform without the settings that disturb some properties."""
    for name in names:
        neutral = transform.disturbs.get(name)
        if neutral is not None:  # the one before may have taken it along
            transform = replace(transform, **neutral)  # type: ignore[arg-type]
    return transform


def _mentions(table: Table, column: str, names: Collection[str], *, is_label: bool) -> dict[str, Mention]:
    positions = np.sort(permutation(len(table), "spoken of")[:_LOOKED_AT])
    cells = table.some_cells(positions, column, literal=is_label)
    texts = [" \n".join(_texts(cell))[:_LONGEST] for cell in cells]
    looked_at = sum(map(bool, texts))
    result: dict[str, Mention] = {}
    distinct = {text: {name: Counter(spoken_words(name, text)) for name in names} for text in set(texts) if text}
    for name in sorted(names):
        words: Counter[str] = Counter()
        rows: list[int] = []
        for position, text in zip(positions.tolist(), texts, strict=True):
            if text and distinct[text][name]:
                words.update(set(distinct[text][name]))
                rows.append(int(table.rows[position]))
        if rows and (is_label or len(rows) >= max(2, _SHARE * looked_at)):
            common = tuple(word for word, _ in words.most_common(_WORDS))
            result[name] = Mention(column, common, tuple(rows[:_ROWS]), len(rows), looked_at)
    return result


def _texts(cell: object) -> list[str]:
    """The texts of a cell, of a list of them and of a list of records (turns of a dialogue)."""
    if isinstance(cell, str):
        return [] if _FILE.fullmatch(cell) else [cell]
    if isinstance(cell, dict):
        return [text for value in cell.values() for text in _texts(value)]
    return [text for part in cell for text in _texts(part)] if isinstance(cell, list) else []


def _spelled(value: object) -> str:
    """A setting's value as a recipe has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Config):
        return json_text(to_dict(value))
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spelled, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
