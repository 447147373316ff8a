"""Connectors: what becomes of tokens, masks and neighborhoods."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polysense.nn.layers.connectors import MLPConnector, PerceiverConnector, PixelShuffleConnector, connector
from polysense.nn.layers.connectors import space_to_depth as shuffled

WIDTH, EMBEDDING = 8, 12


def test_space_to_depth_is_pixel_unshuffle_with_the_channels_last() -> None:
    """torch keeps a channel's neighbors together, here a neighbor's channels are."""
    values = torch.randn(2, 4 * 6, 3)
    found = shuffled(values, (4, 6), 2)
    image = values.reshape(2, 4, 6, 3).permute(0, 3, 1, 2)
    expected = F.pixel_unshuffle(image, 2).unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
    assert torch.equal(found, expected.flatten(2).transpose(1, 2))


def test_a_grid_that_does_not_divide_is_filled_with_zeros() -> None:
    found = shuffled(torch.arange(1.0, 16.0).reshape(1, 15, 1), (3, 5), 2)
    assert found.shape == (1, 6, 4)
    assert found[0, 0].tolist() == [1, 2, 6, 7]
    assert found[0, 5].tolist() == [15, 0, 0, 0]
    # Time is kept apart, and one dimension is cut into stretches.
    assert shuffled(torch.randn(1, 2 * 4 * 4, 3), (2, 4, 4), 2).shape == (1, 8, 12)
    assert shuffled(torch.arange(5.0).reshape(1, 5, 1), (5,), 2).tolist() == [[[0, 1, 2, 3], [4, 0, 0, 0]]]
    assert shuffled(torch.ones(1, 1, 3), (1,), 2).shape == (1, 1, 12)


def test_a_shuffled_token_is_valid_where_any_of_its_parts_is() -> None:
    one = PixelShuffleConnector(WIDTH, EMBEDDING, 2)
    values, mask = torch.randn(2, 7, WIDTH), torch.zeros(2, 7, dtype=torch.bool)
    mask[0, :5] = True
    made, valid = one(values, mask, (7,))
    assert made.shape == (2, 2, EMBEDDING)
    assert valid.tolist() == [[True, True], [False, False]]
    # What is masked does not count: junk beyond a clip's end changes nothing.
    junk = torch.where(mask[:, :, None], values, 1e4)
    assert torch.equal(one(junk, mask, (7,))[0][0], made[0])


def test_latents_are_a_fixed_number_and_read_only_what_is_there() -> None:
    torch.manual_seed(0)
    one = PerceiverConnector(WIDTH, EMBEDDING, 5)
    values, mask = torch.randn(3, 9, WIDTH), torch.ones(3, 9, dtype=torch.bool)
    mask[1, 4:], mask[2] = False, False
    made, valid = one(values, mask, (9,))
    assert made.shape == (3, 5, EMBEDDING)
    assert valid.tolist() == [[True] * 5, [True] * 5, [False] * 5]
    assert made.isfinite().all()
    junk = torch.where(mask[:, :, None], values, 1e4)
    assert torch.equal(one(junk, mask, (9,))[0], made)
    shorter, _ = one(values[1:2, :4], mask[1:2, :4], (4,))
    torch.testing.assert_close(shorter[0], made[1])


@pytest.mark.parametrize(
    ("kind", "made"),
    [("mlp", MLPConnector), ("pixel_shuffle", PixelShuffleConnector), ("perceiver", PerceiverConnector)],
)
def test_every_parameter_gets_a_gradient(kind: str, made: type) -> None:
    one = connector(kind, WIDTH, EMBEDDING, shuffle=2, latents=3)  # type: ignore[arg-type]
    assert type(one) is made
    found, valid = one(torch.randn(2, 16, WIDTH), torch.ones(2, 16, dtype=torch.bool), (4, 4))
    assert valid.all()
    (found**2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in one.parameters())
