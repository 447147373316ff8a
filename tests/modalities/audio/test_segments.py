"""Seconds of an audio clip, and its samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysense.core.registry import modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.core.unsupported import Unsupported
from polysense.errors import DecodeError
from polysense.modalities.audio.column import AudioColumnConfig

CLIP = {"array": np.zeros(8000, dtype=np.float32), "sampling_rate": 16000}


def test_seconds_are_samples_at_the_rate_of_the_column() -> None:
    processor = AudioColumnConfig(sample_rate=8000).build("clip")
    processor.fit([CLIP], [SourceInfo(table="t", row=0, column="clip")], Path(), Requirements())
    align = modality("audio").aligner
    assert not isinstance(align, Unsupported)
    aligner = align(processor, CLIP, Path(), (), None)
    assert (aligner.length, aligner.extent, aligner.words, aligner.text) == (4000, 0.5, None, None)
    assert aligner.steps(0.25, 0.52) == (2000.0, 4000.0), "what runs over the end is cut there"
    assert aligner.steps(0.5, 0.6) is None
    assert aligner.terms(1000.0, 3000.0)[:2] == (0.125, 0.375)
    assert aligner.positions(2) == [(0.0, 0.25), (0.25, 0.5)]
    assert align(processor, [CLIP], Path(), (), 2000).extent == 0.25
    with pytest.raises(DecodeError, match="found 2 audio clips in column 'clip', expected one"):
        align(processor, [CLIP, CLIP], Path(), (), None)
