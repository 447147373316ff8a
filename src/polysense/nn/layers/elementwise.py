"""Elementwise functions whose last bits do not depend on where in a tensor a row stands.

With several threads torch cuts a large tensor into as many pieces, wherever that falls, and computes the last elements
of each piece (fewer than 32) with another routine than the others. In sigmoid, SiLU and their relatives the two differ
in the last bit, so a row's bits would depend on its position in the block. Here these functions run over pieces that
are too small to be cut; a block has 1 row or a multiple of 32, so that no piece has a rest. One thread, or another
device, needs none of this; nor does a model without such functions. The price is that these functions use one thread,
and some microseconds for every operation of the model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from polysense.core.batch import Batch

__all__ = ["alike_at_every_position", "prediction"]

M = TypeVar("M", bound=nn.Module)
R = TypeVar("R")
P = ParamSpec("P")

_UNCUT = 2**14
"""Elements that torch computes in one thread: it cuts from twice as many on (`at::internal::GRAIN_SIZE`)."""

_ATEN = torch.ops.aten
_FUNCTIONS = frozenset({
    _ATEN.sigmoid.default, _ATEN.silu.default, _ATEN.mish.default, _ATEN.softplus.default, _ATEN.elu.default,
    _ATEN.gelu.default, _ATEN.rsqrt.default, _ATEN.pow.Tensor_Scalar,
})  # fmt: skip
_IN_PLACE = frozenset({
    _ATEN.sigmoid_.default, _ATEN.silu_.default, _ATEN.mish_.default, _ATEN.elu_.default, _ATEN.gelu_.default,
})  # fmt: skip


_MODULES = (nn.Sigmoid, nn.SiLU, nn.Mish, nn.Softplus, nn.ELU, nn.GLU, nn.GRU)


def prediction(method: Callable[Concatenate[M, Batch, P], R]) -> Callable[Concatenate[M, Batch, P], R]:
    """A method that predicts a batch: without gradients, and rows are rounded alike at every position."""

    @functools.wraps(method)
    def predict(self: M, batch: Batch, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(), alike_at_every_position(batch.device) if _concerns(self) else nullcontext():
            return method(self, batch, *args, **kwargs)

    return predict


def _concerns(model: nn.Module) -> bool:
    """Whether a model may have such functions: their modules, or any module of a library, which may call them."""
    return any(
        isinstance(module, _MODULES) or not type(module).__module__.startswith(("torch.", "polysense."))
        for module in model.modules()
    )


def alike_at_every_position(device: torch.device) -> AbstractContextManager[object]:
    """Within it, elementwise functions round a row alike wherever it stands in its block."""
    if device.type != "cpu" or torch.get_num_threads() == 1:
        return nullcontext()
    return _Pieces()  # type: ignore[no-untyped-call]  # torch's class is not annotated


class _Pieces(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs some functions over pieces of their input."""

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func is _ATEN.gru.input:  # whose gates are sigmoids
            with self:
                return func.decompose(*args, **(kwargs or {}))
        first = args[0] if args else None
        if not isinstance(first, Tensor) or first.numel() < 2 * _UNCUT:
            return func(*args, **(kwargs or {}))
        if func is _ATEN.glu.default:
            value, gate = first.chunk(2, dim=int(str(args[1])) if len(args) > 1 else -1)
            return value * _in_pieces(torch.sigmoid, gate)
        if func in _FUNCTIONS:
            return _in_pieces(lambda piece: func(piece, *args[1:], **(kwargs or {})), first)
        if func in _IN_PLACE:
            return first.copy_(_in_pieces(lambda piece: func(piece, *args[1:], **(kwargs or {})), first))
        return func(*args, **(kwargs or {}))


def _in_pieces(function: Callable[[Tensor], object], values: Tensor) -> Tensor:
    pieces = [function(piece) for piece in values.contiguous().view(-1).split_with_sizes(_sizes(values.numel()))]
    return torch.cat([piece for piece in pieces if isinstance(piece, Tensor)]).view(values.shape)


def _sizes(number: int) -> list[int]:
    rest = number % _UNCUT
    return [_UNCUT] * (number // _UNCUT) + ([rest] if rest else [])
