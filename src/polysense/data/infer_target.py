"""What kind of output a target column asks for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import polars as pl

from polysense.core.modality import Role, Task
from polysense.data.cells import MISSING
from polysense.data.evidence import ColumnGuess, Evidence, quote
from polysense.data.kinds import is_number
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.tagging.target import read_labelled

__all__ = ["find_delimiter", "guess_target", "num_words"]

_MAX_CODED_CLASSES = 20  # an integer target with more values than this is a quantity, unless its name says otherwise
_FEWEST_TEXTS = 10
_FEWEST_PAIRS = 3
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_CODE_NAMES = {"class", "label", "category", "cat", "type", "kind", "code", "cls", "grade", "id", "ids"}


def guess_target(evidence: Evidence) -> ColumnGuess:
    """The guess for a target column.

    Raises:
        ColumnError: It has no values, only one, or values that no task predicts.
    """
    where = f"{evidence.table.name}, target column {evidence.name!r}"
    if not evidence.cells:
        raise ColumnError(f"{where}: all {evidence.num_rows:,} cells are missing; nothing can be learnt from it")
    tagging = _tagging(evidence)
    if tagging is not None:
        return tagging
    if evidence.are_lists:
        items = [item for cell in evidence.cells if isinstance(cell, list) for item in cell]
        if _are_written([item for item in items if isinstance(item, str)], len(set(map(str, items))), len(items)):
            return _output(evidence, Task.GENERATION, f"lists of texts, such as {quote(items[0])}", multiple=True)
        labels = {str(item) for cell in evidence.cells if isinstance(cell, list) for item in cell}
        return _output(
            evidence, Task.MULTILABEL, f"lists of labels, {len(labels):,} different ones looked at", multiple=True
        )
    if isinstance(evidence.cells[0], (bytes, dict)):
        raise ColumnError(
            f"{where}: found {type(evidence.cells[0]).__name__} cells; expected classes, numbers or lists of labels"
        )
    distinct = evidence.num_distinct()
    if distinct == 1:
        raise ColumnError(
            f"{where}: has the same value, {quote(evidence.cells[0])}, in all {evidence.num_present:,} rows that have "
            f"one; nothing can be learnt from it"
        )
    cells = [c for c in evidence.cells if not (isinstance(c, str) and c.strip() in MISSING)]
    if cells and all(is_number(cell) and not isinstance(cell, bool) for cell in cells):
        return _numeric_target(evidence, distinct)
    delimiter = find_delimiter(evidence)
    if delimiter:
        parts = {part.strip() for cell in evidence.cells for part in str(cell).split(delimiter)}
        return _output(
            evidence,
            Task.MULTILABEL,
            f"{len(parts):,} labels separated by {delimiter!r}",
            delimiter=delimiter,
            multiple=True,
        )
    texts = [cell for cell in evidence.cells if isinstance(cell, str)]
    if len(texts) > 0.9 * len(evidence.cells) and _are_written(texts, distinct, evidence.num_present):
        hint = "; if they are classes, its type is classification"
        return _output(evidence, Task.GENERATION, f"texts, {evidence.counts()}, such as {quote(texts[0])}{hint}")
    if distinct > 0.5 * evidence.num_present and distinct > 50:
        raise ColumnError(
            f"{where}: found {evidence.counts()}, such as {quote(evidence.cells[0])}: too many for classes, and too "
            f"short for texts; state the target's type, as classification or generation"
        )
    return _output(evidence, Task.CLASSIFICATION, evidence.counts())


def _tagging(evidence: Evidence) -> ColumnGuess | None:
    """Segments, or lists of labels beside a column whose cells have as many words."""
    read = []
    for cell in evidence.cells:
        if not isinstance(cell, (list, str)) or (isinstance(cell, str) and cell.strip()[:1] != "["):
            return None
        try:
            found = read_labelled(cell)
        except DecodeError:
            return None
        if found is not None:
            read.append(found)
    segments = [segment for found in read for segment in found.segments]
    if segments:
        start, end, label = segments[0]
        example = f"such as {label!r} from {start:g} to {end:g}"
        return _output(evidence, Task.TAGGING, f"lists of segments with start, end and label, {example}")
    lengths = [len(found.labels or ()) for found in read]
    # A set of labels names none twice; where none is, the numbers of labels have to follow the words'.
    repeated = any(len(set(map(str, found.labels or ()))) < len(found.labels or ()) for found in read)
    if max(lengths, default=0) < 2 or (len(set(lengths)) < 2 and not repeated):
        return None
    table = evidence.table
    for name in table.names:
        if name == evidence.name or table.frame.schema[name] not in (pl.String, pl.List(pl.String)):
            continue
        pairs = [
            (len(words), len(labels))
            for words, labels in (
                (_words_of(table.cell(i, name)), table.cell(i, evidence.name, literal=True)) for i in evidence.positions
            )
            if words is not None and isinstance(labels, list)
        ]
        if len(pairs) >= _FEWEST_PAIRS and all(a == b for a, b in pairs):
            reason = f"lists of labels, one for each word of {name!r} in all {len(pairs):,} rows looked at"
            return replace(_output(evidence, Task.TAGGING, reason), over=name)
    return None


def _words_of(cell: object) -> list[str] | None:
    """A cell's words, whether it is a list of them or a text."""
    if isinstance(cell, list):
        return [str(word) for word in cell]
    return cell.split() if isinstance(cell, str) else None


def _are_written(texts: list[str], distinct: int, num_present: int) -> bool:
    """Whether texts are free text: most of them are found once, and they have several words.

    Where not one is found twice, none can be a class that another row teaches, so two words will do.
    """
    if not texts or distinct <= 0.5 * num_present:
        return False
    words = sum(map(num_words, texts)) / len(texts)
    enough = 1.5 if distinct > 50 or distinct == num_present else 3.0
    return distinct >= _FEWEST_TEXTS and words >= enough


def num_words(text: str) -> int:
    """Words; where a script has no spaces between them, about two characters are one."""
    return max(len(text.split()), len(_SPACELESS.findall(text)) // 2)


def _numeric_target(evidence: Evidence, distinct: int) -> ColumnGuess:
    low, high, whole = evidence.range_of_numbers()
    if not whole:
        return _output(evidence, Task.REGRESSION, f"numbers from {low} to {high}, {evidence.counts()}")
    named = bool(evidence.words & _CODE_NAMES)
    if distinct <= _MAX_CODED_CLASSES or (named and evidence.num_present >= 2 * distinct):
        hint = "" if distinct == 2 else "; if they are quantities, its type is regression"
        return _output(evidence, Task.CLASSIFICATION, f"integers {low} to {high}, {evidence.counts()}{hint}")
    hint = "; if they are codes, its type is classification"
    return _output(evidence, Task.REGRESSION, f"integers from {low} to {high}, {evidence.counts()}{hint}")


def _output(
    evidence: Evidence, task: Task, reason: str, multiple: bool = False, delimiter: str | None = None
) -> ColumnGuess:
    return ColumnGuess(
        name=evidence.name,
        role=Role.TARGET,
        reason=f"{task}: {reason}",
        task=task,
        multiple=multiple,
        delimiter=delimiter,
    )


def find_delimiter(evidence: Evidence) -> str | None:
    """What separates labels in one text, if that is convincing: short labels, most of them in several combinations."""
    texts = [cell for cell in evidence.cells if isinstance(cell, str)]
    if len(texts) < len(evidence.cells):
        return None
    for delimiter, shared in (("|", 0.5), (";", 0.5), (",", 0.8)):
        cut = [tuple(part.strip() for part in text.split(delimiter)) for text in texts]
        several = [parts for parts in cut if len(parts) > 1]
        if len(several) < max(3, 0.05 * len(cut)) or any(len(part) > 40 for parts in several for part in parts):
            continue
        combinations = set(cut)
        labels = Counter(part for parts in combinations for part in set(parts) if part)
        recurring = sum(count >= 2 for count in labels.values())
        if labels and recurring >= shared * len(labels) and len(labels) <= len(combinations):
            return delimiter
    return None
