"""Boxes from every place of an image's feature maps, without anchors.

Each place of several levels predicts, for every class, how well the box that it predicts would fit a thing of that
class (0: there is none), and the distances from its center to the four sides. So one number says both what and how
well, and is what boxes are ranked by (Li et al., "Generalized Focal Loss", 2020, section 3.1).

A pyramid is read from coarse to fine, modulated by the summary of all columns (`nn.layers.feature_pyramid`); the
image's fused tokens enter at its top, and there the map attends to the other columns' tokens, word by word. Groups are
normalized and not batches, so that a row depends on itself alone and small batches train as large ones do (Wu and He,
"Group Normalization", 2018).

Two losses. Quality focal loss: cross entropy with the IoU of the predicted box, most of it where the model is wrong.
GIoU (Rezatofighi et al., 2019): also says where to go where boxes do not overlap. Which place is to find which box, see
`assignment`. Both are divided by the number of boxes, which is known before the forward: a box counts the same however
many places are to find it.
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
from polysense.nn.layers.convolution import ResidualBlock
from polysense.nn.layers.feature_pyramid import PyramidAttention, PyramidSkip, PyramidStep, as_map
from polysense.nn.placed import require_fixed_grids, require_single_items
from polysense.tasks.detection.assignment import assign
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

__all__ = ["DenseBoxes", "DenseDetectionHead", "DenseDetectionHeadConfig", "giou_loss", "places_of"]

_FINEST, _PLACES_ALONG = 4, 40
_PRIOR = 0.01  # what a place takes itself to be worth before anything is learned (Lin et al., 2017, section 3.3)
_MOST_RANKED = 1000  # places of a row whose boxes are compared with one another
_FOCUS = 2.0


@dataclass(frozen=True, kw_only=True)
class DenseDetectionHeadConfig(HeadConfig):
    """Boxes from every place of the image's feature maps, without anchors; trains from nothing.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        dropout: Before the output.
        channels: Channels of the maps.
        blocks: Residual blocks between a map and its outputs, of classes and of boxes each; all levels share them.
        attention: Whether the coarsest map attends to the other columns' tokens, so that a sentence's words are told
            apart; without it they enter as one summary.
        finest_stride: Pixels of the input from place to place on the finest level; null takes the finest level of at
            most 40 places along a side, of 4 pixels or more.
        box_weight: Weight of the boxes' loss; that of the classes' is 1.
        max_detections: The most boxes of an image.
        min_score: What is less sure is not predicted. Average precision counts detections of any score, so it is small;
            what is written has a limit of its own (`written_score` of the target).
        max_overlap: Of two boxes of one class whose IoU is above it the less sure one is left out.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"detection"})
    type: Literal["dense_detection"] = "dense_detection"
    channels: PositiveInt = 64
    blocks: PositiveInt = 1
    attention: bool = True
    finest_stride: PositiveInt | None = None
    box_weight: NonNegativeFloat = 2.0
    max_detections: Annotated[int, Limit(1, 1000)] = 100
    min_score: Fraction = 0.001
    max_overlap: Fraction = 0.6

    def __post_init__(self) -> None:
        if self.hidden:
            raise ConfigError("hidden: this head has no hidden layer before the output; set channels instead")

    def build(self, target: Target, width: int) -> DenseDetectionHead:
        self.check(target)
        return DenseDetectionHead(self, DetectionTarget.of(target), width)


@pytree_node
@dataclass(frozen=True, eq=False)
class DenseBoxes:
    """What every place predicts, the levels one after another, in float32.

    Attributes:
        logits: Of each class.
        boxes: Left, top, right and bottom, in pixels of the model's input.
        seen: Which rows have their image.
    """

    logits: Float[Tensor, "batch places classes"]
    boxes: Float[Tensor, "batch places 4"]
    seen: Bool[Tensor, " batch"]


class DenseDetectionHead(Head[DenseBoxes]):
    """Boxes from one column's feature maps."""

    target: DetectionTarget
    centers: Tensor
    strides: Tensor

    def __init__(self, config: DenseDetectionHeadConfig, target: DetectionTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.reads_pyramids = (target.over,)

    def connect(self, columns: Sequence[Column]) -> None:
        require_single_items(self.target, self.target.over, columns, "boxes lie in")
        self._attends = self._config.attention and len(columns) > 1

    def connect_pyramids(self, levels: Mapping[str, tuple[PyramidLevel, ...]]) -> None:
        config, channels = self._config, self._config.channels
        every = levels[self.target.over]
        require_fixed_grids(self.target.over, every, "boxes")
        least = config.finest_stride or max(_FINEST, math.ceil(max(self.target.size) / _PLACES_ALONG))
        chosen = [i for i, level in enumerate(every) if min(level.stride) >= least] or [len(every) - 1]
        self._levels = every[chosen[0] :]
        self.num_levels_read[self.target.over] = len(self._levels)
        self.tokens = nn.Conv2d(self._width, channels, 1, bias=False)
        self.skips = nn.ModuleList(PyramidSkip(level.width, channels) for level in self._levels)
        self.steps = nn.ModuleList(PyramidStep(channels, self._width) for _ in self._levels)
        if self._attends:
            self.look = PyramidAttention(channels, self._width)
        self.of_class = nn.Sequential(*(ResidualBlock(channels, channels) for _ in range(config.blocks)))
        self.of_box = nn.Sequential(*(ResidualBlock(channels, channels) for _ in range(config.blocks)))
        self.dropout = nn.Dropout2d(config.dropout)
        self.classes = nn.Conv2d(channels, len(self.target.classes), 3, padding=1)
        self.sides = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(self._levels)))
        for layer in (self.classes, self.sides):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.classes.bias.fill_(-math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[union-attr]
        centers, strides = zip(*map(places_of, self._levels), strict=True)
        self.register_buffer("centers", torch.cat(centers), persistent=False)
        self.register_buffer("strides", torch.cat(strides), persistent=False)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        return {"quality": 1.0, "box": self._config.box_weight}

    # --- outputs -------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> DenseBoxes:
        column = fused.columns[self.target.over]
        pyramid = column.tokens.pyramid[-len(self._levels) :]
        maps = [skip(as_map(level)) for skip, level in zip(self.skips, pyramid, strict=True)]
        # A batch without the column has tokens of another grid; an encoder's may be another, too.
        same = column.tokens.grid == self._levels[-1].grid
        x = self.tokens(as_map(column.tokens) if same else maps[-1].new_zeros(len(maps[-1]), self._width, 1, 1))
        if self._attends:
            others = {name: one for name, one in fused.columns.items() if name != self.target.over}
            x = self.look(x, maps[-1], Fused(fused.pooled, others))
        logits: list[Tensor] = []
        sides: list[Tensor] = []
        for step, skip, scale in zip(reversed(self.steps), reversed(maps), reversed(self.scales.unbind()), strict=True):
            x = step(x, skip, fused.pooled)
            logits.insert(0, self.classes(self.dropout(self.of_class(x))).flatten(2))
            sides.insert(0, (self.sides(self.of_box(x)) * scale).flatten(2))
        distances = F.softplus(torch.cat(sides, dim=2).transpose(1, 2).float()) * (2 * self.strides[:, None])
        boxes = torch.cat([self.centers - distances[..., :2], self.centers + distances[..., 2:]], dim=2)
        return DenseBoxes(torch.cat(logits, dim=2).transpose(1, 2).float(), boxes, column.present)

    # --- losses --------------------------------------------------------------------------------------------------

    def loss(self, output: DenseBoxes, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        truth, counts = BoxTruth.of(truth), self.count(truth)
        wanted = self._wanted(truth) & output.seen[:, None]
        result = assign(output.logits, output.boxes, self.centers, self.strides, truth.boxes, truth.labels, wanted)
        labels = truth.labels.gather(1, result.box).clamp(0, output.logits.shape[2] - 1)
        quality = torch.zeros_like(output.logits).scatter(
            2, labels[..., None], (result.iou * result.assigned)[..., None]
        )
        entropy = F.binary_cross_entropy_with_logits(output.logits, quality, reduction="none")
        focal = (entropy * (quality - output.logits.sigmoid()).abs().pow(_FOCUS)).sum(dim=2)
        focal = focal.masked_fill(self._excused(truth) & ~result.assigned, 0.0)
        # Each box counts once, however many places it has.
        places = result.places.sum(dim=1).clamp(min=1)
        share = wanted.sum(dim=1).clamp(min=1) / places
        quality_loss = focal.sum(dim=1) * share * output.seen
        of_place = (1 / result.places.clamp(min=1)).gather(1, result.box) * result.assigned
        boxes = truth.boxes.gather(1, result.box[..., None].expand(-1, -1, 4))
        box_loss = (giou_loss(output.boxes, boxes) * of_place).sum(dim=1)
        return {
            "quality": RowLoss(quality_loss * truth.present, counts["quality"]),
            "box": RowLoss(box_loss * truth.present, counts["box"]),
        }

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """Boxes; for the classes an image without any counts as one box, for there it learns that nothing is there."""
        truth = BoxTruth.of(truth)
        num = self._wanted(truth).sum(dim=1).float()
        return {"quality": num.clamp(min=1) * truth.present, "box": num}

    def _wanted(self, truth: BoxTruth) -> Bool[Tensor, "batch boxes"]:
        return truth.learned & (truth.labels < self.target.other)

    def _excused(self, truth: BoxTruth) -> Bool[Tensor, "batch places"]:
        """Places in a box that is not to be found, such as a crowd: whatever they say is no mistake."""
        x, y = self.centers[None, :, None, 0], self.centers[None, :, None, 1]
        left, top, right, bottom = truth.boxes[:, None].unbind(dim=3)
        within = (x > left) & (x < right) & (y > top) & (y < bottom)
        result: Tensor = (within & ((truth.labels >= 0) & ~self._wanted(truth))[:, None]).any(dim=2)
        return result

    # --- prediction ----------------------------------------------------------------------------------------------

    def arrays(self, output: DenseBoxes) -> dict[str, Tensor]:
        """`values`, [batch, detections, 6]: class, corners, score; the surest first, all 0 where there is none."""
        from torchvision.ops import batched_nms  # type: ignore[import-untyped]  # a second to import

        config, (height, width) = self._config, self.target.size
        most = output.boxes.new_tensor([width, height, width, height])
        boxes = torch.minimum(output.boxes.clamp(min=0), most)
        scores = output.logits.sigmoid()
        values = scores.new_zeros(len(scores), config.max_detections, 6)
        num = min(_MOST_RANKED, scores[0].numel())
        for row in range(len(scores)):  # each on its own: what is left out depends on nobody else
            if not output.seen[row]:
                continue
            ranked = scores[row].flatten().topk(num)
            kept = ranked.values > config.min_score
            best, position = ranked.values[kept], ranked.indices[kept]
            labels, own = position % scores.shape[2], boxes[row, position // scores.shape[2]]
            order = batched_nms(own, best, labels, config.max_overlap)[: config.max_detections]
            values[row, : len(order)] = torch.cat(
                [labels[order, None].to(values.dtype), own[order], best[order, None]], dim=1
            )
        return {"values": values}


def places_of(level: PyramidLevel) -> tuple[Float[Tensor, "places 2"], Float[Tensor, " places"]]:
    """Centers (x, y) of a level's cells, row by row, and their stride."""
    assert level.grid is not None
    (down, right), (rows, columns) = level.stride, level.grid
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    centers = torch.stack([x * right, y * down], dim=2).reshape(-1, 2)
    return centers, torch.full((len(centers),), float(max(down, right)))


def giou_loss(
    predicted: Float[Tensor, "batch places 4"], true: Float[Tensor, "batch places 4"]
) -> Float[Tensor, "batch places"]:
    """1 less the generalized IoU of each pair."""
    low, high = torch.maximum(predicted[..., :2], true[..., :2]), torch.minimum(predicted[..., 2:], true[..., 2:])
    both = (high - low).clamp(min=0).prod(dim=2)
    own, other = ((each[..., 2:] - each[..., :2]).clamp(min=0).prod(dim=2) for each in (predicted, true))
    either = (own + other - both).clamp(min=1e-7)
    around = torch.maximum(predicted[..., 2:], true[..., 2:]) - torch.minimum(predicted[..., :2], true[..., :2])
    area = around.clamp(min=0).prod(dim=2).clamp(min=1e-7)
    result: Tensor = 1 - both / either + (area - either) / area
    return result
