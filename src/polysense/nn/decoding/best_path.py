"""Best path: the most likely token or blank of each frame, then repeats and blanks are taken out.

Graves et al., "Connectionist Temporal Classification" (ICML 2006, section 3.2). The cheapest way to read a CTC. It
takes the most likely alignment, whose text need not be the most likely: a text is as likely as all its alignments
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from polysense.nn.decoding.base import Decoder, DecodingConfig, Generated
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.speech import IncrementalSpeechDecoder
from polysense.nn.decoding.token_target import TokenTarget
from polysense.nn.layers.ctc import collapse

__all__ = ["BestPath", "BestPathConfig", "ended"]


@dataclass(frozen=True, kw_only=True)
class BestPathConfig(DecodingConfig):
    """CTC best path: the most likely token of each frame; for the heads ctc and ctc_attention.

    Attributes:
        max_new_tokens: Where a text is cut; auto is nowhere, since its frames end.
    """

    type: Literal["best_path"] = "best_path"


class BestPath(Decoder, config=BestPathConfig):
    """Best path decoding."""

    def __init__(self, config: BestPathConfig, target: TokenTarget) -> None:
        super().__init__(config, target)
        self._limit = None if config.max_new_tokens == "auto" else config.max_new_tokens

    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        speech = IncrementalSpeechDecoder.of(incremental, "best_path")
        probabilities = speech.log_probabilities
        valid = torch.arange(probabilities.shape[1], device=rows.device) < speech.num_frames[:, None]
        texts, lengths = collapse(probabilities.argmax(dim=-1), valid, self.padding_id)
        if self._limit is not None:
            texts, lengths = texts[:, : self._limit], lengths.clamp(max=self._limit)
        scores = speech.log_likelihood(texts[:, None], lengths[:, None])
        yield Generated(ended(texts, lengths, self.end_id)[:, None], scores)


def ended(texts: Int[Tensor, "*batch length"], lengths: Int[Tensor, "*batch"], end_id: int) -> Tensor:
    """Padded texts with the end token after each."""
    return F.pad(texts, (0, 1)).scatter(-1, lengths[..., None], end_id)
