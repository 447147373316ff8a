"""A text spelled along a column: speech and handwriting, by connectionist temporal classification.

Graves et al., "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural
Networks" (ICML 2006). Every frame of the column says a token or nothing, and the loss sums over all ways to align the
text to the frames, so nobody need say where a letter is. Frames are taken to be independent given the recording: that
makes it quick to train and to read, keeps it from making up or skipping words, and leaves it ignorant of the language,
which a language model of the training texts, counted, not trained, makes up for. What is not in the order of the column
(a translation, an answer) it can't write: that takes `generation`.

The loss is a sum over rows, its count their tokens with the end, as the generation head's, so that both weigh alike. A
text with more tokens than its frames can say has no alignment: its loss is 0 instead of infinite, it is counted all the
same, and the log names the first such row and their number.
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
from polysense.nn.decoding import DecodingConfig
from polysense.nn.decoding.best_path import BestPathConfig
from polysense.nn.decoding.speech import SpeechStepper, SpeechWeights
from polysense.nn.decoding.speech_beam import SpeechBeam
from polysense.nn.layers.ctc import PrefixScores
from polysense.tasks.generation.heads.autoregressive import WritingHead, WritingHeadConfig
from polysense.tasks.generation.heads.ctc_base import FrameReader, FrameReaderConfig

__all__ = ["CTCHead", "CTCHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class CTCHeadConfig(FrameReaderConfig, WritingHeadConfig):
    """Spells a text along one column, frame by frame (CTC): speech, handwriting.

    Attributes:
        decoding: How a text is written. best_path is quick; prefix_beam sums over alignments and takes the language
            model in. It can be changed after training, for each prediction.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.GENERATION})
    type: Literal["ctc"] = "ctc"
    decoding: DecodingConfig = field(default_factory=BestPathConfig)

    def __post_init__(self) -> None:
        self.check_frames()

    def build(self, target: Target, width: int) -> CTCHead:
        self.check(target)
        return CTCHead(self, target, width)


class CTCHead(WritingHead):
    """Reads one column's frames."""

    def __init__(self, config: CTCHeadConfig, target: Target, width: int) -> None:
        super().__init__(config, target)
        self.frames = FrameReader(config, target, width, config.hidden, config.dropout)

    def connect(self, columns: Sequence[Column]) -> None:
        self.frames.connect(columns)

    @property
    def learns_from_texts(self) -> bool:
        return self.frames.language_model is not None

    def fit_texts(self, texts: Iterable[Sequence[int]]) -> None:
        self.frames.fit_texts(texts)

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch frames vocabulary"]:
        """Logits of each frame's token; see `FrameReader`."""
        outputs: Tensor = self.frames(fused, target)
        return outputs

    def row_losses(self, outputs: Float[Tensor, "batch ..."], target: TargetBatch) -> Float[Tensor, " batch"]:
        return self.frames.losses(outputs, target)

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        assert target.lengths is not None
        return ((target.lengths - 1).clamp(min=0) * target.present).float()

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        """The text of each frame's likeliest token."""
        return Prediction(self.frames.best_path(outputs), padding_id=self.target.padding_id)

    def stepper(self, fused: Fused, max_new_tokens: int, *, use_cache: bool = True) -> SpeechStepper:
        """Scores of next tokens, summed over alignments; what it keeps is the only way it has to compute them."""
        weights = self.decoder.weights if isinstance(self.decoder, SpeechBeam) else SpeechWeights()
        return SpeechStepper(
            *self.frames.normalised(self(fused)), self.target, weights, language_model=self.frames.language_model
        )

    def likelihood(self, fused: Fused, target: TargetBatch) -> Float[Tensor, "batch 3"]:
        """Of the true text: its log probability, its tokens that are the likeliest after those before, their number.

        A text that is too long for its frames, whose log probability would be -inf, counts as one that is guessed.
        """
        outputs = self(fused)
        prefixes = PrefixScores(*self.frames.normalised(outputs), self.target.padding_id, self.target.end_id)
        right = torch.zeros_like(target.present, dtype=torch.float32)
        for wanted in target.values[:, 1:].unbind(dim=1):
            right += (prefixes().argmax(dim=-1) == wanted) & (wanted != self.target.padding_id)
            prefixes.advance(wanted)
        counts = self.row_counts(target)
        return torch.stack([self.frames.log_likelihood(outputs, target), right * target.present, counts], dim=1)
