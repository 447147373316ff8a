"""Prefix beam search: the most likely beginnings of a text, frame by frame, each summed over its alignments.

Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs" (2014,
algorithm 1). Alignments that spell the same are one beginning, so what is found is a likely text and not a likely
alignment; a language model weighs every new token, and a bonus for length makes up for what it costs. The cost is that
of `beam_size` beginnings at every frame.

All rows and beginnings go together. Two beginnings are the same if their hashes are; one becomes another exactly where
that other's hash without its last token is its own, so no texts are compared or copied: at the end they are read
backwards along the choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.config.limits import PositiveInt
from polysense.errors import ConfigError
from polysense.nn.decoding.base import Decoder, DecodingConfig, Generated
from polysense.nn.decoding.best_path import ended
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.speech import IncrementalSpeechDecoder
from polysense.nn.decoding.token_target import TokenTarget
from polysense.nn.layers.ctc import exact
from polysense.nn.layers.ngram import NgramModel

__all__ = ["PrefixBeam", "PrefixBeamConfig"]


@dataclass(frozen=True, kw_only=True)
class PrefixBeamConfig(DecodingConfig):
    """CTC prefix beam search, summed over alignments, with a language model; for the heads ctc and ctc_attention.

    Attributes:
        max_new_tokens: Where a text is cut; auto is nowhere, since its frames end.
        beam_size: Number of prefixes in the beam.
        language_model_weight: How much the head's language model counts, if it has one; 0 leaves it out.
        length_bonus: Added to a text's score per token, in nats; higher values give longer texts.
        num_texts: How many texts to give for a row, the best ones; at most `beam_size`.
        tokens_per_frame: Number of most likely tokens of each frame that may extend a prefix.
    """

    type: Literal["prefix_beam"] = "prefix_beam"
    beam_size: PositiveInt = 10
    language_model_weight: float = 0.3
    length_bonus: float = 0.0
    num_texts: PositiveInt = 1
    tokens_per_frame: PositiveInt = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("language_model_weight", "length_bonus"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{name} must be a finite number; found {getattr(self, name)}")
        if not 1 <= self.num_texts <= self.beam_size:
            raise ConfigError(
                f"num_texts must be from 1 to beam_size ({self.beam_size}); found {self.num_texts}. Raise beam_size"
            )


class PrefixBeam(Decoder, config=PrefixBeamConfig):
    """Prefix beam search."""

    def __init__(self, config: PrefixBeamConfig, target: TokenTarget) -> None:
        super().__init__(config, target)
        self._config = config
        self._limit = None if config.max_new_tokens == "auto" else config.max_new_tokens

    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        speech = IncrementalSpeechDecoder.of(incremental, "prefix_beam")
        beams = _Beams(self._config, speech, self.padding_id, self.end_id)
        for frame in range(speech.log_probabilities.shape[1]):
            beams.extend(frame)
        texts, lengths, ranks = beams.finish()
        if self._limit is not None:
            texts, lengths = texts[:, :, : self._limit], lengths.clamp(max=self._limit)
        scores = speech.log_likelihood(texts, lengths).masked_fill(ranks.isneginf(), -math.inf)
        yield Generated(ended(texts, lengths, self.end_id), scores)


class _Beams:
    """The beginnings that are followed in each row, and what is known of each."""

    # Suffixes: B batch, K beginnings, G and H also beginnings (before, after), C candidate tokens.

    def __init__(self, config: PrefixBeamConfig, speech: IncrementalSpeechDecoder, blank: int, end_id: int) -> None:
        self._config, self._speech, self._blank, self._end_id = config, speech, blank, end_id
        batch, num = len(speech.num_frames), config.beam_size
        device = speech.log_probabilities.device
        dtype = exact(device)
        # At first there is the empty beginning, said by nothing.
        self._on_blank = torch.full((batch, num), -math.inf, dtype=dtype, device=device)
        self._on_blank[:, 0] = 0.0
        self._on_token = torch.full_like(self._on_blank, -math.inf)
        self._bonus = torch.zeros_like(self._on_blank)
        self._hash = torch.zeros(batch, num, dtype=torch.int64, device=device)
        self._parent = torch.full_like(self._hash, -1)
        self._last = torch.full_like(self._hash, blank)
        self._trail: list[tuple[Tensor, Tensor]] = []
        self._language_model: NgramModel | None = speech.language_model if config.language_model_weight else None
        self._contexts = torch.zeros_like(self._hash)
        self._expected = torch.zeros(batch, num, 1, dtype=dtype, device=device)
        if self._language_model is not None:
            self._contexts = self._language_model.start(batch * num).view(batch, num).clone()
            self._expected = self._weighed(self._contexts.flatten()).view(batch, num, -1)

    def extend(self, frame: int) -> None:
        """Takes in a frame; rows that have ended stay as they are."""
        said_BV = self._speech.log_probabilities[:, frame].to(self._on_blank.dtype)
        goes_on_B1 = (frame < self._speech.num_frames)[:, None]
        batch, num = self._hash.shape
        total_BK = torch.logaddexp(self._on_blank, self._on_token)
        alive_BK = total_BK > -math.inf

        # 1. A beginning stays what it is: by a blank, or by its last token again.
        last_BK = said_BV.gather(1, self._last)
        stays_blank_BK = total_BK + said_BV[:, self._blank, None]
        stays_token_BK = self._on_token + last_BK

        # 2. It becomes another one that is followed already: G with H's last token is H.
        joins_BGH = (self._hash[:, :, None] == self._parent[:, None]) & alive_BK[:, :, None] & alive_BK[:, None]
        same_BGH = self._last[:, :, None] == self._last[:, None]
        from_BGH = torch.where(same_BGH, self._on_blank[:, :, None], total_BK[:, :, None]) + last_BK[:, None]
        joined_BH = from_BGH.masked_fill(~joins_BGH, -math.inf).amax(dim=1)
        stays_token_BK = torch.logaddexp(stays_token_BK, joined_BH)

        # 3. It becomes one that is new.
        tokens_BV = said_BV.clone()
        tokens_BV[:, self._blank] = -math.inf
        likeliest_BC, token_BC = tokens_BV.topk(min(self._config.tokens_per_frame, tokens_BV.shape[1] - 1), dim=1)
        repeats_BKC = self._last[:, :, None] == token_BC[:, None]
        new_BKC = torch.where(repeats_BKC, self._on_blank[:, :, None], total_BK[:, :, None]) + likeliest_BC[:, None]
        known_BGC = torch.einsum("bgh,bhc->bgc", joins_BGH.float(), repeats_BKC.float()) > 0
        new_BKC = new_BKC.masked_fill(known_BGC, -math.inf)
        bonus_BKC = self._bonus[:, :, None] + self._config.length_bonus
        if self._language_model is not None:
            bonus_BKC = bonus_BKC + self._expected.gather(2, token_BC[:, None].expand(-1, num, -1))

        # 4. The best of all; those that end here are as they were.
        ranks_BK = torch.logaddexp(stays_blank_BK, stays_token_BK) + self._bonus
        ranks_B = torch.cat([ranks_BK, (new_BKC + bonus_BKC).flatten(1)], dim=1)
        chosen_BK = ranks_B.topk(num, dim=1).indices
        here_BK = torch.arange(num, device=chosen_BK.device).expand(batch, -1)
        chosen_BK = torch.where(goes_on_B1, chosen_BK, here_BK)
        is_new_BK = chosen_BK >= num
        place_BK = (chosen_BK - num).clamp(min=0)
        choices = token_BC.shape[1]
        origin_BK = torch.where(is_new_BK, place_BK // choices, chosen_BK.clamp(max=num - 1))
        token_BK = token_BC.gather(1, place_BK % choices).masked_fill(~is_new_BK, self._blank)

        def retained(stays: Tensor, before: Tensor) -> Tensor:
            return torch.where(goes_on_B1, stays, before).gather(1, origin_BK)

        on_blank_BK = retained(stays_blank_BK, self._on_blank)
        on_token_BK = retained(stays_token_BK, self._on_token)
        self._on_blank = on_blank_BK.masked_fill(is_new_BK, -math.inf)
        self._on_token = torch.where(is_new_BK, new_BKC.flatten(1).gather(1, place_BK), on_token_BK)
        self._bonus = torch.where(
            is_new_BK, bonus_BKC.expand_as(new_BKC).flatten(1).gather(1, place_BK), self._bonus.gather(1, origin_BK)
        )
        before_BK = self._hash.gather(1, origin_BK)
        self._parent = torch.where(is_new_BK, before_BK, self._parent.gather(1, origin_BK))
        self._hash = torch.where(is_new_BK, _mixed(before_BK, token_BK), before_BK)
        self._last = torch.where(is_new_BK, token_BK, self._last.gather(1, origin_BK))
        self._trail.append((origin_BK, token_BK))
        if self._language_model is not None:
            self._contexts = self._contexts.gather(1, origin_BK)
            self._expected = self._expected.gather(1, origin_BK[:, :, None].expand_as(self._expected))
            contexts = self._language_model.advance(self._contexts[is_new_BK], token_BK[is_new_BK])
            self._contexts[is_new_BK] = contexts
            self._expected[is_new_BK] = self._weighed(contexts)

    def finish(
        self,
    ) -> tuple[Int[Tensor, "batch texts length"], Int[Tensor, "batch texts"], Float[Tensor, "batch texts"]]:
        """The best texts, padded with the blank; their lengths; and what they are ranked by."""
        ranks = torch.logaddexp(self._on_blank, self._on_token) + self._bonus
        if self._language_model is not None:
            ranks = ranks + self._expected[:, :, self._end_id]
        ranks, at = ranks.sort(dim=1, descending=True, stable=True)
        ranks, at = ranks[:, : self._config.num_texts], at[:, : self._config.num_texts]
        tokens = []
        for origin, token in reversed(self._trail):
            tokens.append(token.gather(1, at))
            at = origin.gather(1, at)
        if not tokens:
            return at[:, :, None][:, :, :0], torch.zeros_like(at), ranks
        path = torch.stack(tokens[::-1], dim=2)
        said = path != self._blank
        lengths = said.sum(dim=2)
        order = torch.argsort((~said).to(torch.int8), dim=2, stable=True)
        return path.gather(2, order)[:, :, : int(lengths.max())], lengths, ranks

    def _weighed(self, contexts: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        assert self._language_model is not None
        weight = self._config.language_model_weight
        return (weight * self._language_model.log_probabilities(contexts)).to(self._on_blank.dtype)


def _mixed(before: Int[Tensor, "batch beams"], token: Int[Tensor, "batch beams"]) -> Int[Tensor, "batch beams"]:
    """A 64-bit hash of a beginning with one token more, so that equal ones are told without being compared."""
    mixed = (before ^ (token + 1) * -7046029254386353131) * -4658895280553007687
    return (mixed ^ (mixed >> 29)) * -7723592293110705685
