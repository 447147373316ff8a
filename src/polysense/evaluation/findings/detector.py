"""Detector: one question that a check asks of a table, with the kinds of findings that it may answer with.

A new kind of finding is a class here, in a module of its own, and a name in `detectors.DETECTORS`. Those that test
something share one promise: over tables in which there is nothing to find, a detector speaks up in at most
`FALSE_ALARMS` of them, however many columns these have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding
from polysense.evaluation.findings.checked import CheckedTable

__all__ = ["FALSE_ALARMS", "Detector", "counted", "examples", "listed"]

FALSE_ALARMS = 0.002
"""The probability that a detector that tests speaks up where there is nothing, over all columns together."""

_MOST = 3


class Detector(ABC):
    """One of them; it has no state.

    Attributes:
        kinds: Of its findings, each with what it means, for the schema and the guide.
    """

    kinds: ClassVar[Mapping[str, str]]

    @abstractmethod
    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        """What there is to say of a table; nothing where all is well."""


def counted(num: int, noun: str) -> str:
    """ "1 row", "12 rows"."""
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def listed(items: Sequence[str], most: int, total: int | None = None) -> str:
    """The first items: "a, b, c, ..."; of a total of more than were given, if that is known."""
    total = len(items) if total is None else total
    return f"{', '.join(items[:most])}{', ...' if total > most else ''}"


def examples(checked: CheckedTable, groups: Sequence[np.ndarray], sign: str) -> str:
    """The first groups of rows in parentheses: "(rows 3 = 17, 4 = 20 = 31, ...)"."""
    first = [f" {sign} ".join(checked.named(i) for i in group[:4].tolist()) for group in groups[:_MOST]]
    return f"(rows {listed(first, _MOST, len(groups))})"
