"""Editors: one class or several of a list, a number, a text, and labeled stretches of a text.

A task's spec picks one. Classes are told apart as everywhere (`category_key`): 1, 1.0 and "1" are the same class. What
the table had of a class (an integer, a truth value) is what an export writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import ClassVar

from polysense.core.editor import Editor, EditorRequest, LabelCodes
from polysense.core.json import JsonValue
from polysense.core.spelling import did_you_mean, enumerated, shortened
from polysense.data.values.category_key import category_key
from polysense.data.values.json_cell import from_json
from polysense.data.values.numbers import spell
from polysense.errors import ConfigError, DecodeError

__all__ = ["ChoiceEditor", "ChoicesEditor", "NumberEditor", "SpansEditor", "TextEditor"]

_LONGEST_TEXT = 100_000  # characters
_MOST_CLASSES = 10_000
_MOST_LISTED = 8
_DELIMITERS = ("|", ";", ",")


class _Options:
    """Classes by their keys, each with what the table has for it."""

    def __init__(self, target: str, stated: Sequence[str], cells: Sequence[object]) -> None:
        by_key: dict[str, object] = {}
        for cell in cells:
            if (key := category_key(cell)) is not None:
                by_key.setdefault(key, cell)
        if stated:
            requested = {key: name for name in stated if name.strip() and (key := category_key(name)) is not None}
            # Classes that rows have already stay, behind those that are stated.
            by_key = {**{key: by_key.get(key, name) for key, name in requested.items()}, **by_key}
        else:
            by_key = dict(sorted(by_key.items(), key=_order))
        if len(by_key) < 2:
            known = f"found only {next(iter(by_key))!r}" if by_key else "no row has a label yet"
            raise ConfigError(f"{target}: {known}; name at least two classes with --classes A,B (classes= in Python)")
        if len(by_key) > _MOST_CLASSES:
            raise ConfigError(f"{target}: found {len(by_key):,} classes, expected at most {_MOST_CLASSES:,}")
        self.target = target
        self.cells = by_key
        self.names = tuple(by_key)
        self.positions = {name: i for i, name in enumerate(self.names)}

    def find(self, value: object) -> str:
        """The key of a label.

        Raises:
            ConfigError: It is none of the classes.
        """
        if not isinstance(value, (str, int, float)):
            raise ConfigError(f"{self.target}: found {shortened(value)}, expected one of the classes")
        key = category_key(value) or ""
        if key not in self.positions:
            raise ConfigError(
                f"{self.target}: found {shortened(value)}, expected one of {enumerated(self.names, _MOST_LISTED)}"
                f"{did_you_mean(key, self.names)}"
            )
        return key


def _order(entry: tuple[str, object]) -> tuple[bool, float, str]:
    """Numbers by value, then texts."""
    try:
        number = float(entry[0])
    except ValueError:
        return True, 0.0, entry[0]
    return not math.isfinite(number), number if math.isfinite(number) else 0.0, entry[0]


class ChoiceEditor(Editor):
    """One of several classes.

    Args:
        request: Names the classes, or has cells that do.

    Raises:
        ConfigError: There are fewer than two classes, or too many.
    """

    control: ClassVar[str] = "choice"
    is_nominal: ClassVar[bool] = True

    def __init__(self, request: EditorRequest) -> None:
        self._options = _Options(request.target, request.classes, request.cells)

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        return {"options": list(self._options.names)}

    def parse(self, value: object) -> JsonValue:
        return self._options.find(value)

    def read(self, cell: object) -> JsonValue:
        return None if cell is None else self._options.find(cell)

    def cell(self, value: JsonValue) -> object:
        return self._options.cells[str(value)]

    def distance(self, first: JsonValue, second: JsonValue) -> float:
        """0 or 1: alpha of nominal data."""
        return float(first != second)

    def spelled(self, value: JsonValue) -> str:
        return str(value)

    @property
    def codes(self) -> LabelCodes:
        return LabelCodes(classes=self._options.names)

    def code(self, value: JsonValue) -> float:
        return float(self._options.positions[str(value)])

    def decoded(self, code: float) -> JsonValue:
        return self._options.names[round(code)]


class ChoicesEditor(Editor):
    """Any number of labels at once; a label is the list of them, in the classes' order. An empty list is a label.

    Args:
        request: Names the classes, or has cells that do.

    Raises:
        ConfigError: There are fewer than two classes, or too many.
    """

    control: ClassVar[str] = "choices"

    def __init__(self, request: EditorRequest) -> None:
        texts = [cell for cell in request.cells if isinstance(cell, str)]
        self._delimiter = request.delimiter or next(
            (sign for sign in _DELIMITERS if any(sign in text for text in texts)), None
        )
        self._are_lists = any(isinstance(cell, list) for cell in request.cells)
        parts = [part for cell in request.cells if cell is not None for part in self._parts(cell)]
        self._options = _Options(request.target, request.classes, parts)

    def _parts(self, cell: object) -> list[object]:
        if isinstance(cell, list):
            return [part for part in cell if part is not None]
        if isinstance(cell, str):
            texts = cell.split(self._delimiter) if self._delimiter else [cell]
            return [text.strip() for text in texts if text.strip()]
        return [cell]

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        return {"options": list(self._options.names)}

    def parse(self, value: object) -> JsonValue:
        if not isinstance(value, list):
            raise ConfigError(f"{self._options.target}: found {shortened(value)}, expected a list of classes")
        chosen = {self._options.find(part) for part in value}
        return [name for name in self._options.names if name in chosen]

    def read(self, cell: object) -> JsonValue:
        return None if cell is None else self.parse(self._parts(cell))

    def cell(self, value: JsonValue) -> object:
        labels = [self._options.cells[str(part)] for part in _listed(value)]
        # A list where the table has lists, or nothing yet; no label at all is one in any case, since "" is missing.
        if self._delimiter is None or self._are_lists or not labels:
            return labels
        return self._delimiter.join(map(str, labels))

    def distance(self, first: JsonValue, second: JsonValue) -> float:
        """1 less the share of labels that both name among those that one names (Jaccard)."""
        a, b = set(map(str, _listed(first))), set(map(str, _listed(second)))
        return 1.0 - len(a & b) / len(a | b) if a | b else 0.0

    def spelled(self, value: JsonValue) -> str:
        return ", ".join(map(str, _listed(value))) or "none of them"


class NumberEditor(Editor):
    """A number. Where rows have some, their range is shown beside the field.

    Args:
        request: The cells' range is shown.
    """

    control: ClassVar[str] = "number_field"

    def __init__(self, request: EditorRequest) -> None:
        self._target = request.target
        numbers = [number for cell in request.cells if (number := _as_number(cell)) is not None]
        self._range = (min(numbers), max(numbers)) if numbers else None

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        return {"low": None, "high": None} if self._range is None else {"low": self._range[0], "high": self._range[1]}

    def parse(self, value: object) -> JsonValue:
        number = _as_number(value)
        if number is None:
            raise ConfigError(f"{self._target}: found {shortened(value)}, expected a number, as 3.5")
        return number

    def read(self, cell: object) -> JsonValue:
        return None if cell is None else self.parse(cell)

    def cell(self, value: JsonValue) -> object:
        return value

    def distance(self, first: JsonValue, second: JsonValue) -> float:
        """The squared difference: alpha of interval data."""
        assert isinstance(first, (int, float))
        assert isinstance(second, (int, float))
        return float(first - second) ** 2

    def spelled(self, value: JsonValue) -> str:
        return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)

    def resolved(self, values: Sequence[JsonValue]) -> JsonValue:
        """The median."""
        return float(median(value for value in values if isinstance(value, (int, float))))

    @property
    def codes(self) -> LabelCodes:
        return LabelCodes(classes=None)

    def code(self, value: JsonValue) -> float:
        assert isinstance(value, (int, float))
        return float(value)

    def decoded(self, code: float) -> JsonValue:
        return float(f"{code:.4g}")


class TextEditor(Editor):
    """A text of the person's own.

    Args:
        request: Its target is named in messages.
    """

    control: ClassVar[str] = "text_field"

    def __init__(self, request: EditorRequest) -> None:
        self._target = request.target

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        return {}

    def parse(self, value: object) -> JsonValue:
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{self._target}: found {shortened(value)}, expected a text")
        if len(value) > _LONGEST_TEXT:
            raise ConfigError(f"{self._target}: found {len(value):,} characters, expected at most {_LONGEST_TEXT:,}")
        return value.strip()

    def read(self, cell: object) -> JsonValue:
        if isinstance(cell, list):  # several references, of which the first is as good as any
            cell = next((part for part in cell if part is not None), None)
        return None if cell is None else self.parse(str(cell))

    def cell(self, value: JsonValue) -> object:
        return value

    def distance(self, first: JsonValue, second: JsonValue) -> float:
        """0 or 1, whatever the case of letters and the width of spaces."""
        return float(" ".join(str(first).casefold().split()) != " ".join(str(second).casefold().split()))

    def spelled(self, value: JsonValue) -> str:
        return str(value)


class SpansEditor(Editor):
    """Labeled stretches of a text column: {"start", "end", "label"} each, in characters, the end not included.

    Args:
        request: Names the classes, or has cells that do, and the text column that the stretches lie in where there are
            several.

    Raises:
        ConfigError: There is no text column, or several and none is named, or there are no classes.
    """

    control: ClassVar[str] = "spans"

    def __init__(self, request: EditorRequest) -> None:
        texts = request.texts
        over = request.over or (texts[0] if len(texts) == 1 else None)
        if over is None or over not in texts:
            known = f"found the text columns {enumerated(texts)}" if texts else "found no column of texts"
            raise ConfigError(f"{request.target}: {known}; name the one that labels lie in with --over COLUMN (over=)")
        self._target, self._over = request.target, over
        seen = [span["label"] for cell in request.cells if cell is not None for span in self._spans(cell)]
        self._options = _Options(request.target, request.classes, seen)

    def _spans(self, cell: object) -> list[dict[str, object]]:
        expected = 'a list of {"start": 0, "end": 5, "label": "name"}'
        value = from_json(cell, expected)
        if not isinstance(value, list) or not all(
            isinstance(part, dict) and {"start", "end", "label"} <= part.keys() for part in value
        ):
            raise DecodeError(f"{self._target}: found {shortened(cell)}, expected {expected}")
        return value

    @property
    def settings(self) -> Mapping[str, JsonValue]:
        return {"options": list(self._options.names), "over": self._over}

    def parse(self, value: object) -> JsonValue:
        spans: list[dict[str, object]] = []
        try:
            parts = self._spans(value)
        except DecodeError as error:
            raise ConfigError(str(error)) from None
        for part in parts:
            start, end = part["start"], part["end"]
            if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end):
                raise ConfigError(
                    f"{self._target}: found a stretch from {shortened(start)} to {shortened(end)}, expected whole "
                    "numbers of characters, the end behind the start"
                )
            spans.append({"start": start, "end": end, "label": self._options.find(part["label"])})
        unique = {(span["start"], span["end"], span["label"]): span for span in spans}
        ordered = [unique[key] for key in sorted(unique, key=lambda key: (key[0], key[1], str(key[2])))]
        return list(ordered)

    def read(self, cell: object) -> JsonValue:
        return None if cell is None else self.parse(cell)

    def cell(self, value: JsonValue) -> object:
        return value

    def distance(self, first: JsonValue, second: JsonValue) -> float:
        """1 less the F1 of the stretches that are equal in both."""
        a, b = set(map(str, _listed(first))), set(map(str, _listed(second)))
        return 1.0 - 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0

    def spelled(self, value: JsonValue) -> str:
        spans = [part for part in _listed(value) if isinstance(part, dict)]
        return ", ".join(f"{span['label']} {span['start']}-{span['end']}" for span in spans) or "no stretch"


def _listed(value: JsonValue) -> list[object]:
    return value if isinstance(value, list) else []


def _as_number(value: object) -> float | None:
    """A finite number, or a text that spells one without a unit; a decimal comma is one where nothing else is."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        spelled = spell(value)
        if spelled is None or spelled.unit not in ("", "%") or spelled.bound or spelled.letter:
            return None
        for text in (value.strip(), value.strip().replace(",", ".")):
            try:
                return _as_number(float(text))
            except ValueError:
                continue
        return None
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
