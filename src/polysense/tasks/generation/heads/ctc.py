"""A text spelled along a column: speech and handwriting, by connectionist temporal classification.

Graves et al., "Connectionist Temporal Classification: Labeling Unsegmented Sequence Data with Recurrent Neural
Networks" (ICML 2006). Every frame of the column says a token or nothing, and the loss sums over all ways to align the
text to the frames, so nobody need say where a letter is. Frames are taken to be independent given the clip: that makes
it quick to train and to read, keeps it from making up or skipping words, and leaves it ignorant of the language, which
a language model of the training texts, counted, not trained, makes up for. What is not in the order of the column (a
translation, an answer) it can't write: that takes `generation`.

The loss is a sum over rows, its count their tokens with the end, as the generation head's, so that both weigh alike. A
text with more tokens than its frames can say has no alignment: its loss is 0 instead of infinite, it is counted all the
same, and the log names the first such row and their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.nn.decoding import DecodingConfig
from polysense.nn.decoding.best_path import BestPathConfig
from polysense.nn.decoding.speech import IncrementalSpeechDecoder, SpeechWeights
from polysense.nn.decoding.speech_beam import SpeechBeam
from polysense.nn.layers.ctc import PrefixScores
from polysense.tasks.generation.heads.autoregressive import WritingHeadConfig, num_tokens
from polysense.tasks.generation.heads.ctc_base import FrameHead, FrameReader, FrameReaderConfig, Frames
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["CTCHead", "CTCHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class CTCHeadConfig(FrameReaderConfig, WritingHeadConfig):
    """Spells a text along one column, frame by frame (CTC): speech, handwriting.

    Attributes:
        decoding: Decoding strategy. best_path is fast; prefix_beam sums over alignments and uses the language model. It
            can be changed after training, for each prediction.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    type: Literal["ctc"] = "ctc"
    decoding: DecodingConfig = field(default_factory=BestPathConfig)


class CTCHead(FrameHead[Frames], config=CTCHeadConfig):
    """Reads one column's frames."""

    def __init__(self, config: CTCHeadConfig, target: GenerationTarget, width: int) -> None:
        super().__init__(config, target)
        self.frames = FrameReader(config, target, width, config.hidden, config.dropout)

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Frames:
        assert truth is None or isinstance(truth, GenerationTruth)
        frames: Frames = self.frames(fused, context, truth)
        return frames

    def loss(self, output: Frames, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, GenerationTruth)
        return {"loss": RowLoss(self.frames.losses(output, truth), num_tokens(truth))}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        return {"loss": num_tokens(truth)}

    def decoder(
        self, fused: Fused, context: RowContext, max_new_tokens: int, *, use_cache: bool = True
    ) -> IncrementalSpeechDecoder:
        """Scores of next tokens, summed over alignments; what it keeps is the only way it has to compute them."""
        weights = self.strategy.weights if isinstance(self.strategy, SpeechBeam) else SpeechWeights()
        frames = self.frames.normalized(self.read(fused, context))
        return IncrementalSpeechDecoder(*frames, self.target, weights, language_model=self.frames.language_model)

    def likelihood(self, fused: Fused, context: RowContext, truth: GenerationTruth) -> Float[Tensor, "batch 3"]:
        """Of the true text: its log probability, its tokens that are the most likely after those before, their number.

        A text that is too long for its frames, whose log probability would be -inf, counts as one that is guessed.
        """
        frames = self.read(fused, context)
        prefixes = PrefixScores(*self.frames.normalized(frames), self.target.padding_id, self.target.end_id)
        right = torch.zeros_like(truth.present, dtype=torch.float32)
        for expected in truth.values[:, 1:].unbind(dim=1):
            right += (prefixes().argmax(dim=-1) == expected) & (expected != self.target.padding_id)
            prefixes.advance(expected)
        log_likelihood = self.frames.log_likelihood(frames, truth)
        return torch.stack([log_likelihood, right * truth.present, num_tokens(truth)], dim=1)
