"""A class for each pixel, from an image's feature maps from coarse to fine.

A U-Net's decoder (Ronneberger et al., 2015): the coarsest map, doubled step by step, each time joined with the
encoder's map of that resolution. The image's fused tokens enter at the coarsest map, and the summary of all columns
scales and shifts every step's features (FiLM, Perez et al., 2018), so the other columns can say what to look for; the
coarsest map attends to their tokens, too, so that the words of a sentence are told apart. The finest map is the
encoder's finest, mostly half or a quarter of the pixels; logits are interpolated to all of them.

A row without its image says of every pixel the same: the training shares of the classes, moved by what the other
columns say. Nothing of the masked image reaches it, since its feature maps are 0.

Two losses. Cross entropy counts pixels, and so says most of large regions. Dice (Milletari et al., "V-Net", 2016) is 1
minus the mean over the classes in an image of their soft Dice, counts images, and lets a small region weigh as much as
a large one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.config.limits import FractionBelowOne, NonNegativeFloat, PositiveInt
from polysense.core.batch import Truth, ValueTruth
from polysense.core.pytree import pytree_node
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Column, Target
from polysense.core.tokens import Fused, PyramidLevel
from polysense.core.windows import Window, Windows
from polysense.errors import ConfigError
from polysense.nn.head import Head, HeadConfig
from polysense.nn.layers.feature_pyramid import PyramidAttention, PyramidSkip, PyramidStep, as_map
from polysense.nn.placed import require_fixed_grids, require_single_items
from polysense.tasks.segmentation.blending import blended_mask
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["PixelLogits", "SegmentationHead", "SegmentationHeadConfig"]

_RAREST = 1e-6  # a class's share of the pixels is taken for at least this
_MOST_BALANCE = 10.0  # a rare class weighs at most this much more than all classes do on average


@dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig(HeadConfig):
    """A U-Net's decoder over the image's feature maps, trained with cross entropy and Dice.

    Attributes:
        loss_weight: This target's share in the sum of losses, where a model has several.
        dropout: Before the output.
        channels: Channels of the decoder's maps.
        attention: Whether the coarsest map attends to the other columns' tokens, so that a sentence's words are told
            apart; without it they enter as one summary.
        dice_weight: Weight of the Dice loss; the cross entropy has weight 1. 0 only logs it.
        class_weights: Of the cross entropy: "none"; "balanced": each class weighs as if all had as many pixels, a rare
            one at most ten times the average; or a weight per class name (others weigh 1).
        window: (height, width), in a picture's own pixels, of the windows by which a larger picture is read at
            prediction, each brought to the column's size; null reads it whole. Things look larger in a window than in a
            whole picture, so train with crops (`crop_area` of the image's transform) or on pictures of that size.
        overlap: The share of a window that its neighbor shows, too, at least.
    """

    prediction_settings: ClassVar[tuple[str, ...]] = ("window", "overlap")
    tasks: ClassVar[frozenset[str]] = frozenset({"segmentation"})
    type: Literal["segmentation"] = "segmentation"
    channels: PositiveInt = 48
    attention: bool = True
    dice_weight: NonNegativeFloat = 1.0
    class_weights: Literal["none", "balanced"] | Mapping[str, float] = "none"
    window: tuple[int, int] | None = None
    overlap: FractionBelowOne = 0.25

    def __post_init__(self) -> None:
        if self.hidden:
            raise ConfigError("hidden: this head has no hidden layer before the output; set channels instead")
        if self.window is not None and min(self.window) < 1:
            raise ConfigError(f"window: found {list(self.window)}, expected a height and a width of at least 1 pixel")

    def build(self, target: Target, width: int) -> SegmentationHead:
        self.check(target)
        return SegmentationHead(self, SegmentationTarget.of(target), width)


@pytree_node
@dataclass(frozen=True, eq=False)
class PixelLogits:
    """Logits on a grid that is coarser than the pixels.

    Attributes:
        values: In float32.
    """

    values: Float[Tensor, "batch classes height width"]


class SegmentationHead(Head[PixelLogits]):
    """Logits from one column's feature maps."""

    target: SegmentationTarget
    class_weights: Tensor
    to_rows: Tensor
    to_columns: Tensor
    prior: Tensor

    def __init__(self, config: SegmentationHeadConfig, target: SegmentationTarget, width: int) -> None:
        super().__init__(target, config.loss_weight)
        self._config, self._width = config, width
        self.reads_pyramids = (target.over,)
        self._attends = False
        shares = torch.tensor(target.class_shares).clamp(min=_RAREST)
        weights = torch.tensor(_class_weights(config.class_weights, target))
        # What is no class weighs nothing.
        self.register_buffer("class_weights", torch.cat([weights, torch.zeros(2)]), persistent=False)
        self.register_buffer("prior", (shares / shares.sum()).log(), persistent=False)
        self.blind = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(target.classes)))
        nn.init.zeros_(self.blind[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.blind[1].bias)  # type: ignore[arg-type]

    def connect(self, columns: Sequence[Column]) -> None:
        require_single_items(self.target, self.target.over, columns, "masks lie on")
        self._attends = self._config.attention and len(columns) > 1

    def connect_pyramids(self, levels: Mapping[str, tuple[PyramidLevel, ...]]) -> None:
        self._levels, channels = levels[self.target.over], self._config.channels
        require_fixed_grids(self.target.over, self._levels, "masks")
        self.tokens = nn.Conv2d(self._width, channels, 1, bias=False)
        self.skips = nn.ModuleList(PyramidSkip(level.width, channels) for level in self._levels)
        self.steps = nn.ModuleList(PyramidStep(channels, self._width) for _ in self._levels)
        if self._attends:
            self.look = PyramidAttention(channels, self._width)
        self.dropout = nn.Dropout2d(self._config.dropout)
        self.readout = nn.Conv2d(channels, len(self.target.classes), 1)
        # From the classes' shares on: with 100 classes the first epochs learn nothing else.
        nn.init.zeros_(self.readout.weight)
        with torch.no_grad():
            assert self.readout.bias is not None
            self.readout.bias.copy_(self.prior)
        (height, width), (down, right) = self.target.size, self._levels[0].stride
        grid = self._levels[0].grid
        assert grid is not None
        self.register_buffer("to_rows", _interpolation(height, grid[0], down), persistent=False)
        self.register_buffer("to_columns", _interpolation(width, grid[1], right), persistent=False)

    @property
    def loss_weights(self) -> Mapping[str, float]:
        return {"cross_entropy": 1.0, "dice": self._config.dice_weight}

    # --- logits --------------------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> PixelLogits:
        column = fused.columns[self.target.over]
        maps = [skip(as_map(level)) for skip, level in zip(self.skips, column.tokens.pyramid, strict=True)]
        # A batch without the column has tokens of another grid; an encoder's may be another, too.
        same = column.tokens.grid == self._levels[-1].grid
        x = self.tokens(as_map(column.tokens) if same else maps[-1].new_zeros(len(maps[-1]), self._width, 1, 1))
        if self._attends:
            others = {name: one for name, one in fused.columns.items() if name != self.target.over}
            x = self.look(x, maps[-1], Fused(fused.pooled, others))
        for step, skip in zip(reversed(self.steps), reversed(maps), strict=True):
            x = step(x, skip, fused.pooled)
        seen = self.readout(self.dropout(x)).float()
        blind = (self.prior + self.blind(fused.pooled).float())[:, :, None, None].expand_as(seen)
        return PixelLogits(torch.where(column.present[:, None, None, None], seen, blind))

    def _of_pixels(self, output: PixelLogits) -> Float[Tensor, "batch classes height width"]:
        """The logits of all pixels. As two products, since the gradient of torch's own interpolation on a GPU is not
        the same each time."""
        with torch.autocast(output.values.device.type, enabled=False):
            return self.to_rows @ (output.values @ self.to_columns.T)

    # --- losses --------------------------------------------------------------------------------------------------

    def loss(self, output: PixelLogits, truth: Truth, own: slice | None = None) -> dict[str, RowLoss]:
        assert isinstance(truth, ValueTruth)
        ids, counts = truth.values.flatten(1).long(), self.count(truth)
        known = (ids < self.target.other) & truth.present[:, None]
        logs = self._of_pixels(output).flatten(2).log_softmax(dim=1)
        true = _of_class(logs, ids, known)
        entropy = -(true * self.class_weights[ids]).sum(dim=1)
        # A class's pixels are summed in place: one-hot masks of 100 classes take as long as all the rest.
        empty = logs.new_zeros(len(ids), self.target.void + 1)
        both = empty.scatter_add(1, ids, true.exp() * known)[:, : self.target.other]
        size = empty.scatter_add(1, ids, known.to(logs.dtype))[:, : self.target.other]
        with torch.autocast(logs.device.type, enabled=False):  # sums of thousands of pixels
            predicted = (logs.exp() @ known.to(logs.dtype)[:, :, None])[:, :, 0]
        occurs = size > 0
        soft = 2 * both / (predicted + size).clamp(min=1e-6) * occurs
        dice = (1 - soft.sum(dim=1) / occurs.sum(dim=1).clamp(min=1)) * counts["dice"]
        return {"cross_entropy": RowLoss(entropy, counts["cross_entropy"]), "dice": RowLoss(dice, counts["dice"])}

    def count(self, truth: Truth) -> dict[str, Float[Tensor, " batch"]]:
        """Weighted pixels that have a class; images that have such a pixel."""
        assert isinstance(truth, ValueTruth)
        ids = truth.values.long()
        pixels = self.class_weights[ids].sum(dim=(1, 2)) * truth.present
        images = (ids < self.target.other).flatten(1).any(dim=1) & truth.present
        return {"cross_entropy": pixels, "dice": images.to(pixels.dtype)}

    # --- prediction ----------------------------------------------------------------------------------------------

    def arrays(self, output: PixelLogits) -> dict[str, Tensor]:
        kind = torch.uint8 if self.target.void < 256 else torch.int16
        arrays = {"values": self._of_pixels(output).argmax(dim=1).to(kind)}
        return arrays if self.windows is None else arrays | {"logits": output.values}

    @property
    def windows(self) -> Windows | None:
        """See `nn.windowed.WindowedHead`."""
        return None if self._config.window is None else Windows(self._config.window, self._config.overlap)

    def blended(
        self, outputs: Mapping[str, np.ndarray], windows: Sequence[Window], size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """See `nn.windowed.WindowedHead`."""
        stride = (self._levels[0].stride[0], self._levels[0].stride[1])
        mask = blended_mask(outputs["logits"], windows, size, self.target.size, stride, self.target.void)
        return {"values": mask[None].astype(self.target.dtype)}

    def with_settings(self, config: HeadConfig) -> SegmentationHead:
        other = copy(self)
        assert isinstance(config, SegmentationHeadConfig)
        other._config = config
        return other

    def score(self, fused: Fused, context: RowContext, truth: Truth) -> dict[str, Tensor]:
        """The summed log probability of the true classes, how many pixels are right, and how many have a class."""
        assert isinstance(truth, ValueTruth)
        ids = truth.values.flatten(1).long()
        known = (ids < self.target.other) & truth.present[:, None]
        logits = self._of_pixels(self.read(fused, context)).flatten(2)
        right = (logits.argmax(dim=1) == ids) & known
        sums = [each.sum(dim=1).float() for each in (_of_class(logits.log_softmax(dim=1), ids, known), right, known)]
        return {"likelihood": torch.stack(sums, dim=1)}


def _of_class(
    logs: Float[Tensor, "batch classes pixels"], ids: Int[Tensor, "batch pixels"], known: Bool[Tensor, "batch pixels"]
) -> Float[Tensor, "batch pixels"]:
    """Each pixel's value of its own class; 0 where that is not known."""
    own = logs.gather(1, ids.clamp(max=logs.shape[1] - 1)[:, None])[:, 0]
    return own.masked_fill(~known, 0.0)


def _interpolation(pixels: int, cells: int, stride: int) -> Float[Tensor, "pixels cells"]:
    """Weights of linear interpolation from cells' centers, `stride` pixels apart, to pixels' centers."""
    position = ((torch.arange(pixels) + 0.5) / stride - 0.5).clamp(0, cells - 1)
    distance = (position[:, None] - torch.arange(cells)).abs()
    return (1 - distance).clamp(min=0)


def _class_weights(config: str | Mapping[str, float], target: SegmentationTarget) -> list[float]:
    """One weight per class.

    Raises:
        ConfigError: A weight names a class that the training masks don't have.
    """
    num = len(target.classes)
    if config == "none":
        return [1.0] * num
    if isinstance(config, str):
        return [min(1 / (num * max(share, _RAREST)), _MOST_BALANCE) for share in target.class_shares]
    unknown = sorted(set(config) - set(target.classes))
    if unknown:
        raise ConfigError(
            f"model.heads.{target.name}.class_weights: no class is named {unknown[0]!r} "
            f"(known: {', '.join(target.classes)})"
        )
    return [float(config.get(name, 1.0)) for name in target.classes]
