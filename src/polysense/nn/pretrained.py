"""Any transformers backbone for text, images or audio, by local path or hub name.

The backbone brings its preprocessing along: tokenizer, picture size and statistics, sample rate. Frozen, tuned as a
whole, or with the last k blocks open. A bundle keeps the backbone's config and weights, so a trained model never asks
for the original again. With `weights: random` only the architecture is taken, which tells what the weights are worth.

A model that takes a fixed stretch of audio (Whisper: 30 s; AST: about 10 s) is run over consecutive stretches, since
cutting a recording there would be a silent change; `nn.layers.pretrained_audio` says how, and how rows are kept apart.

Two things that transformers does in training are switched off: its own masking of wav2vec2-like features, which draws
from numpy's global generator (not reproducible) and fails on clips under 0.2 s, and the dropping of whole layers, which
leaves parameters without a gradient where several processes wait for one.
"""

from __future__ import annotations

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
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense.nn.layers.pretrained_audio import (
    encode_spectrograms,
    encode_waveforms,
    is_audio,
    is_waveform,
    keep_rows_apart,
)

__all__ = ["Pretrained", "PretrainedConfig", "open_blocks"]


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig(EncoderConfig):
    """A pretrained transformers model (BERT-like, ViT-like, wav2vec2-like, Whisper, AST, ...).

    Attributes:
        path: A local folder as save_pretrained writes it, or a hub name.
        weights: "pretrained", or "random" for the architecture alone: then the folder needs only its config.json, and
            the tokenizer and the picture's statistics come from the data.
        tune: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: The backbone's learning rate over the rest's.
        revision: The hub revision; null = the newest.
        max_seconds: Longest stretch that a model of the waveform (wav2vec2-like) hears at once; longer recordings are
            run in consecutive stretches, since attention's cost grows with the square of the length.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TEXT, Modality.IMAGE, Modality.AUDIO})
    type: Literal["pretrained"] = "pretrained"
    path: str
    weights: Literal["pretrained", "random"] = "pretrained"
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: float = 0.1
    revision: str | None = None
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.max_seconds <= 0:
            raise ConfigError(f"max_seconds: {self.max_seconds} leaves nothing to hear; give a length above 0")
        if self.weights == "random" and self.tune != "full":
            raise ConfigError(f"tune: {self.tune} with random weights would freeze noise; write `tune: full`")
        if isinstance(self.tune, int) and self.tune < 1:
            raise ConfigError(f"tune: {self.tune} blocks; write `frozen` to open none")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Pretrained:
        self.check(column)
        import transformers

        path = self.path if resources is None else str(resources)
        settings = _from_pretrained(transformers.AutoConfig, path, self.revision)
        if is_audio(settings):
            # Set whether the config names them or not: the models take True for what it doesn't name.
            settings.apply_spec_augment, settings.layerdrop, settings.encoder_layerdrop = False, 0.0, 0.0
        if self.weights == "random" and column.modality is Modality.TEXT:
            settings.vocab_size, settings.pad_token_id = column.vocabulary_size, column.padding_id
        extractor = None
        if column.modality is Modality.AUDIO:
            extractor = self._extractor(settings, path)
        if resources is None and self.weights == "pretrained":
            backbone = _from_pretrained(transformers.AutoModel, path, self.revision, config=settings)
        else:
            factory: Any = transformers.AutoModel
            backbone = factory.from_config(settings)
        return Pretrained(self, column, width, backbone, extractor)

    def _extractor(self, settings: Any, path: str) -> Any:
        """The model's feature extractor; for an architecture alone the usual one of its kind."""
        import transformers

        if self.weights == "pretrained" or (Path(path) / "preprocessor_config.json").is_file():
            return _from_pretrained(transformers.AutoFeatureExtractor, path, self.revision)
        usual: Any
        if settings.model_type == "whisper":
            usual, seconds = transformers.WhisperFeatureExtractor, settings.max_source_positions * 2 // 100
            return usual(feature_size=settings.num_mel_bins, chunk_length=seconds)
        if settings.model_type == "audio-spectrogram-transformer":
            usual = transformers.ASTFeatureExtractor
            return usual(num_mel_bins=settings.num_mel_bins, max_length=settings.max_length)
        usual = transformers.Wav2Vec2FeatureExtractor
        return usual(sampling_rate=16_000, do_normalize=True)

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
        if is_audio(settings):
            return Requirements(sample_rate=int(self._extractor(settings, self.path).sampling_rate))
        if first_attribute(settings, ("image_size", "patch_size", "num_channels")) is not None:
            if self.weights == "random":
                edge = getattr(settings, "image_size", None)
                size = None if edge is None else (edge, edge) if isinstance(edge, int) else tuple(edge)
                return Requirements(image_size=size, num_channels=settings.num_channels)
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
        return Requirements(
            tokenizer=None if self.weights == "random" else self.path, max_tokens=longest if longest > 0 else None
        )


def first_attribute(settings: Any, names: tuple[str, ...]) -> Any:
    """The first of these attributes that a transformers config has, or None."""
    return next((getattr(settings, name) for name in names if getattr(settings, name, None) is not None), None)


def _height_width(size: Any) -> tuple[int, int]:
    plain = dict(size)
    if "height" in plain and "width" in plain:
        return int(plain["height"]), int(plain["width"])
    edge = int(plain.get("shortest_edge") or plain.get("longest_edge") or next(iter(plain.values())))
    return edge, edge


def _from_pretrained(factory: Any, path: str, revision: str | None, **options: Any) -> Any:
    """Loads from a folder or the hub; whatever goes wrong becomes one clear error."""
    local = Path(path).expanduser()
    looks_local = local.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not local.is_dir():
        raise WeightsError(
            f"{path}: {'is a file' if local.exists() else 'no such folder'}; expected a folder written by "
            f"save_pretrained (config.json, model.safetensors, tokenizer or preprocessor files)"
        )
    try:
        where = str(local) if looks_local else path
        return factory.from_pretrained(where, revision=None if looks_local else revision, **options)
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


def _unreached(output: Tensor, parameters: Iterator[nn.Parameter]) -> list[nn.Parameter]:
    """The trainable parameters that a tensor was not computed from."""
    seen: set[Any] = {None}
    nodes: list[Any] = [output.grad_fn]
    reached: set[int] = set()
    while nodes:
        node = nodes.pop()
        if node not in seen:
            seen.add(node)
            reached.add(id(getattr(node, "variable", None)))  # what a leaf's gradient is added to
            nodes.extend(before for before, _ in node.next_functions)
    return [parameter for parameter in parameters if parameter.requires_grad and id(parameter) not in reached]


class Pretrained(Encoder):
    """A backbone's last hidden states, projected to the model's width."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: PretrainedConfig, column: Column, width: int, backbone: nn.Module, extractor: Any
    ) -> None:
        super().__init__(column, width)
        self.config = config
        model: Any = backbone
        self.extractor = extractor
        settings = model.config
        self.settings: Any = settings
        self.backbone: Any = model.get_encoder() if settings.is_encoder_decoder else model
        self.reads_waveform = is_waveform(settings)
        if self.reads_waveform:
            keep_rows_apart(self.backbone)
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
            elif self.reads_waveform:
                seconds = self.config.max_seconds
                hidden, mask = encode_waveforms(self.backbone, self.extractor, values, lengths, seconds)
            else:
                hidden, mask = encode_spectrograms(self.backbone, self.extractor, values, lengths)
        tokens = self.project(self.norm(hidden))
        if self.training and not frozen:
            # Poolers and the like are not asked; a parameter without a gradient would keep other processes waiting.
            # Only they are touched: a second gradient, of zeros, for all of BERT would cost a tenth of the step.
            for parameter in _unreached(hidden, self.backbone.parameters()):
                tokens = tokens + parameter.flatten()[:1].sum() * 0.0
        return Tokens(tokens, mask, (hidden.shape[1],))

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

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        if self.config.weights == "random":
            return iter(())
        return (parameter for parameter in self.backbone.parameters() if parameter.requires_grad)

    def save_resources(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings.save_pretrained(str(folder))
        if self.extractor is not None:
            self.extractor.save_pretrained(str(folder))
