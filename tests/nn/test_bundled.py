"""Settings are compared with the weights' sizes before memory is taken, whatever the layers do while they are built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from polysense.errors import BundleError, ConfigError
from polysense.nn.bundled import require_shapes
from polysense.nn.layers.ngram import NgramModel


def check(make: Callable[[], nn.Module], shapes: dict[str, tuple[int, ...]]) -> None:
    def build() -> nn.Module:
        try:
            return make()
        except RuntimeError as error:  # as a config's `build` says it
            raise ConfigError("model: can't be built") from error

    require_shapes(build, shapes, Path("bundle"))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_another_size_is_refused_by_name() -> None:
    check(lambda: nn.Linear(3, 4), {"weight": (4, 3), "bias": (4,)})
    with pytest.raises(BundleError, match=r"a tensor of \[5, 3\] as weight, its settings ask for one of \[4, 3\]"):
        check(lambda: nn.Linear(3, 4), {"weight": (5, 3), "bias": (4,)})
    with pytest.raises(BundleError, match="hold nothing as bias"):
        check(lambda: nn.Linear(3, 4), {"weight": (4, 3)})


def test_a_layer_that_was_fitted_has_the_size_of_its_data() -> None:
    fitted = NgramModel(3, 11, (0,))
    fitted.fit([[1, 2, 3, 4, 2], [1, 5, 6, 2]])
    assert shapes_of(fitted)["keys"] != shapes_of(NgramModel(3, 11, (0,)))["keys"]
    check(lambda: NgramModel(3, 11, (0,)), shapes_of(fitted))


def test_a_layer_that_computes_while_it_is_built_is_checked_when_its_weights_are_loaded() -> None:
    def computes() -> nn.Module:
        assert torch.arange(3).sum().item() == 3  # impossible without memory
        return nn.Linear(3, 4)

    check(computes, {"weight": (5, 3)})
