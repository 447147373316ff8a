"""A run's state in one file: safetensors, with the scalars as JSON in its header.

One file rather than a folder, because a file can be replaced atomically everywhere and a folder can't: it is written
beside the old one, flushed to the disk and renamed over it, so whatever kills the process leaves either the old or the
new. There is no pickle in it, so reading a stranger's checkpoint runs no code. safetensors notices a file that was cut
short but not a changed byte; the SHA-256 of all tensors and of the scalars does (1 to 2 GB/s).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from polysense.core.json import parse_json
from polysense.core.tensor_file import save_tensors, tensors_digest, unshared
from polysense.errors import CheckpointError

__all__ = ["DamagedCheckpointError", "load_checkpoint", "load_model", "pack", "save_checkpoint", "unpack"]

_KEY = "polysense_checkpoint"
_VERSION = 6  # 6: the plan of a run with a time limit


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is not what was saved.

    Args:
        path: The file.
        reason: How that shows.
    """

    def __init__(self, path: Path, reason: str) -> None:
        best = path.with_name("best.safetensors")
        weights = f"; the best weights are still in {best}" if best != path and best.is_file() else ""
        super().__init__(
            f"{path}: the checkpoint is damaged ({reason}) and can't be resumed from; put back a copy of this file, or "
            f"start a new run in another folder{weights}"
        )
        self.reason = reason

    def __reduce__(self) -> tuple[type[CheckpointError], tuple[str, ...]]:  # to another process
        return CheckpointError, self.args


def save_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], *, older: Path | None = None
) -> None:
    """Writes a checkpoint, replacing an older one atomically.

    Args:
        path: The file.
        tensors: By name; on any device.
        state: What JSON can hold; floats survive bit for bit, infinities and NaN too.
        older: The name that the older one gets; None removes it.

    Raises:
        CheckpointError: The disk doesn't take it; an older checkpoint is still there.
    """
    plain = unshared(tensors)
    text = json.dumps(state)
    # One entry: safetensors writes several in an order of chance, and equal states would be other bytes.
    header = json.dumps({"version": _VERSION, "sha256": tensors_digest(plain, text), "state": text})
    try:
        save_tensors(path, plain, {_KEY: header}, older=older)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: the checkpoint can't be written: {error}; make room, then resume") from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a checkpoint.

    Returns:
        The tensors by name, on the CPU, and the state.

    Raises:
        DamagedCheckpointError: It is not what was saved.
        CheckpointError: There is none, or it is something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no checkpoint here to resume from; start the run without resuming")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Cloned: a tensor of the mapped file would keep it open and change if the file is replaced.
            tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(path, str(error)) from error
    header = metadata.get(_KEY)
    if header is None:
        raise CheckpointError(
            f"{path}: a safetensors file, but no checkpoint of a polysense run; give the run's folder"
        )
    try:
        content = parse_json(header, dict, constants=True)
    except ValueError as error:
        raise DamagedCheckpointError(path, f"its state can't be read: {error}") from None
    if content.get("version") != _VERSION:
        raise CheckpointError(
            f"{path}: a checkpoint of format {content.get('version')}, and this polysense reads format {_VERSION}; "
            "resume with the version that wrote it"
        )
    text = content.get("state")
    if not isinstance(text, str) or content.get("sha256") != tensors_digest(tensors, text):
        raise DamagedCheckpointError(path, "its content is not what was saved: the SHA-256 is another")
    try:
        state = parse_json(text, dict, constants=True)
    except ValueError as error:
        raise CheckpointError(f"{path}: holds no state of a run: {error}; start a new run in another folder") from None
    return tensors, state


def load_model(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Puts a checkpoint's weights into a module.

    Args:
        module: What to load into.
        tensors: A checkpoint's tensors; those named `model/...` are the weights.
        path: Where they are from, for the message.

    Raises:
        CheckpointError: They are of another model; names what differs.
    """
    saved = {name.removeprefix("model/"): tensor for name, tensor in tensors.items() if name.startswith("model/")}
    own = module.state_dict()
    problems = [
        f"{name} is of shape {_shape(own[name])} and was of {_shape(saved[name])}"
        for name in own
        if name in saved and own[name].shape != saved[name].shape
    ]
    problems += [f"{name} is new" for name in own if name not in saved]
    problems += [f"{name} is gone" for name in saved if name not in own]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{path}: the model has changed since this was saved: {'; '.join(problems[:3])}{more}. Resume with the "
            "recipe and the data that the run was started with, or start a new run in another folder"
        )
    module.load_state_dict(saved)


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Dicts and lists of tensors and scalars as JSON.

    Args:
        value: What to pack.
        name: What the tensors' names begin with.
        tensors: Gets the tensors.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, pack(below, f"{name}/{key}", tensors)] for key, below in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [pack(below, f"{name}/{i}", tensors) for i, below in enumerate(value)]}
    assert value is None or isinstance(value, (bool, int, float, str)), f"{name} holds a {type(value).__name__}"
    return value


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What was given to `pack`; a tuple comes back as a list."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(below, tensors) for key, below in content}
    return [unpack(below, tensors) for below in content]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
