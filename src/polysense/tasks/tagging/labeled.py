"""Reading a cell of labeled segments: a list of segments, or a list of labels, in Python's or JSON's spelling."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from polysense.data.media.media import short
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError

__all__ = ["Labeled", "read_labeled"]

_EXPECTED = 'a list of labels, or of segments such as {"start": 0, "end": 5, "label": "name"}'
# As Label Studio (`labels`, a list), doccano, spaCy, Prodigy, transformers and DCASE spell them.
_STARTS = ("start", "onset", "begin", "start_offset", "start_char", "start_time")
_ENDS = ("end", "offset", "stop", "end_offset", "end_char", "end_time")
_LABELS = ("label", "labels", "event_label", "class", "type", "tag", "entity", "entity_group")


@dataclass(frozen=True)
class Labeled:
    """One cell as it was read.

    Attributes:
        labels: One for each word or frame, None where there is none; None where the cell holds segments.
        segments: (start, end, label) in the table's terms, where it does.
    """

    labels: list[object] | None = None
    segments: list[tuple[float, float, object]] = field(default_factory=list)


def read_labeled(cell: object) -> Labeled | None:
    """A cell of a tagging target; None if it is empty.

    Raises:
        DecodeError: It is neither a list of segments nor one of labels.
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return None
        cell = from_json(text, _EXPECTED) if text[0] in "[{" else text.split()
    if isinstance(cell, dict):
        cell = [cell]
    if cell is None:
        return None
    if not isinstance(cell, list):
        raise DecodeError(f"found {short(cell)}, expected {_EXPECTED}")
    if any(isinstance(item, (dict, list)) for item in cell):
        return Labeled(None, [_segment(item) for item in cell if item is not None])
    if any(isinstance(item, bytes) for item in cell):
        raise DecodeError(f"found {short(cell)}, expected {_EXPECTED}")
    return Labeled(list(cell)) if cell else Labeled([])


def _segment(item: object) -> tuple[float, float, object]:
    if isinstance(item, dict):
        result = [
            next((item[key] for key in keys if item.get(key) is not None), None) for keys in (_STARTS, _ENDS, _LABELS)
        ]
    else:
        result = list(item) if isinstance(item, list) else []
    if len(result) == 3 and isinstance(result[2], list):  # a label editor's list, such as Label Studio's
        if len(result[2]) != 1:
            raise DecodeError(
                f"found the segment {short(item)} with {len(result[2])} labels, expected one: a step has one class"
            )
        result[2] = result[2][0]
    if len(result) != 3 or any(value is None or isinstance(value, (list, dict)) for value in result):
        raise DecodeError(f"found the segment {short(item)}, expected start, end and label")
    try:
        start, end = float(result[0]), float(result[1])  # type: ignore[arg-type]
    except ValueError:
        raise DecodeError(f"found the segment {short(item)}, expected numbers for its start and its end") from None
    if not (np.isfinite(start) and np.isfinite(end)):
        raise DecodeError(f"found the segment {short(item)}, expected finite numbers for its start and its end")
    return start, end, result[2]
