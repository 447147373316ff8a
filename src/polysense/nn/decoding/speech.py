"""Writing from frames: what a CTC says of the next token, and what an attention decoder and a language model add.

The one-pass joint decoding of Watanabe et al., "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition"
(2017, section III-D), with shallow fusion of a language model (Hannun et al., "Deep Speech", 2014, section 4):

    score = c log p_ctc + (1 - c) log p_attention + l log p_lm + b tokens,

each of the next token after the same beginning. As an incremental decoder it serves every strategy. Those that go frame
by frame (`best_path.py`, `prefix_beam.py`) read its frames instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.errors import ConfigError
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.token_target import TokenTarget
from polysense.nn.layers.ctc import PrefixScores, ctc_losses
from polysense.nn.layers.ngram import NgramModel

__all__ = ["IncrementalSpeechDecoder", "SpeechWeights"]


@dataclass(frozen=True, kw_only=True)
class SpeechWeights:
    """How much each of those counts.

    Attributes:
        ctc: The CTC's share; the attention decoder has the rest. Without such a decoder the CTC counts whole.
        language_model: Of the language model, if there is one.
        length_bonus: Added for each token, which a language model makes too dear.
    """

    ctc: float = 1.0
    language_model: float = 0.0
    length_bonus: float = 0.0


class IncrementalSpeechDecoder(IncrementalDecoder):
    """From each row's last token to the score of its next one.

    Args:
        log_probabilities: float32, of each frame, normalized.
        num_frames: Valid frames of each row, its first ones.
        target: What is written; its padding id is the blank.
        weights: How much each score counts.
        attention: An attention decoder at the same beginning.
        language_model: Of the target's tokens.

    Attributes:
        log_probabilities: As given, of each row of the batch.
        num_frames: As given.
        language_model: As given.
    """

    def __init__(
        self,
        log_probabilities: Float[Tensor, "batch frames vocabulary"],
        num_frames: Int[Tensor, " batch"],
        target: TokenTarget,
        weights: SpeechWeights,
        attention: IncrementalDecoder | None = None,
        language_model: NgramModel | None = None,
    ) -> None:
        self.log_probabilities, self.num_frames, self.language_model = log_probabilities, num_frames, language_model
        self._target, self._weights, self._attention = target, weights, attention
        self._has_frames = num_frames > 0
        self._prefixes: PrefixScores | None = None
        self._contexts = None if language_model is None else language_model.start(len(num_frames))

    @staticmethod
    def of(incremental: IncrementalDecoder, strategy: str) -> IncrementalSpeechDecoder:
        """An incremental decoder, if it is one that has frames.

        Raises:
            ConfigError: It is not; the message names the strategy that asks.
        """
        if isinstance(incremental, IncrementalSpeechDecoder):
            return incremental
        raise ConfigError(
            f"decoding: {strategy!r} goes frame by frame, which takes a head of type ctc or ctc_attention and a target "
            f"without a list of answers; choose another decoding, such as beam"
        )

    def log_likelihood(
        self, ids: Int[Tensor, "batch texts length"], lengths: Int[Tensor, "batch texts"]
    ) -> Float[Tensor, "batch texts"]:
        """Of texts of each row that it has frames enough for, summed over all their alignments."""
        batch, num, length = ids.shape
        losses = ctc_losses(
            self.log_probabilities.repeat_interleave(num, dim=0),
            self.num_frames.repeat_interleave(num),
            ids.reshape(batch * num, length),
            lengths.flatten(),
            self._target.padding_id,
        )
        return -losses.view(batch, num)

    def __call__(self, token: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        target, weights = self._target, self._weights
        if self._prefixes is None:
            self._prefixes = PrefixScores(self.log_probabilities, self.num_frames, target.padding_id, target.end_id)
        else:
            self._prefixes.advance(token)
            if self.language_model is not None and self._contexts is not None:
                generated = (token != target.padding_id) & (token != target.end_id)
                self._contexts = torch.where(
                    generated, self.language_model.advance(self._contexts, token), self._contexts
                )
        scores: Tensor = torch.zeros(())
        if self._attention is None:
            scores = self._prefixes().float()
        else:
            attention = self._attention(token)
            if weights.ctc > 0:
                # Of a row that nothing was heard of, the decoder alone can speak.
                attended = weights.ctc * self._prefixes().float() + _times(1 - weights.ctc, attention)
                scores = torch.where(self._has_frames[:, None], attended, attention)
            else:
                scores = attention
        if self.language_model is not None and self._contexts is not None and weights.language_model:
            scores = scores + weights.language_model * self.language_model.log_probabilities(self._contexts).float()
        if weights.length_bonus:
            scores = scores + weights.length_bonus
            scores[:, target.end_id] -= weights.length_bonus
        return scores

    def reorder(self, rows: Int[Tensor, " new_rows"]) -> None:
        if self._prefixes is not None:
            self._prefixes.reorder(rows)
        if self._attention is not None:
            self._attention.reorder(rows)
        if self._contexts is not None:
            self._contexts = self._contexts[rows]
        if len(rows) != len(self._has_frames):
            self._has_frames = self._has_frames[rows]


def _times(weight: float, log_probabilities: Tensor) -> Tensor:
    """The product, in which a weight of 0 leaves what is impossible impossible."""
    if weight:
        return weight * log_probabilities
    return torch.zeros_like(log_probabilities).masked_fill(log_probabilities.isneginf(), -math.inf)
