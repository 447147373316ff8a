"""Speech to text by a CTC and an attention decoder together, over the same tokens.

Kim, Hori, Watanabe, "Joint CTC-Attention based End-to-End Speech Recognition using Multi-task Learning" (ICASSP 2017):
the loss is 0.3 CTC + 0.7 attention. The CTC can only align from left to right, which the decoder's attention has to
learn and, on a few hours of speech, does not; the decoder knows what it has written, which the CTC does not. Both are
read at once when a text is written (see `decoding.speech`), so neither skips, repeats or makes up words.

Both parts' losses are sums over the same tokens, so one count serves. A text that is too long for its frames teaches
the decoder alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.decoding import DecodingConfig
from polysense.nn.decoding.best_path import BestPath
from polysense.nn.decoding.prefix_beam import PrefixBeam
from polysense.nn.decoding.speech import SpeechStepper, SpeechWeights
from polysense.nn.decoding.speech_beam import SpeechBeam, SpeechBeamConfig
from polysense.tasks.generation.heads.autoregressive import WritingHead
from polysense.tasks.generation.heads.ctc_base import FrameReader, FrameReaderConfig
from polysense.tasks.generation.heads.decoder import GenerationHead, GenerationHeadConfig

__all__ = ["CTCAttentionHead", "CTCAttentionHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class CTCAttentionHeadConfig(FrameReaderConfig, GenerationHeadConfig):
    """A CTC along one column and a transformer decoder over all, trained and read together: speech recognition.

    Attributes:
        ctc_weight: The CTC's share in the loss, from 0 to 1; the decoder has the rest.
        decoding: How a text is written. speech_beam weighs both parts and the language model at every token;
            prefix_beam and best_path read the CTC alone, and are quicker. It can be changed after training, for each
            prediction.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.GENERATION})
    type: Literal["ctc_attention"] = "ctc_attention"  # type: ignore[assignment]
    ctc_weight: float = 0.3
    decoding: DecodingConfig = field(default_factory=SpeechBeamConfig)

    def __post_init__(self) -> None:
        GenerationHeadConfig.__post_init__(self)
        self.check_frames()
        if not 0 <= self.ctc_weight <= 1:
            raise ConfigError(f"ctc_weight is a share from 0 to 1; found {self.ctc_weight}")

    def build(self, target: Target, width: int) -> CTCAttentionHead:  # type: ignore[override]
        self.check(target)
        return CTCAttentionHead(self, target, width)


class CTCAttentionHead(WritingHead):
    """A frame reader and a decoder."""

    def __init__(self, config: CTCAttentionHeadConfig, target: Target, width: int) -> None:
        super().__init__(config, target)
        self.ctc_weight = config.ctc_weight
        self.frames = FrameReader(config, target, width, 0, config.dropout)
        self.attention = GenerationHead(config, target, width)

    def connect(self, columns: Sequence[Column]) -> None:
        self.frames.connect(columns)

    @property
    def learns_from_texts(self) -> bool:
        return self.frames.language_model is not None

    def fit_texts(self, texts: Iterable[Sequence[int]]) -> None:
        self.frames.fit_texts(texts)

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch 2"]:
        """Each row's loss in the decoder and in the frames, which share no shape."""
        assert target is not None, f"{self.target.name}: without the true text there is no loss"
        written = self.attention.row_losses(self.attention(fused, target), target)
        return torch.stack([written, self.frames.losses(self.frames(fused, target), target)], dim=1)

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        written, heard = outputs.unbind(dim=1)
        return ((1 - self.ctc_weight) * written + self.ctc_weight * heard) * target.present

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        return self.attention.row_counts(target)

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        """No texts, for losses hold none; `read` writes them."""
        nothing = torch.zeros(len(outputs), 0, dtype=torch.int64, device=outputs.device)
        return Prediction(nothing, padding_id=self.target.padding_id)

    def stepper(self, fused: Fused, max_new_tokens: int, *, use_cache: bool = True) -> SpeechStepper:
        weights = SpeechWeights(ctc=self.ctc_weight)
        if isinstance(self.decoder, SpeechBeam):
            weights = self.decoder.weights
        attention = None
        if not isinstance(self.decoder, (BestPath, PrefixBeam)):
            attention = self.attention.stepper(fused, max_new_tokens, use_cache=use_cache)
        return SpeechStepper(
            *self.frames.normalised(self.frames(fused)), self.target, weights, attention, self.frames.language_model
        )

    def likelihood(self, fused: Fused, target: TargetBatch) -> Float[Tensor, "batch 3"]:
        """Of the true text, as the decoder finds it; its log probability is both parts', weighted as they are trained.

        A text that is too long for its frames counts, for the CTC, as one that is guessed.
        """
        found = self.attention.likelihood(fused, target)
        heard = self.frames.log_likelihood(self.frames(fused), target)
        both = self.ctc_weight * heard + (1 - self.ctc_weight) * found[:, 0]
        return torch.cat([both[:, None], found[:, 1:]], dim=1)
