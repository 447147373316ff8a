"""Where something lies in one cell: between the table's own terms and the column's steps.

The table says characters of a text, seconds of an audio clip, or a label for each word or frame. A model knows only the
steps of what it was given: tokens, samples. A ruler is made for one row and goes both ways. Another kind of column
(video, series) takes a ruler of its own, and an entry in `aligner_of`.

A token belongs to a segment if more than half of it lies inside, whitespace aside; so a segment that ends within a
token ends with it or before it. A segment none of whose tokens is mostly inside gets the token that it fills most.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysense.data.column import ColumnProcessor
from polysense.errors import DecodeError
from polysense.modalities.audio.column import AudioProcessor
from polysense.modalities.audio.decode import audio_info
from polysense.modalities.text.column import TextProcessor, join_words

__all__ = ["AudioAligner", "SegmentAligner", "TextAligner", "aligner_of", "can_measure", "find_over"]

_SLACK = 0.05  # seconds that an annotation may run over a clip's end: rounding, a resampled copy


class SegmentAligner(ABC):
    """One cell's length in both terms.

    Attributes:
        length: Steps of the column.
        extent: Its end in the table's terms.
        unit: What the table counts in, for messages.
        slack: How far a segment may run over the end; it is then cut there.
        words: Where its words lie, of a text.
    """

    length: int
    extent: float
    unit: str
    slack: float = 0.0
    words: Sequence[tuple[int, int]] = ()

    @abstractmethod
    def positions(self, num_labels: int) -> list[tuple[float, float]]:
        """Where each label of a list of labels lies, in the table's terms.

        Raises:
            DecodeError: The cell takes another number of labels.
        """

    @abstractmethod
    def steps(self, start: float, end: float) -> tuple[float, float] | None:
        """A segment of the table in the column's steps; None where nothing of it was read."""

    @abstractmethod
    def terms(self, start: float, end: float) -> dict[str, Any]:
        """A segment of steps in the table's terms: its start, its end, and what stands there if that can be said."""


class TextAligner(SegmentAligner):
    """Characters or words of a text, and its tokens."""

    unit = "characters"

    def __init__(self, column: TextProcessor, cell: object) -> None:
        """Tokenizes the text once more; only rows with segments ask for it.

        Args:
            column: Fitted.
            cell: A text, or the words of one.
        """
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

    def terms(self, start: float, end: float) -> dict[str, Any]:
        chosen = self._tokens[round(start) : round(end)]
        chosen = chosen[chosen[:, 1] > chosen[:, 0]]
        first, last = (int(chosen[0, 0]), int(chosen[:, 1].max())) if len(chosen) else (0, 0)
        if self._map is not None:
            first, last = (int(place) for place in np.searchsorted(self._map, [first, last]))
        return {"start": first, "end": last, "text": self.text[first:last]}

    def _read(self, position: int) -> int:
        """A place in the given text as one in the composed text."""
        return position if self._map is None else int(self._map[min(position, len(self._map) - 1)])


class AudioAligner(SegmentAligner):
    """Seconds of an audio clip, and its samples."""

    unit = "seconds"
    slack = _SLACK

    def __init__(self, sample_rate: int, num_samples: int) -> None:
        self._rate = sample_rate
        self.length = num_samples
        self.extent = num_samples / sample_rate

    def positions(self, num_labels: int) -> list[tuple[float, float]]:
        edges = np.linspace(0.0, self.extent, num_labels + 1).tolist()
        return list(itertools.pairwise(edges))

    def steps(self, start: float, end: float) -> tuple[float, float] | None:
        first, last = start * self._rate, min(end * self._rate, float(self.length))
        return (first, last) if last > first else None

    def terms(self, start: float, end: float) -> dict[str, Any]:
        return {"start": round(start / self._rate, 3), "end": round(end / self._rate, 3)}


def can_measure(column: ColumnProcessor) -> bool:
    """Whether there is a ruler for a column."""
    return isinstance(column, (TextProcessor, AudioProcessor))


def aligner_of(
    column: ColumnProcessor, cell: object, root: Path, items: Sequence[np.ndarray] = (), length: int | None = None
) -> SegmentAligner | None:
    """The ruler of one row; None where the cell is empty.

    Args:
        column: Fitted.
        cell: As the table has it.
        root: The folder that media paths start from.
        items: The cell as it was read; without them an audio clip's length is looked up in its file.
        length: The length in steps, where it is known already.

    Raises:
        DecodeError: The cell can't be read, or holds several items.
    """
    if cell is None:
        return None
    if isinstance(column, TextProcessor):
        if isinstance(cell, list) and not column.joins_lists:
            if len(cell) > 1:
                raise DecodeError(
                    f"found {len(cell)} texts in column {column.name!r}, expected one; if they are the words of one "
                    f"text, set data.columns.{column.name}.words to true"
                )
            cell = cell[0] if cell else ""
        return TextAligner(column, cell)
    assert isinstance(column, AudioProcessor)
    rate = column.column.sample_rate
    if isinstance(cell, list) and len(cell) != 1:
        raise DecodeError(f"found {len(cell)} audio clips in column {column.name!r}, expected one")
    if length is None and len(items):
        length = len(items[0])
    if length is None:
        source_rate, frames, _ = audio_info(cell[0] if isinstance(cell, list) else cell, root)
        length = round(frames * rate / source_rate)
    return AudioAligner(rate, length)


def find_over(columns: Mapping[str, ColumnProcessor]) -> list[str]:
    """The columns that something can lie in."""
    return [name for name, column in columns.items() if can_measure(column)]


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
        whole = text[start:position].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        done += len(unicodedata.normalize("NFC", whole))
        lengths[position], start = done, position
    if lengths[-1] != total:  # letters that join with the next one (Hangul): spread evenly, which is nearly right
        lengths = np.round(np.linspace(0, total, len(text) + 1)).astype(np.int64)
    return lengths
