"""IncrementalDecoder: the model's side of writing, all that a strategy sees of it.

So a strategy is the same for a decoder trained from scratch, a pretrained language model and a speech recognizer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["IncrementalDecoder"]


class IncrementalDecoder(ABC):
    """A model that writes, at its current position: from each row's last token to the log probabilities of the next.

    It begins with one row for each row of the batch, and keeps its own position and cache. What it was given so far is
    its past. The first token that it is called with is the target's `begin_id` in every row; one whose text is
    conditioned on a prompt has read the prompt before, and may take that token as a mere signal to begin.
    """

    @abstractmethod
    def __call__(self, token: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """Goes one token on.

        Args:
            token: Each row's last token. For a text that has ended it is the target's `padding_id`: what the decoder
                says of that row from then on is not read, but must not be an error.

        Returns:
            float32 log probabilities of each row's next token; -inf for what may never be written (padding, begin).
        """

    @abstractmethod
    def reorder(self, rows: Int[Tensor, " new_rows"]) -> None:
        """Makes position i of the new rows go on from the past of the old row `rows[i]`.

        The number of rows may change, as when several texts are begun for each row of the batch. The texts of one row
        of the batch always lie side by side, equally many for each and in the batch's order. So where the number of
        rows stays, each still belongs to the same row of the batch, and what depends on that alone (the memory that is
        attended to) need not be moved.
        """
