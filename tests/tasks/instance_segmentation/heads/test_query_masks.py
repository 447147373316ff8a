"""Masks from queries: what they read, what their losses count, and that they learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from head_helpers import of
from torch import Tensor
from torch.nn.functional import pad

from polysense.core.tokens import Fused, FusedColumn, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn
from polysense.tasks.instance_segmentation.align import align
from polysense.tasks.instance_segmentation.heads.query_masks import QueryMaskHead, QueryMaskHeadConfig
from polysense.tasks.instance_segmentation.join import join
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.truth import InstanceTruth

WIDTH, SIZE = 8, (40, 56)
TARGET = InstanceTarget(
    name="things", columns=("things",), classes=("a", "b", "c"), class_counts=(3, 2, 1), over="photo", size=SIZE
)
LEVELS = tuple(
    PyramidLevel(stride=(stride, stride), width=width, grid=(-(-SIZE[0] // stride), -(-SIZE[1] // stride)))
    for stride, width in ((4, 8), (8, 24), (16, 32))
)
PHOTO = ImageColumn(name="photo", image_size=SIZE, num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
NOTE = dataclasses.replace(PHOTO, name="note")


def head(**settings: Any) -> QueryMaskHead:
    torch.manual_seed(0)
    built = QueryMaskHeadConfig(**{"channels": 16, "layers": 2, "queries": 6, **settings}).build(TARGET, WIDTH)
    built.connect([PHOTO, NOTE])
    built.connect_pyramids({"photo": LEVELS})
    return built.eval()


def rows(present: list[bool], seed: int = 0) -> Fused:
    """An image column, 0 where it is absent, and a note of two tokens."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.tensor(present)

    def tokens(grid: tuple[int, ...], width: int, mask: Tensor) -> Tokens:
        num = int(np.prod(grid))
        values = torch.randn(len(present), num, width, generator=generator)
        return Tokens(values, mask[:, None].expand(-1, num), grid).cleared()

    levels = tuple(tokens(level.grid or (), level.width, there) for level in LEVELS)
    own = dataclasses.replace(tokens(LEVELS[-1].grid or (), WIDTH, there), pyramid=levels)
    note = tokens((2,), WIDTH, torch.ones_like(there))
    columns = {
        "photo": FusedColumn(own, own.mean(), there, there[:, None].long()),
        "note": FusedColumn(note, note.mean(), torch.ones_like(there), torch.ones(len(present), 1).long()),
    }
    return Fused(torch.randn(len(present), WIDTH, generator=generator), columns)


def truth_of(num: int) -> InstanceTruth:
    """Two things in each row; of the second row the last is a crowd, the third has none."""
    masks = torch.zeros(num, 2, *SIZE, dtype=torch.uint8)
    masks[:, 0, 8:32, 4:20] = 1
    masks[:, 1, 12:36, 32:52] = 1
    labels, kinds = torch.tensor([[0, 2]]).repeat(num, 1), torch.zeros(num, 2, dtype=torch.int64)
    if num > 1:
        kinds[1, 1] = 1
    if num > 2:
        labels[2], masks[2] = -1, 0
    areas, runs = masks.flatten(2).sum(dim=2).float(), torch.zeros(num, 2, 3, dtype=torch.int64)
    present = torch.ones(num, dtype=torch.bool)
    return InstanceTruth(present=present, masks=masks, labels=labels, kinds=kinds, areas=areas, runs=runs)


def test_losses_count_things_and_reach_every_parameter() -> None:
    built, fused, truth = head().train(), rows([True, True, True, False]), truth_of(4)
    losses, counts = built.loss(built.read(fused, of(fused), truth), truth), built.count(truth)
    assert set(losses) == set(counts) == set(built.loss_weights)
    assert counts["mask"].tolist() == [2, 1, 0, 2]
    torch.testing.assert_close(counts["class"], torch.tensor([2.4, 1.5, 0.6, 2.4]))
    for name, loss in losses.items():
        assert loss.total[3] == 0, name
        assert loss.total[0] > 0, name
        assert torch.equal(loss.count, counts[name])
    sum((loss.total.sum() for loss in losses.values()), torch.zeros(())).backward()
    assert [name for name, each in built.named_parameters() if each.grad is None] == []


def test_how_many_things_a_batch_is_padded_to_changes_nothing_and_rows_are_apart() -> None:
    built, fused, truth = head(dropout=0.0), rows([True, True]), truth_of(2)
    padded = dataclasses.replace(
        truth, masks=pad(truth.masks, (0, 0, 0, 0, 0, 3)), labels=pad(truth.labels, (0, 3), value=-1),
        kinds=pad(truth.kinds, (0, 3)), areas=pad(truth.areas, (0, 3)), runs=pad(truth.runs, (0, 0, 0, 3)),
    )  # fmt: skip
    output = built.read(fused, of(fused))
    for name, loss in built.loss(output, truth).items():
        torch.testing.assert_close(loss.total, built.loss(output, padded)[name].total)
    one = {name: loss.total[:1] for name, loss in built.loss(output, truth).items()}
    fewer = dataclasses.replace(truth, present=torch.tensor([True, False]))
    for name, loss in built.loss(output, fewer).items():
        torch.testing.assert_close(loss.total[:1], one[name])
        assert loss.total[1] == 0


def test_more_things_than_queries_and_classes_that_are_not_known() -> None:
    built, fused, truth = head(queries=1), rows([True]), truth_of(1)
    losses = built.loss(built.read(fused, of(fused)), truth)
    assert built.count(truth)["mask"].tolist() == [1]
    assert all(torch.isfinite(loss.total).all() for loss in losses.values())
    unknown = dataclasses.replace(truth, labels=torch.tensor([[3, 3]]))
    assert built.count(unknown)["mask"].tolist() == [0]


def test_a_row_without_its_image_has_nothing_and_words_matter() -> None:
    built, fused = head(), rows([True, False])
    arrays = built.predict(fused, of(fused))
    assert arrays["masks"].shape == (2, 6, 10, 14)
    assert arrays["strides"].tolist() == [[4, 4]] * 2
    assert not arrays["values"][1].any()
    assert not arrays["masks"][1].any()
    assert (arrays["values"][0, :-1, 1] >= arrays["values"][0, 1:, 1]).all()
    note = fused.columns["note"]
    changed = dataclasses.replace(note, tokens=dataclasses.replace(note.tokens, values=note.tokens.values.flip(2)))
    other = built.read(Fused(fused.pooled, {**fused.columns, "note": changed}), of(fused))
    assert not torch.allclose(other.masks[0], built.read(fused, of(fused)).masks[0])


def test_they_learn_masks_and_classes() -> None:
    built, fused = head().train(), rows([True, True, True])
    truth = dataclasses.replace(truth_of(3), labels=torch.tensor([[0, 2], [1, 0], [-1, -1]]))
    optimizer = torch.optim.AdamW(built.parameters(), lr=4e-3)
    for _ in range(70):
        losses = built.loss(built.read(fused, of(fused), truth), truth)
        total = sum(built.loss_weights[name] * loss.total.sum() / loss.count.sum() for name, loss in losses.items())
        assert isinstance(total, Tensor)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    arrays = built.eval().predict(fused, of(fused))
    for row, num in ((0, 2), (1, 1), (2, 0)):
        sure = arrays["values"][row, :, 1] > 0.5
        assert int(sure.sum()) == num
        for (label, _), mask in zip(arrays["values"][row][sure].tolist(), arrays["masks"][row][sure], strict=True):
            true = truth.masks[row, truth.labels[row].tolist().index(int(label)), ::4, ::4] > 0
            inside = mask > 127
            assert (inside & true).sum() / (inside | true).sum() > 0.8


def test_masks_follow_their_images() -> None:
    truth = truth_of(2)
    matrices = torch.eye(3).repeat(2, 1, 1)
    matrices[0, 0, 2], matrices[1, 0, 2] = 10.0, -19.0  # of the first thing of the second row a column is left
    moved = align(TARGET, truth, matrices, None)  # type: ignore[arg-type]
    assert torch.equal(moved.masks[0, 0, :, 10:], truth.masks[0, 0, :, :-10])
    assert not moved.masks[0, 0, :, :10].any()
    assert not moved.masks[1, 0].any()
    assert moved.masks[1, 1].any()
    inside = torch.zeros(2, 2, *SIZE, dtype=torch.bool)
    inside[:, 0, :20], inside[:, 1, 20:] = True, True
    joined = join(TARGET, [truth, moved], inside)
    assert joined.labels.tolist() == [[0, 2, 0, 2]] * 2
    assert not joined.masks[:, :2, 20:].any()
    assert torch.equal(joined.masks[:, 2:, 20:], moved.masks[:, :, 20:])


def test_settings_that_can_not_be() -> None:
    with pytest.raises(ConfigError, match="expected a multiple of 8"):
        QueryMaskHeadConfig(channels=20)
    with pytest.raises(ConfigError, match="no hidden layer"):
        QueryMaskHeadConfig(hidden=8)
    with pytest.raises(ConfigError, match="no fixed height and width"):
        head().connect_pyramids({"photo": (PyramidLevel(stride=(4,), width=8),)})
