"""A row is rounded alike wherever it stands in a block, with any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.nn.layers.elementwise import alike_at_every_position

CPU = torch.device("cpu")
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid, "silu": F.silu, "mish": F.mish, "softplus": F.softplus, "elu": F.elu,
    "gelu": F.gelu, "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"), "pow": lambda x: x.abs() ** 1.5,
    "glu": lambda x: F.glu(torch.cat([x, x + 1], dim=1), dim=1), "silu_": lambda x: F.silu(x.clone(), inplace=True),
    "sigmoid_": lambda x: x.clone().sigmoid_(), "strided": lambda x: F.silu(x.t().contiguous().t()),
}  # fmt: skip


@pytest.fixture(params=[2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("width", [1025, 3001])
def test_position_changes_no_bit(threads: int, name: str, width: int) -> None:
    function = FUNCTIONS[name]
    values = torch.randn(32, width, generator=torch.Generator().manual_seed(0))
    order = torch.roll(torch.arange(32), 5)
    with torch.inference_mode(), alike_at_every_position(CPU):
        assert torch.equal(function(values[order]), function(values)[order])
    torch.testing.assert_close(function(values), function(values.double()).float())


def test_the_gates_of_a_wide_gru_are_alike_at_every_position(threads: int) -> None:
    torch.manual_seed(0)
    gru, values = nn.GRU(64, 2100, batch_first=True), 3 * torch.randn(32, 2, 64)
    order = torch.roll(torch.arange(32), 5)
    with torch.inference_mode(), alike_at_every_position(CPU):
        whole = gru(values)[0]
        assert torch.equal(gru(values[order])[0], whole[order])
    with torch.inference_mode():
        torch.testing.assert_close(gru(values)[0], whole)
