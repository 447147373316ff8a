"""Any timm image backbone: pretrained by hub name or local file, or random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.modality import Modality
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError, WeightsError
from polysense.nn.encoders.base import Encoder, EncoderConfig
from polysense.nn.encoders.image import image_tokens
from polysense.nn.encoders.pretrained import open_blocks

__all__ = ["Timm", "TimmConfig"]


@dataclass(frozen=True, kw_only=True)
class TimmConfig(EncoderConfig):
    """A timm image backbone by architecture name.

    Attributes:
        name: The architecture, such as resnet50.a1_in1k or vit_small_patch16_224.
        weights: "pretrained" (from the hub), "random", or the path of a local .safetensors or .pth file.
        tune: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: The backbone's learning rate over the rest's.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE})
    type: Literal["timm"] = "timm"
    name: str
    weights: str = "pretrained"
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.weights == "random" and self.tune != "full":
            raise ConfigError(f"tune: {self.tune} with random weights would freeze noise; write `tune: full`")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Timm:
        self.check(column)
        assert column.image_size is not None
        options: dict[str, Any] = {}
        if resources is not None:
            options = json.loads((resources / "timm.json").read_text())
        backbone = _create(self.name, self.weights if resources is None else "random", column, options)
        return Timm(self, column, width, backbone)

    def requirements(self, column_name: str) -> Requirements:
        """The architecture's own picture size and statistics; a random network takes the data's."""
        if self.weights == "random":
            return Requirements()
        import timm

        try:
            settings: Any = timm.get_pretrained_cfg(self.name)
        except RuntimeError:
            raise _unknown(self.name) from None
        if settings is None:
            raise _unknown(self.name)
        channels, height, width = settings.input_size
        return Requirements(
            image_size=(height, width), num_channels=channels, mean=tuple(settings.mean), std=tuple(settings.std)
        )


def _unknown(name: str) -> ConfigError:
    import timm

    near = timm.list_models(f"*{name.split('.')[0]}*")[:5]
    hint = f"; similar: {', '.join(near)}" if near else ""
    return ConfigError(f"timm knows no model {name!r}{hint}")


def _create(name: str, weights: str, column: Column, options: dict[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise _unknown(name)
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": column.num_channels, **options}
    overlay = None
    if weights not in ("pretrained", "random"):
        file = Path(weights).expanduser()
        if not file.is_file():
            raise WeightsError(f"{weights}: no such file; expected timm weights (.safetensors or .pth) for {name}")
        overlay = {"file": str(file)}
    try:
        return timm.create_model(name, pretrained=weights != "random", pretrained_cfg_overlay=overlay, **arguments)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"can't load timm weights for {name!r} ({weights}): {first}; without a network give the path of a local "
            f"weights file, or set HF_HOME to a cache that holds them"
        ) from error


class Timm(Encoder):
    """A backbone's last feature map or token sequence, projected to the model's width."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TimmConfig, column: Column, width: int, backbone: Any) -> None:
        super().__init__(column, width)
        assert column.mean is not None
        assert column.std is not None
        self.config = config
        self.backbone: Any = backbone
        open_blocks(backbone, config.tune)
        self.register_buffer("mean", torch.tensor(column.mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(column.std).view(1, -1, 1, 1) * 255, persistent=False)
        hidden = int(self.backbone.num_features)
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, width)

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        frozen = self.config.tune == "frozen"
        if frozen:
            self.backbone.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            hidden = self.backbone.forward_features((values.float() - self.mean) / self.std)
        if hidden.dim() == 4:
            channels_last = hidden.shape[-1] == self.backbone.num_features != hidden.shape[1]
            hidden = hidden if channels_last else hidden.permute(0, 2, 3, 1)
            _, height, columns, _ = hidden.shape
            return image_tokens(self.project(self.norm(hidden)).flatten(1, 2), (height, columns), lengths)
        mask = (lengths > 0)[:, None].expand(-1, hidden.shape[1])
        return Tokens(self.project(self.norm(hidden)), mask, (hidden.shape[1],))

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        if self.config.weights == "random":
            return iter(())
        return (parameter for parameter in self.backbone.parameters() if parameter.requires_grad)

    def save_resources(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "timm.json").write_text(json.dumps({"in_chans": self.column.num_channels}))
