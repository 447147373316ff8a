"""Editor: how a person enters a label of a task, and what two labels have in common.

A task answers `TaskSpec.editor` with one, or refuses. A page asks the editor what to draw (`control`, `settings`) and
knows controls, not tasks; a journal keeps what `parse` returns, in JSON's own types, so that it can be read in ten
years by anybody.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from polysense.core.json import JsonValue
from polysense.core.unsupported import Unsupported

__all__ = ["Editor", "EditorRequest", "LabelCodes", "same_label"]


@dataclass(frozen=True, kw_only=True)
class EditorRequest:
    """What a task makes an editor from.

    Attributes:
        target: The column that labels are for.
        classes: Those that the user names, in the user's order; empty takes those of the cells.
        cells: The column's cells, None where missing; empty where the table does not have it yet.
        delimiter: What separates several labels in one text; None if cells are lists, or nothing says it.
        texts: The input columns whose cells are free text.
        over: The input column that labels lie in, where the user names one.
    """

    target: str
    classes: Sequence[str] = ()
    cells: Sequence[object] = field(default_factory=tuple)
    delimiter: str | None = None
    texts: Sequence[str] = ()
    over: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelCodes:
    """Labels as a model learns them.

    Attributes:
        classes: Names of the classes, whose positions are the codes; None where labels are numbers.
    """

    classes: tuple[str, ...] | None


def same_label(first: JsonValue, second: JsonValue) -> bool:
    """Whether two labels are the same: a set as JSON has it is a sorted list, so their texts tell."""
    return _key(first) == _key(second)


def _key(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class Editor(ABC):
    """Reads, checks, compares and spells labels of one target.

    Attributes:
        control: What a page draws: "choice", "choices", "number_field", "text_field" or "spans".
        is_nominal: Whether two labels are either the same or not, and no nearer or farther: then kappa says something.
    """

    control: ClassVar[str]
    is_nominal: ClassVar[bool] = False

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, JsonValue]:
        """What the control is drawn from, such as its options."""

    @abstractmethod
    def parse(self, value: object) -> JsonValue:
        """A label as it came from a page or a file, checked and in its one spelling.

        Raises:
            ConfigError: It is no label of this target; says what was expected.
        """

    @abstractmethod
    def read(self, cell: object) -> JsonValue:
        """A cell of the table as a label; None if it is missing.

        Raises:
            UserError: It is none.
        """

    @abstractmethod
    def cell(self, value: JsonValue) -> object:
        """A label as the table holds it."""

    @abstractmethod
    def distance(self, first: JsonValue, second: JsonValue) -> float:
        """How far two labels are apart, 0 where they are the same: the squared difference of Krippendorff's alpha."""

    @abstractmethod
    def spelled(self, value: JsonValue) -> str:
        """A label as a person reads it."""

    def resolved(self, values: Sequence[JsonValue]) -> JsonValue:
        """What several annotators' labels of one row come to: what more than half of them say, else None."""
        counts: dict[str, list[JsonValue]] = {}
        for value in values:
            counts.setdefault(_key(value), []).append(value)
        most = max(counts.values(), key=len)
        return most[0] if 2 * len(most) > len(values) else None

    @property
    def codes(self) -> LabelCodes | Unsupported:
        """How a model learns the labels while they are made."""
        return Unsupported("no model learns such labels between two clicks")

    def code(self, value: JsonValue) -> float:
        """A label as a number, for `codes`."""
        raise AssertionError(f"{type(self).__name__} has no codes")

    def decoded(self, code: float) -> JsonValue:
        """The label of a number."""
        raise AssertionError(f"{type(self).__name__} has no codes")
