"""A text's head in training that writes nothing: the bag of its tokens from a summary (see `bag_of_tokens`)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Truth
from polysense.core.rows import RowContext, RowLoss
from polysense.core.tokens import Fused
from polysense.nn.head import Head
from polysense.tasks.generation.heads.bag_of_tokens import BagOfTokens
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["BagOfTokensHead"]


class BagOfTokensHead(Head[Tensor]):
    """Log probabilities of the tokens that a text may have, from a summary; for losses, and no prediction.

    Args:
        target: Whose texts.
        width: Width of the summary.
        loss_weight: Its share in the sum of losses.
    """

    def __init__(self, target: GenerationTarget, width: int, loss_weight: float = 1.0) -> None:
        super().__init__(target, loss_weight)
        self.bag = BagOfTokens(target)
        self.readout = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, target.vocabulary_size))

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Float[Tensor, "batch tokens"]:
        del context, truth
        return self.bag.log_probabilities(self.readout(fused.pooled)[:, None, self.bag.ids])

    def loss(self, output: Float[Tensor, "batch tokens"], truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        del own
        assert isinstance(truth, GenerationTruth)
        return {"loss": RowLoss(self.bag.losses(output, truth), self.bag.count(truth))}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        assert isinstance(truth, GenerationTruth)
        return {"loss": self.bag.count(truth)}

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        raise AssertionError(f"{self.target.name}: a bag of tokens is no text")
