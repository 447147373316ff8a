"""The normalization against torch's own, its gradient, and its independence of padding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polysense.nn.layers.convolution import ResidualBlock, ValidGroupNorm


def padded(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, 4, 9, generator=generator, dtype=dtype)
    valid = (torch.arange(9) < torch.tensor([9, 5, 1])[:, None])[:, None, None, :].to(dtype)
    return x, valid


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_clip_is_normalized_as_if_it_ended_there(memory: torch.memory_format) -> None:
    x, valid = padded()
    x = x.to(memory_format=memory)
    norm = ValidGroupNorm(16)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    out = norm(x, valid)
    for row, length in enumerate((9, 5, 1)):
        alone = F.group_norm(x[row : row + 1, :, :, :length].contiguous(), norm.num_groups, norm.weight, norm.bias)
        torch.testing.assert_close(out[row : row + 1, :, :, :length], alone, rtol=1e-4, atol=1e-5)
        assert not out[row, :, :, length:].any()


def test_its_gradient_is_the_numerical_one() -> None:
    x, valid = padded(torch.float64)
    norm = ValidGroupNorm(16).double()

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, valid))

    inputs = [x[:2, :, :2, :6].clone().requires_grad_()]
    valid = valid[:2, ..., :6]
    inputs += [torch.randn(16, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(call, inputs)


def test_without_a_mask_it_is_torchs_group_norm() -> None:
    x, _ = padded()
    torch.testing.assert_close(ValidGroupNorm(16)(x), F.group_norm(x, 2))


def test_a_block_starts_as_the_identity_and_sees_no_padding() -> None:
    x, valid = padded()
    x = F.relu(x) * valid
    block = ResidualBlock(16, 16)
    torch.testing.assert_close(block(x, valid), x)
    with torch.no_grad():
        block.norm_2.weight.fill_(1.0)
    alone = block(x[1:2, :, :, :5], valid[1:2, :, :, :5])
    torch.testing.assert_close(block(x, valid)[1:2, :, :, :5], alone, rtol=1e-4, atol=1e-5)
