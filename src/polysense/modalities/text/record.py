"""What was learned of a column of texts, and what an encoder can ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column, Requirements

__all__ = ["TextColumn", "TextRequirements"]


@dataclass(frozen=True, kw_only=True)
class TextColumn(Column):
    """A column of texts.

    Attributes:
        vocabulary_size: Token ids run over [0, vocabulary_size).
        padding_id: The token id that fills the padding.
        mask_id: The token id that stands for a masked token: the tokenizer's own for that, else its unknown one, else
            the padding's.
        vocabulary: The token that each id stands for, as the tokenizer spells it; only if an encoder asks.
        document_frequencies: The share of training texts that hold each token id; only if an encoder asks.
        max_length: Tokens that its pretrained encoder takes at most; None: any number.
        num_documents: How many training texts those shares were taken from.
    """

    modality: str = "text"
    vocabulary_size: int
    padding_id: int = 0
    mask_id: int | None = None
    vocabulary: tuple[str, ...] | None = None
    document_frequencies: tuple[float, ...] | None = None
    num_documents: int = 0
    max_length: int | None = None

    @property
    def longest(self) -> int | None:
        """See `Column`."""
        return self.max_length

    @property
    def num_ids(self) -> int:
        """See `Column`."""
        return self.vocabulary_size


@dataclass(frozen=True, kw_only=True)
class TextRequirements(Requirements):
    """What an encoder asks of a column of texts.

    Attributes:
        tokenizer: Folder or hub name of the tokenizer.
        max_tokens: The longest sequence that the encoder takes.
        tokenization: "words" or "subwords", where the recipe leaves it open.
        vocabulary: Whether `TextColumn.vocabulary` is needed.
        token_frequencies: Whether `TextColumn.document_frequencies` is needed.
    """

    tokenizer: str | None = None
    max_tokens: int | None = None
    tokenization: str | None = None
    vocabulary: bool = False
    token_frequencies: bool = False
