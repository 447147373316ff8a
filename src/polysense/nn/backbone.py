"""A pretrained network as an encoder: frozen, tuned as a whole, or with its last blocks open.

What transformers' backbones and timm's have in common. A frozen network is an extractor: nothing in it is random and no
statistic of it moves, whatever mode the model around it is in; so is the frozen part of one whose last blocks learn.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import StoredItems
from polysense.core.json import read_fields, write_json
from polysense.core.schema import Column
from polysense.core.tokens import Features, PyramidLevel, Tokens
from polysense.errors import BundleError, ConfigError
from polysense.nn.encoder import Draws, Encoder, Items, Lengths
from polysense.nn.item_features import ItemFeatures, item_features
from polysense.nn.layers.batchnorm import over_present
from polysense.nn.layers.pooling import MEAN_AND_DEVIATION, Pooling

__all__ = ["BackboneEncoder", "BackboneShape", "Layers", "check_tune", "open_blocks", "unreached"]

Layers: TypeAlias = Literal["last", "all", "weighted"] | tuple[int, ...]
"""Layers of a backbone that are handed on: the last; all but the input's embeddings; all, in a learned mean; or these,
by number (0: the input's embeddings; negative ones count from the last)."""

_MOST = 1 << 20  # more than any network has, of layers or features


def check_tune(tune: str | int, *, has_weights: bool) -> None:
    """Raises ConfigError if so much of a backbone can't be what learns: settings that need no backbone to be wrong."""
    if not has_weights and tune != "full":
        raise ConfigError(f"tune: {tune} with random weights would freeze noise; write `tune: full`")
    if isinstance(tune, int) and tune < 1:
        raise ConfigError(f"tune: {tune} blocks; write `frozen` to open none")


def open_blocks(backbone: nn.Module, tune: str | int) -> None:
    """Freezes a backbone, but for all of it ("full") or its last k blocks.

    The blocks are its longest ModuleList (or Sequential) of like modules.

    Raises:
        ConfigError: It has fewer blocks than asked for.
    """
    if tune == "full":
        return
    backbone.requires_grad_(False)
    if isinstance(tune, int):
        lists = [m for m in backbone.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len(m) > 0]
        stacks = [m for m in lists if len({type(block) for block in m}) == 1]
        blocks = max(stacks, key=lambda stack: sum(p.numel() for p in stack.parameters()), default=None)
        if blocks is None or len(blocks) < tune:
            result = 0 if blocks is None else len(blocks)
            raise ConfigError(f"tune: asks for the last {tune} blocks, the backbone has {result}; write `full`")
        for block in list(blocks)[len(blocks) - tune :]:
            block.requires_grad_(True)


def unreached(output: Tensor, parameters: Iterator[nn.Parameter]) -> list[nn.Parameter]:
    """The trainable parameters that a tensor was not computed from."""
    visited: set[Any] = {None}
    nodes: list[Any] = [output.grad_fn]
    reached: set[int] = set()
    while nodes:
        node = nodes.pop()
        if node not in visited:
            visited.add(node)
            reached.add(id(getattr(node, "variable", None)))  # what a leaf's gradient is added to
            nodes.extend(before for before, _ in node.next_functions)
    return [parameter for parameter in parameters if parameter.requires_grad and id(parameter) not in reached]


@dataclass(frozen=True, kw_only=True)
class BackboneShape:
    """What a network gives, measured by running it on one blank item: no field of a config says it for all of them.

    Attributes:
        hidden: Width of its last features.
        num_layers: Layers that have the shape of the last one, its input embeddings (layer 0) and the last among them;
            1 where resolution changes with depth, as in most convolutional networks.
    """

    hidden: int
    num_layers: int = 1

    @classmethod
    def of(cls, layers: Sequence[Tensor]) -> BackboneShape:
        """Of layers of one blank item: [1, positions, hidden] or, of a map, [1, hidden, height, width]."""
        last = layers[-1]
        return cls(hidden=last.shape[1] if last.dim() == 4 else last.shape[-1], num_layers=len(layers))

    @classmethod
    def read(cls, path: Path) -> BackboneShape:
        """As `write` left it.

        Raises:
            BundleError: The file is broken.
        """
        hidden, num_layers = read_fields(path, "hidden", "num_layers")
        sizes = [number for number in (hidden, num_layers) if type(number) is int and 0 < number < _MOST]
        if len(sizes) < 2:
            raise BundleError(f"{path}: found hidden {hidden!r} and num_layers {num_layers!r}; copy the bundle again")
        return cls(hidden=sizes[0], num_layers=sizes[1])

    def write(self, path: Path) -> None:
        """As JSON."""
        write_json(path, asdict(self))


class BackboneEncoder(Encoder):
    """A pretrained network's features, projected to the model's width: `project(backbone(items))`.

    Args:
        column: The fitted column.
        width: Width of the tokens to give.
        network: The network.
        shape: What it gives.
        tune: "frozen", "full", or how many of its last blocks learn.
        pretrained: Whether it came with weights.
        layers: Which of its layers are handed on, see `Layers`.

    Attributes:
        frozen: Whether what `backbone` gives for an item never changes: no training moves it, and nothing is random in
            it. Features may then be kept, by the item's content, and `project` trained on them.
        chosen: The layers that are handed on, by number from 0.
        pooling: What each of these layers becomes in the feature vector of an item that a frozen network gives.
        shelf: The name that its features are stored under (`data.feature_store`), where some are; "": none are.
    """

    FORWARD_METHODS: ClassVar[tuple[str, ...]] = (*Encoder.FORWARD_METHODS, "backbone", "item_features", "project")

    shelf: str = ""

    pooling: Pooling = MEAN_AND_DEVIATION

    def __init__(
        self,
        column: Column,
        width: int,
        network: nn.Module,
        shape: BackboneShape,
        tune: str | int,
        pretrained: bool,
        layers: Layers = "last",
    ) -> None:
        super().__init__(column, width)
        self.network: Any = network
        self.shape = shape
        self._rooms: dict[tuple[tuple[int, ...], torch.device], tuple[int, tuple[int, ...]]] = {}
        self.frozen = tune == "frozen"
        self.pretrained = pretrained
        open_blocks(network, tune)
        self.chosen = _chosen(layers, shape.num_layers, column.name)
        weighted = layers == "weighted" and len(self.chosen) > 1
        self.layer_weights = nn.Parameter(torch.zeros(len(self.chosen))) if weighted else None
        self.norms = nn.ModuleList(nn.LayerNorm(shape.hidden) for _ in self.chosen)
        self.projection = nn.Linear(shape.hidden * (1 if weighted else len(self.chosen)), width)
        self.train(self.training)

    @abstractmethod
    def run(self, values: Items, lengths: Lengths) -> tuple[Tokens, ...]:
        """The network's features at the `chosen` layers, the last of them with its feature maps as a pyramid where one
        is asked for."""

    def backbone(self, values: Items, lengths: Lengths) -> Features:
        """What the network gives for single items, at the `chosen` layers."""
        if self._keeps_items_apart:
            return self._gathered(values, lengths, [each.every for each in self.item_features(values, lengths)])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return Features(self._read(values, lengths))

    def _read(self, values: Items, lengths: Lengths) -> tuple[Tokens, ...]:
        """As `run`, with the levels that somebody reads."""
        *layers, last = self.run(values, lengths)
        return (*layers, replace(last, pyramid=last.pyramid[-self.num_levels_read :]))

    @property
    def given_levels(self) -> tuple[PyramidLevel, ...]:
        return super().given_levels[-self.num_levels_read :]

    @property
    def stored_levels(self) -> tuple[PyramidLevel, ...]:
        """The levels that `run` gives, and which are kept with the layers."""
        return self.given_levels

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the layers that are handed on, then of the levels that are kept with them."""
        return (self.shape.hidden,) * len(self.chosen) + tuple(level.width for level in self.stored_levels)

    @property
    def keeps_features(self) -> bool:
        """Whether what `backbone` gives for an item may be computed once and kept.

        Of a pyramid whose levels grow with an item nobody has said how it is padded.
        """
        return self.frozen and all(level.grid is not None for level in self.stored_levels)

    @property
    def _keeps_items_apart(self) -> bool:
        """Whether each item's features are those that would be kept.

        They are not where a graph is traced, nor where a gradient is asked for at prediction, to explain one. With
        reduced precision a frozen network in training runs as fast as it can.
        """
        return (
            self.keeps_features
            and (self.training or not torch.is_grad_enabled())
            and not torch.is_autocast_enabled(self.projection.weight.device.type)
            and not torch.compiler.is_compiling()
        )

    def item_features(self, values: Items, lengths: Lengths) -> list[ItemFeatures]:
        """What the frozen network gives for each item that is there, a function of the item alone to the last bit."""
        present = lengths > 0
        if not bool(present.any()):
            return []
        with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
            return item_features(self._read, values[present], lengths[present])

    def encode_stored(self, values: Items, lengths: Lengths, stored: StoredItems) -> Tokens:
        assert stored.shelf == self.shelf, (
            f"column {self.column.name!r}: features of the network {stored.shelf}, expected {self.shelf or 'none'}"
        )
        missing = (lengths > 0) & (stored.counts == 0)
        if not bool(missing.any()):
            return self.tokens_of(self._stored(values, lengths, stored))
        live = iter(self.item_features(values, lengths * missing))
        counts, depth = stored.counts.tolist(), len(self.chosen)
        items = [
            (
                *(layer[row, : counts[row]] for layer in stored.layers[:depth]),
                *(level[row] for level in stored.layers[depth:]),
            )
            if counts[row]
            else next(live).every
            for row in (lengths > 0).nonzero().flatten().tolist()
        ]
        return self.tokens_of(self._gathered(values, lengths, items))

    def _stored(self, values: Items, lengths: Lengths, stored: StoredItems) -> Features:
        """As `_gathered` where nothing was computed: what is stored lies side by side already."""
        counts = stored.counts.masked_fill(lengths == 0, 0)
        longest, grid = self._shape_at(values, lengths, counts[lengths > 0].tolist())
        mask = torch.arange(longest, device=values.device) < counts[:, None]
        layers, levels = stored.layers[: len(self.chosen)], stored.layers[len(self.chosen) :]
        if (more := longest - layers[0].shape[1]) != 0:  # below 0 cuts
            layers = tuple(F.pad(layer, (0, 0, 0, more)) for layer in layers)
        if not torch.equal(counts, stored.counts):
            layers = tuple(layer.masked_fill(~mask[:, :, None], 0.0) for layer in layers)
            levels = tuple(level.masked_fill((lengths == 0)[:, None, None], 0.0) for level in levels)
        return self._features_of(layers, levels, mask, grid)

    def _gathered(self, values: Items, lengths: Lengths, items: Sequence[Sequence[Tensor]]) -> Features:
        """The features of those items that are there side by side, among rows of zeros."""
        sizes = [len(item[0]) for item in items]
        longest, grid = self._shape_at(values, lengths, sizes)
        counts = torch.zeros(len(values), dtype=torch.int64)
        rooms = [longest] * len(self.chosen) + [math.prod(level.grid or ()) for level in self.stored_levels]
        layers = [
            values.new_zeros(len(values), room, width, dtype=torch.float32)
            for room, width in zip(rooms, self.widths, strict=True)
        ]
        for row, size, item in zip((lengths > 0).nonzero().flatten().tolist(), sizes, items, strict=True):
            counts[row] = size
            for layer, features in zip(layers, item, strict=True):
                layer[row, : len(features)] = features
        mask = torch.arange(longest, device=values.device) < counts.to(values.device)[:, None]
        return self._features_of(layers[: len(self.chosen)], layers[len(self.chosen) :], mask, grid)

    def _features_of(
        self, layers: Sequence[Tensor], levels: Sequence[Tensor], mask: Tensor, grid: tuple[int, ...]
    ) -> Features:
        """Layers of items, the last of them with its pyramid."""
        there = mask.any(dim=1)[:, None]
        pyramid = tuple(
            Tokens(values, there.expand(-1, values.shape[1]), level.grid or ())
            for values, level in zip(levels, self.stored_levels, strict=True)
        )
        *most, last = (Tokens(layer, mask, grid) for layer in layers)
        return Features((*most, replace(last, pyramid=pyramid)))

    def _shape_at(self, values: Items, lengths: Lengths, sizes: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Tokens that each item is padded to, and the grid in which they lie.

        Args:
            values: Of all items.
            lengths: Likewise.
            sizes: Tokens of each item that is there.
        """
        longest = max(sizes, default=1)
        grid: tuple[int, ...] = ()
        if values.dim() > 2 or not self.training or torch.is_inference_mode_enabled():
            # What has two axes has a length, as in `item_features`. At prediction the shape of what is fused may not
            # depend on the rows beside it.
            room, grid = self._room(values, lengths, sizes)
            longest = max(longest, room)
        return longest, grid or (longest,)

    def _room(self, values: Items, lengths: Lengths, sizes: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Tokens of an item that fills the shape that these have, and the grid in which they lie; () for a sequence."""
        key = (tuple(values.shape[1:]), values.device)
        if key not in self._rooms and values.dim() == 2 and values.shape[1] in (own := lengths[lengths > 0].tolist()):
            self._rooms[key] = sizes[own.index(values.shape[1])], ()
        if key not in self._rooms:
            blank = torch.zeros_like(values[:1]) if len(values) else values.new_zeros(1, *values.shape[1:])
            size = values.shape[1] if values.dim() == 2 else 1
            lengths = torch.full((1,), size, dtype=torch.int64, device=values.device)
            one = self.item_features(blank, lengths)[0]
            self._rooms[key] = len(one.layers[0]), one.grid
        return self._rooms[key]

    def project(self, features: Features) -> Tokens:
        """Tokens of items, from what `backbone` gave."""
        layers = [norm(layer.values) for norm, layer in zip(self.norms, features.layers, strict=True)]
        if self.layer_weights is not None:
            shares = self.layer_weights.softmax(dim=0)
            mixed = sum(
                (share * layer for share, layer in zip(shares[1:], layers[1:], strict=True)), shares[0] * layers[0]
            )
        else:
            mixed = layers[0] if len(layers) == 1 else torch.cat(layers, dim=2)
        return replace(features.layers[-1], values=self.projection(mixed))

    @property
    def num_item_features(self) -> int:
        return len(self.chosen) * len(self.pooling.parts) * self.shape.hidden if self.frozen else 0

    def pooled(self, layer: Tokens) -> Float[Tensor, "items features"]:
        """A layer's tokens as one vector for each item."""
        return self.pooling(layer)

    def tokens_of(self, features: Features) -> Tokens:
        """All that `encode_items` gives, from what `backbone` gave: projected tokens, and pooled features of all layers
        where these are asked for."""
        tokens = self.project(features)
        if not (self.gives_features and self.frozen):
            return tokens
        return replace(tokens, features=torch.cat([self.pooled(layer) for layer in features.layers], dim=1))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        return self.tokens_of(self.backbone(values, lengths))

    def train(self, mode: bool = True) -> BackboneEncoder:
        """As torch's, but what is frozen stays in evaluation mode: no dropout, no statistic that moves."""
        super().train(mode)
        if mode:
            _rest(self.network)
        return self

    def normalized(
        self, network: Callable[[Tensor], Sequence[Tensor]], x: Tensor, lengths: Lengths
    ) -> Sequence[Tensor]:
        """Runs a network of images that may normalize over the batch.

        In training, absent items stay out of the batch's statistics, and with one item, which has no spread where a map
        has one cell, the running statistics are used.

        Args:
            network: Runs `self.network`, from a batch of items to batches of anything of a fixed shape.
            x: All items; absent ones may hold junk.
            lengths: 0 = absent.
        """
        if not self.training or self.frozen or not self._ties_rows:
            return network(x)
        present = lengths.nonzero().squeeze(1)
        if len(present) > 1:
            return over_present(network, x, lengths)
        self.network.eval()
        # Not all networks take an empty batch; one junk item times 0 touches every parameter.
        result = (
            over_present(network, x, lengths)
            if len(present)
            else [(junk * 0.0).expand(len(x), *junk.shape[1:]) for junk in network(x[:1])]
        )
        self.train()
        return result

    @cached_property
    def _ties_rows(self) -> bool:
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.network.modules())

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        return (p for p in self.network.parameters() if p.requires_grad and self.pretrained)


def _rest(module: nn.Module) -> None:
    """Sets the parts that hold parameters, none of which learns, to evaluation mode."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _rest(child)


def _chosen(layers: Layers, num_layers: int, column: str) -> tuple[int, ...]:
    """Numbers of layers, from 0."""
    where = f"model.encoders.{column}.layers"
    if layers == "last" or (layers == "weighted" and num_layers == 1):
        return (num_layers - 1,)
    if num_layers == 1:
        raise ConfigError(
            f"{where}: found {_spelled(layers)}, but only the last layer of this backbone can be handed on "
            "(the others have other shapes); write last"
        )
    if isinstance(layers, str):
        return tuple(range(1, num_layers))
    chosen = tuple(layer + num_layers if layer < 0 else layer for layer in layers)
    if len(set(chosen)) < len(chosen) or not all(0 <= layer < num_layers for layer in chosen):
        raise ConfigError(
            f"{where}: found {_spelled(layers)}, expected different layers from 0 (the input's embeddings) to "
            f"{num_layers - 1} (the last), or from the end -1 to {-num_layers}"
        )
    return chosen


def _spelled(layers: Layers) -> str:
    return layers if isinstance(layers, str) else str(list(layers))
