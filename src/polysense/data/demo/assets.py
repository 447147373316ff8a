"""The images and audio clips that the demo's table is made from.

The idea: two files and an index, read whole (0.2 s, 13 MiB), with no library beyond numpy and soundfile. The digits
are a copy of scikit-learn's, because importing that costs 2 s and 153 MiB, which a training run would carry along.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

__all__ = ["Speech", "read_digits", "read_speech"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Every recording of the demo.

    Attributes:
        sample_rate: Hz.
        voices: The voices' names, an accent and a variant of espeak-ng each ("en-gb-scotland+f2").
        voice: int64 [clips], who speaks, a position in `voices`.
        digit: int64 [clips], what is said, 0-9.
        start: int64 [clips], the clip's first sample in `samples`.
        length: int64 [clips], samples.
        samples: int16 [all samples], the audio clips on end.
    """

    sample_rate: int
    voices: tuple[str, ...]
    voice: np.ndarray
    digit: np.ndarray
    start: np.ndarray
    length: np.ndarray
    samples: np.ndarray

    def __len__(self) -> int:
        return len(self.voice)

    def wave(self, clip: int) -> np.ndarray:
        """One recording, trimmed to the speech; int16 [samples]."""
        start = int(self.start[clip])
        return self.samples[start : start + int(self.length[clip])]


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """The handwritten digits.

    Returns:
        uint8 [1797, 8, 8] of 0 (paper) to 16 (ink), and their labels, int64 [1797].
    """
    with np.load(_FOLDER / "digits.npz", allow_pickle=False) as file:
        return file["images"], file["labels"].astype(np.int64)


def read_speech() -> Speech:
    """The audio clips of all voices."""
    index = json.loads((_FOLDER / "speech.json").read_text(encoding="utf-8"))
    columns = dict(zip(index["fields"], np.array(index["recordings"], dtype=np.int64).T, strict=True))
    samples, rate = soundfile.read(_FOLDER / "speech.flac", dtype="int16")
    return Speech(
        sample_rate=rate,
        voices=tuple(index["voices"]),
        voice=columns["voice"],
        digit=columns["digit"],
        start=columns["start"],
        length=columns["length"],
        samples=samples,
    )
