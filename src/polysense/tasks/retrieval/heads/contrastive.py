"""Several columns in one space: what belongs together lies close, so anything finds anything.

Each column's own summary, from before the columns are fused, is projected to a point on a sphere; the loss asks that
the columns of a row lie closer to one another than to those of other rows (see `layers.contrastive`). With an image
and a text this is CLIP (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021);
with more columns each pair is compared, or each with an anchor (ImageBind, Girdhar et al., 2023).

The loss is about a whole batch: a row's part of it depends on who else is there. So micro-batches and processes are
brought together before it is taken (`training.whole_batch`), and cutting a batch up changes nothing here either. The
prediction of a row depends on nobody else, as ever.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.head import Head, HeadConfig, readout
from polysense.nn.layers.contrastive import Comparison, ContrastiveLoss, Repeats, contrastive_losses

__all__ = ["ContrastiveHead", "ContrastiveHeadConfig"]

_MAX_LOG_SHARPNESS = math.log(100.0)
# 1 / temperature and bias at the start: CLIP, section 2.5; SigLIP, section 3.2.
_START = {"infonce": (math.log(1 / 0.07), 0.0), "siglip": (math.log(10.0), -10.0)}


@dataclass(frozen=True, kw_only=True)
class ContrastiveHeadConfig(HeadConfig):
    """A shared space: the columns of a row are brought close to one another and away from those of other rows.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        hidden: Width of a hidden layer before the space; 0 = linear.
        dropout: Before the space.
        size: Numbers that a place in the space has.
        loss: infonce: which of all rows belongs to this one (CLIP); better in large batches. siglip: does this pair
            belong together, for each pair by itself.
        repeats: What another row of the batch is that holds the same: the same text or file, or an equal value in the
            target's `same` column. "positives" belong together, "ignored" are left out, "negatives" are pushed away.
        learn_temperature: Whether the sharpness of the comparison (and SigLIP's bias) is learnt.
        chunk: Rows whose similarities to all others are in memory at once.
        matching: Weight of a second loss, beside the comparison's: the fusion is shown rows with one column from
            another row, drawn from those that the space takes for close, and has to tell them from true ones (ALBEF,
            Li et al., 2021). It costs a pass through the fusion for each column. 0 builds nothing of it.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.RETRIEVAL})
    compares_rows: ClassVar[bool] = True
    type: Literal["contrastive"] = "contrastive"
    size: int = 128
    loss: ContrastiveLoss = "infonce"
    repeats: Repeats = "positives"
    learn_temperature: bool = True
    chunk: int = 256
    matching: float = 0.0

    def __post_init__(self) -> None:
        if self.matching < 0:
            raise ConfigError(f"matching must be at least 0; found {self.matching}")
        for name in ("size", "chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; found {getattr(self, name)}")

    def build(self, target: Target, width: int) -> ContrastiveHead:
        self.check(target)
        return ContrastiveHead(self, target, width)


class ContrastiveHead(Head):
    """Gives each column's place in the space.

    Attributes:
        members: The columns, in the order of the outputs.
        directions: Which columns look for which: positions in `members`.
    """

    def __init__(self, config: ContrastiveHeadConfig, target: Target, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._loss, self._repeats, self._chunk = config.loss, config.repeats, config.chunk
        self.members = target.members
        names = range(len(self.members))
        anchor = self.members.index(target.anchor) if target.anchor else None
        self.directions = tuple(pair for pair in itertools.permutations(names, 2) if anchor is None or anchor in pair)
        self.projections = nn.ModuleList(readout(width, config.hidden, config.dropout, config.size) for _ in names)
        sharpness, bias = _START[config.loss]
        learnt = config.learn_temperature
        self.log_sharpness = nn.Parameter(torch.full((1,), sharpness), requires_grad=learnt)
        self.bias = nn.Parameter(torch.full((1,), bias), requires_grad=learnt and config.loss == "siglip")
        # Last, so that a weight of 0 leaves every other initial weight as it is.
        self._matching = config.matching
        self.matcher = readout(width, config.hidden, config.dropout, 1) if config.matching else None

    @property
    def loss_parameters(self) -> list[nn.Parameter]:
        """What the loss itself learns, beside the outputs."""
        return [parameter for parameter in (self.log_sharpness, self.bias) if parameter.requires_grad]

    @property
    def auxiliary_losses(self) -> Mapping[str, float]:
        return {"matching": self._matching * self.loss_weight} if self._matching else {}

    def match(self, pooled: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        """The logit that what was fused belongs together."""
        assert self.matcher is not None, f"{self.target.name}: matching is 0, so nothing was built for it"
        logits: Tensor = self.matcher(pooled)[:, 0]
        return logits

    def connect(self, columns: Sequence[Column]) -> None:
        names = [column.name for column in columns]
        if missing := [name for name in self.members if name not in names]:
            raise ConfigError(
                f"target {self.target.name!r} brings {', '.join(self.members)} into one space, and {missing[0]!r} "
                f"is no input column (there are: {', '.join(names)})"
            )

    def forward(self, fused: Fused, target: TargetBatch | None = None) -> Float[Tensor, "batch columns size"]:
        """Each column's place, of length 1; zeros where the column is absent."""
        places = []
        for column, projection in zip(self.members, self.projections, strict=True):
            summary = fused.unimodal[column]
            # A learned token may stand in for an absent column; it is not the column all the same.
            there = (summary != 0).any(dim=1)
            if fused.rows is not None:
                lengths = fused.lengths.get(column)
                there = there & (lengths > 0).any(dim=1) if lengths is not None else torch.zeros_like(there)
            places.append(F.normalize(projection(summary).float(), dim=1) * there[:, None])
        found = torch.stack(places, dim=1)
        if self.training:
            # The fusion is of no use to this head, and is touched all the same, or DDP waits for its gradients.
            idle = fused.pooled.float().sum(dim=1) + fused.tokens.values.float().sum(dim=(1, 2))
            found = found + idle[:, None, None] * 0.0
        return found

    def row_losses(
        self, outputs: Float[Tensor, "batch ..."], target: TargetBatch, rows: slice | None = None
    ) -> Float[Tensor, " rows"]:
        """Each row's loss, summed over the directions.

        Args:
            outputs: Of the whole batch: all rows are compared with all.
            target: Likewise.
            rows: Those whose loss is asked for; all by default.
        """
        if self.training:
            with torch.no_grad():  # a clamp within the graph would have no gradient to come back with
                self.log_sharpness.clamp_(max=_MAX_LOG_SHARPNESS)
        rows = slice(0, len(outputs)) if rows is None else rows
        ids = torch.arange(len(outputs), device=outputs.device)[rows]
        present, paired = _present(outputs), target.present[rows]
        sharpness = self.log_sharpness.exp()
        total = outputs.new_zeros(len(ids), dtype=torch.float32)
        for one, other in self.directions:
            keys = target.values[:, self._keys_of(one, other)]
            comparison = Comparison(
                ids=ids,
                keys=keys[rows],
                present=present[rows, one] & paired,
                candidate_keys=keys,
                candidate_present=present[:, other],
                loss=self._loss,
                repeats=self._repeats,
                chunk=self._chunk,
            )
            total = total + contrastive_losses(comparison, outputs[rows, one], outputs[:, other], sharpness, self.bias)
        return total

    def row_counts(self, target: TargetBatch) -> Float[Tensor, " batch"]:
        """In how many directions a row has both columns, as the table says."""
        there = target.values[:, : len(self.members)] != 0
        both = torch.stack([there[:, one] & there[:, other] for one, other in self.directions])
        return both.sum(dim=0).float() * target.present

    def predict(self, outputs: Float[Tensor, "batch ..."]) -> Prediction:
        """Places, NaN where the column is absent."""
        return Prediction(outputs.float().masked_fill(~_present(outputs)[..., None], torch.nan))

    def _keys_of(self, one: int, other: int) -> list[int]:
        """The keys that say whether two rows hold the same: of either column, and of the column named for it."""
        return [one, other, *range(len(self.members), len(self.target.columns))]


def _present(outputs: Float[Tensor, "batch columns size"]) -> Bool[Tensor, "batch columns"]:
    """Which columns are there: a place has length 1."""
    return (outputs != 0).any(dim=2)
