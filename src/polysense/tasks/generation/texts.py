"""What an evaluation needs of a target that is a text: what was written, what it is compared with, how ids spell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

__all__ = ["TextSource", "Texts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TextSource:
    """Where a target's texts come from.

    Attributes:
        decode: Token ids to the text that they spell.
        references: A row of the table to all its reference texts; none if it has no target.
    """

    decode: Callable[[Sequence[int]], str]
    references: Callable[[int], Sequence[str]]

    def of(self, rows: np.ndarray, values: Tensor) -> Texts:
        """The texts of some rows.

        Args:
            rows: int64 [rows], the table's rows.
            values: int64 [rows, length], token ids as predicted; of length 0 where nothing was written.
        """
        outputs = [self.decode(ids) for ids in values.tolist()] if values.shape[1] else None
        return Texts(outputs=outputs, references=[list(self.references(int(row))) for row in rows])


@dataclass(frozen=True, eq=False, kw_only=True)
class Texts:
    """One target's texts, in the rows' order.

    Attributes:
        outputs: What was written; None where nothing was.
        references: What it is compared with; none in a row without target.
    """

    outputs: Sequence[str] | None
    references: Sequence[Sequence[str]]
