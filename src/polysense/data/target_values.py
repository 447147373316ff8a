"""Whether a target's values are numbers, and whether such numbers are codes."""

from __future__ import annotations

from polysense.data.cells import MISSING
from polysense.data.evidence import Evidence
from polysense.data.numbers import is_number

__all__ = ["are_codes", "are_numbers"]

_MAX_CODED_CLASSES = 20  # an integer target with more values than this is a quantity, unless its name says otherwise
_CODE_NAMES = {"class", "label", "category", "cat", "type", "kind", "code", "cls", "grade", "id", "ids"}


def are_numbers(evidence: Evidence) -> bool:
    """Whether all cells are numbers or spell one; a bool is none."""
    cells = [cell for cell in evidence.cells if not (isinstance(cell, str) and cell.strip() in MISSING)]
    return bool(cells) and all(is_number(cell) and not isinstance(cell, bool) for cell in cells)


def are_codes(evidence: Evidence) -> bool:
    """Whether integers are names of classes: they are few, or the column is called so and each has several rows."""
    distinct = evidence.num_distinct()
    named = bool(evidence.words & _CODE_NAMES)
    return distinct <= _MAX_CODED_CLASSES or (named and evidence.num_present >= 2 * distinct)
