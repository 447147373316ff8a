"""Where segments lie in a text: between its characters or words and its tokens.

A token belongs to a segment if more than half of it lies inside, whitespace aside; so a segment that ends within a
token ends with it or before it. A segment none of whose tokens is mostly inside gets the token that it fills most.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polysense.core.modality_spec import FittedColumn
from polysense.core.segment_aligner import CellSegment, SegmentAligner
from polysense.core.unicode_text import mended
from polysense.errors import DecodeError
from polysense.modalities.text.column import TextProcessor, join_words

__all__ = ["TextAligner", "align_text"]


def align_text(
    fitted: FittedColumn, cell: object, root: Path, items: Sequence[np.ndarray], length: int | None
) -> TextAligner:
    """The aligner of one cell; see `ModalitySpec.aligner`."""
    assert isinstance(fitted, TextProcessor)
    if isinstance(cell, list) and not fitted.joins_lists:
        if len(cell) > 1:
            raise DecodeError(
                f"found {len(cell)} texts in column {fitted.name!r}, expected one; if they are the words of one "
                f"text, set data.columns.{fitted.name}.words to true"
            )
        cell = cell[0] if cell else ""
    return TextAligner(fitted, cell)


class TextAligner(SegmentAligner):
    """Characters or words of a text, and its tokens."""

    unit = "characters"

    def __init__(self, column: TextProcessor, cell: object) -> None:
        """Tokenizes the text once more; only rows with segments ask for it.

        Args:
            column: Fitted.
            cell: A text, or the words of one.
        """
        self.words: list[tuple[int, int]]
        self.text: str
        if isinstance(cell, list):
            words, position = join_words(cell), 0
            self.words = []
            for word in words:
                self.words.append((position, position + len(word)))
                position += len(word) + 1
            cell = " ".join(words)
            self.given = True
        else:
            cell = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
            self.words = [match.span() for match in re.finditer(r"\S+", cell)]
            self.given = False
        self.text = cell
        self.extent = float(len(cell))
        read, offsets = column.located(cell)
        self._map = None if read == cell else _composed(cell, len(read))
        self._tokens = np.array([_trimmed(read, *offset) for offset in offsets], dtype=np.int64).reshape(-1, 2)
        self.length = len(self._tokens)

    def positions(self, num_labels: int) -> list[tuple[float, float]]:
        if num_labels != len(self.words):
            kind = "words in the list" if self.given else "words, as whitespace parts them"
            raise DecodeError(f"found {num_labels} labels for {len(self.words)} {kind}, expected one label for each")
        return [(float(start), float(end)) for start, end in self.words]

    def steps(self, start: float, end: float) -> tuple[float, float] | None:
        first, last = self._read(round(start)), self._read(round(end))
        begins, ends = self._tokens[:, 0], self._tokens[:, 1]
        inside = np.minimum(ends, last) - np.maximum(begins, first)
        chosen = np.flatnonzero(2 * inside > ends - begins)
        chosen = chosen[inside[chosen] > 0]
        if not len(chosen):
            if not self.length or inside.max() <= 0:
                return None
            best = int(inside.argmax())
            return float(best), float(best + 1)
        return float(chosen[0]), float(chosen[-1] + 1)

    def terms(self, start: float, end: float) -> CellSegment:
        chosen = self._tokens[round(start) : round(end)]
        chosen = chosen[chosen[:, 1] > chosen[:, 0]]
        first, last = (int(chosen[0, 0]), int(chosen[:, 1].max())) if len(chosen) else (0, 0)
        if self._map is not None:
            first, last = (int(place) for place in np.searchsorted(self._map, [first, last]))
        return CellSegment(first, last, self.text[first:last])

    def _read(self, position: int) -> int:
        """A place in the given text as one in the composed text."""
        return position if self._map is None else int(self._map[min(position, len(self._map) - 1)])


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's place without the whitespace around it, which belongs to no word."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _composed(text: str, total: int) -> np.ndarray:
    """For each place in a text the place in its composed form (NFC); int64 [characters + 1], ascending."""
    lengths = np.zeros(len(text) + 1, dtype=np.int64)
    start = done = 0
    for position in range(1, len(text) + 1):
        # A mark belongs to the letter before it, and half a surrogate pair to the other half.
        if position < len(text) and (unicodedata.combining(text[position]) or "\udc00" <= text[position] <= "\udfff"):
            lengths[position] = done
            continue
        done += len(unicodedata.normalize("NFC", mended(text[start:position])))
        lengths[position], start = done, position
    if lengths[-1] != total:  # letters that join with the next one (Hangul): spread evenly, which is nearly right
        lengths = np.round(np.linspace(0, total, len(text) + 1)).astype(np.int64)
    return lengths
