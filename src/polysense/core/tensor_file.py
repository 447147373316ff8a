"""Tensors in a safetensors file, written whole or not at all, and a digest of what they hold.

safetensors refuses tensors that share memory, as tied weights do; each but the first becomes a copy. That is one look
at each tensor, not at each pair of them: a model of 2,000 columns has some 50,000.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from polysense.core.files import replacing

__all__ = ["save_tensors", "tensors_digest", "unshared"]

_ERRNO = re.compile(r"os error (\d+)")


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: in main memory, contiguous, none sharing memory with another, by name.

    Nothing is copied but what lies elsewhere, is not contiguous or is shared.
    """
    plain: dict[str, Tensor] = {}
    visited: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        if tensor.numel():
            address = tensor.untyped_storage().data_ptr()
            if address in visited:
                tensor = tensor.clone()
            visited.add(address)
        plain[name] = tensor
    return plain


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, older: Path | None = None
) -> None:
    """Writes tensors, whole or not at all.

    Args:
        path: The file.
        tensors: As `unshared` gives them.
        metadata: Texts for the file's header.
        older: As in `replacing`.

    Raises:
        OSError: They can't be written, for example because the disk is full; an older file is as it was.
    """
    with replacing(path, older=older) as part:
        try:
            save_file(dict(tensors), part, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:  # says in words what the system said in a number
            number = _ERRNO.search(str(error))
            if number is None:
                raise
            text = str(error).rpartition("error: ")[2].partition(" (os error")[0]
            raise OSError(int(number[1]), text, str(path)) from error


def tensors_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of some tensors, their names, types and shapes, and of a text.

    Args:
        tensors: In main memory and contiguous.
        text: What is hashed with them.
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
