"""Random draws that are a function of a row's key, on the device: `core.random`'s hash in torch.

What is drawn for a row in a forward must not depend on the rows beside it, on how a batch is cut or on the device.
torch's generators draw in sequence, so row 3's noise would be another one in another batch. Here each draw is
splitmix64 (see `core.random`) of the row's key, a name and a counter. torch has no unsigned 64-bit arithmetic on every
device; two's complement multiplies and adds to the same bits, and a shift is made logical by a mask.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.core.random import fold

__all__ = ["normals", "uniforms"]


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shifted(state: Tensor, by: int) -> Tensor:
    return torch.bitwise_and(state >> by, 2 ** (64 - by) - 1)


def _mix(state: Tensor) -> Tensor:
    state = state + _GAMMA
    state = (state ^ _shifted(state, 30)) * _MIX_1
    state = (state ^ _shifted(state, 27)) * _MIX_2
    return state ^ _shifted(state, 31)


def _name(name: str) -> int:
    return _signed(int(fold(name)))


def uniforms(keys: Int[Tensor, " batch"], num: int, name: str) -> Float[Tensor, "batch num"]:
    """Uniform draws in [0, 1), multiples of 2^-24; the first ones do not depend on how many are drawn.

    Args:
        keys: int64, `Batch.keys`.
        num: Draws for each row.
        name: What they are for; draws of two names have nothing to do with each other.
    """
    own = _mix(keys ^ _name(name))[:, None]
    counters = _mix(torch.arange(num, device=keys.device))
    return _shifted(_mix(own ^ counters), 40).float() * 2.0**-24


def normals(keys: Int[Tensor, " batch"], num: int, name: str) -> Float[Tensor, "batch num"]:
    """Standard normal draws (Box and Muller, 1958), as `uniforms` otherwise."""
    radii, angles = uniforms(keys, num, f"{name} radius"), uniforms(keys, num, f"{name} angle")
    return (-2.0 * torch.log1p(-radii)).sqrt() * torch.cos(2.0 * math.pi * angles)
