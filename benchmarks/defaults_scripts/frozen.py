"""Vectors of frozen pretrained networks: mean and deviation over a cell's own positions.

The networks are the folders of one folder of weights, by what their config.json says: MobileNetV2 for pictures, a BERT
that embeds sentences for texts, Whisper's encoder for clips. Whisper is run over a clip's own length, not over the 30
seconds that its extractor pads to, and all its layers are kept: the middle ones know the voice, the last the words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from defaults_scripts.features import read_audio

__all__ = ["KINDS", "frozen_features"]

KINDS = ("text", "image", "audio")
_TYPES = {"text": "bert", "image": "mobilenet_v2", "audio": "whisper"}
_BATCH = 16


def frozen_features(kind: str, cells: Sequence[str | None], weights: Path) -> np.ndarray:
    """Vectors of texts, or of files' contents; zeros for a missing cell; float32 [cells, size].

    Args:
        kind: text, image or audio.
        cells: Texts or paths.
        weights: The folder that holds the networks' folders.
    """
    folder = _folder(kind, weights)
    distinct = sorted({cell for cell in cells if cell is not None})
    vectors = dict(
        zip(distinct, {"text": _texts, "image": _images, "audio": _clips}[kind](distinct, folder), strict=True)
    )
    empty = np.zeros(len(next(iter(vectors.values()))), dtype=np.float32)
    return np.stack([empty if cell is None else vectors[cell] for cell in cells])


def _folder(kind: str, weights: Path) -> Path:
    for config in sorted(weights.glob("*/config.json")):
        if json.loads(config.read_text(encoding="utf-8")).get("model_type") == _TYPES[kind]:
            return config.parent
    raise SystemExit(f"{weights} has no folder whose config.json says model_type {_TYPES[kind]!r}, which {kind} needs")


def _texts(texts: Sequence[str], folder: Path) -> Iterator[np.ndarray]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()
    for start in range(0, len(texts), _BATCH):
        inputs = tokenizer(
            list(texts[start : start + _BATCH]), padding=True, truncation=True, max_length=256, return_tensors="pt"
        )
        with torch.inference_mode():
            tokens = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][:, :, None]
        pooled = (tokens * mask).sum(1) / mask.sum(1)
        yield from torch.nn.functional.normalize(pooled, dim=1).numpy()


def _images(paths: Sequence[str], folder: Path) -> Iterator[np.ndarray]:
    import torch
    from PIL import Image
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).float().eval()
    for start in range(0, len(paths), _BATCH):
        pictures = []
        for path in paths[start : start + _BATCH]:
            with Image.open(path) as image:
                pictures.append(np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)))
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            cells = model(pixels).last_hidden_state.flatten(2)
        yield from torch.cat([cells.mean(2), cells.std(2)], dim=1).numpy()


def _clips(paths: Sequence[str], folder: Path) -> Iterator[np.ndarray]:
    import torch
    from transformers import WhisperFeatureExtractor, WhisperModel

    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    encoder = WhisperModel.from_pretrained(folder).float().eval().encoder
    for path in paths:
        wave = read_audio(path)[: 30 * 16000]
        mel = extractor(wave, sampling_rate=16000, padding=False, return_tensors="pt").input_features
        with torch.inference_mode():
            hidden = torch.nn.functional.gelu(encoder.conv1(mel))
            hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
            hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
            pooled = []
            for layer in encoder.layers:
                output = layer(hidden, None)
                hidden = output[0] if isinstance(output, tuple) else output
                pooled += [hidden[0].mean(0), hidden[0].std(0)]
        yield torch.cat(pooled).numpy()
