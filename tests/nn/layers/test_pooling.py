"""One vector of an item's valid tokens, whatever lies in the padding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from polysense.core.tokens import Tokens
from polysense.errors import BundleError
from polysense.nn.layers.pooling import MEAN, MEAN_AND_DEVIATION, PARTS, Pooling

ITEM = torch.tensor([[1.0, -4.0], [3.0, -1.0], [8.0, -1.0]])
EXPECTED = {
    "mean": [4, -2],
    "deviation": [(26 / 3) ** 0.5, 2**0.5],
    "first": [1, -4],
    "last": [8, -1],
    "max": [8, -1],
    "sum_by_root": [12 / 3**0.5, -6 / 3**0.5],
    "late_mean": [31 / 6, -9 / 6],
}


def tokens() -> Tokens:
    """The item, padded with junk; one token alone; and nothing."""
    values = torch.full((3, 5, 2), torch.nan)
    values[0, :3], values[1, 0] = ITEM, torch.tensor([-3.0, 0.0])
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] + [False] * 4, [False] * 5])
    return Tokens(values, mask, (5,))


def test_every_part_is_tried() -> None:
    assert EXPECTED.keys() == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_those_of_the_valid_tokens(part: str) -> None:
    one = [0.0, 0.0] if part == "deviation" else [-3.0, 0.0]
    expected = torch.tensor([EXPECTED[part], one, [0.0, 0.0]])
    result = Pooling(parts=(part,))(tokens())
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=2e-6)
    assert torch.equal(result[2], expected[2])


def test_parts_follow_one_another_and_vectors_may_have_length_1() -> None:
    both = MEAN_AND_DEVIATION(tokens())
    assert both.shape == (3, 4)
    torch.testing.assert_close(both[0], torch.tensor([*EXPECTED["mean"], *EXPECTED["deviation"]]))
    unit = Pooling(parts=("mean",), unit=True)(tokens())
    torch.testing.assert_close(unit, torch.tensor([[2.0, -1.0], [-(5**0.5), 0.0], [0.0, 0.0]]) / 5**0.5)


def test_a_pooling_is_kept(tmp_path: Path) -> None:
    pooling = Pooling(parts=("first", "mean"), unit=True)
    pooling.write(tmp_path / "pooling.json")
    assert Pooling.read(tmp_path / "pooling.json") == pooling != MEAN


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {"parts": ["mean"]},
        {"parts": [], "unit": False},
        {"parts": ["mean"] * 99, "unit": False},
        {"parts": [["mean"]], "unit": False},
        {"parts": ["median"], "unit": False},
        {"parts": "mean", "unit": False},
        {"parts": ["mean"], "unit": 1},
    ],
)
def test_a_broken_file_is_refused(plain: object, tmp_path: Path) -> None:
    path = tmp_path / "pooling.json"
    if plain is not None:
        path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(BundleError, match=r"pooling\.json: (can't be read|found).*copy the bundle again"):
        Pooling.read(path)
