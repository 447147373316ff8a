"""Masks from queries, one query for each thing.

Mask classification with masked attention (Cheng et al., "Masked-attention mask transformer for universal image
segmentation", CVPR 2022; that a plain decoder on a backbone is enough: Kerssies et al., "Your ViT is secretly an image
segmentation model", CVPR 2025). A U-Net's decoder gives an embedding for each cell of a fine map; each query's own
embedding times those is its mask, beside which it names a class, or nothing. Queries look at one another, and at the
coarser maps within the mask that they predict so far, and at the other columns' tokens, so that a sentence can say
which things are meant. Things and queries are matched by least cost (`nn.matching`), so nothing has to be suppressed.

Matching alone learns slowly from nothing, since for long nothing says which query is to find what. So every query has a
place: queries lie on a grid, and start from what a coarse map shows there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import Fraction, Limit, NonNegativeFloat, PositiveInt
from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused, PyramidLevel
from polysense.errors import ConfigError
from polysense.nn.head import Head, HeadConfig
from polysense.nn.layers.feature_pyramid import PyramidAttention, PyramidSkip, PyramidStep, as_map
from polysense.nn.layers.query_layer import QueryLayer, position_waves
from polysense.nn.matching import match_queries
from polysense.nn.placed import require_fixed_grids, require_single_items
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.truth import InstanceTruth

__all__ = ["QueryMaskHead", "QueryMaskHeadConfig", "QueryMasks"]

_MOST_CELLS = 8192  # of the map that masks are predicted on
_MOST_PLACES = 1200  # of the memory, which every query attends to
_NOTHING_WEIGHT = 0.1  # of a query that is to name nothing, which most are


@dataclass(frozen=True, kw_only=True)
class QueryMaskHeadConfig(HeadConfig):
    """A mask and a class from each query, matched one to one with the things of an image.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        dropout: Within the decoder's layers.
        channels: Width of maps and queries.
        layers: Of the decoder.
        queries: The most things of an image.
        attention_heads: Of each attention.
        class_weight: Weight of the loss of classes.
        mask_weight: Weight of the masks' cross entropy.
        dice_weight: Weight of the masks' Dice loss, in which small things count as much as large ones.
        min_score: What is less sure is not predicted.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"instance_segmentation"})
    type: Literal["query_masks"] = "query_masks"
    channels: PositiveInt = 64
    layers: PositiveInt = 3
    queries: Annotated[int, Limit(1, 500)] = 36
    attention_heads: PositiveInt = 4
    class_weight: NonNegativeFloat = 2.0
    mask_weight: NonNegativeFloat = 5.0
    dice_weight: NonNegativeFloat = 5.0
    min_score: Fraction = 0.001

    def __post_init__(self) -> None:
        if self.hidden:
            raise ConfigError("hidden: this head has no hidden layer before the output; set channels instead")
        if self.channels % (2 * self.attention_heads):
            raise ConfigError(f"channels: found {self.channels}, expected a multiple of {2 * self.attention_heads}")

    def build(self, target: Target, width: int) -> QueryMaskHead:
        self.check(target)
        return QueryMaskHead(self, InstanceTarget.of(target), width)


@pytree_node
@dataclass(frozen=True, eq=False)
class QueryMasks:
    """What queries predict before the first layer and after each, in float32.

    Attributes:
        logits: Of each class, then of nothing.
        masks: Of each cell of the finest map that is read.
        seen: Which rows have their image.
    """

    logits: Float[Tensor, "batch rounds queries classes"]
    masks: Float[Tensor, "batch rounds queries height width"]
    seen: Bool[Tensor, " batch"]


class QueryMaskHead(Head[QueryMasks]):
    """Masks from one column's feature maps."""

    target: InstanceTarget
    positions: Tensor
    places: Tensor
    starts: Tensor

    def __init__(self, config: QueryMaskHeadConfig, target: InstanceTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.reads_pyramids = (target.over,)
        self._attends = False
        channels, num = config.channels, len(target.classes)
        self.content = nn.Embedding(config.queries, channels)
        self.of_pooled = nn.Linear(width, channels)
        self.of_tokens = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))
        self.of_place = nn.Linear(channels, channels)
        self.layers = nn.ModuleList(
            QueryLayer(channels, config.attention_heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.classes = nn.Linear(channels, num + 1)
        self.to_mask = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(),
            nn.Linear(channels, channels),
        )  # fmt: skip
        nn.init.zeros_(self.of_pooled.weight)
        nn.init.zeros_(self.of_pooled.bias)

    def connect(self, columns: Sequence[Column]) -> None:
        require_single_items(self.target, self.target.over, columns, "masks lie on")
        self._attends = len(columns) > 1

    def connect_pyramids(self, levels: Mapping[str, tuple[PyramidLevel, ...]]) -> None:
        every, channels = levels[self.target.over], self._config.channels
        require_fixed_grids(self.target.over, every, "masks")
        sizes = [math.prod(level.grid or ()) for level in every]
        first = next((index for index, size in enumerate(sizes) if size <= _MOST_CELLS), len(sizes) - 1)
        self._levels = every[first:]
        self.num_levels_read[self.target.over] = len(self._levels)
        own = sizes[first:]
        start, total = len(own) - 1, own[-1]
        while start and total + own[start - 1] <= _MOST_PLACES:
            start -= 1
            total += own[start]
        self._first_of_memory = start
        self.tokens = nn.Conv2d(self._width, channels, 1, bias=False)
        self.skips = nn.ModuleList(PyramidSkip(level.width, channels) for level in self._levels)
        self.steps = nn.ModuleList(PyramidStep(channels, self._width) for _ in self._levels)
        if self._attends:
            self.look = PyramidAttention(channels, self._width)
        self.to_cells = nn.Conv2d(channels, channels, 1)
        self.scales = nn.Embedding(len(own) - start, channels)
        where = torch.cat([_centers(level) for level in self._levels[start:]])
        self.register_buffer("positions", position_waves(where, channels), persistent=False)
        spread = _spread(self._config.queries)
        self.register_buffer("places", position_waves(spread, channels), persistent=False)
        # Each query's place among those of the memory's finest map.
        distance = torch.cdist(spread, where[: own[start]])
        self.register_buffer("starts", distance.argmin(dim=1), persistent=False)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        config = self._config
        return {"class": config.class_weight, "mask": config.mask_weight, "dice": config.dice_weight}

    # --- outputs -------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> QueryMasks:
        column = fused.columns[self.target.over]
        maps = self._maps(fused)
        cells = self.to_cells(maps[0]).float()
        memory, masked, num_places = self._memory(fused, maps)
        content = self.content.weight + self.of_pooled(fused.pooled)[:, None] + memory[:, self.starts]
        where = self.of_place(self.places).expand(len(content), -1, -1)
        logits, masks = [], []
        for layer in (*self.layers, None):
            out = self.norm(content)
            logits.append(self.classes(out).float())
            with torch.autocast(cells.device.type, enabled=False):
                masks.append(torch.einsum("bqc,bchw->bqhw", self.to_mask(out.float()), cells))
            if layer is not None:
                apart = self._beyond(masks[-1].detach(), maps, memory.shape[1] - num_places)
                content = layer(content, where, memory, masked, apart=apart)
        return QueryMasks(torch.stack(logits, dim=1), torch.stack(masks, dim=1), column.present)

    def _maps(self, fused: Fused) -> list[Tensor]:
        """The decoder's map of each level, the finest first."""
        column = fused.columns[self.target.over]
        levels = column.tokens.pyramid[-len(self._levels) :]
        skips = [skip(as_map(level)) for skip, level in zip(self.skips, levels, strict=True)]
        # A batch without the column has tokens of another grid; an encoder's may be another, too.
        same = column.tokens.grid == self._levels[-1].grid
        x = self.tokens(as_map(column.tokens) if same else skips[-1].new_zeros(len(skips[-1]), self._width, 1, 1))
        if self._attends:
            others = {name: one for name, one in fused.columns.items() if name != self.target.over}
            x = self.look(x, skips[-1], Fused(fused.pooled, others))
        maps = []
        for step, skip in zip(reversed(self.steps), reversed(skips), strict=True):
            x = step(x, skip, fused.pooled)
            maps.append(x)
        return maps[::-1]

    def _memory(self, fused: Fused, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, int]:
        """Places of the coarser maps with where they are, then the other columns' tokens; what is not there is masked;
        and how many places there are."""
        column = fused.columns[self.target.over]
        chosen = maps[self._first_of_memory :]
        flat = [one.flatten(2).transpose(1, 2) + scale for one, scale in zip(chosen, self.scales.weight, strict=True)]
        places = torch.cat(flat, dim=1) + self.positions
        masked = ~column.present[:, None].expand(-1, places.shape[1])
        others = Fused(fused.pooled, {n: one for n, one in fused.columns.items() if n != self.target.over})
        if not others.columns:
            return places, masked, places.shape[1]
        tokens = others.joined()
        memory = torch.cat([places, self.of_tokens(tokens.values)], dim=1)
        return memory, torch.cat([masked, ~tokens.mask], dim=1), places.shape[1]

    def _beyond(self, masks: Tensor, maps: Sequence[Tensor], num_tokens: int) -> Bool[Tensor, "batch queries memory"]:
        """What of the memory lies beyond each query's mask; words never do."""
        parts = []
        for one in maps[self._first_of_memory :]:
            size = (one.shape[2], one.shape[3])
            parts.append(F.interpolate(masks, size, mode="bilinear", align_corners=False).flatten(2) < 0)
        return F.pad(torch.cat(parts, dim=2), (0, num_tokens))

    # --- losses --------------------------------------------------------------------------------------------------

    def loss(self, output: QueryMasks, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        truth = InstanceTruth.of(truth)
        counts, wanted = self.count(truth), self._wanted(truth) & output.seen[:, None]
        goal = self._on_cells(truth)
        totals = {name: output.logits.new_zeros(len(wanted)) for name in counts}
        rounds = output.logits.shape[1]
        for index in range(rounds):
            logits, masks = output.logits[:, index], output.masks[:, index].flatten(2)
            queries = match_queries(_costs(logits, masks, truth.labels, goal, self.loss_weights), wanted)
            matched, chosen = queries >= 0, queries.clamp(min=0)
            mine = masks.gather(1, chosen[..., None].expand(-1, -1, masks.shape[2]))
            entropy = F.binary_cross_entropy_with_logits(mine, goal, reduction="none").mean(dim=2)
            totals["mask"] = totals["mask"] + (entropy * matched).sum(dim=1) / rounds
            totals["dice"] = totals["dice"] + (_dice(mine, goal) * matched).sum(dim=1) / rounds
            totals["class"] = totals["class"] + _class_loss(logits, truth.labels, chosen, matched) / rounds
        there = truth.present & output.seen
        return {name: RowLoss(totals[name] * there, counts[name]) for name in counts}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """Things; for the classes queries, of which those that are to name nothing weigh little."""
        truth = InstanceTruth.of(truth)
        num = self._wanted(truth).sum(dim=1).clamp(max=self._config.queries).float()
        weights = (num + _NOTHING_WEIGHT * (self._config.queries - num)) * truth.present
        return {"class": weights, "mask": num, "dice": num}

    def _wanted(self, truth: InstanceTruth) -> Bool[Tensor, "batch things"]:
        return truth.learned & (truth.labels < self.target.other)

    def _on_cells(self, truth: InstanceTruth) -> Float[Tensor, "batch things cells"]:
        """Each cell's share of a thing."""
        stride = (self._levels[0].stride[0], self._levels[0].stride[1])
        masks = truth.masks.float()
        return F.avg_pool2d(masks, stride, stride, ceil_mode=True, count_include_pad=False).flatten(2)

    # --- prediction ----------------------------------------------------------------------------------------------

    def arrays(self, output: QueryMasks) -> dict[str, Tensor]:
        """The surest first: `values`, [batch, queries, 2]: class, score, 0 where there is nothing; `masks`, uint8
        [batch, queries, rows, columns], probabilities of cells, of 255; and `strides`, [batch, 2], pixels of the
        model's input (down, right) from a cell to the next.

        A score is the class's probability times the mean probability of the pixels of the mask.
        """
        chances, num = output.logits[:, -1].softmax(dim=2)[..., :-1], self._config.queries
        masks = output.masks[:, -1].sigmoid()
        inside = (masks > 0.5).to(masks.dtype)
        sure = (masks * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)
        best, position = (chances * sure[..., None]).flatten(1).topk(num, dim=1)
        labels, query = position % chances.shape[2], position // chances.shape[2]
        own = masks.gather(1, query[..., None, None].expand(-1, -1, *masks.shape[2:]))
        kept = (best > self._config.min_score) & output.seen[:, None]
        values = torch.stack([labels.to(best.dtype), best], dim=2)
        strides = torch.tensor(self._levels[0].stride, device=best.device).expand(len(best), -1)
        return {
            "values": torch.where(kept[..., None], values, 0.0),
            "masks": (own * 255).round().to(torch.uint8) * kept[..., None, None],
            "strides": strides,
        }


def _centers(level: PyramidLevel) -> Float[Tensor, "cells 2"]:
    """(x, y) of a map's cells, as fractions."""
    height, width = level.grid or (0, 0)
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def _spread(num: int) -> Float[Tensor, "queries 2"]:
    """Points on a grid over the image."""
    side = math.ceil(math.sqrt(num))
    number = torch.arange(num)
    return torch.stack([(number % side + 0.5) / side, (number // side + 0.5) / math.ceil(num / side)], dim=1)


@torch.no_grad()
def _costs(
    logits: Tensor, masks: Tensor, labels: Tensor, goal: Tensor, weights: Mapping[str, float]
) -> Float[Tensor, "batch queries things"]:
    """What it costs to give a query a thing: how wrong class and mask are, as the losses weigh them."""
    chances = logits.softmax(dim=2)
    num = logits.shape[2] - 1
    own = chances.gather(2, labels.clamp(0, num)[:, None].expand(-1, logits.shape[1], -1))
    goals = goal.transpose(1, 2)
    entropy = (F.softplus(masks).sum(dim=2, keepdim=True) - masks @ goals) / masks.shape[2]
    soft = masks.sigmoid()
    both = 2 * (soft @ goals) + 1
    dice = 1 - both / (soft.sum(dim=2, keepdim=True) + goal.sum(dim=2)[:, None] + 1)
    result: Tensor = weights["mask"] * entropy + weights["dice"] * dice - weights["class"] * own
    return result


def _dice(masks: Tensor, goal: Tensor) -> Float[Tensor, "batch things"]:
    soft = masks.sigmoid()
    result: Tensor = 1 - (2 * (soft * goal).sum(dim=2) + 1) / (soft.sum(dim=2) + goal.sum(dim=2) + 1)
    return result


def _class_loss(logits: Tensor, labels: Tensor, queries: Tensor, matched: Tensor) -> Float[Tensor, " batch"]:
    """Weighted cross entropy of all queries, those without a thing being to name nothing."""
    num = logits.shape[2] - 1
    # One more place for the things that no query has.
    goal = torch.full((len(logits), logits.shape[1] + 1), num, device=logits.device)
    places = torch.where(matched, queries, logits.shape[1])
    goal = goal.scatter(1, places, labels.clamp(0, num))[:, :-1]
    own = -logits.log_softmax(dim=2).gather(2, goal[..., None])[..., 0]
    weights = torch.where(goal < num, 1.0, _NOTHING_WEIGHT)
    return (own * weights).sum(dim=1)
