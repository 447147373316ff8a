"""Image-text matching: do these columns belong together? Mixed rows, and a loss for telling them from true ones.

A joint embedding space compares columns that never saw one another; a fusion sees them at once and can tell what no
single embedding holds ("the red cube left of the blue ball"). Image-text matching (Li et al., "Align before Fuse",
NeurIPS 2021, section 3.2) asks it: for each column of a row, another row's takes its place, sampled in proportion to
how close the space already finds the two, so the hardest mistakes are asked most. Rows that hold the same thing are
never sampled: they would be right.

What is drawn from are the rows of a micro-batch, whose tokens are at hand. So here, unlike in the contrastive loss, how
a batch is cut changes which negatives there are; each draw is a function of its row's key all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne
from polysense.core.batch import ValueTruth
from polysense.core.rows import RowLoss
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.head import readout
from polysense.nn.layers.draws import uniforms
from polysense.nn.objectives.base import Blueprint, Objective, ObjectiveConfig, TrainingState
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig, Embeddings

__all__ = ["ImageTextMatching", "ImageTextMatchingConfig", "hard_negatives"]


@dataclass(frozen=True, kw_only=True)
class ImageTextMatchingConfig(ObjectiveConfig):
    """Image-text matching: the fusion classifies whether one column of a row was swapped with another row's (ALBEF).

    It costs a pass through the fusion for each column.

    Attributes:
        weight: Weight of the loss; the contrastive loss has weight 1.
        target: The contrastive target whose columns are swapped; null if there is only one.
        hidden: Width of a hidden layer before the decision; 0 = linear.
        dropout: Before the decision.
    """

    type: Literal["image_text_matching"] = "image_text_matching"
    target: str | None = None
    hidden: int = 0
    dropout: FractionBelowOne = 0.1

    def build(self, blueprint: Blueprint) -> ImageTextMatching:
        """Builds the objective.

        Raises:
            ConfigError: There is no such contrastive target.
        """
        contrastive = [name for name, head in blueprint.heads.items() if isinstance(head, ContrastiveHeadConfig)]
        if (self.target is None and len(contrastive) != 1) or (
            self.target is not None and self.target not in contrastive
        ):
            raise ConfigError(
                f"image_text_matching: target is {self.target or 'null'}; expected the one contrastive target among "
                f"{', '.join(contrastive) or 'none'}"
            )
        return ImageTextMatching(self, blueprint, self.target or contrastive[0])


class ImageTextMatching(Objective):
    """The decision, and the rows that it is shown."""

    def __init__(self, config: ImageTextMatchingConfig, blueprint: Blueprint, target: str) -> None:
        super().__init__()
        self.target, self.members = target, blueprint.schema.target(target).members
        self.matcher = readout(blueprint.width, config.hidden, config.dropout, 1)
        self._weight = config.weight * blueprint.heads[target].loss_weight

    @property
    def weights(self) -> Mapping[str, float]:
        return {"matching": self._weight}

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        """Each row's binary cross entropy: half for the row as it is, half for the mean of its mixed ones.

        It is 0 in a row that has fewer than two of the columns, or no other to be told from.
        """
        truth, output = state.truths[self.target], state.outputs[self.target]
        assert isinstance(truth, ValueTruth)
        assert isinstance(output, Embeddings)
        nobody = torch.zeros_like(truth.present)
        # Other columns than the target's could give the answer away, or need not be there: they are masked.
        own = {name: each if name in self.members else each.masked(nobody) for name, each in state.tokens.items()}
        chosen = hard_negatives(
            output.values.detach(), truth.values, truth.present, output.logit_scale[:1].detach(), state.batch.keys
        )
        positive = F.softplus(-self._match(state, own))
        negatives, num_negatives = torch.zeros_like(positive), torch.zeros_like(positive)
        for index, name in enumerate(self.members):
            there, rows = chosen[:, index] >= 0, chosen[:, index].clamp(min=0)
            mixed = Tokens(own[name].values[rows], own[name].mask[rows], own[name].grid)
            negatives = negatives + F.softplus(self._match(state, {**own, name: mixed})) * there
            num_negatives = num_negatives + there
        mean = negatives / num_negatives.clamp(min=1)
        total = 0.5 * (positive + mean) * (num_negatives > 0)
        return {"matching": RowLoss(total, (state.batch.rows >= 0).float())}

    def _match(self, state: TrainingState, tokens: Mapping[str, Tokens]) -> Float[Tensor, " batch"]:
        """The logit that what was fused belongs together."""
        logits: Tensor = self.matcher(state.fuse(tokens, ()).pooled)[:, 0]
        return logits.float()


def hard_negatives(
    embeddings: Float[Tensor, "batch columns size"],
    keys: Int[Tensor, "batch keys"],
    present: Bool[Tensor, " batch"],
    logit_scale: Float[Tensor, " 1"],
    row_keys: Int[Tensor, " batch"] | None,
) -> Int[Tensor, "batch columns"]:
    """For each column of each row the row whose cell takes its place, -1 for none.

    Args:
        embeddings: In the joint embedding space; zeros where a column is absent.
        keys: What the rows hold, columns first; 0 is unknown. Rows that share any key hold the same.
        present: Which rows count.
        logit_scale: What cosines are multiplied by: the higher, the more the closest is preferred.
        row_keys: What to draw from, `Batch.keys`; None takes the closest row.
    """
    there = (embeddings != 0).any(dim=2) & present[:, None]
    size, columns = there.shape
    again = torch.zeros(size, size, dtype=torch.bool, device=embeddings.device)
    for key in keys.unbind(1):
        again |= (key[:, None] == key[None]) & (key[:, None] != 0)
    again.fill_diagonal_(True)
    samples = None if row_keys is None else uniforms(row_keys, columns, "matching")
    chosen = []
    for column in range(columns):
        others = there.clone()
        others[:, column] = False
        # A row's other columns look for one to go with them: the mean of their cosines.
        looking = (embeddings * others[..., None]).sum(dim=1) / others.sum(dim=1).clamp(min=1)[:, None]
        logits = (looking @ embeddings[:, column].T).float() * logit_scale
        allowed = ~again & there[:, column] & (there[:, column] & others.any(dim=1))[:, None]
        logits = logits.masked_fill(~allowed, -torch.inf)
        if samples is None:
            rows = logits.nan_to_num(neginf=-1e9).argmax(dim=1)
        else:
            shares = logits.nan_to_num(neginf=-1e9).softmax(dim=1) * allowed
            sums = shares.cumsum(dim=1)
            # The first whose share reaches beyond the draw: never one without a share.
            rows = (sums <= samples[:, column, None] * sums[:, -1:]).sum(dim=1)
            rows = torch.where(rows < size, rows, shares.argmax(dim=1))
        chosen.append(torch.where(allowed.any(dim=1), rows, -1))
    return torch.stack(chosen, dim=1)
