"""What was learned of columns that are reconstructed."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["ReconstructionTarget"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionTarget(Target):
    """Input columns, decoded from one code of the row.

    Attributes:
        members: The input columns that are reconstructed.
    """

    task: str = "reconstruction"
    members: tuple[str, ...] = ()
