"""What was learned of a target that is a text, and what a pretrained language model asks of one."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Requirements, Target

__all__ = ["REJECTED", "GenerationRequirements", "GenerationTarget"]

REJECTED = -1
"""What stands between a row's texts and those that were rejected for them, among token ids."""


@dataclass(frozen=True, kw_only=True)
class GenerationTarget(Target):
    """A text, as token ids.

    Attributes:
        vocabulary_size: Token ids run over [0, vocabulary_size).
        padding_id: The token id that fills the padding.
        begin_id: The token id that every text begins with.
        end_id: The token id that every text ends with, unless it was cut.
        start_id: The token id that a pretrained language model expects before anything else; None if nothing.
        typical_prompt: The 95th percentile of the training prompts' tokens; 0 where texts go on from no prompt.
        placeholders: The input columns that a prompt can name the place of. Their token ids are the last ones of the
            vocabulary, in this order; nobody writes them.
        typical_length: The 95th percentile of the training texts' tokens, the end among them.
        max_length: The tokens of the longest training text, the end among them.
        most_frequent: The training text that occurs most often.
        answers: The only texts that may be written, each as token ids with the end token last; none: any text.
    """

    task: str = "generation"
    vocabulary_size: int = 0
    padding_id: int = 0
    begin_id: int = 0
    end_id: int = 0
    start_id: int | None = None
    typical_prompt: int = 0
    placeholders: tuple[str, ...] = ()
    typical_length: int = 1
    max_length: int = 0
    most_frequent: str = ""
    answers: tuple[tuple[int, ...], ...] = ()

    @property
    def first_placeholder(self) -> int:
        """The token id of the first of `placeholders`; the others follow it."""
        return self.vocabulary_size - len(self.placeholders)

    @property
    def never_generated(self) -> tuple[int, ...]:
        """The token ids that no text holds after its begin token: padding, begin and placeholders."""
        return (self.padding_id, self.begin_id, *range(self.first_placeholder, self.vocabulary_size))


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
