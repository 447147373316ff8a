"""Draws on the device are the draws of core.random."""

from __future__ import annotations

import numpy as np
import torch

from polysense.core import random
from polysense.nn.layers.draws import normals, uniforms


def keys(seed: int, epoch: int, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(random.fold(seed, epoch, rows).view(np.int64))


def test_uniforms_are_those_of_core_random() -> None:
    rows = np.arange(50)
    own = uniforms(keys(3, 7, rows), 20, "a name")
    name = random.fold("a name").view(np.int64)
    reference = np.floor(random.uniforms(20, 3, 7, rows, name) * 2**24) / 2**24
    assert np.array_equal(own.numpy(), reference.astype(np.float32))


def test_a_draw_depends_on_its_row_its_name_and_its_counter_alone() -> None:
    rows = np.array([5, 900, 17, -1])
    whole = uniforms(keys(0, 1, rows), 6, "noise")
    assert torch.equal(uniforms(keys(0, 1, rows[2:3]), 9, "noise")[0, :6], whole[2])
    for other in (uniforms(keys(0, 1, rows), 6, "mask"), uniforms(keys(0, 2, rows), 6, "noise")):
        assert not (other == whole).any()


def test_uniforms_and_normals_have_their_distributions() -> None:
    drawn = uniforms(keys(0, 0, np.arange(1000)), 100, "u")
    assert drawn.min() >= 0
    assert drawn.max() < 1
    # Standard errors at 100,000 draws: 0.0009 and 0.003; four of them.
    assert abs(drawn.mean() - 0.5) < 0.004
    normal = normals(keys(0, 0, np.arange(1000)), 100, "n").double()
    assert normal.isfinite().all()
    assert abs(normal.mean()) < 0.013
    assert abs(normal.var() - 1) < 0.018
    assert abs((normal**4).mean() - 3) < 0.13  # its standard error is sqrt(96 / 100,000)
