"""Any transformers backbone for text, images or audio, by local path or hub name.

The backbone brings its preprocessing along: tokenizer, picture size and statistics, sample rate. Frozen, tuned as a
whole, or with
the last k blocks open. A bundle keeps the backbone's config and weights, so a trained model never asks for the
original again.

A model that takes a fixed stretch of audio (Whisper: 30 s; AST: about 10 s) is run over consecutive stretches, since
cutting
a recording there would be a silent change.
"""

from __future__ import annotations

import math
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

__all__ = ["Pretrained", "PretrainedConfig", "open_blocks"]


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig(EncoderConfig):
    """A pretrained transformers model (BERT-like, ViT-like, wav2vec2-like, Whisper, AST, ...).

    Attributes:
        path: A local folder as save_pretrained writes it, or a hub name.
        tune: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: The backbone's learning rate over the rest's.
        revision: The hub revision; null = the newest.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TEXT, Modality.IMAGE, Modality.AUDIO})
    type: Literal["pretrained"] = "pretrained"
    path: str
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: float = 0.1
    revision: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tune, int) and self.tune < 1:
            raise ConfigError(f"tune: {self.tune} blocks; write `frozen` to open none")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Pretrained:
        self.check(column)
        import transformers

        if resources is not None:
            settings = transformers.AutoConfig.from_pretrained(str(resources))
            factory: Any = transformers.AutoModel
            backbone = factory.from_config(settings)
            extractor_path = str(resources)
        else:
            backbone = _from_pretrained(transformers.AutoModel, self.path, self.revision)
            extractor_path = self.path
        extractor = None
        if column.modality is Modality.AUDIO:
            extractor = _from_pretrained(transformers.AutoFeatureExtractor, extractor_path, self.revision)
        return Pretrained(self, column, width, backbone, extractor)

    def requirements(self, column_name: str) -> Requirements:
        """Reads the backbone's own config, tokenizer and processor settings.

        Raises:
            WeightsError: They can't be had.
        """
        import transformers

        settings = _from_pretrained(transformers.AutoConfig, self.path, self.revision)
        if getattr(settings, "vision_config", None) is not None:
            raise ConfigError(
                f"model.encoders.{column_name}: {self.path} holds a model of several modalities; name its text, image "
                f"or audio part alone (for CLIP, save model.vision_model with save_pretrained and give that folder)"
            )
        if _is_audio(settings):
            extractor = _from_pretrained(transformers.AutoFeatureExtractor, self.path, self.revision)
            return Requirements(sample_rate=int(extractor.sampling_rate))
        if first_attribute(settings, ("image_size", "patch_size", "num_channels")) is not None:
            processor = _from_pretrained(transformers.AutoImageProcessor, self.path, self.revision)
            size = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
            height, width = _height_width(size or processor.size)
            mean = tuple(float(value) for value in processor.image_mean)
            return Requirements(
                image_size=(height, width),
                num_channels=len(mean),
                mean=mean,
                std=tuple(float(value) for value in processor.image_std),
            )
        longest = int(getattr(settings, "max_position_embeddings", 0) or 0)
        # RoBERTa-like models lose padding_idx + 1 positions to the padding's offset.
        if settings.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer"):
            longest -= int(settings.pad_token_id or 0) + 1
        return Requirements(tokenizer=self.path, max_tokens=longest if longest > 0 else None)


def first_attribute(settings: Any, names: tuple[str, ...]) -> Any:
    """The first of these attributes that a transformers config has, or None."""
    return next((getattr(settings, name) for name in names if getattr(settings, name, None) is not None), None)


def _is_audio(settings: Any) -> bool:
    return settings.model_type in _RAW_AUDIO or settings.model_type in ("whisper", "audio-spectrogram-transformer")


_RAW_AUDIO = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio", "sew", "sew-d")


def _height_width(size: Any) -> tuple[int, int]:
    plain = dict(size)
    if "height" in plain and "width" in plain:
        return int(plain["height"]), int(plain["width"])
    edge = int(plain.get("shortest_edge") or plain.get("longest_edge") or next(iter(plain.values())))
    return edge, edge


def _from_pretrained(factory: Any, path: str, revision: str | None) -> Any:
    """Loads from a folder or the hub; whatever goes wrong becomes one clear error."""
    local = Path(path).expanduser()
    looks_local = local.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not local.is_dir():
        raise WeightsError(
            f"{path}: {'is a file' if local.exists() else 'no such folder'}; expected a folder written by "
            f"save_pretrained (config.json, model.safetensors, tokenizer or preprocessor files)"
        )
    try:
        return factory.from_pretrained(str(local) if looks_local else path, revision=None if looks_local else revision)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "the folder" if looks_local else "the hub name"
        advice = (
            "check that the folder holds what save_pretrained writes"
            if looks_local
            else "without a network give a local folder instead, or set HF_HOME to a cache that holds it"
        )
        raise WeightsError(f"can't load {factory.__name__} from {where} {path!r}: {first}; {advice}") from error


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
            found = 0 if blocks is None else len(blocks)
            raise ConfigError(f"tune: asks for the last {tune} blocks, the backbone has {found}; write `full`")
        for block in list(blocks)[len(blocks) - tune :]:
            block.requires_grad_(True)


class Pretrained(Encoder):
    """A backbone's last hidden states, projected to the model's width."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: PretrainedConfig, column: Column, width: int, backbone: nn.Module, extractor: Any
    ) -> None:
        super().__init__(column, width)
        self.config = config
        self.backbone: Any = backbone
        self.extractor = extractor
        settings: Any = backbone.config
        self.raw_audio = settings.model_type in _RAW_AUDIO
        if column.modality is Modality.AUDIO and settings.model_type == "whisper":
            self.backbone = self.backbone.encoder
        open_blocks(self.backbone, config.tune)
        hidden = int(first_attribute(settings, ("hidden_size", "d_model", "dim")) or settings.hidden_sizes[-1])
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, width)
        if column.modality is Modality.IMAGE:
            assert column.mean is not None
            assert column.std is not None
            self.register_buffer("mean", torch.tensor(column.mean).view(1, -1, 1, 1) * 255, persistent=False)
            self.register_buffer("std", torch.tensor(column.std).view(1, -1, 1, 1) * 255, persistent=False)

    def encode_items(
        self,
        values: Shaped[Tensor, "items ..."],
        lengths: Int[Tensor, " items"],
        draws: Float[Tensor, "items draws"] | None,
    ) -> Tokens:
        frozen = self.config.tune == "frozen"
        if frozen:
            # A frozen backbone is an extractor: no dropout, whatever mode the model around it is in.
            self.backbone.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            if self.column.modality is Modality.TEXT:
                hidden, mask = self._text(values, lengths)
            elif self.column.modality is Modality.IMAGE:
                hidden, mask = self._image(values, lengths)
            elif self.raw_audio:
                hidden, mask = self._waveform(values, lengths)
            else:
                hidden, mask = self._spectrogram(values, lengths)
        return Tokens(self.project(self.norm(hidden)), mask, (hidden.shape[1],))

    def _text(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        # A row without a token still needs one key to attend to; what comes out is masked.
        attended = mask.clone()
        attended[:, 0] = True
        output = self.backbone(input_ids=values.long(), attention_mask=attended.long())
        return output.last_hidden_state, mask

    def _image(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        output = self.backbone(pixel_values=(values.float() - self.mean) / self.std)
        hidden = output.last_hidden_state
        if hidden.dim() == 4:  # a convolutional backbone
            hidden = hidden.flatten(2).transpose(1, 2)
        return hidden, (lengths > 0)[:, None].expand(-1, hidden.shape[1])

    def _waveform(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        signal = values.float() / 32768.0
        valid = torch.arange(signal.shape[1], device=signal.device) < lengths[:, None]
        # Each clip to zero mean and unit variance, as the models of this kind were trained.
        count = lengths.clamp(min=1)[:, None]
        centred = (signal - (signal * valid).sum(1, keepdim=True) / count) * valid
        signal = centred / ((centred.square().sum(1, keepdim=True) / count) + 1e-7).sqrt()
        # The convolutions in front need about 25 ms to give one frame at all.
        signal = nn.functional.pad(signal, (0, max(400 - signal.shape[1], 0)))
        attended = nn.functional.pad(valid, (0, signal.shape[1] - valid.shape[1]))
        output = self.backbone(input_values=signal, attention_mask=attended.long())
        hidden = output.last_hidden_state
        frames = self.backbone._get_feat_extract_output_lengths(lengths.clamp(min=400))
        mask = torch.arange(hidden.shape[1], device=hidden.device) < (frames * (lengths > 0))[:, None]
        return hidden, mask

    def _spectrogram(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        rate = int(self.extractor.sampling_rate)
        samples = int(getattr(self.extractor, "n_samples", 0) or self.extractor.max_length * rate // 100)
        chunks = max(math.ceil(values.shape[1] / samples), 1)
        clips = [
            values[row, chunk * samples : (chunk + 1) * samples].float().cpu().numpy() / 32768.0
            for row in range(len(values))
            for chunk in range(chunks)
        ]
        clips = [
            clip if len(clip) >= 400 else nn.functional.pad(torch.from_numpy(clip), (0, 400 - len(clip))).numpy()
            for clip in clips
        ]
        features = self.extractor(clips, sampling_rate=rate, return_tensors="pt")
        name = "input_features" if "input_features" in features else "input_values"
        inputs = features[name].to(values.device, self.project.weight.dtype)
        hidden = self.backbone(inputs).last_hidden_state
        per_chunk = hidden.shape[1]
        hidden = hidden.reshape(len(values), chunks * per_chunk, -1)
        starts = torch.arange(chunks, device=values.device) * samples
        share = ((lengths[:, None] - starts) / samples).clamp(0, 1)
        # Tokens of the stretch's silent tail are masked, at least one token of a present clip stays.
        valid = torch.ceil(share * per_chunk)[..., None] > torch.arange(per_chunk, device=values.device)
        return hidden, valid.flatten(1)

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.backbone.parameters() if parameter.requires_grad)

    def save_resources(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.backbone.config.save_pretrained(str(folder))
        if self.extractor is not None:
            self.extractor.save_pretrained(str(folder))
