"""TokenTarget: what a decoding strategy has to know of a target whose predictions are token ids."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["TokenTarget"]


@runtime_checkable
class TokenTarget(Protocol):
    """A fitted target that is decoded token by token; a task's record has these as fields."""

    @property
    def name(self) -> str:
        """The target's name."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids run over [0, vocabulary_size)."""

    @property
    def padding_id(self) -> int:
        """The token id that fills the padding."""

    @property
    def begin_id(self) -> int:
        """The token id that every sequence begins with."""

    @property
    def end_id(self) -> int:
        """The token id that every sequence ends with, unless it is cut."""

    @property
    def max_length(self) -> int:
        """The tokens of the longest training sequence, the end among them."""

    @property
    def answers(self) -> tuple[tuple[int, ...], ...]:
        """The only sequences that may be predicted, the end token last; none: any sequence."""
