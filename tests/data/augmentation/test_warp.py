from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.augmentation.warp import composed, inverse, sample, warp

rng = np.random.default_rng(0)


def affine(num: int) -> torch.Tensor:
    """Turned, scaled, mirrored and moved around the middle of 20 x 30 pixels."""
    angle, scale = rng.uniform(-0.6, 0.6, num), rng.uniform(0.7, 1.4, num)
    matrices = np.zeros((num, 3, 3))
    mirror = rng.choice([-1.0, 1.0], num)
    matrices[:, 0, 0], matrices[:, 0, 1] = mirror * scale * np.cos(angle), -scale * np.sin(angle)
    matrices[:, 1, 0], matrices[:, 1, 1] = mirror * scale * np.sin(angle), scale * np.cos(angle)
    matrices[:, :2, 2] = [15, 10] - np.einsum("rij,j->ri", matrices[:, :2, :2], [15, 10]) + rng.uniform(-3, 3, (num, 2))
    matrices[:, 2, 2] = 1
    return torch.from_numpy(matrices).float()


def test_sampling_agrees_with_torchs_own_matrix_form() -> None:
    planes, sources = torch.rand(8, 2, 20, 30), affine(8)
    to_unit = torch.tensor([[2 / 30, 0, -1], [0, 2 / 20, -1], [0, 0, 1]])
    theta = (to_unit @ sources @ to_unit.inverse())[:, :2]
    grid = F.affine_grid(theta, [8, 2, 20, 30], align_corners=False)
    expected = F.grid_sample(planes, grid, align_corners=False)
    torch.testing.assert_close(sample(planes, sources), expected, atol=2e-5, rtol=0)


def test_a_matrix_and_its_inverse_are_the_identity_and_compose() -> None:
    one, other = affine(50), affine(50)
    torch.testing.assert_close(composed(inverse(one), one), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(composed(one, other), one @ other, atol=1e-5, rtol=1e-5)


@given(st.integers(0, 29), st.integers(0, 19), st.integers(0, 49))
def test_a_point_comes_to_lie_where_the_matrix_says(x: int, y: int, which: int) -> None:
    matrix = MATRICES[which : which + 1]
    planes = torch.zeros(1, 1, 20, 30, dtype=torch.int64)
    planes[0, 0, y, x] = 7
    moved = warp(planes, matrix, (60, 60), nearest=True)[0, 0]
    assert set(moved.unique().tolist()) <= {0, 7}
    to = matrix[0] @ torch.tensor([x + 0.5, y + 0.5, 1.0])
    if 1 < to[0] < 59 and 1 < to[1] < 59:
        marked = (moved == 7).nonzero() + 0.5
        if len(marked):  # a shrunken pixel may fall between two
            assert (marked.mean(dim=0) - to[:2].flip(0)).abs().max() < 1.0


MATRICES = affine(50)


def test_what_comes_in_from_outside_is_the_fill_and_an_unknown_place_is_nothing_else() -> None:
    planes = torch.randint(0, 5, (3, 1, 20, 30), dtype=torch.uint8)
    away = torch.eye(3).repeat(3, 1, 1)
    away[0, 0, 2], away[1] = 10.0, torch.nan
    moved = warp(planes, away, nearest=True, fill=255)
    assert (moved[0, 0, :, :10] == 255).all()
    assert torch.equal(moved[0, 0, :, 10:], planes[0, 0, :, :20])
    assert (moved[1] == 255).all()
    assert torch.equal(moved[2], planes[2])


def test_a_row_is_warped_alike_in_any_company() -> None:
    planes, matrices = torch.rand(9, 3, 20, 30), affine(9)
    whole = warp(planes, matrices)
    for chosen in ([3], [8, 0], list(range(8))):
        assert torch.equal(warp(planes[chosen], matrices[chosen]), whole[chosen])


def test_planes_that_lie_already_there_are_not_blurred() -> None:
    planes = torch.randint(0, 256, (4, 3, 17, 23), dtype=torch.uint8)
    assert torch.equal(warp(planes, torch.eye(3).repeat(4, 1, 1)), planes)
    mirror = torch.tensor([[-1.0, 0, 23], [0, 1, 0], [0, 0, 1]]).repeat(4, 1, 1)
    assert torch.equal(warp(planes, mirror), planes.flip(3))
