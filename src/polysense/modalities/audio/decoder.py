"""Audio clips: one place for each span of frames of the log-mel spectrogram, standardized per clip.

A waveform's phase is chance, and most of its energy; what is heard is in the spectrogram. So that is what is
reconstructed, whatever the encoder reads, and the best constant scores 1. No waveform is made of it: standardizing
takes out how loud a clip is, nothing says where it ends, and phases that fit a blurred spectrogram sound like a voice
in a tube.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.column_decoder import ColumnDecoder, DecodingLimits
from polysense.nn.layers.draws import normals
from polysense.nn.layers.spectrogram import LogMel

__all__ = ["SoundDecoder"]

_MOST_SPANS = 128  # attention among them costs their square
_SHORTEST_SPAN = 4  # frames, 40 ms


class SoundDecoder(ColumnDecoder):
    """Spans of an audio clip's log-mel spectrogram.

    Args:
        column: The fitted column.
        width: Of the tokens that are read.
        max_seconds: Of the audio, that are reconstructed; None: as long as 95% of the training audio clips are.
        num_mels: Bands.
    """

    column: AudioColumn

    def __init__(self, column: AudioColumn, width: int, max_seconds: float | None, num_mels: int) -> None:
        samples = column.typical_length if max_seconds is None else max_seconds * column.sample_rate
        hop = LogMel(column.sample_rate, 1).hop
        frames = max(1, math.ceil(samples / hop))
        self._span = max(_SHORTEST_SPAN, -(-frames // _MOST_SPANS))
        super().__init__(column, -(-frames // self._span))
        self._hop, self._num_frames = hop, self.num_positions * self._span
        self.log_mel = LogMel(column.sample_rate, num_mels)
        self.output = nn.Linear(width, num_mels * self._span)

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> SoundDecoder:
        return cls(AudioColumn.of(column), width, limits.max_seconds, limits.num_mels)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch positions"]:
        return self._frames(column).view(-1, self.num_positions, self._span).any(dim=2)

    def with_masked(self, column: ColumnBatch, positions: Bool[Tensor, "batch positions"]) -> ColumnBatch:
        samples = positions.repeat_interleave(self._span * self._hop, dim=1)
        values = column.values.masked_fill(_fitted(samples, column.values.shape[2])[:, None], 0)
        return dataclasses.replace(column, values=values)

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if noise == 0:
            return column
        _, items, length = column.values.shape
        # One name for each item, so that a sample's draw does not depend on how far others are padded.
        drawn = [normals(keys, length, f"noise {self.column.name} {item}") for item in range(items)]
        there = torch.arange(length, device=column.values.device) < column.lengths[..., None]
        # Sums of squares of 16-bit integers are exact as integers: the order of adding changes nothing.
        squares = column.values.long().square().masked_fill(~there, 0).sum(dim=2, keepdim=True)
        loudness = (squares.float() / column.lengths[..., None].clamp(min=1)).sqrt()
        values = column.values.float() + noise * loudness * torch.stack(drawn, dim=1)
        return dataclasses.replace(
            column, values=values.round().clamp(-32768, 32767).to(column.values.dtype).masked_fill(~there, 0)
        )

    def losses(
        self,
        tokens: Float[Tensor, "batch positions width"],
        column: ColumnBatch,
        positions: Bool[Tensor, "batch positions"],
    ) -> Float[Tensor, " batch"]:
        truth, known = self.truth(column)
        scored = known[:, 0] & positions.repeat_interleave(self._span, dim=1)
        squares = ((self.predict(tokens) - truth) ** 2).mean(dim=1).masked_fill(~scored, 0.0)
        return squares.sum(dim=1) / scored.sum(dim=1).clamp(min=1)

    def truth(self, column: ColumnBatch) -> tuple[Float[Tensor, "batch bands frames"], Bool[Tensor, "batch 1 frames"]]:
        log_mel, _ = self.log_mel(column.values[:, 0], column.lengths[:, 0])
        return _fitted(log_mel, self._num_frames), self._frames(column)[:, None]

    @property
    def mean_shape(self) -> tuple[int, ...]:
        return (self.log_mel.num_mels, 1)

    def predict(self, tokens: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch bands frames"]:
        spans: Tensor = self.output(tokens).float().view(len(tokens), self.num_positions, -1, self._span)
        return spans.transpose(1, 2).reshape(len(tokens), -1, self._num_frames)

    def compared(self, column: ColumnBatch) -> Float[Tensor, "batch bands frames"]:
        return self.truth(column)[0]

    def num_cut(self, column: ColumnBatch) -> Int[Tensor, ""]:
        return (column.lengths[:, 0] > self._num_frames * self._hop).sum()

    @property
    def most(self) -> str:
        return f"the first {self._num_frames * self._hop / self.column.sample_rate:.3g} seconds"

    def _frames(self, column: ColumnBatch) -> Bool[Tensor, "batch frames"]:
        """Which frames of the first item are there."""
        lengths = (column.lengths[:, :1] + self._hop - 1) // self._hop
        return torch.arange(self._num_frames, device=lengths.device) < lengths


def _fitted(values: Tensor, length: int) -> Tensor:
    """Cut, or filled with zeros, to a length of the last dimension."""
    return nn.functional.pad(values, (0, length - values.shape[-1]))
