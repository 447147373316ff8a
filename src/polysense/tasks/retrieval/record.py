"""What was learned of columns that are brought into a joint embedding space."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["RetrievalTarget"]


@dataclass(frozen=True, kw_only=True)
class RetrievalTarget(Target):
    """A joint embedding space. Its `columns` are the members' and last, where there is one, that of what is the same.

    Attributes:
        members: The input columns that share the space.
        anchor: The one of them that each other is compared with; "" where every pair is.
    """

    task: str = "retrieval"
    members: tuple[str, ...] = ()
    anchor: str = ""
