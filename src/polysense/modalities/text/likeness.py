"""Likeness of texts: MinHash values of their runs of five characters, of which the last bit is kept.

All values come from one hash of each run, whose first bits say which of the values it may be (one permutation hashing,
Li, Owen and Zhang, 2012): a value that no run falls to says nothing, as for a short text many do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from polysense.core.likeness import FEWEST_SIGNS, Likeness
from polysense.core.modality_spec import parts
from polysense.core.schema import Column

__all__ = ["LIKENESS"]

_RUN = 5  # characters
_VALUES = 256
_LONGEST = 20_000  # characters that are looked at
# Two texts that share 80% of their runs agree in 0.8 of the values, and by chance in half of the others.
_THRESHOLD = 0.88
_MIX = np.uint64(0x9E3779B97F4A7C15)


def _signature(column: Column, cell: object, items: Sequence[np.ndarray]) -> np.ndarray | None:
    text = " ".join(str(part) for part in parts(cell))[:_LONGEST]
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    codes = np.array([ord(letter) for letter in text], dtype=np.uint64)
    if len(codes) < FEWEST_SIGNS + _RUN:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(codes, _RUN)
    hashes = np.zeros(len(runs), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for k in range(_RUN):
            hashes = (hashes ^ runs[:, k]) * _MIX
            hashes ^= hashes >> np.uint64(29)
    values = np.full(_VALUES, np.iinfo(np.uint64).max, dtype=np.uint64)
    # The last byte says which value, the rest is compared.
    np.minimum.at(values, (hashes & np.uint64(_VALUES - 1)).astype(np.int64), hashes >> np.uint64(8))
    signs = np.where(values & np.uint64(1), 1, -1).astype(np.int8)
    signs[values == np.iinfo(np.uint64).max] = 0
    return signs if np.count_nonzero(signs) >= FEWEST_SIGNS else None


LIKENESS = Likeness(signature=_signature, threshold=_THRESHOLD, keeps_label=False, reads_items=False)
