"""A transformers backbone for images (ViT-like or convolutional), with its own size and statistics."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from polysense.core.schema import Column
from polysense.core.tokens import PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.image.encoders.feature_map import image_level, levels_of
from polysense.modalities.image.record import ImageColumn, ImageRequirements
from polysense.nn.layers.pixels import Standardize
from polysense.nn.pretrained import Pretrained, PretrainedConfig, first_attribute, from_pretrained

__all__ = ["PretrainedImage"]


class PretrainedImage(Pretrained):
    """One token for each patch or cell of the backbone's last feature map."""

    def __init__(
        self, config: PretrainedConfig, column: Column, width: int, backbone: nn.Module, extractor: Any
    ) -> None:
        super().__init__(config, column, width, backbone, extractor)
        column = ImageColumn.of(column)
        self.standardize = Standardize(column.mean, column.std)

    @classmethod
    def requested(cls, config: PretrainedConfig, settings: Any) -> ImageRequirements:
        import transformers

        if first_attribute(settings, ("image_size", "patch_size", "num_channels")) is None:
            raise ConfigError(f"{config.path}: holds a model of the type {settings.model_type}, which takes no images")
        if config.weights == "random":
            edge = getattr(settings, "image_size", None)
            size = None if edge is None else (edge, edge) if isinstance(edge, int) else tuple(edge)
            return ImageRequirements(image_size=size, num_channels=settings.num_channels)
        processor = from_pretrained(transformers.AutoImageProcessor, config.path, config.revision)
        size = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
        height, width = _height_width(size or processor.size)
        mean = tuple(float(value) for value in processor.image_mean)
        return ImageRequirements(
            image_size=(height, width),
            num_channels=len(mean),
            mean=mean,
            std=tuple(float(value) for value in processor.image_std),
        )

    def run(self, values: UInt8[Tensor, "items channels height width"], lengths: Int[Tensor, " items"]) -> Tokens:
        output = self.network(pixel_values=self.standardize(values), output_hidden_states=self.gives_pyramid)
        hidden = output.last_hidden_state
        pyramid = tuple(image_level(each, lengths) for each in self._maps(output)) if self.gives_pyramid else ()
        if hidden.dim() == 4:  # a convolutional backbone
            return replace(image_level(hidden, lengths), pyramid=pyramid)
        mask = (lengths > 0)[:, None].expand(-1, hidden.shape[1])
        return Tokens(hidden, mask, (hidden.shape[1],), pyramid)

    @cached_property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """The deepest map of each resolution; of a vision transformer the last patches."""
        column = ImageColumn.of(self.column)
        blank = torch.zeros(1, column.num_channels, *column.image_size, device=self.standardize.mean.device)
        training = self.network.training
        with torch.no_grad():
            maps = self._maps(self.network.eval()(pixel_values=blank, output_hidden_states=True))
        self.network.train(training)
        return levels_of(maps, column.image_size)

    def _maps(self, output: Any) -> list[Tensor]:
        """[items, channels, height, width], from fine to coarse."""
        every = getattr(output, "reshaped_hidden_states", None) or output.hidden_states
        maps = {each.shape[2:]: each for each in every if each.dim() == 4}
        patch = first_attribute(self.settings, ("patch_size",))
        if maps or not isinstance(patch, int):
            return list(maps.values())
        height, columns = (side // patch for side in ImageColumn.of(self.column).image_size)
        # Class and register tokens come before the patches.
        return [output.last_hidden_state[:, -height * columns :].transpose(1, 2).unflatten(2, (height, columns))]


def _height_width(size: Any) -> tuple[int, int]:
    plain = dict(size)
    if "height" in plain and "width" in plain:
        return int(plain["height"]), int(plain["width"])
    edge = int(plain.get("shortest_edge") or plain.get("longest_edge") or next(iter(plain.values())))
    return edge, edge
