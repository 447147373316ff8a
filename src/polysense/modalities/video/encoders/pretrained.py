"""Pretrained video networks of transformers: VideoMAE, TimeSformer, ViViT.

They take a fixed number of frames of one size. Of a video with another number so many evenly spaced ones are taken,
some of them twice where there are fewer; `data.columns.COLUMN.frames` is best set to the network's own number, which
the log names. There is one token for each time that the network tells apart, the mean over its places.

What such a network gives is of a whole video, not of single frames, so it is not stored: a frozen one runs in every
epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import NonNegativeFloat
from polysense.core.json import read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.video.encoders.clip import ClipEncoder, WholeVideoConfig
from polysense.modalities.video.encoders.frames import frames_in_order
from polysense.modalities.video.record import VideoColumn
from polysense.nn.backbone import check_tune, open_blocks, unreached
from polysense.nn.layers.pixels import Standardize
from polysense.nn.pretrained_files import companion, from_pretrained, open_backbone, save_settings

__all__ = ["PretrainedVideo", "PretrainedVideoConfig"]

_KINDS = ("videomae", "timesformer", "vivit")
_STATISTICS = "statistics.json"
_log = get_logger("polysense.modalities.video")


@dataclass(frozen=True, kw_only=True)
class PretrainedVideoConfig(WholeVideoConfig):
    """A pretrained video network of transformers (VideoMAE, TimeSformer, ViViT), by path.

    Attributes:
        path: A local folder as save_pretrained writes it, or a hub name.
        weights: "pretrained", or "random" for the architecture only, for which config.json suffices.
        tune: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: The network's learning rate over the rest's.
        revision: The hub revision; null = the newest.
    """

    framework: ClassVar[str] = "transformers"
    type: Literal["pretrained_video"] = "pretrained_video"
    path: str
    weights: Literal["pretrained", "random"] = "pretrained"
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1
    revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tune(self.tune, has_weights=self.weights == "pretrained")

    def build(self, column: Column, width: int, resources: Path | None = None) -> PretrainedVideo:
        """See `EncoderConfig`.

        Raises:
            ConfigError: The folder holds another model.
            WeightsError: They can't be had.
        """
        import transformers

        self.check(column)
        path = self.path if resources is None else str(resources)
        settings = from_pretrained(transformers.AutoConfig, path, self.revision)
        if settings.model_type not in _KINDS:
            raise ConfigError(
                f"model.encoders.{column.name}: {self.path} holds a model of the type {settings.model_type}, expected "
                f"one of {', '.join(_KINDS)}; one of images is read by {{type: video_rnn, frames: {{type: pretrained, "
                "path: ...}}"
            )
        has_weights = resources is None and self.weights == "pretrained"
        network = open_backbone(path if has_weights else None, self.revision, settings)
        statistics = _statistics(path, self.revision, settings, resources)
        num_there = VideoColumn.of(column).max_items
        if resources is None and num_there != settings.num_frames:
            _log.info(
                "column %r: %s reads %d frames, and the column has %d; data.columns.%s.frames=%d gives it its own",
                column.name, self.path, settings.num_frames, num_there, column.name, settings.num_frames,
            )  # fmt: skip
        return PretrainedVideo(self, column, width, network, settings, statistics)


class PretrainedVideo(ClipEncoder):
    """The network, a normalization and a projection.

    Args:
        config: Its config.
        column: The fitted column.
        width: Width of the tokens to give.
        network: Of transformers.
        settings: Its config there.
        statistics: Mean and standard deviation per channel, of pixels scaled to [0, 1], that it was trained with.
    """

    def __init__(
        self,
        config: PretrainedVideoConfig,
        column: Column,
        width: int,
        network: nn.Module,
        settings: Any,
        statistics: tuple[tuple[float, ...], tuple[float, ...]],
    ) -> None:
        super().__init__(column, width)
        self.network: Any = network
        self.settings, self.statistics = settings, statistics
        self.frozen, self.pretrained = config.tune == "frozen", config.weights == "pretrained"
        open_blocks(network, config.tune)
        self.standardize = Standardize(*statistics)
        self.norm = nn.LayerNorm(settings.hidden_size)
        self.projection = nn.Linear(settings.hidden_size, width)
        self.train(self.training)

    def encode_clips(
        self, frames: Shaped[Tensor, "batch frames channels height width"], present: Bool[Tensor, "batch frames"]
    ) -> Tokens:
        x = self.clips(frames, present)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.network(pixel_values=x).last_hidden_state
        times = self.by_time(states)
        values = self.projection(self.norm(times))
        if self.training and not self.frozen:  # as in `nn.pretrained`: poolers and the like are not asked
            for parameter in unreached(values, self.network.parameters()):
                values = values + parameter.flatten()[:1].sum() * 0.0
        mask = present.any(dim=1)[:, None].expand(-1, values.shape[1])
        return Tokens(values, mask, (values.shape[1],))

    def clips(
        self, frames: Shaped[Tensor, "batch frames channels height width"], present: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch taken colors rows columns"]:
        """Standardized frames, as many as the network takes and of its size: evenly spaced ones of those present."""
        num_taken = int(self.settings.num_frames)
        count = present.sum(dim=1, keepdim=True)
        steps = torch.arange(num_taken, device=frames.device)
        places = ((2 * steps + 1) * count // (2 * num_taken)).clamp(max=frames.shape[1] - 1)
        index = frames_in_order(present).gather(1, places)
        taken = frames[torch.arange(len(frames), device=frames.device)[:, None], index]
        # An absent video's frames are junk, and what a network makes of junk may be no number.
        taken = taken.masked_fill(count[:, :, None, None, None] == 0, 0)
        x = taken.flatten(0, 1)
        if x.shape[1] == 1:
            x = x.expand(-1, len(self.statistics[0]), -1, -1)
        x = self.standardize(x)
        side = self.settings.image_size
        sides = (side, side) if isinstance(side, int) else tuple(side)
        if tuple(x.shape[2:]) != sides:
            x = F.interpolate(x, sides, mode="bilinear", align_corners=False, antialias=True)
        return x.reshape(len(frames), num_taken, *x.shape[1:])

    def by_time(self, states: Float[Tensor, "batch positions hidden"]) -> Float[Tensor, "batch times hidden"]:
        """The mean over places for each time; a class token is left out."""
        kind = self.settings.model_type
        if kind == "timesformer":  # class token, then by place and time
            return states[:, 1:].unflatten(1, (-1, self.settings.num_frames)).mean(dim=1)  # type: ignore[no-untyped-call, no-any-return]
        step = self.settings.tubelet_size
        num_times = self.settings.num_frames // (step if isinstance(step, int) else step[0])
        if kind == "vivit":
            states = states[:, 1:]
        return states.unflatten(1, (num_times, -1)).mean(dim=2)  # type: ignore[no-untyped-call, no-any-return]

    def train(self, mode: bool = True) -> PretrainedVideo:
        """As torch's, but a frozen network stays in evaluation mode."""
        super().train(mode)
        if mode and self.frozen:
            self.network.eval()
        return self

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """See `Encoder`."""
        return (each for each in self.network.parameters() if each.requires_grad and self.pretrained)

    def save_resources(self, folder: Path) -> None:
        """See `Encoder`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_settings(self.settings, folder)
        write_json(folder / _STATISTICS, {"mean": list(self.statistics[0]), "std": list(self.statistics[1])})


def _statistics(
    path: str, revision: str | None, settings: Any, resources: Path | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, from the folder's processor; (0.5, 0.5) where it has none."""
    if resources is not None:
        plain = read_json(resources / _STATISTICS, dict)
    else:
        beside = companion(path, "preprocessor_config.json", revision)
        plain = {"mean": beside.get("image_mean"), "std": beside.get("image_std")}
    half = [0.5] * int(getattr(settings, "num_channels", 3))
    mean, std = (tuple(float(each) for each in plain[name] or half) for name in ("mean", "std"))
    return mean, std
