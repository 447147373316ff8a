"""What a pretrained language model asks of a target that is a text."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Requirements

__all__ = ["GenerationRequirements"]


@dataclass(frozen=True, kw_only=True)
class GenerationRequirements(Requirements):
    """What a head asks of a target's texts.

    Attributes:
        tokenizer: Folder or hub name of the tokenizer.
        revision: The hub revision of the tokenizer; None = the newest.
        num_embeddings: Token ids that the language model knows: [0, num_embeddings).
        max_tokens: The longest sequence that the language model takes.
    """

    tokenizer: str | None = None
    revision: str | None = None
    num_embeddings: int | None = None
    max_tokens: int | None = None
