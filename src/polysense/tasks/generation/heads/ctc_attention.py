"""Speech to text by a CTC and an attention decoder together, over the same tokens.

Kim, Hori, Watanabe, "Joint CTC-Attention based End-to-End Speech Recognition using Multi-task Learning" (ICASSP 2017):
the loss is 0.3 CTC + 0.7 attention. The CTC can only align from left to right, which the decoder's attention has to
learn and, on a few hours of speech, does not; the decoder knows what it has written, which the CTC does not. Both are
read at once when a text is generated (see `decoding.speech`), so neither skips, repeats or makes up words.

Both parts' losses are sums over the same tokens, and logged apart. A text that is too long for its frames teaches
the decoder alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.config.limits import Fraction
from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.decoding import DecodingConfig
from polysense.nn.decoding.best_path import BestPath
from polysense.nn.decoding.prefix_beam import PrefixBeam
from polysense.nn.decoding.speech import IncrementalSpeechDecoder, SpeechWeights
from polysense.nn.decoding.speech_beam import SpeechBeam, SpeechBeamConfig
from polysense.tasks.generation.heads.autoregressive import TokenOutput, num_tokens
from polysense.tasks.generation.heads.ctc_base import FrameHead, FrameReader, FrameReaderConfig, Frames
from polysense.tasks.generation.heads.decoder import GenerationHead, GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["CTCAttentionHead", "CTCAttentionHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class CTCAttentionHeadConfig(FrameReaderConfig, GenerationHeadConfig):
    """A CTC along one column and a transformer decoder over all, trained and read together: speech recognition.

    Attributes:
        ctc_weight: The CTC's share in the loss, from 0 to 1; the decoder has the rest.
        decoding: Decoding strategy. speech_beam combines both decoders and the language model at every token;
            prefix_beam and best_path use only the CTC and are faster. It can be changed after training, for each
            prediction.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    type: Literal["ctc_attention"] = "ctc_attention"  # type: ignore[assignment]
    ctc_weight: Fraction = 0.3
    decoding: DecodingConfig = field(default_factory=SpeechBeamConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bag_weight:
            raise ConfigError(
                f"bag_weight: the CTC looks at the column anyway; leave it at 0 (found {self.bag_weight})"
            )


@pytree_node
@dataclass(frozen=True, eq=False)
class SpeechOutput:
    """What both parts say.

    Attributes:
        attention: The decoder's tokens.
        frames: The CTC's.
    """

    attention: TokenOutput
    frames: Frames


class CTCAttentionHead(FrameHead[SpeechOutput], config=CTCAttentionHeadConfig):
    """A frame reader and a decoder."""

    def __init__(self, config: CTCAttentionHeadConfig, target: GenerationTarget, width: int) -> None:
        super().__init__(config, target)
        self.ctc_weight = config.ctc_weight
        self.frames = FrameReader(config, target, width, 0, config.dropout)
        self.attention = GenerationHead(config, target, width)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        return {"attention": 1 - self.ctc_weight, "ctc": self.ctc_weight}

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> SpeechOutput:
        assert isinstance(truth, GenerationTruth), f"{self.target.name}: without the true text there is no loss"
        return SpeechOutput(self.attention.read(fused, context, truth), self.frames(fused, context, truth))

    def loss(self, output: SpeechOutput, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, GenerationTruth)
        return {
            "attention": self.attention.loss(output.attention, truth)["loss"],
            "ctc": RowLoss(self.frames.losses(output.frames, truth), num_tokens(truth)),
        }

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        return dict.fromkeys(self.loss_weights, num_tokens(truth))

    def decoder(
        self, fused: Fused, context: RowContext, max_new_tokens: int, *, use_cache: bool = True
    ) -> IncrementalSpeechDecoder:
        weights = SpeechWeights(ctc=self.ctc_weight)
        if isinstance(self.strategy, SpeechBeam):
            weights = self.strategy.weights
        attention = None
        if not isinstance(self.strategy, (BestPath, PrefixBeam)):
            attention = self.attention.decoder(fused, context, max_new_tokens, use_cache=use_cache)
        frames = self.frames.normalized(self.frames(fused, context))
        return IncrementalSpeechDecoder(*frames, self.target, weights, attention, self.frames.language_model)

    def likelihood(self, fused: Fused, context: RowContext, truth: GenerationTruth) -> Float[Tensor, "batch 3"]:
        """Of the true text, as the decoder finds it; its log probability is both parts', weighted as they are trained.

        A text that is too long for its frames counts, for the CTC, as one that is guessed.
        """
        attended = self.attention.likelihood(fused, context, truth)
        aligned = self.frames.log_likelihood(self.frames(fused, context), truth)
        both = self.ctc_weight * aligned + (1 - self.ctc_weight) * attended[:, 0]
        return torch.cat([both[:, None], attended[:, 1:]], dim=1)
