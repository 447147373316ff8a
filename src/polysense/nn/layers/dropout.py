"""Training without dropout, where what is compared must be one network and not two that were drawn."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

__all__ = ["without_dropout"]

_RATES = ("dropout", "attention_dropout", "activation_dropout")  # of layers that call the function


def without_dropout(model: nn.Module) -> None:
    """Sets dropout to 0 in every layer of a model, for good."""
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        for name in _RATES:
            if isinstance(vars(module).get(name), float):
                vars(module)[name] = 0.0
