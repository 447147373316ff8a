"""Decoder: a strategy of writing, and what it gives.

It sees only an `IncrementalDecoder`'s log probabilities of next tokens. After every token it gives the texts that it
follows, which serves streaming and writing alike, and the last thing that it gives is the result.

All texts of a batch are written in step, and a text that has ended waits for the others: dropping it would change the
shape of what is computed, and with it the last bits of the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from polysense.config.base import Configured, Family
from polysense.config.limits import PositiveInt
from polysense.errors import ConfigError
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.token_target import TokenTarget
from polysense.nn.decoding.trie import Constrained, Trie

__all__ = ["Decoder", "DecodingConfig", "Generated"]


@dataclass(frozen=True, eq=False)
class Generated:
    """Texts of the rows of a batch.

    Attributes:
        ids: int64 [batch, texts, length], token ids with the end token, padded. The first is the text, the others are
            alternatives, in the order of preference.
        scores: float32 [batch, texts], each text's log probability; -inf: there are no more texts.
    """

    ids: Int[Tensor, "batch texts length"]
    scores: Float[Tensor, "batch texts"]

    @staticmethod
    def concatenate(parts: Sequence[Generated], padding_id: int) -> Generated:
        """The rows of several batches, padded to the longest text."""
        longest = max(part.ids.shape[2] for part in parts)
        ids = [F.pad(part.ids, (0, longest - part.ids.shape[2]), value=padding_id) for part in parts]
        return Generated(torch.cat(ids), torch.cat([part.scores for part in parts]))


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(Family, family="decoding", homes=("nn.decoding.*",)):
    """Decoding strategy.

    Attributes:
        max_new_tokens: Where a text that has not ended is cut; auto is the length of the longest training text. Where
            the target has a list of answers, none of them is cut.
    """

    type: str
    max_new_tokens: PositiveInt | Literal["auto"] = "auto"

    def build(self, target: TokenTarget) -> Decoder:
        """The strategy, for a fitted target."""
        if self.builds is None:
            raise ConfigError(f"the decoding {self.type!r} can't be built: no class names its config")
        decoder: Decoder = self.builds(self, target)
        return decoder


class Decoder(Configured, ABC):
    """A strategy.

    Args:
        config: How it was asked for.
        target: What is written: the ids of the special tokens, the longest text, the listed answers.

    Attributes:
        max_new_tokens: The longest text that it writes, the end token counted; what a cache needs room for.
        texts_at_once: How many texts it follows for each row of the batch, at most.
    """

    texts_at_once: int = 1

    def __init__(self, config: DecodingConfig, target: TokenTarget) -> None:
        self.begin_id, self.end_id, self.padding_id = target.begin_id, target.end_id, target.padding_id
        self.trie = Trie(target.answers, target.vocabulary_size) if target.answers else None
        limit = target.max_length if config.max_new_tokens == "auto" else config.max_new_tokens
        self.max_new_tokens = max([limit, *map(len, target.answers)])

    def steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        """Writes one text for every row, token by token.

        Args:
            incremental: At the beginning, with one row for each of `rows`.
            rows: Row indices in the table, which decide what is drawn; on the device of its outputs.

        Yields:
            After every token all texts that are followed: what the texts of a row have in common will not change.
            The last is the result.
        """
        if self.trie is not None:
            incremental = Constrained(incremental, self.trie, rows)
        yield from self._steps(incremental, rows)

    def write(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Generated:
        """The result alone; arguments as in `steps`."""
        generated = None
        for step in self.steps(incremental, rows):
            generated = step
        assert generated is not None
        return generated

    @abstractmethod
    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        """As `steps`; the decoder gives -inf to what leads to no listed answer."""

    def _room(self, num_rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """For a text in each row: its first last token, and the padded ids of what is to come."""
        token = torch.full((num_rows,), self.begin_id, device=device)
        return token, torch.full((num_rows, self.max_new_tokens), self.padding_id, device=device)
