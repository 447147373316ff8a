"""What was learned of a column of audio, and what an encoder can ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column, Requirements

__all__ = ["AudioColumn", "AudioRequirements"]


@dataclass(frozen=True, kw_only=True)
class AudioColumn(Column):
    """A column of audio.

    Attributes:
        sample_rate: Samples per second of the decoded waveform.
    """

    modality: str = "audio"
    sample_rate: int

    @property
    def rate(self) -> float:
        """See `Column`."""
        return float(self.sample_rate)


@dataclass(frozen=True, kw_only=True)
class AudioRequirements(Requirements):
    """What an encoder asks of a column of audio.

    Attributes:
        sample_rate: Samples per second.
    """

    sample_rate: int | None = None
