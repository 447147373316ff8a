"""Fingerprint of a frozen network: equal for two encoders that give the same features for the same items, bit for bit.

It is a hash of the weights, of what is saved beside them, of the settings that decide what the network computes, of
the code that computes it and of the device; not of where the weights lie or of what the column is called. It may
tell two apart that are the same (another version of a library): then features are computed once more, and never wrong.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polysense.config.codec import to_dict
from polysense.core.json import json_text
from polysense.core.packages import packages_of
from polysense.core.schema import Column
from polysense.core.source_checksum import source_checksum
from polysense.nn.backbone import BackboneEncoder
from polysense.nn.encoder import EncoderConfig

__all__ = ["network_fingerprint"]

_PACKAGES = ("torch", "transformers", "timm", "onnxruntime", "numpy")
# Where the weights come from and what is done with the features; the layers that are read are known by number.
_HARMLESS = frozenset({"path", "revision", "learning_rate_scale", "items", "tune", "layers"})
_OF_A_FILE = frozenset({"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype"})


def network_fingerprint(encoder: BackboneEncoder, config: EncoderConfig) -> str:
    """A hash in hexadecimal.

    Args:
        encoder: On its device.
        config: What it was built from.
    """
    own = [field.name for field in fields(encoder.column)]
    common = {field.name for field in fields(Column)}
    facts = {
        "code": [source_checksum(), *_versions(), *map(list, packages_of([encoder]).items())],
        "class": f"{type(encoder).__module__}.{type(encoder).__qualname__}",
        "config": {key: value for key, value in to_dict(config).items() if key not in _HARMLESS},
        "layers": list(encoder.chosen),
        "column": {name: _plain(getattr(encoder.column, name)) for name in own if name not in common},
        "device": _device(encoder.projection.weight.device),
    }
    if encoder.stored_levels:
        facts["levels"] = [[list(level.grid or ()), level.width] for level in encoder.stored_levels]
    hashed = hashlib.blake2b(json_text(facts, sort_keys=True).encode(), digest_size=16)
    for name, tensor in _tensors(encoder):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    with tempfile.TemporaryDirectory() as folder:
        encoder.save_resources(Path(folder))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                hashed.update(path.relative_to(folder).as_posix().encode())
                hashed.update(_content(path))
    return f"{config.type}-{hashed.hexdigest()}"


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | tuple | list | None) else repr(value)


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def _device(device: torch.device) -> list[Any]:
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        return [device.type, name, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32]
    # Sums are split over threads.
    return [device.type, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


def _tensors(encoder: BackboneEncoder) -> Iterator[tuple[str, Tensor]]:
    yield from sorted(encoder.network.named_parameters())
    yield from sorted(encoder.named_buffers())


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".json":
        return content
    try:
        plain = json.loads(content)
    except ValueError:
        return content
    if isinstance(plain, dict):
        plain = {key: value for key, value in plain.items() if key not in _OF_A_FILE}
    return json.dumps(plain, sort_keys=True).encode()
