"""Unsupported: the answer of a kind to a question that it can't answer, with the reason that messages and pages print.

An optional member of a spec is answered or refused. There is no third way, so no caller falls back on something that
another kind means.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Unsupported"]


@dataclass(frozen=True)
class Unsupported:
    """A refusal.

    Attributes:
        reason: Why, as the end of a sentence, such as "a hash can't be turned back".
    """

    reason: str

    def __str__(self) -> str:
        return self.reason
