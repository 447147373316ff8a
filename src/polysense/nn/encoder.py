"""Encoder: one column's values to Tokens.

An implementation sees single items (one image, one clip, one text); lists in a cell are unfolded and joined here, so
every encoder serves them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from polysense.config.base import Configured, Family
from polysense.core import registry
from polysense.core.batch import ColumnBatch, StoredItems
from polysense.core.item_groups import ItemGroup, blocks_of_items, groups_of_items
from polysense.core.pytree import map_tensors
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.nn.layers.batchnorm import BatchNorm
from polysense.nn.layers.draws import uniforms
from polysense.nn.layers.transformer import sinusoidal

__all__ = ["NUM_DRAWS", "Draws", "Encoder", "EncoderConfig", "Items", "Lengths", "draws_of"]

Items: TypeAlias = Shaped[Tensor, "items ..."]
Lengths: TypeAlias = Int[Tensor, " items"]
Draws: TypeAlias = Float[Tensor, "items draws"] | None

_ItemKey: TypeAlias = tuple[tuple[int, ...], torch.device, bool]
_Shape: TypeAlias = tuple[int, int, torch.dtype, tuple[int, ...]]

_MOST_PRESENT = 0.9  # with fewer absent than this leaves, taking them out costs more than it saves


NUM_DRAWS = 16
"""Uniforms that an encoder gets for each item in training."""


def draws_of(column: ColumnBatch) -> Float[Tensor, "items draws"] | None:
    """Uniforms for what an encoder augments itself, the same for all items of a cell; None where nothing is random."""
    if column.keys is None:
        return None
    drawn = uniforms(column.keys, NUM_DRAWS, "encoder")
    return drawn if column.lengths.shape[1] == 1 else drawn.repeat_interleave(column.lengths.shape[1], dim=0)


_HOMES = ("nn.auto_encoder", "nn.features_encoder", "nn.pretrained", "nn.onnx_encoder", "modalities.*.encoders.*")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Family, family="encoder", homes=_HOMES):
    """How one column becomes tokens.

    Attributes:
        items: How several items in one cell (images, texts, clips) are encoded. "sequence": their order matters; each
            token has an embedding of its item's position. "set": the order does not matter; any order gives the same
            prediction. It has no effect if every cell holds one item.
    """

    modalities: ClassVar[frozenset[str]] = frozenset()
    reads_features: ClassVar[bool] = False  # whether it needs `ColumnBatch.features`, in training too
    framework: ClassVar[str] = ""  # of the pretrained backbones that it loads
    needs_processor: ClassVar[bool] = False  # whether these need a tokenizer's or processor's file
    items: Literal["sequence", "set"] = "sequence"

    def create(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
        """Builds the encoder and gives it what every encoder has; the arguments are those of `build`."""
        self.check(column)
        if column.modality not in self.modalities:
            column = registry.modality(column.modality).item_column(column)
        encoder = self.build(column, width, resources)
        encoder.ordered = self.items == "sequence"
        encoder.learning_rate_scale = float(vars(self).get("learning_rate_scale", 1.0))
        encoder.reads_features = self.reads_features
        return encoder

    def build(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
        """Builds the encoder.

        Args:
            column: The fitted column: vocabulary size, sample rate and the like come from here.
            width: Width of the tokens to give.
            resources: The folder that this encoder's `save_resources` wrote, where a bundle is loaded: then pretrained
                weights are not looked for, since the bundle's follow.
        """
        self.check(column)
        if self.builds is None:
            raise ConfigError(f"the encoder {self.type!r} can't be built: no class names its config")
        encoder: Encoder = self.builds(self, column, width)
        return encoder

    @property
    def of_items(self) -> EncoderConfig:
        """The encoder of single items: itself, or the one that an encoder of whole cells has."""
        return self

    @property
    def is_deferred(self) -> bool:
        """Whether it stands for another one, which is chosen when a training starts."""
        return False

    @property
    def is_frozen(self) -> bool:
        """Whether what it gives for an item comes from a network that never changes."""
        return vars(self).get("tune") == "frozen"

    def requirements(self, column_name: str, modality: str) -> Requirements:
        """What this encoder asks of the column's preprocessing; only a pretrained one asks for anything."""
        del column_name, modality
        return Requirements()

    @classmethod
    def reads(cls) -> frozenset[str]:
        """The modalities that it takes: its own, and those whose items are of these, as a video's frames are images."""
        through = {name for name, spec in registry.modalities().items() if spec.item_modality in cls.modalities}
        return cls.modalities | through

    @classmethod
    def loads(cls, settings: Mapping[str, object]) -> bool:
        """Whether it loads the folder of a pretrained backbone whose config.json holds these settings."""
        del settings
        return False

    @classmethod
    def knows(cls, name: str) -> bool:
        """Whether a name that is no folder is one of its pretrained backbones', as far as the name tells."""
        del name
        return False

    @classmethod
    def of_backbone(cls, name: str, options: Mapping[str, Any]) -> EncoderConfig:
        """The config that runs a backbone.

        Args:
            name: Its name, or its folder.
            options: `tune`, `learning_rate_scale` and `items`.
        """
        raise ConfigError(f"the encoder {cls.type!r} loads no backbones; found {name}")

    def check(self, column: Column) -> None:
        """Raises ConfigError if the column is of a modality that this encoder can't take."""
        self.check_modality(column.name, column.modality)

    def check_modality(self, name: str, modality: str) -> None:
        """As `check`, before the column is fitted."""
        if modality not in self.reads():
            kinds = ", ".join(sorted(self.reads()))
            raise ConfigError(
                f"the encoder {self.type!r} takes {kinds}; column {name!r} is {modality}. Choose another "
                f"encoder for it under model.encoders, or correct its type under data.columns"
            )


class Encoder(nn.Module, Configured, ABC):
    """Turns a column of a batch into Tokens.

    Args:
        column: The fitted column.
        width: Width of the tokens to give.

    Attributes:
        ordered: Whether the order of a cell's items counts (`items: sequence`).
        learning_rate_scale: The learning rate of `pretrained_parameters` over the rest's.
        gives_pyramid: Whether its tokens have a pyramid, of the levels that `pyramid_levels` names, whatever is absent.
        num_levels_read: How many of these levels heads read, the coarsest ones; 0: nobody has said, and all are given.
        reads_features: Whether it needs `ColumnBatch.features`.
        gives_features: Whether its tokens have features, `num_features` of them, whatever is absent.
    """

    FORWARD_METHODS: ClassVar[tuple[str, ...]] = ("forward", "own_losses")

    gives_pyramid: bool = False
    num_levels_read: int = 0
    reads_features: bool = False
    gives_features: bool = False
    ordered: bool = True
    learning_rate_scale: float = 1.0

    def __init__(self, column: Column, width: int) -> None:
        super().__init__()
        self.column = column
        self.width = width
        # Of an item's tokens (length, width, dtype, grid), then of the pyramid's, by the item; see `_shape_of_items`.
        self._shapes: dict[_ItemKey, list[_Shape]] = {}

    @abstractmethod
    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        """Encodes single items. An item of length 0 is absent: its mask must be all False, its values may be junk."""

    def encode_stored(self, values: Items, lengths: Lengths, stored: StoredItems) -> Tokens:
        """As `encode_items`, of single items whose features are known; what is not is in `values`.

        Args:
            values: Items.
            lengths: 0 = absent.
            stored: Without the axis of the cells: counts [items], layers [items, tokens, width].
        """
        raise AssertionError(f"{type(self).__name__} has no frozen backbone, and got stored features")

    @property
    def of_items(self) -> Encoder:
        """The encoder of single items: itself, or the one that an encoder of whole cells has."""
        return self

    @property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """The levels of the pyramid that it can give, from fine to coarse; () = it has no feature maps."""
        return ()

    def give_pyramid(self) -> tuple[PyramidLevel, ...]:
        """Has the encoder give a pyramid from now on; the feature maps are there anyway, so no weights are added.

        Raises:
            ConfigError: It has none.
        """
        if not self.pyramid_levels:
            raise ConfigError(
                f"model.encoders.{self.column.name}: a head reads this column's feature maps, and "
                f"{type(self).__name__} has none; choose a convolutional encoder or one with patches"
            )
        self.gives_pyramid = True
        return self.pyramid_levels

    @property
    def given_levels(self) -> tuple[PyramidLevel, ...]:
        """The levels that its tokens have; () where it gives no pyramid."""
        return self.pyramid_levels if self.gives_pyramid else ()

    def read_levels(self, num: int) -> None:
        """Told that a head reads so many of the levels, the coarsest ones; finer ones need not be there.

        Every head says so; the most counts.
        """
        self.num_levels_read = max(self.num_levels_read, num)

    @property
    def num_item_features(self) -> int:
        """Features that `encode_items` gives for an item, where `gives_features`: of a frozen backbone, pooled."""
        return 0

    @property
    def num_features(self) -> int:
        """Size of the feature vector of a cell: what preprocessing makes of it, then `num_item_features`."""
        return self.column.num_features + self.num_item_features

    def give_features(self) -> int:
        """Has the encoder give features from now on; no weights are added. Returns how many."""
        self.gives_features = True
        return self.num_features

    @final  # type: ignore[misc]  # torch declares `forward` as an attribute
    def forward(self, column: ColumnBatch) -> Tokens:
        """Encodes a column; a cell's items follow one another along the length, and what is masked is 0."""
        tokens = self._encoded(column)
        return replace(tokens, features=self._cell_features(column, tokens)) if self.gives_features else tokens

    def _cell_features(self, column: ColumnBatch, tokens: Tokens) -> Float[Tensor, "batch features"]:
        """What preprocessing made of the cells, then the backbone's; zeros where a row lacks them."""
        batch, width = len(column.lengths), self.num_item_features
        own = tokens.features
        if own is None or own.shape[1] != width:
            own = tokens.values.new_zeros(batch, width, dtype=torch.float32)
        made = column.features
        if made is None or self.column.num_features == 0:
            made = own.new_zeros(batch, self.column.num_features)
        return torch.cat([made.to(own), own], dim=1).masked_fill(~column.present[:, None], 0.0)

    def _encoded(self, column: ColumnBatch) -> Tokens:
        if self._lacks(column):
            return self._nothing(column)
        return self.encode_cells(column)

    def encode_cells(self, column: ColumnBatch) -> Tokens:
        """Encodes the cells of a column: item by item, one after another along the length; what is masked is 0."""
        if self._is_skipped(column):
            return self._zeros(column)
        batch, items = column.lengths.shape
        tokens = self._encode_all(column)
        if not self.column.multiple:
            return tokens.cleared()
        if self.ordered:
            # Which item a token came from, so that order within a cell (a dialogue, a sequence of images) is kept.
            positions = sinusoidal(torch.arange(items, device=tokens.values.device), self.width).to(tokens.values.dtype)
            tokens = replace(tokens, values=tokens.values + positions.repeat(batch, 1)[:, None])
        levels = tuple(_of_cells(level, batch, items) for level in tokens.pyramid)
        features = None if tokens.features is None else _mean_of_cells(tokens.features, column.lengths > 0)
        return replace(_of_cells(tokens, batch, items), pyramid=levels, features=features).cleared()

    def _lacks(self, column: ColumnBatch) -> bool:
        """Whether it is known, without waiting for an accelerator, that no row has the column.

        At prediction only what the shape says counts: the length of what is fused changes a row's last bits, and must
        not depend on whether some other row has the column.
        """
        if column.lengths.shape[1] == 0:
            return True
        return (
            self.training and column.lengths.is_cpu and not torch.compiler.is_compiling() and not column.lengths.any()
        )

    def _is_skipped(self, column: ColumnBatch) -> bool:
        """Whether no row has the column, at prediction: then all that is encoded is masked, and would be set to 0.

        A sharded encoder is run in any case: its peers wait for it. Where gradients are on, something may hook into it.
        """
        return (
            not self.training
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and not (torch.distributed.is_available() and torch.distributed.is_initialized())
            and len(column.lengths) > 0
            and not bool(column.lengths.any())
        )

    def _zeros(self, column: ColumnBatch) -> Tokens:
        """The masked tokens of a column that no row has, without encoding it: their shape is one item's."""
        batch, items = column.lengths.shape
        levels = []
        for length, width, dtype, grid in self._shape_of_items(column):
            values = torch.zeros(batch, items * length, width, dtype=dtype, device=column.lengths.device)
            mask = torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device)
            levels.append(Tokens(values, mask, (items, *grid) if self.column.multiple else grid))
        return replace(levels[0], pyramid=tuple(levels[1:]))

    def _shape_of_items(self, column: ColumnBatch) -> list[_Shape]:
        """Of the tokens of one item of the column's padded shape, then of each level of its pyramid."""
        key = (tuple(column.values.shape[2:]), column.values.device, torch.is_autocast_enabled())
        if key not in self._shapes:
            with torch.no_grad():
                one = self.encode_items(column.values.flatten(0, 1)[:1], column.lengths.flatten()[:1], None)
            self._shapes[key] = [(*each.values.shape[1:], each.values.dtype, each.grid) for each in (one, *one.pyramid)]
        return self._shapes[key]

    def _nothing(self, column: ColumnBatch) -> Tokens:
        """One masked token a row. Every parameter is touched all the same: peers would wait for its gradient."""
        tokens = Tokens.nothing(len(column.lengths), self.width, column.lengths.device)
        if self.gives_pyramid:
            tokens = replace(tokens, pyramid=tuple(self._empty(level, tokens) for level in self.given_levels))
        if not self.training:
            return tokens
        touched = sum((p.flatten()[:1].sum() * 0.0 for p in self.parameters() if p.requires_grad), torch.zeros(()))
        return replace(tokens, values=tokens.values + touched.to(tokens.values.dtype))

    def _empty(self, level: PyramidLevel, tokens: Tokens) -> Tokens:
        """A level of the pyramid where no row has the column."""
        grid = level.grid or (1,) * len(level.stride)
        mask = tokens.mask.new_zeros(len(tokens.mask), math.prod(grid))
        values = tokens.values.new_zeros(*mask.shape, level.width)
        return Tokens(values, mask, (1, *grid) if self.column.multiple else grid)

    def _encode_all(self, column: ColumnBatch) -> Tokens:
        """As `encode_items` of all items, of which only those that are there are paid for, in groups by length."""
        values, lengths, draws = column.values.flatten(0, 1), column.lengths.flatten(), draws_of(column)
        stored = None if column.stored is None else map_tensors(lambda each: each.flatten(0, 1), column.stored)
        groups = self._groups(column)
        if not groups:
            return self._encode_run(values, lengths, draws, stored)
        parts = []
        for group in groups:
            index = group.items
            if group.num_absent:  # any item stands in for one that is not there
                index = torch.cat([index, index[:1].expand(group.num_absent)])
            own = values[index] if self._multiple is None else values[index, : group.length]
            present = lengths[index]
            present[len(group.items) :] = 0
            parts.append(self._encode_run(own, present, *map_tensors(itemgetter(index), (draws, stored))))
        like = None if self.training or self._multiple is None else self._shape_of_items(column)
        return _scattered(groups, parts, len(lengths), like)

    def _encode_run(self, values: Items, lengths: Lengths, draws: Draws, stored: StoredItems | None) -> Tokens:
        if stored is not None:
            return self.encode_stored(values, lengths, stored)
        return self.encode_items(values, lengths, draws)

    def _groups(self, column: ColumnBatch) -> list[ItemGroup]:
        """How the present items are encoded; none where all items are in one run, absent ones too.

        How many items lie in a run changes a matrix product's last bits. In training that is all the same. A prediction
        must not depend on the rows beside it: there the items of lists run in blocks of as many items as the batch has
        rows, which the loader makes the same for all rows. An accelerator must be waited for, which pays for lists.
        """
        batch, num_items = column.lengths.shape
        lengths = column.lengths.flatten()
        if torch.compiler.is_compiling() or not (self.column.multiple or (self.training and lengths.is_cpu)):
            return []
        longest = 1 if self._multiple is None else column.values.shape[2]
        if not self.training:
            block = batch if batch > 1 else num_items
            return blocks_of_items(lengths, longest, self._multiple, block=block)
        cost = registry.modality(self.column.modality).cost(self.column, longest) / longest
        multiple = None if self._ties_items else self._multiple
        groups = groups_of_items(lengths, longest, multiple, cost=cost)
        if len(groups) == 1 and len(groups[0].items) >= _MOST_PRESENT * len(lengths):
            return []
        return groups

    @cached_property
    def _multiple(self) -> int | None:
        return registry.modality(self.column.modality).length_multiple

    @cached_property
    def _ties_items(self) -> bool:
        """Whether a run normalizes by all of its items: then they are not told apart by their length."""
        norms = (BatchNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
        return any(isinstance(module, norms) for module in self.modules())

    @property
    def auxiliary_losses(self) -> Mapping[str, float]:
        """Training losses of its own, such as a reconstruction: name to weight."""
        return {}

    def auxiliary(self, column: ColumnBatch, tokens: Tokens) -> dict[str, Float[Tensor, " batch"]]:
        """Those losses per row, 0 where the column is absent; asked for in training only.

        Args:
            column: What was encoded.
            tokens: What `forward` made of it.
        """
        return {}

    @final
    def own_losses(self, column: ColumnBatch, tokens: Tokens) -> dict[str, Float[Tensor, " batch"]]:
        """As `auxiliary`, and zeros where no row has the column."""
        if not self.auxiliary_losses or not self._lacks(column):
            return self.auxiliary(column, tokens)
        return dict.fromkeys(self.auxiliary_losses, tokens.values.sum(dim=(1, 2)) * 0.0)

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that came with weights, which learn more slowly."""
        return iter(())

    def save_resources(self, folder: Path) -> None:
        """Writes what `build` needs besides the config and the weights, such as a backbone's own config."""


def _of_cells(tokens: Tokens, batch: int, items: int) -> Tokens:
    """The tokens of items as those of the cells that they lie in."""
    values = tokens.values.reshape(batch, -1, tokens.values.shape[2])
    return Tokens(values, tokens.mask.reshape(batch, -1), (items, *tokens.grid))


def _mean_of_cells(
    features: Float[Tensor, "all_items features"], present: Bool[Tensor, "batch items"]
) -> Float[Tensor, "batch features"]:
    """The mean over a cell's items that are there."""
    each = features.reshape(*present.shape, -1).masked_fill(~present[..., None], 0.0)
    return each.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1)


def _scattered(
    groups: Sequence[ItemGroup], parts: Sequence[Tokens], num_items: int, shapes: Sequence[_Shape] | None
) -> Tokens:
    """The tokens of groups of items among all items, of the longest group's shape or of those given."""
    levels = []
    for i, (first, *others) in enumerate(zip(*((part, *part.pyramid) for part in parts), strict=True)):
        each = [first, *others]
        grid = tuple(map(max, *(tokens.grid for tokens in each))) if others else first.grid
        grid = grid if shapes is None else shapes[i][3]
        size = math.prod(grid)
        places = torch.arange(size, device=first.mask.device).view(grid)
        index, values, masks = [], [], []
        for group, tokens in zip(groups, each, strict=True):
            own = places[tuple(slice(0, cells) for cells in tokens.grid)].flatten()
            index.append((group.items[:, None] * size + own).flatten())
            values.append(tokens.values[: len(group.items)].flatten(0, 1))
            masks.append(tokens.mask[: len(group.items)].flatten())
        where = torch.cat(index)
        empty = first.values.new_zeros(num_items * size, first.values.shape[2])
        mask = first.mask.new_zeros(num_items * size).index_copy(0, where, torch.cat(masks))
        level = empty.index_copy(0, where, torch.cat(values))
        levels.append(Tokens(level.view(num_items, size, -1), mask.view(num_items, size), grid))
    features = None
    there = [part.features[: len(g.items)] for g, part in zip(groups, parts, strict=True) if part.features is not None]
    if there:
        where = torch.cat([group.items for group in groups])
        features = there[0].new_zeros(num_items, there[0].shape[1]).index_copy(0, where, torch.cat(there))
    return replace(levels[0], pyramid=tuple(levels[1:]), features=features)
