"""Labeled segments of one input column, step by step: names in a text, events in an audio clip, a label per step.

A label for each of the column's fused tokens, from the token and from the summary of all columns. Where segments of one
class may touch, the labels are BIO tags (Ramshaw and Marcus, 1995): "begins a person", "goes on with a person", "in
none"; elsewhere a class or none. Tokens may be fewer than the column's own steps (40 ms of audio, not a sample): then a
token has the class that fills more of it than any other does, none among them, and the token in a segment's middle
always has its class. So times are right to about half a token, and two events closer than one run together.

The loss of a row is the mean over its tokens, times the column's own length: a sum over what the table counts, whose
number is known without a forward. With `crf` neighboring labels are learned together (see `layers.crf`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne
from polysense.core.batch import Truth, ValueTruth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.class_weights import named_weights
from polysense.nn.head import Head, HeadConfig, readout
from polysense.nn.layers.crf import LinearChainCRF
from polysense.tasks.tagging.record import TaggingTarget

__all__ = ["StepLabels", "TaggingHead", "TaggingHeadConfig"]

_RAREST = 1e-3  # share of the length below which "balanced" weighs a class no more, and what a prior is at least
_PADDING = -1


@dataclass(frozen=True, kw_only=True)
class TaggingHeadConfig(HeadConfig):
    """A label for each token of one column, trained with cross entropy or as a chain.

    Attributes:
        hidden: Width of a hidden layer before the labels; 0 = linear.
        crf: Whether neighboring labels are learned together, by a linear-chain conditional random field. Better
            segments from little data; slow for long sequences.
        class_weights: "none", "balanced" (each class, and "in none", weighs the same in total), or a weight for each
            class by name; positions outside all segments then have weight 1. Not with crf.
        label_smoothing: Share of the target probability that is spread over all labels. Not with crf.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"tagging"})
    type: Literal["tagging"] = "tagging"
    crf: bool = False
    class_weights: Literal["none", "balanced"] | Mapping[str, float] = "none"
    label_smoothing: FractionBelowOne = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crf and (self.class_weights != "none" or self.label_smoothing):
            raise ConfigError("crf: a chain's loss knows no class_weights and no label_smoothing; leave them out")


@pytree_node
@dataclass(frozen=True, eq=False)
class StepLabels:
    """Each step's label, the valid ones of a row first.

    Attributes:
        logits: Of each label, in float32.
        mask: Which steps are valid.
    """

    logits: Float[Tensor, "batch steps labels"]
    mask: Bool[Tensor, "batch steps"]


class TaggingHead(Head[StepLabels], config=TaggingHeadConfig):
    """Labels from one column's fused tokens.

    Label 0 is "in no segment". Without boundaries class c is 1 + c; with them 1 + 2c begins a segment and 2 + 2c goes
    on with it.
    """

    weights: Tensor
    prior: Tensor

    target: TaggingTarget

    def __init__(self, config: TaggingHeadConfig, target: TaggingTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self.boundaries = target.boundaries
        self.label_smoothing = config.label_smoothing
        num_labels = 1 + len(target.classes) * (2 if target.boundaries else 1)
        self.readout = readout(width, config.hidden, config.dropout, num_labels)
        self.summary = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.register_buffer("weights", torch.tensor(_class_weights(config, target)), persistent=False)
        # What the training labels alone say of a step, none first: for rows that lack the column.
        shares = [max(1.0 - sum(target.class_lengths), _RAREST), *(max(s, _RAREST) for s in target.class_lengths)]
        self.register_buffer("prior", torch.tensor(shares).log() - math.log(sum(shares)), persistent=False)
        self.chain = _chain(num_labels, target.boundaries) if config.crf else None

    def connect(self, columns: Sequence[Column]) -> None:
        over = next((column for column in columns if column.name == self.target.over), None)
        if over is None or over.multiple:
            raise ConfigError(
                f"model.heads.{self.target.name}: its segments lie in column {self.target.over!r}, which "
                + ("is no input" if over is None else "holds several items in a cell")
            )

    # --- labels --------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> StepLabels:
        tokens = fused.columns[self.target.over].tokens
        order = (~tokens.mask).int().argsort(dim=1, stable=True)
        values = tokens.values.gather(1, order[:, :, None].expand_as(tokens.values))
        logits = self.readout(values + self.summary(fused.pooled)[:, None].to(values.dtype)).float()
        return StepLabels(logits, tokens.mask.gather(1, order))

    def loss(self, output: StepLabels, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        logits, mask = output.logits, output.mask
        labels = self.labels(truth, mask)
        if self.chain is not None:
            losses = -self.chain.log_likelihood(logits, labels, mask)
        else:
            weights = self.weights[self._classes(labels)] * mask
            losses = F.cross_entropy(
                logits.transpose(1, 2), labels, reduction="none", label_smoothing=self.label_smoothing
            )
            losses = (losses * weights).sum(dim=1)
        total = losses * truth.values[:, 0, 1] / mask.sum(dim=1).clamp(min=1) * truth.present
        return {"loss": RowLoss(total, self.count(truth)["loss"])}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        assert isinstance(truth, ValueTruth)
        lengths, classes = truth.values[:, :, 1] - truth.values[:, :, 0], truth.values[:, :, 2].long()
        inside = lengths * (classes >= 0)
        rest = (lengths[:, 0] - inside.sum(dim=1)).clamp(min=0) * self.weights[0]
        return {"loss": ((inside * self.weights[1 + classes.clamp(min=0)]).sum(dim=1) + rest) * truth.present}

    def labels(self, target: ValueTruth, mask: Bool[Tensor, "batch steps"]) -> Int[Tensor, "batch steps"]:
        """Each token's label; 0 where the mask is False.

        Args:
            target: The segments.
            mask: Which tokens are valid; a row's first ones, and they share its length evenly.
        """
        segments = target.values[:, 1:]
        batch, steps = mask.shape
        if segments.shape[1] == 0:
            return torch.zeros(batch, steps, dtype=torch.int64, device=mask.device)
        step = target.values[:, :1, 1] / mask.sum(dim=1, keepdim=True).clamp(min=1)
        edges = torch.arange(steps + 1, device=mask.device) * step
        starts, ends, classes = segments.unbind(dim=2)
        upper = torch.minimum(edges[:, 1:, None], ends[:, None, :])
        overlap = (upper - torch.maximum(edges[:, :-1, None], starts[:, None, :])).clamp(min=0)
        overlap = overlap * (classes >= 0)[:, None, :]
        most, owner = overlap.max(dim=2)
        # Rounding must not hand a token that lies wholly inside to nobody.
        outside = (most <= 0) | (step - overlap.sum(dim=2) > most + 1e-3 * step)
        owner = owner.masked_fill(outside, -1)
        middle = ((starts + ends) / 2 / step.clamp(min=1e-12)).long().clamp(max=steps - 1)
        for index in range(segments.shape[1]):
            real = classes[:, index] >= 0
            there = middle[:, index, None]
            owner.scatter_(1, there, torch.where(real[:, None], index, owner.gather(1, there)))
        own = classes.long().gather(1, owner.clamp(min=0))
        if self.boundaries:
            before = F.pad(owner[:, :-1], (1, 0), value=-1)
            result = 1 + 2 * own + (owner == before)
        else:
            result = 1 + own
        return result.masked_fill((owner < 0) | ~mask, 0)

    def _classes(self, labels: Int[Tensor, "batch steps"]) -> Int[Tensor, "batch steps"]:
        """0 for none, 1 + class."""
        return (labels + 1) // 2 if self.boundaries else labels

    # --- prediction ----------------------------------------------------------------------------------------------

    def predict(self, fused: Fused, context: RowContext) -> dict[str, Tensor]:
        """Segments in the column's own steps."""
        column = fused.columns[self.target.over]
        return {"values": self._segments(self.read(fused, context), column.lengths.sum(dim=1).float())}

    def score(self, fused: Fused, context: RowContext, truth: Truth) -> dict[str, Tensor]:
        assert isinstance(truth, ValueTruth)
        return {"likelihood": self._likelihood(self.read(fused, context), truth)}

    def _likelihood(self, output: StepLabels, target: ValueTruth) -> Float[Tensor, "batch 3"]:
        """Of the true labels, over the column's own length; by the training shares in rows that lack the column."""
        logits, mask = output.logits, output.mask
        labels = self.labels(target, mask)
        num = mask.sum(dim=1).clamp(min=1)
        length = target.values[:, 0, 1]
        if self.chain is not None:
            result = self.chain.log_likelihood(logits, labels, mask)
            best = self.chain.best(logits, mask)
        else:
            result = (logits.log_softmax(dim=2).gather(2, labels[:, :, None])[:, :, 0] * mask).sum(dim=1)
            best = logits.argmax(dim=2)
        right = ((best == labels) & mask).sum(dim=1)
        lengths, classes = target.values[:, :, 1] - target.values[:, :, 0], target.values[:, :, 2].long()
        inside = lengths * (classes >= 0)
        blind = (inside * self.prior[1 + classes.clamp(min=0)]).sum(dim=1)
        blind = blind + (length - inside.sum(dim=1)).clamp(min=0) * self.prior[0]
        blind_right = (length - inside.sum(dim=1)).clamp(min=0)
        there = mask.any(dim=1)
        return torch.stack(
            [
                torch.where(there, result * length / num, blind) * target.present,
                torch.where(there, right * length / num, blind_right) * target.present,
                length * target.present,
            ],
            dim=1,
        )

    def _segments(self, output: StepLabels, lengths: Float[Tensor, " batch"]) -> Float[Tensor, "batch records 4"]:
        """Runs of labels as segments of the column's own length, the whole column first."""
        logits, mask = output.logits, output.mask
        if self.chain is not None:
            labels, marginals = self.chain.best(logits, mask), self.chain.marginals(logits, mask)
        else:
            marginals = logits.softmax(dim=2)
            labels = logits.argmax(dim=2) * mask
        classes = self._classes(labels)
        before = F.pad(classes[:, :-1], (1, 0), value=0)
        begins = (classes > 0) & (classes != before)
        if self.boundaries:
            begins |= (labels > 0) & (labels % 2 == 1)
        after = F.pad(begins[:, 1:], (0, 1), value=True) | (F.pad(classes[:, 1:], (0, 1), value=0) != classes)
        closes = (classes > 0) & after
        # A token's probability of its class, whether it begins or goes on.
        probability = marginals.gather(2, labels[:, :, None])[:, :, 0]
        if self.boundaries:
            other = labels + torch.where(labels % 2 == 1, 1, -1)
            probability = probability + marginals.gather(2, other.clamp(min=0)[:, :, None])[:, :, 0] * (labels > 0)
        total = F.pad(probability.cumsum(dim=1), (1, 0))
        step = lengths / mask.sum(dim=1).clamp(min=1)
        result = logits.new_full((len(logits), 1 + int(begins.sum(dim=1).max()), 4), float(_PADDING))
        result[:, 0] = 0.0
        result[:, 0, 1], result[:, 0, 2] = lengths, -1.0
        rows, first = begins.nonzero(as_tuple=True)
        _, last = closes.nonzero(as_tuple=True)
        rank = begins.long().cumsum(dim=1)[rows, first]
        mean = (total[rows, last + 1] - total[rows, first]) / (last + 1 - first)
        result[rows, rank] = torch.stack(
            [first * step[rows], (last + 1) * step[rows], (classes[rows, first] - 1).float(), mean.clamp(max=1.0)],
            dim=1,
        ).to(result.dtype)
        return result


def _class_weights(config: TaggingHeadConfig, target: TaggingTarget) -> list[float]:
    """A weight for "in none", then for each class."""
    requested: str | Mapping[str, float] = config.class_weights
    if requested == "none":
        return [1.0] * (1 + len(target.classes))
    if isinstance(requested, str):
        shares = [1.0 - sum(target.class_lengths), *target.class_lengths]
        return [1.0 / (len(shares) * max(share, _RAREST)) for share in shares]
    where = f"model.heads.{target.name}.class_weights"
    return [1.0, *named_weights(where, requested, target.classes)]


def _chain(num_labels: int, boundaries: bool) -> LinearChainCRF:
    """With boundaries, what goes on with a class follows only what begins or goes on with it."""
    if not boundaries:
        return LinearChainCRF(num_labels)
    label = torch.arange(num_labels)
    goes_on = (label > 0) & (label % 2 == 0)
    same = (label[:, None] + 1) // 2 == (label[None, :] + 1) // 2
    return LinearChainCRF(num_labels, ~goes_on, ~goes_on[None, :] | same)
