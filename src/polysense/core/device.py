"""Devices and precisions by name, resolved in one place for training and for every use of a trained model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from polysense.errors import ConfigError

__all__ = ["autocast", "resolve_device", "resolve_precision"]


def resolve_device(name: str, local_rank: int = 0) -> torch.device:
    """The device that a config names.

    Args:
        name: auto, cpu, cuda or mps. `auto` does not take mps, on which few of torch's operators are checked as well.
        local_rank: Which of the machine's GPUs.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        count = torch.cuda.device_count()
        if local_rank >= count:
            raise ConfigError(
                f"device is cuda, process {local_rank} of this machine needs GPU {local_rank}, and torch sees {count}; "
                "set device to cpu, or install a CUDA build of torch and a driver"
            )
        return torch.device("cuda", local_rank)
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is mps, and torch finds no Apple GPU here; set device to cpu")
    if name not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"found the device {name!r}, expected auto, cpu, cuda or mps")
    return torch.device(name)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory; torch has a class for that on a GPU alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """torch.bfloat16 or torch.float32."""
    if name == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if name == "bf16" else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Where matrix products run in bfloat16; costs nothing in float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)
