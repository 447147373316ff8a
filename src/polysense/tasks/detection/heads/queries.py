"""Boxes from queries that attend to the image's feature maps and to the other columns, one query for each box.

A decoder of DETR's kind (Carion et al., 2020): learned queries, each with a box that every layer refines (Liu et al.,
"DAB-DETR", 2022), attend to one another and to a memory of all places of the coarser feature maps, beside which stand
the other columns' tokens, so a sentence's words are looked at directly. Boxes and queries are matched by least cost
(`nn.matching`), so nothing has to be suppressed afterwards.

Matching alone learns slowly: for long nothing says which query is to find what. Two further losses do. In training each
layer also gets true boxes, moved and with some labels exchanged, and has to give them back (Li et al., "DN-DETR",
2022); these queries are seen by nobody else. And every place of the memory predicts a box as the dense head's do, with
SimOTA's assignment, so that the maps learn from the first step on (Zhu et al., "Co-DETR", 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
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
from polysense.nn.layers.draws import uniforms
from polysense.nn.layers.feature_pyramid import PyramidSkip, as_map
from polysense.nn.layers.query_layer import QueryLayer, position_waves
from polysense.nn.matching import match_queries
from polysense.nn.placed import require_fixed_grids, require_single_items
from polysense.tasks.detection.assignment import assign
from polysense.tasks.detection.costs import matching_costs
from polysense.tasks.detection.heads.dense import giou_loss, places_of
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

__all__ = ["QueryBoxes", "QueryDetectionHead", "QueryDetectionHeadConfig"]

_MOST_PLACES = 1200  # of the memory, which every query attends to
_PRIOR = 0.01
_FOCUS = 2.0
_SMALLEST = 1e-3  # of a box's side, as a fraction of the image's


@dataclass(frozen=True, kw_only=True)
class QueryDetectionHeadConfig(HeadConfig):
    """Boxes from queries that attend to the feature maps, matched one to one; for pretrained encoders.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        dropout: Within the decoder's layers.
        channels: Width of queries and memory.
        layers: Of the decoder.
        queries: The most boxes of an image.
        attention_heads: Of each attention.
        distance_weight: Weight of the distance of corners, as fractions of the image; that of the classes' is 1.
        giou_weight: Weight of the boxes' GIoU loss.
        denoising: Copies of the true boxes that are moved and have to be given back; 0: none.
        denoising_weight: Weight of that loss.
        dense_weight: Weight of the loss of the memory's places; 0 leaves it out.
        min_score: What is less sure is not predicted.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"detection"})
    type: Literal["query_detection"] = "query_detection"
    channels: PositiveInt = 96
    layers: PositiveInt = 3
    queries: Annotated[int, Limit(1, 1000)] = 60
    attention_heads: PositiveInt = 4
    distance_weight: NonNegativeFloat = 5.0
    giou_weight: NonNegativeFloat = 2.0
    denoising: Annotated[int, Limit(0, 20)] = 3
    denoising_weight: NonNegativeFloat = 1.0
    dense_weight: NonNegativeFloat = 1.0
    min_score: Fraction = 0.001

    def __post_init__(self) -> None:
        if self.hidden:
            raise ConfigError("hidden: this head has no hidden layer before the output; set channels instead")
        if self.channels % (2 * self.attention_heads):
            raise ConfigError(f"channels: found {self.channels}, expected a multiple of {2 * self.attention_heads}")

    def build(self, target: Target, width: int) -> QueryDetectionHead:
        self.check(target)
        return QueryDetectionHead(self, DetectionTarget.of(target), width)


@pytree_node
@dataclass(frozen=True, eq=False)
class QueryBoxes:
    """What queries predict, layer by layer, in float32; corners are in pixels of the model's input.

    Attributes:
        logits: Of each class.
        boxes: Left, top, right and bottom.
        noised_logits: Of the moved true boxes, `denoising` copies one after another; no query outside training.
        noised_boxes: Likewise.
        place_logits: Of the places of the memory; no place outside training.
        place_boxes: Likewise.
        seen: Which rows have their image.
    """

    logits: Float[Tensor, "batch layers queries classes"]
    boxes: Float[Tensor, "batch layers queries 4"]
    noised_logits: Float[Tensor, "batch layers noised classes"]
    noised_boxes: Float[Tensor, "batch layers noised 4"]
    place_logits: Float[Tensor, "batch places classes"]
    place_boxes: Float[Tensor, "batch places 4"]
    seen: Bool[Tensor, " batch"]


class QueryDetectionHead(Head[QueryBoxes]):
    """Boxes from one column's coarser feature maps."""

    target: DetectionTarget
    centers: Tensor
    strides: Tensor
    positions: Tensor

    def __init__(self, config: QueryDetectionHeadConfig, target: DetectionTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.reads_pyramids = (target.over,)
        channels, num = config.channels, len(target.classes)
        self.content = nn.Embedding(config.queries, channels)
        self.anchors = nn.Parameter(_spread(config.queries))
        if config.denoising:
            self.labels = nn.Embedding(num + 1, channels)
        self.of_pooled = nn.Linear(width, channels)
        self.of_tokens = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))
        self.of_box = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, channels))
        self.layers = nn.ModuleList(
            QueryLayer(config.channels, config.attention_heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.classes = nn.Linear(channels, num)
        self.moves = nn.ModuleList(_corners(channels) for _ in range(config.layers))
        nn.init.zeros_(self.of_pooled.weight)
        nn.init.zeros_(self.of_pooled.bias)
        # What a weight of 0 leaves out has no parameters either: other processes would wait for their gradients.
        each_class = [self.classes]
        if config.dense_weight:
            self.place_classes, self.place_sides = nn.Linear(channels, num), nn.Linear(channels, 4)
            each_class.append(self.place_classes)
        for layer in each_class:
            nn.init.constant_(layer.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def connect(self, columns: Sequence[Column]) -> None:
        require_single_items(self.target, self.target.over, columns, "boxes lie in")

    def connect_pyramids(self, levels: Mapping[str, tuple[PyramidLevel, ...]]) -> None:
        every = levels[self.target.over]
        require_fixed_grids(self.target.over, every, "boxes")
        first, total = len(every) - 1, math.prod(every[-1].grid or ())
        while first and total + math.prod(every[first - 1].grid or ()) <= _MOST_PLACES:
            first -= 1
            total += math.prod(every[first].grid or ())
        self._levels = every[first:]
        self.num_levels_read[self.target.over] = len(self._levels)
        channels = self._config.channels
        self.skips = nn.ModuleList(PyramidSkip(level.width, channels) for level in self._levels)
        self.scales = nn.Embedding(len(self._levels), channels)
        centers, strides = zip(*map(places_of, self._levels), strict=True)
        self.register_buffer("centers", torch.cat(centers), persistent=False)
        self.register_buffer("strides", torch.cat(strides), persistent=False)
        height, width = self.target.size
        where = self.centers / torch.tensor([width, height])
        self.register_buffer("positions", position_waves(where, channels), persistent=False)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        config = self._config
        weights = {"quality": 1.0, "distance": config.distance_weight, "giou": config.giou_weight}
        if config.denoising:
            weights["denoising"] = config.denoising_weight
        return weights | ({"dense": config.dense_weight} if config.dense_weight else {})

    # --- outputs -------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> QueryBoxes:
        column = fused.columns[self.target.over]
        memory, masked = self._memory(fused)
        batch, num, config = len(memory), self._config.queries, self._config
        content = (self.content.weight + self.of_pooled(fused.pooled)[:, None]).expand(batch, -1, -1)
        boxes = self.anchors.sigmoid().expand(batch, -1, -1)
        hidden = absent = None
        if self.training and truth is not None and config.denoising:
            truth = BoxTruth.of(truth)
            noised, moved = self._noised(truth, context.keys)
            content, boxes = torch.cat([content, noised], dim=1), torch.cat([boxes, moved], dim=1)
            hidden = _groups_apart(num, noised.shape[1], config.denoising, content.device)
            # Padding, of which a batch has more or less, is seen by nobody.
            nothing = torch.zeros(batch, num, dtype=torch.bool, device=content.device)
            absent = torch.cat([nothing, ~self._wanted(truth).repeat(1, config.denoising)], dim=1)
        logits, corners = [], []
        for layer, move in zip(self.layers, self.moves, strict=True):
            where = self.of_box(position_waves(boxes.flatten(0, 1).reshape(-1, 2, 2), config.channels).flatten(1))
            content = layer(content, where.view_as(content), memory, masked, hidden, absent)
            out = self.norm(content)
            boxes = (torch.logit(boxes.clamp(_SMALLEST, 1 - _SMALLEST)) + move(out)).sigmoid().float()
            logits.append(self.classes(out).float())
            corners.append(self._pixels(boxes))
            boxes = boxes.detach()
        every, pixels = torch.stack(logits, dim=1), torch.stack(corners, dim=1)
        at_places, around = every.new_zeros(batch, 0, every.shape[3]), pixels.new_zeros(batch, 0, 4)
        if self.training and config.dense_weight:
            places = memory[:, : len(self.centers)]
            sides = F.softplus(self.place_sides(places).float()) * (2 * self.strides[:, None])
            around = torch.cat([self.centers - sides[..., :2], self.centers + sides[..., 2:]], dim=2)
            at_places = self.place_classes(places).float()
        return QueryBoxes(
            every[:, :, :num], pixels[:, :, :num], every[:, :, num:], pixels[:, :, num:], at_places, around,
            column.present,
        )  # fmt: skip

    def _memory(self, fused: Fused) -> tuple[Float[Tensor, "batch memory channels"], Bool[Tensor, "batch memory"]]:
        """Places of the maps with where they are, then the other columns' tokens; what is not there is masked."""
        column = fused.columns[self.target.over]
        levels = column.tokens.pyramid[-len(self._levels) :]
        maps = [
            skip(as_map(level)).flatten(2).transpose(1, 2) + scale
            for skip, level, scale in zip(self.skips, levels, self.scales.weight, strict=True)
        ]
        places = torch.cat(maps, dim=1) + self.positions
        others = Fused(fused.pooled, {n: one for n, one in fused.columns.items() if n != self.target.over})
        masked = ~column.present[:, None].expand(-1, places.shape[1])
        if not others.columns:
            return places, masked
        tokens = others.joined()
        return torch.cat([places, self.of_tokens(tokens.values)], dim=1), torch.cat([masked, ~tokens.mask], dim=1)

    def _noised(
        self, truth: BoxTruth, keys: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch noised channels"], Float[Tensor, "batch noised 4"]]:
        """The true boxes, several times, moved by up to .4 of their sides; a fifth of the labels are others."""
        copies, num = self._config.denoising, truth.labels.shape[1]
        # Box by box, so that a box has its draws however many the batch is padded to.
        draws = uniforms(keys, num * copies * 6, "denoising").reshape(len(keys), num, copies, 6)
        draws = draws.transpose(1, 2).reshape(len(keys), copies * num, 6)
        boxes, labels = self._fractions(truth.boxes).repeat(1, copies, 1), truth.labels.repeat(1, copies)
        center = boxes[..., :2] + 0.4 * (2 * draws[..., :2] - 1) * boxes[..., 2:] / 2
        sides = boxes[..., 2:] * (1 + 0.4 * (2 * draws[..., 2:4] - 1))
        num_classes = len(self.target.classes)
        others = (draws[..., 5] * num_classes).long().clamp(max=num_classes - 1)
        labels = torch.where(draws[..., 4] < 0.2, others, labels.clamp(0, num_classes))
        moved = torch.cat([center, sides], dim=2).clamp(_SMALLEST, 1 - _SMALLEST)
        return self.labels(labels), moved.float()

    def _pixels(self, boxes: Float[Tensor, "batch queries 4"]) -> Float[Tensor, "batch queries 4"]:
        """Corners of boxes that are centers and sides, as fractions."""
        height, width = self.target.size
        half = boxes[..., 2:] / 2
        corners = torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=2)
        return corners * corners.new_tensor([width, height, width, height])

    def _fractions(self, corners: Float[Tensor, "batch boxes 4"]) -> Float[Tensor, "batch boxes 4"]:
        """The other way round."""
        height, width = self.target.size
        scaled = corners / corners.new_tensor([width, height, width, height])
        return torch.cat([(scaled[..., :2] + scaled[..., 2:]) / 2, scaled[..., 2:] - scaled[..., :2]], dim=2)

    # --- losses --------------------------------------------------------------------------------------------------

    def loss(self, output: QueryBoxes, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        truth, counts = BoxTruth.of(truth), self.count(truth)
        wanted = self._wanted(truth) & output.seen[:, None]
        totals = {name: output.logits.new_zeros(len(wanted)) for name in counts}
        num_layers = output.logits.shape[1]
        for layer in range(num_layers):
            logits, boxes = output.logits[:, layer], output.boxes[:, layer]
            costs = matching_costs(logits, boxes, truth.boxes, truth.labels, self.target.size)
            quality, distance, giou = self._of_pairs(logits, boxes, truth, match_queries(costs, wanted))
            totals["quality"] = totals["quality"] + quality / num_layers
            totals["distance"] = totals["distance"] + distance / num_layers
            totals["giou"] = totals["giou"] + giou / num_layers
            if output.noised_logits.shape[2]:
                totals["denoising"] = totals["denoising"] + self._denoising(output, truth, wanted, layer) / num_layers
        if output.place_logits.shape[1]:
            totals["dense"] = self._dense(output, truth, wanted)
        there = truth.present & output.seen
        return {name: RowLoss(totals[name] * there, counts[name]) for name in counts}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """Boxes; for the classes an image without any counts as one box, for there it learns that nothing is there."""
        truth = BoxTruth.of(truth)
        num = self._wanted(truth).sum(dim=1).float()
        some = num.clamp(min=1) * truth.present
        every = {"quality": some, "distance": num, "giou": num, "denoising": num, "dense": some}
        return {name: every[name] for name in self.loss_weights}

    def _wanted(self, truth: BoxTruth) -> Bool[Tensor, "batch boxes"]:
        """The boxes that are to be found, of classes that are known."""
        return truth.learned & (truth.labels < self.target.other)

    def _of_pairs(
        self, logits: Tensor, boxes: Tensor, truth: BoxTruth, queries: Int[Tensor, "batch boxes"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each row's loss of the classes of all queries, and of the corners of those that have a box."""
        matched = queries >= 0
        index = queries.clamp(min=0)
        own = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        giou = giou_loss(own, truth.boxes)
        iou = (1 - giou).detach().clamp(0, 1) * matched
        labels = truth.labels.clamp(0, logits.shape[2] - 1)
        goal = torch.zeros_like(logits).flatten(1)
        goal = goal.scatter_reduce(1, index * logits.shape[2] + labels, iou, reduce="amax").view_as(logits)
        height, width = self.target.size
        scale = boxes.new_tensor([width, height, width, height])
        distance = ((own - truth.boxes) / scale).abs().sum(dim=2)
        return _focal(logits, goal).sum(dim=(1, 2)), (distance * matched).sum(dim=1), (giou * matched).sum(dim=1)

    def _denoising(self, output: QueryBoxes, truth: BoxTruth, wanted: Tensor, layer: int) -> Float[Tensor, " batch"]:
        """The mean over the copies; box i of each is asked for box i."""
        config, num = self._config, truth.labels.shape[1]
        total = output.logits.new_zeros(len(wanted))
        place = torch.arange(num, device=wanted.device).expand_as(wanted)
        for copy in range(config.denoising):
            part = slice(copy * num, (copy + 1) * num)
            logits, boxes = output.noised_logits[:, layer, part], output.noised_boxes[:, layer, part]
            logits = logits.masked_fill(~wanted[:, :, None], -1e4)  # what is not to be found has no say
            quality, distance, giou = self._of_pairs(logits, boxes, truth, torch.where(wanted, place, -1))
            total = total + quality + config.distance_weight * distance + config.giou_weight * giou
        return total / config.denoising

    def _dense(self, output: QueryBoxes, truth: BoxTruth, wanted: Tensor) -> Float[Tensor, " batch"]:
        """The dense head's losses, of the memory's places."""
        logits, boxes = output.place_logits, output.place_boxes
        result = assign(logits, boxes, self.centers, self.strides, truth.boxes, truth.labels, wanted)
        labels = truth.labels.gather(1, result.box).clamp(0, logits.shape[2] - 1)
        goal = torch.zeros_like(logits).scatter(2, labels[..., None], (result.iou * result.assigned)[..., None])
        share = wanted.sum(dim=1).clamp(min=1) / result.places.sum(dim=1).clamp(min=1)
        own = truth.boxes.gather(1, result.box[..., None].expand(-1, -1, 4))
        of_place = (1 / result.places.clamp(min=1)).gather(1, result.box) * result.assigned
        corners = (giou_loss(boxes, own) * of_place).sum(dim=1)
        total: Tensor = _focal(logits, goal).sum(dim=(1, 2)) * share + self._config.giou_weight * corners
        return total

    # --- prediction ----------------------------------------------------------------------------------------------

    def arrays(self, output: QueryBoxes) -> dict[str, Tensor]:
        """`values`, [batch, queries, 6]: class, corners, score; the surest first, all 0 where there is none."""
        height, width = self.target.size
        most = output.boxes.new_tensor([width, height, width, height])
        boxes = torch.minimum(output.boxes[:, -1].clamp(min=0), most)
        scores, num = output.logits[:, -1].sigmoid(), self._config.queries
        best, position = scores.flatten(1).topk(num, dim=1)
        labels = position % scores.shape[2]
        own = boxes.gather(1, (position // scores.shape[2])[..., None].expand(-1, -1, 4))
        values = torch.cat([labels[..., None].to(own.dtype), own, best[..., None]], dim=2)
        kept = (best > self._config.min_score) & output.seen[:, None]
        return {"values": torch.where(kept[..., None], values, 0.0)}


def _groups_apart(num: int, noised: int, copies: int, device: torch.device) -> Bool[Tensor, "all all"]:
    """Which queries (columns) each query must not see: the moved boxes, but those of its own copy."""
    group = torch.cat([torch.zeros(num), 1 + torch.arange(noised) // max(1, noised // copies)]).to(device)
    hidden: Tensor = (group[None] != group[:, None]) & (group[None] > 0)
    return hidden


def _spread(num: int) -> Float[Tensor, "queries 4"]:
    """Anchors before they learn: centers on a grid, sides of a fifth of the image; as logits."""
    side = math.ceil(math.sqrt(num))
    place = (torch.arange(num)[:, None] // torch.tensor([1, side])) % side
    boxes = torch.cat([(place + 0.5) / side, torch.full((num, 2), 0.2)], dim=1)
    return torch.logit(boxes)


def _corners(channels: int) -> nn.Sequential:
    """How a box is moved; at first not at all."""
    last = nn.Linear(channels, 4)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), last)


def _focal(logits: Tensor, goal: Tensor) -> Tensor:
    """Quality focal loss (Li et al., 2020)."""
    entropy = F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
    result: Tensor = entropy * (goal - logits.sigmoid()).abs().pow(_FOCUS)
    return result
