"""A transformers backbone for images (ViT-like or convolutional), with its own size and statistics.

Its processor's arithmetic (rescale, shift, normalize) is one mean and one standard deviation per channel; the channels'
order is turned where the model was trained on BGR. What the model gives, and of which shape, is measured: configs of
convolutional networks agree on no field that says it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from polysense.core.schema import Column
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.image.encoders.feature_map import image_level, levels_of
from polysense.modalities.image.record import ImageColumn, ImageRequirements
from polysense.nn.backbone import BackboneShape
from polysense.nn.layers.pixels import Standardize
from polysense.nn.layers.pooling import CLASS_AND_MEAN, has_class_token
from polysense.nn.pretrained import Pretrained, PretrainedConfig
from polysense.nn.pretrained_files import companion, from_pretrained, layers_of, main_input

__all__ = ["PretrainedImage"]

_MOST_EXTRA = 16  # class, distillation and register tokens of a vision transformer


class PretrainedImage(Pretrained):
    """One token for each patch or cell of the backbone's last feature map."""

    def __init__(
        self,
        config: PretrainedConfig,
        column: Column,
        width: int,
        network: nn.Module,
        shape: BackboneShape,
        settings: Any,
        extractor: Any,
    ) -> None:
        super().__init__(config, column, width, network, shape, settings, extractor)
        column = ImageColumn.of(column)
        self.standardize = Standardize(column.mean, column.std)
        self._sums_up = has_class_token(network)

    @classmethod
    def requested(cls, config: PretrainedConfig, settings: Any) -> ImageRequirements:
        import transformers

        if main_input(settings) != "pixel_values":
            raise ConfigError(f"{config.path}: holds a model of the type {settings.model_type}, which takes no images")
        if config.weights == "random":
            edge = getattr(settings, "image_size", None)
            size = None if edge is None else (edge, edge) if isinstance(edge, int) else tuple(edge)
            return ImageRequirements(image_size=size, num_channels=getattr(settings, "num_channels", None))
        processor = from_pretrained(transformers.AutoImageProcessor, config.path, config.revision)
        crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
        size = crop or getattr(processor, "size", None)
        mean, std = _statistics(processor, getattr(settings, "num_channels", 3))
        return ImageRequirements(
            image_size=None if size is None else _height_width(size), num_channels=len(mean), mean=mean, std=std
        )

    @classmethod
    def feature_extractor(cls, settings: Any, config: PretrainedConfig, path: str) -> Any:
        """The model's own processor, if it has one; what it does to pixels is `requested` of the preprocessing."""
        import transformers

        if config.weights == "random" or not companion(path, "preprocessor_config.json", config.revision):
            return None
        return from_pretrained(transformers.AutoImageProcessor, path, config.revision)

    @classmethod
    def blank(cls, network: Any, settings: Any, extractor: Any, column: Column) -> tuple[Tensor, ...]:
        column = ImageColumn.of(column)
        pixels = torch.zeros(1, column.num_channels, *column.image_size)
        return layers_of(_run(network, pixels, True))

    @classmethod
    def adapt(cls, settings: Any, config: PretrainedConfig, column: Column) -> None:
        if getattr(settings, "mask_ratio", None):  # a masked autoencoder: nothing is masked where it extracts
            settings.mask_ratio = 0.0

    def run(
        self, values: UInt8[Tensor, "items channels height width"], lengths: Int[Tensor, " items"]
    ) -> tuple[Tokens, ...]:
        x = self.standardize(values)
        if getattr(self.extractor, "do_flip_channel_order", False):
            x = x.flip(1)
        results = self.normalized(self._tensors, x, lengths)
        layers, maps = results[: len(self.chosen)], results[len(self.chosen) :]
        tokens = [_tokens(layer, lengths) for layer in layers]
        tokens[-1] = replace(tokens[-1], pyramid=tuple(image_level(each, lengths) for each in maps))
        return tuple(tokens)

    def pooled(self, layer: Tokens) -> Float[Tensor, "items features"]:
        return (CLASS_AND_MEAN if self._sums_up and len(layer.grid) == 1 else self.pooling)(layer)

    def _tensors(self, x: Tensor) -> Sequence[Tensor]:
        """The chosen layers; then the pyramid's maps, where it gives one."""
        output = _run(self.network, x, self.needs_layers or self.gives_pyramid)
        layers = layers_of(output)
        maps = self._maps(output) if self.gives_pyramid else []
        return [*(layers[layer] for layer in (self.chosen if self.needs_layers else (-1,))), *maps]

    @cached_property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """The deepest map of each resolution; of a vision transformer the last patches."""
        column = ImageColumn.of(self.column)
        blank = torch.zeros(1, column.num_channels, *column.image_size, device=self.standardize.mean.device)
        self.network.eval()
        with torch.no_grad():
            maps = self._maps(_run(self.network, blank, True))
        self.train(self.training)
        return levels_of(maps, column.image_size)

    def _maps(self, output: Any) -> list[Tensor]:
        """[items, channels, height, width], from fine to coarse."""
        every = list(getattr(output, "hidden_states", None) or output.feature_maps)
        reshaped = getattr(output, "reshaped_hidden_states", None)
        if reshaped is not None:  # channels first in most models, last in some
            pairs = zip(reshaped, every, strict=True)
            every = [grid if grid.shape[1] == flat.shape[-1] else grid.permute(0, 3, 1, 2) for grid, flat in pairs]
        maps = {each.shape[2:]: each for each in every if each.dim() == 4}
        if maps:
            return list(maps.values())
        # A vision transformer: the first convolution cuts the patches.
        patches = next((m for m in self.network.modules() if isinstance(m, nn.Conv2d)), None)
        if patches is None:
            return []
        sides = zip(ImageColumn.of(self.column).image_size, patches.stride, strict=True)
        height, columns = (side // int(stride) for side, stride in sides)
        extra = output.last_hidden_state.shape[1] - height * columns
        if not 0 <= extra <= _MOST_EXTRA:  # later layers join patches
            return []
        # Class and register tokens come before the patches.
        return [output.last_hidden_state[:, extra:].transpose(1, 2).unflatten(2, (height, columns))]


def _run(network: Any, x: Tensor, several: bool) -> Any:
    """The network's output, with all hidden states where several are read."""
    options: dict[str, Tensor] = {}
    if "noise" in inspect.signature(network.forward).parameters:
        # What a masked autoencoder sorts its patches by: here as they lie.
        height, width = (
            (network.config.patch_size,) * 2
            if isinstance(network.config.patch_size, int)
            else network.config.patch_size
        )
        num_patches = (x.shape[2] // height) * (x.shape[3] // width)
        options["noise"] = torch.arange(num_patches, dtype=x.dtype, device=x.device).expand(len(x), -1)
    return network(pixel_values=x, output_hidden_states=several, **options)


def _tokens(layer: Tensor, lengths: Tensor) -> Tokens:
    if layer.dim() == 4:  # a convolutional backbone
        return image_level(layer, lengths)
    mask = (lengths > 0)[:, None].expand(-1, layer.shape[1])
    return Tokens(layer, mask, (layer.shape[1],))


def _statistics(processor: Any, num_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels scaled to [0, 1], per channel in RGB order, that do what a processor does.

    It multiplies pixels of 0 to 255 by a factor, may subtract 1, and then normalizes by a mean and a deviation.
    """
    scale = 255.0 * float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 255.0
    shift = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    normalizes = getattr(processor, "do_normalize", False) and processor.image_mean is not None
    means = list(processor.image_mean) if normalizes else [0.0] * num_channels
    stds = list(processor.image_std) if normalizes else [1.0] * num_channels
    if getattr(processor, "include_top", False):  # EfficientNet's divides once more
        again = processor.image_std
        stds = [float(std) * float(second) for std, second in zip(stds, again, strict=True)]
    if getattr(processor, "do_flip_channel_order", False):
        means, stds = means[::-1], stds[::-1]
    return tuple((float(mean) + shift) / scale for mean in means), tuple(float(std) / scale for std in stds)


def _height_width(size: Any) -> tuple[int, int]:
    plain = dict(size)
    if "height" in plain and "width" in plain:
        return int(plain["height"]), int(plain["width"])
    edge = int(plain.get("shortest_edge") or plain.get("longest_edge") or next(iter(plain.values())))
    return edge, edge
