"""F1 over labelled sequences: entities in a text, frames and events in sound or video, each a micro F1, 0 to 1.

Each function counts, per row, what is found and right, what is found and what there is to be found; the value is
F1 = 2 right / (found + true) over the sums of the rows, so a long row weighs more than a short one. Where there is
nothing to find and nothing is found, F1 is undefined (NaN), not 0 as in seqeval.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from polysense.evaluation.metrics.base import ratio

__all__ = [
    "Event",
    "entity_statistics",
    "event_statistics",
    "f1_score",
    "frame_statistics",
    "precision_score",
    "recall_score",
    "segment_statistics",
]

# Times are written in decimals, which binary fractions miss by less than this.
_TOLERANCE = 1e-9


class Event(NamedTuple):
    """What happens from `onset` to `offset`.

    Attributes:
        label: What it is.
        onset: Where it begins, in seconds.
        offset: Where it ends, in seconds.
    """

    label: str
    onset: float
    offset: float


def f1_score(sums: np.ndarray) -> np.ndarray:
    """F1 from [resamples, 3], sums of (right, found, true); NaN where nothing is found nor true."""
    return ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def precision_score(sums: np.ndarray) -> np.ndarray:
    """The share of what is found that is right, from [resamples, 3]; NaN where nothing is found."""
    return ratio(sums[:, 0], sums[:, 1])


def recall_score(sums: np.ndarray) -> np.ndarray:
    """The share of what is true that is found, from [resamples, 3]; NaN where nothing is true."""
    return ratio(sums[:, 0], sums[:, 2])


def entity_statistics(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], *, strict: bool = True
) -> np.ndarray:
    """Counts of named entities from tags ("B-PER", "I-PER", "O"); an entity is right if type and both ends are.

    Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003, section 2.3.

    Args:
        references: The tags of each row's words.
        predictions: Likewise, as many.
        strict: IOB2 to the letter (seqeval's `mode="strict", scheme=IOB2`): an entity begins with B, and an I that
            continues nothing of its type is no entity. False is the rule of the CoNLL script and seqeval's default:
            such an I begins one.

    Returns:
        float64 [rows, 3]: right, found, true.

    Raises:
        ValueError: For rows of different lengths, and for a tag that is not O, B-type or I-type.
    """
    found = np.zeros((len(references), 3))
    for row, (expected, predicted) in enumerate(zip(references, predictions, strict=True)):
        if len(expected) != len(predicted):
            raise ValueError(f"row {row}: found {len(expected)} true tags and {len(predicted)} predicted ones")
        true, own = _entities(expected, strict), _entities(predicted, strict)
        found[row] = len(true & own), len(own), len(true)
    return found


def frame_statistics(references: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Counts of the classes that are active in each frame, over all frames and classes.

    Mesaros et al., "Metrics for Polyphonic Sound Event Detection", 2016, section 3.1, with the frame as the segment.

    Args:
        references: Per row bool [frames, classes]; a row's real frames only.
        predictions: Likewise.

    Returns:
        float64 [rows, 3]: right, found, true.
    """
    found = np.zeros((len(references), 3))
    for row, (expected, predicted) in enumerate(zip(references, predictions, strict=True)):
        if expected.shape != predicted.shape:
            raise ValueError(f"row {row}: found {expected.shape} true frames and {predicted.shape} predicted ones")
        true, own = expected.astype(bool), predicted.astype(bool)
        found[row] = (true & own).sum(), own.sum(), true.sum()
    return found


def segment_statistics(
    references: Sequence[Sequence[Event]], predictions: Sequence[Sequence[Event]], *, resolution: float = 1.0
) -> np.ndarray:
    """Counts of the labels that are active in each segment of a fixed length.

    Mesaros et al., 2016, section 3.1 (sed_eval's segment-based metrics): a label is active in every segment that one of
    its events touches.

    Args:
        references: The true events of each row.
        predictions: The predicted ones.
        resolution: Length of a segment in seconds.

    Returns:
        float64 [rows, 3]: right, found, true.
    """
    found = np.zeros((len(references), 3))
    for row, (expected, predicted) in enumerate(zip(references, predictions, strict=True)):
        true, own = _segments(expected, resolution), _segments(predicted, resolution)
        found[row] = len(true & own), len(own), len(true)
    return found


def event_statistics(
    references: Sequence[Sequence[Event]],
    predictions: Sequence[Sequence[Event]],
    *,
    collar: float = 0.2,
    share_of_length: float = 0.5,
    offsets: bool = True,
) -> np.ndarray:
    """Counts of events; one is right if its label is, it begins in time and, unless `offsets` is off, ends in time.

    Mesaros et al., 2016, section 3.2 (sed_eval's event-based metrics and their defaults): the onset may be
    `collar` away, the offset the larger of `collar` and `share_of_length` of the true event's length. True and
    predicted events are paired one to one, as many as can be (a maximum matching). A distance of exactly the collar is
    within it, whatever the binary fractions say.

    Args:
        references: The true events of each row.
        predictions: The predicted ones.
        collar: In seconds.
        share_of_length: Of the true event's length, for the offset.
        offsets: Whether the offset counts.

    Returns:
        float64 [rows, 3]: right, found, true.
    """
    found = np.zeros((len(references), 3))
    for row, (expected, predicted) in enumerate(zip(references, predictions, strict=True)):
        candidates = [
            [
                place
                for place, own in enumerate(predicted)
                if own.label == true.label
                and abs(own.onset - true.onset) <= collar + _TOLERANCE
                and (
                    not offsets
                    or abs(own.offset - true.offset)
                    <= max(collar, share_of_length * (true.offset - true.onset)) + _TOLERANCE
                )
            ]
            for true in expected
        ]
        found[row] = _matched(candidates), len(predicted), len(expected)
    return found


def _entities(tags: Sequence[str], strict: bool) -> set[tuple[str, int, int]]:
    """(type, first, one past the last) of each entity."""
    found: set[tuple[str, int, int]] = set()
    kind: str | None = None
    start = 0
    for place, tag in enumerate((*tags, "O")):
        prefix, _, own = tag.partition("-")
        if prefix not in ("O", "B", "I") or (prefix == "O") != (not own):
            raise ValueError(f"found the tag {tag!r}, expected O, B-type or I-type")
        if prefix == "I" and own == kind:
            continue
        if kind is not None:
            found.add((kind, start, place))
        begins = prefix == "B" or (prefix == "I" and not strict)
        kind, start = (own if begins else None), place
    return found


def _segments(events: Sequence[Event], resolution: float) -> set[tuple[Hashable, int]]:
    """(label, segment) for every segment that an event touches."""
    return {
        (event.label, segment)
        for event in events
        for segment in range(
            int(np.floor(event.onset / resolution + _TOLERANCE)), int(np.ceil(event.offset / resolution - _TOLERANCE))
        )
    }


def _matched(candidates: Sequence[Sequence[int]]) -> int:
    """Size of a maximum matching, by augmenting paths (Kuhn, 1955)."""
    owner: dict[int, int] = {}

    def augment(true: int, tried: set[int]) -> bool:
        for place in candidates[true]:
            if place not in tried:
                tried.add(place)
                if place not in owner or augment(owner[place], tried):
                    owner[place] = true
                    return True
        return False

    return sum(augment(true, set()) for true in range(len(candidates)))
