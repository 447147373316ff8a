"""Any timm image backbone, by name or by path, pretrained or random.

timm holds some 1,300 architectures. A pretrained backbone brings its image size and statistics along; a random one
takes the column's own and needs no network. What timm counts as the classifier is left out; cells of the last feature
map, or the last sequence, become tokens. The trade-off: a frozen backbone costs a fraction of training one and wins
where images are few and like photographs; on what its training never saw (spectra, symbols) `tune: full` is needed.

Where batch normalization is tuned, absent images stay out of its statistics, and the frozen part keeps its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.config.limits import NonNegativeFloat
from polysense.core.error_text import first_line
from polysense.core.json import read_json, write_json
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Features, PyramidLevel, Tokens
from polysense.errors import BundleError, ConfigError, WeightsError
from polysense.modalities.image.encoders.feature_map import grid_positions, image_level
from polysense.modalities.image.record import ImageColumn, ImageRequirements
from polysense.nn.backbone import BackboneEncoder, BackboneShape, check_tune, unreached
from polysense.nn.encoder import EncoderConfig, Items, Lengths
from polysense.nn.layers.pixels import Standardize
from polysense.nn.layers.pooling import CLASS_AND_MEAN, has_class_token

__all__ = ["Timm", "TimmConfig"]


@dataclass(frozen=True, kw_only=True)
class TimmConfig(EncoderConfig):
    """A timm image backbone, by name or by path.

    Attributes:
        name: The architecture, such as resnet50.a1_in1k or vit_small_patch16_224; hf-hub:owner/model; or a local folder
            with timm's config.json and weights.
        pretrained: Whether it comes with weights. false needs no network and asks for `tune: full`.
        weights: Path of a local .safetensors or .pth file to take them from; null = where the name says. A config.json
            of timm's beside it says image size, mean, deviation and padding; else the name does.
        tune: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: The backbone's learning rate over the rest's, where it is pretrained.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    framework: ClassVar[str] = "timm"
    type: Literal["timm"] = "timm"
    name: str
    pretrained: bool = True
    weights: str | None = None
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1

    def __post_init__(self) -> None:
        check_tune(self.tune, has_weights=self.pretrained)
        if not self.pretrained and self.weights is not None:
            raise ConfigError(f"weights: {self.weights} with `pretrained: false` contradict each other; drop one")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Timm:
        self.check(column)
        column = ImageColumn.of(column)
        if resources is not None:
            name, arguments = _bundled(resources / "timm.json")
            return Timm(self, column, width, _create(name, None, {}, arguments), name, arguments)
        name, settings, arguments = self._source()
        arguments |= {"num_classes": 0, "in_chans": column.num_channels}
        if settings.get("fixed_input_size"):
            arguments["img_size"] = column.image_size
        overlay: dict[str, Any] | None = None
        if self.pretrained:
            overlay = {"file": settings["file"]} if "file" in settings else {}
        from_elsewhere = settings if name != self.name else {}
        return Timm(self, column, width, _create(name, overlay, from_elsewhere, arguments), name, arguments)

    @classmethod
    def loads(cls, settings: Mapping[str, object]) -> bool:
        return "architecture" in settings and "model_type" not in settings

    @classmethod
    def knows(cls, name: str) -> bool:
        """By its prefix, or as an architecture of timm's."""
        if "/" in name:
            return name.startswith(("timm/", "hf-hub:"))
        import timm

        return bool(timm.is_model(name.split(".")[0]))

    @classmethod
    def of_backbone(cls, name: str, options: Mapping[str, Any]) -> TimmConfig:
        return cls(name=name.removeprefix("timm/"), **options)

    def requirements(self, column_name: str, modality: str) -> Requirements:
        """The architecture's own image size and statistics; a random network takes the data's."""
        if not self.pretrained:
            return ImageRequirements()
        _, settings, _ = self._source()
        channels, height, width = settings["input_size"]
        return ImageRequirements(
            image_size=(height, width),
            num_channels=channels,
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
        )

    def _source(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """See `_source`. Where a config.json lies beside the file of `weights`, it says what they were trained with."""
        if self.weights is None:
            return _source(self.name)
        file = Path(self.weights).expanduser()
        if not file.is_file():
            raise WeightsError(f"{file}: no such file; expected timm weights (.safetensors or .pth) for {self.name}")
        _require_weights(file)
        name, settings, arguments = _source(self.name)
        if _is_timms(file.parent / "config.json"):
            own, own_settings, own_arguments = _source(str(file.parent))
            if own.split(".")[0] != name.split(".")[0]:
                raise ConfigError(
                    f"{file}: the config.json beside it is of the architecture {own}, the recipe says {self.name}; "
                    f"write name: {own}, or move the file out of that folder"
                )
            settings, arguments = {**settings, **own_settings}, {**arguments, **own_arguments}
        return name, {**settings, "file": str(file)}, arguments


def _bundled(path: Path) -> tuple[str, dict[str, Any]]:
    """The architecture and its own arguments, as `save_resources` wrote them.

    A bundle may come from anywhere: an architecture is one that timm itself has, never a hub's or a folder's, and no
    argument of `create_model` itself (a checkpoint, settings of pretrained weights, a cache) is passed on.

    Raises:
        BundleError: The file is broken, or names anything else.
    """
    import timm

    try:
        arguments = read_json(path, dict)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: can't be read: {error}") from None
    name = arguments.pop("architecture", None)
    if not isinstance(name, str) or not timm.is_model(name.split(".")[0]):
        raise BundleError(f"{path}: found the architecture {name!r}, expected one of timm's own; train again")
    own = set(inspect.signature(timm.create_model).parameters) | {"pretrained", "state_dict", "file", "url"}
    for key, value in arguments.items():
        if key in own or not isinstance(value, (bool, int, float, str, list, type(None))):
            raise BundleError(f"{path}: found {key!r}, which is no argument of a timm architecture; train again")
    return name, arguments


def _is_timms(path: Path) -> bool:
    """Whether there is such a file, and timm wrote it."""
    try:
        return "architecture" in read_json(path, dict)
    except (OSError, ValueError):
        return False


def _source(name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A name's architecture, its pretrained settings (input_size, mean, std, ...) and its own arguments."""
    import timm

    if name.startswith("hf-hub:"):
        try:
            settings, architecture, arguments = timm.models.load_model_config_from_hf(name.removeprefix("hf-hub:"))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise _no_weights(name, error) from error
        return architecture, dict(settings), dict(arguments or {})
    folder = Path(name).expanduser()
    if folder.is_dir() or "/" in name or name.startswith((".", "~")):
        try:
            config = read_json(folder / "config.json", dict)
            settings, architecture = dict(config.get("pretrained_cfg") or config), str(config["architecture"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{name}: expected a folder with timm's config.json and its weights, or an architecture's name; for "
                f"one of the hub's write hf-hub:{name.strip('./~')} ({type(error).__name__}: {error})"
            ) from error
        files = [folder / file for file in ("model.safetensors", "pytorch_model.bin") if (folder / file).is_file()]
        if files:
            _require_weights(files[0])
            settings["file"] = str(files[0])
        return architecture, settings, dict(config.get("model_args") or {})
    try:
        result: Any = timm.get_pretrained_cfg(name)
    except RuntimeError:
        result = None
    if result is None or not timm.is_model(name.split(".")[0]):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:5]
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise ConfigError(f"timm knows no model {name!r}{hint}")
    return name, result.to_dict(), {}


def _require_weights(file: Path) -> None:
    """Raises WeightsError where a file holds more than tensors: a pickle can run any code, and is never unpickled."""
    if file.suffix == ".safetensors":
        return
    try:
        torch.load(file, map_location="meta", weights_only=True)
    except Exception as error:  # noqa: BLE001 (of a file from outside)
        raise WeightsError(f"{file}: holds no weights alone ({first_line(error)}); give a .safetensors file") from None


def _no_weights(name: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"can't load timm weights for {name!r}: {first_line(error)}; without a network give the path of a local folder "
        f"(name) or weights file (weights), set HF_HOME to a cache that holds them, or write `pretrained: false` and "
        f"`tune: full`"
    )


def _create(
    name: str, overlay: dict[str, Any] | None, settings: dict[str, Any], arguments: dict[str, Any]
) -> nn.Module:
    """Builds the network; random if `overlay` (changes to the pretrained settings) is None."""
    import timm

    try:
        backbone: nn.Module = timm.create_model(
            name,
            pretrained=overlay is not None,
            pretrained_cfg=settings or None,
            pretrained_cfg_overlay=overlay or None,
            **arguments,
        )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AssertionError) as error:
        if overlay is not None:
            raise _no_weights(name, error) from error
        raise ConfigError(f"timm can't build {name!r} with {arguments}: {error}") from error
    return backbone


class Timm(BackboneEncoder):
    """A backbone's last feature map or token sequence."""

    column: ImageColumn

    def __init__(
        self,
        config: TimmConfig,
        column: ImageColumn,
        width: int,
        backbone: nn.Module,
        architecture: str,
        arguments: dict[str, Any],
    ) -> None:
        super().__init__(
            column,
            width,
            backbone,
            BackboneShape(hidden=int(backbone.num_features)),  # type: ignore[arg-type]
            config.tune,
            config.pretrained,
        )
        self.config, self.architecture, self.arguments = config, architecture, arguments
        self.standardize = Standardize(column.mean, column.std)
        self._sums_up = has_class_token(backbone)
        self._try_out()
        self.train(self.training)

    def _try_out(self) -> None:
        """Checks that the backbone takes the column's images, and freezes what does not lead to its features."""
        height, columns = self.column.image_size
        patch = getattr(getattr(self.network, "patch_embed", None), "patch_size", None) or (1, 1)
        if height % patch[0] or columns % patch[1]:
            raise ConfigError(
                f"{self.config.name} cuts patches of {patch[0]}x{patch[1]} pixels, which do not divide the column "
                f"{self.column.name!r} ({height}x{columns}); give it a size that they divide under data.columns, or "
                f"take `type: vit`, which takes any"
            )
        if self.frozen:
            return
        blank = torch.zeros(1, self.column.num_channels, height, columns)
        self.network.eval()
        try:
            with torch.enable_grad():
                features = self.network.forward_features(blank)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"{self.config.name} can't take the column {self.column.name!r} ({height}x{columns} pixels): {error}"
            ) from error
        # Such as a normalization after the pooling: a parameter without a gradient would stall distributed training.
        for parameter in unreached(features, self.network.parameters()):
            parameter.requires_grad_(False)

    @cached_property
    def pyramid_levels(self) -> tuple[PyramidLevel, ...]:
        """The deepest map of each resolution."""
        if not self._intermediates:
            return ()
        blank = torch.zeros(1, self.column.num_channels, *self.column.image_size, device=self.standardize.mean.device)
        self.network.eval()
        with torch.no_grad():
            _, maps = self.network.forward_intermediates(blank, indices=self._intermediates)
        self.train(self.training)
        strides = [self.network.feature_info[index]["reduction"] for index in self._intermediates]
        return tuple(
            PyramidLevel(stride=(stride, stride), width=each.shape[1], grid=(each.shape[2], each.shape[3]))
            for stride, each in zip(strides, maps, strict=True)
        )

    @cached_property
    def _intermediates(self) -> list[int]:
        """Which of the maps that timm numbers are levels; none where an architecture can't give them."""
        if getattr(self.network, "forward_intermediates", None) is None:
            return []
        return list({each["reduction"]: index for index, each in enumerate(self.network.feature_info)}.values())

    def run(self, values: Items, lengths: Lengths) -> tuple[Tokens, ...]:
        hidden, *maps = self.normalized(self._features, self.standardize(values), lengths)
        grid = tuple(hidden.shape[1:-1])
        cells = hidden.flatten(1, -2)
        mask = (lengths > 0)[:, None].expand(-1, cells.shape[1])
        return (Tokens(cells, mask, grid, tuple(image_level(each, lengths) for each in maps)),)

    def project(self, features: Features) -> Tokens:
        tokens = super().project(features)
        if len(tokens.grid) == 1:
            return tokens
        positions = grid_positions((tokens.grid[0], tokens.grid[1]), self.width, tokens.values.device)
        return replace(tokens, values=tokens.values + 0.1 * positions.to(tokens.values.dtype))

    def pooled(self, layer: Tokens) -> Float[Tensor, "items features"]:
        return (CLASS_AND_MEAN if self._sums_up and len(layer.grid) == 1 else self.pooling)(layer)

    def _features(self, x: Tensor) -> list[Tensor]:
        """[items, height, width, channels] of a map, [items, length, channels] of a sequence; then the pyramid's maps.

        These are [items, channels, height, width].
        """
        if self.gives_pyramid:
            hidden, maps = self.network.forward_intermediates(x, indices=self._intermediates, norm=True)
        else:
            hidden, maps = self.network.forward_features(x), []
        width = self.shape.hidden
        if hidden.dim() == 4 and (hidden.shape[-1] != width or hidden.shape[1] == width):
            hidden = hidden.permute(0, 2, 3, 1)
        return [hidden, *maps]

    def save_resources(self, folder: Path) -> None:
        write_json(folder / "timm.json", {"architecture": self.architecture, **self.arguments})
