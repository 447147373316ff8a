"""Boxes from queries: who is matched with whom, what nobody sees, and that they learn."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from head_helpers import of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad
from torchvision.ops import generalized_box_iou

from polysense.core.tokens import Fused, FusedColumn, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn
from polysense.nn.matching import match_queries
from polysense.tasks.detection.costs import matching_costs
from polysense.tasks.detection.heads.queries import QueryDetectionHead, QueryDetectionHeadConfig
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

WIDTH, SIZE = 8, (40, 56)
TARGET = DetectionTarget(
    name="boxes", columns=("boxes",), classes=("a", "b", "c"), class_counts=(3, 2, 1), over="photo", size=SIZE
)
LEVELS = tuple(
    PyramidLevel(stride=(stride, stride), width=width, grid=(-(-SIZE[0] // stride), -(-SIZE[1] // stride)))
    for stride, width in ((1, 8), (8, 24), (16, 32))
)
PHOTO = ImageColumn(name="photo", image_size=SIZE, num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
NOTE = dataclasses.replace(PHOTO, name="note")


def head(**settings: Any) -> QueryDetectionHead:
    torch.manual_seed(0)
    built = QueryDetectionHeadConfig(**{"channels": 16, "layers": 2, "queries": 6, **settings}).build(TARGET, WIDTH)
    built.connect([PHOTO, NOTE])
    built.connect_pyramids({"photo": LEVELS})
    return built.eval()


def rows(present: list[bool], *, words: int = 2, seed: int = 0) -> Fused:
    """An image column, 0 where it is absent, and a note of so many tokens."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.tensor(present)

    def tokens(grid: tuple[int, ...], width: int, mask: Tensor) -> Tokens:
        num = int(np.prod(grid))
        values = torch.randn(len(present), num, width, generator=generator)
        return Tokens(values, mask[:, None].expand(-1, num), grid).cleared()

    levels = tuple(tokens(level.grid or (), level.width, there) for level in LEVELS)
    own = dataclasses.replace(tokens(LEVELS[-1].grid or (), WIDTH, there), pyramid=levels)
    note = tokens((words,), WIDTH, torch.ones_like(there))
    columns = {
        "photo": FusedColumn(own, own.mean(), there, there[:, None].long()),
        "note": FusedColumn(note, note.mean(), torch.ones_like(there), torch.ones(len(present), 1).long()),
    }
    return Fused(torch.randn(len(present), WIDTH, generator=generator), columns)


def truth_of(num: int) -> BoxTruth:
    """Two boxes in each row; of the second row the last is a crowd, the third has none."""
    boxes = torch.tensor([[4.0, 6.0, 20.0, 30.0], [30.0, 10.0, 50.0, 36.0]]).repeat(num, 1, 1)
    labels, kinds = torch.tensor([[0, 2]]).repeat(num, 1), torch.zeros(num, 2, dtype=torch.int64)
    if num > 1:
        kinds[1, 1] = 1
    if num > 2:
        labels[2], boxes[2] = -1, 0.0
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(dim=2)
    return BoxTruth(
        present=torch.ones(num, dtype=torch.bool), boxes=boxes, labels=labels, kinds=kinds, originals=boxes, areas=areas
    )


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 4))
def test_no_other_assignment_costs_less(seed: int, num_queries: int, num_boxes: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    costs = torch.randn(2, num_queries, num_boxes, generator=draws)
    wanted = torch.rand(2, num_boxes, generator=draws) < 0.7
    result = match_queries(costs, wanted)
    for row in range(2):
        there = wanted[row].nonzero().flatten().tolist()
        own = {box: int(result[row, box]) for box in range(num_boxes) if result[row, box] >= 0}
        assert set(own) <= set(there)
        assert len(set(own.values())) == len(own) == min(num_queries, len(there))
        least = min(
            sum(float(costs[row, query, box]) for query, box in zip(queries, boxes, strict=True))
            for boxes in itertools.combinations(there, len(own))
            for queries in itertools.permutations(range(num_queries), len(own))
        )
        assert sum(float(costs[row, query, box]) for box, query in own.items()) == pytest.approx(least, abs=1e-5)


def test_costs_are_those_of_class_distance_and_torchvisions_giou() -> None:
    draws = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 1, 5, 2, generator=draws) * 20
    first, second = (torch.cat([each, each + 1 + 9 * torch.rand(1, 5, 2, generator=draws)], dim=2) for each in corners)
    labels, logits = torch.tensor([[0, 1, 2, 0, 1]]), torch.full((1, 5, 3), -2.0)
    logits[0, 3, 1] = 3.0
    costs = matching_costs(logits, first, second, labels, (40, 20))[0]
    distance = (first[0, :, None] - second[0]).abs() / torch.tensor([20.0, 40.0, 20.0, 40.0])
    rest = costs - 5 * distance.sum(dim=2) + 2 * generalized_box_iou(first[0], second[0])
    torch.testing.assert_close(rest[:3], rest[:1].expand(3, -1), rtol=1e-4, atol=1e-4)
    assert (rest[3, labels[0] == 1] < rest[0, labels[0] == 1]).all()
    assert torch.allclose(rest[3, labels[0] != 1], rest[0, labels[0] != 1], atol=1e-4)


def test_fine_maps_are_left_out_and_rows_without_an_image_have_no_boxes() -> None:
    built, fused = head(), rows([True, False])
    assert built.num_levels_read == {"photo": 2}  # the first has 2,240 places
    values = built.predict(fused, of(fused))["values"]
    assert values.shape == (2, 6, 6)
    assert not values[1].any()
    assert (values[0, :-1, 5] >= values[0, 1:, 5]).all()
    assert (values[0, :, 1:5] <= torch.tensor([56.0, 40.0, 56.0, 40.0])).all()


def test_rows_are_apart_and_words_matter() -> None:
    built, both = head(), rows([True, True])
    other = rows([True, True], seed=1)
    mixed = Fused(
        torch.stack([both.pooled[0], other.pooled[1]]),
        {
            name: dataclasses.replace(
                column,
                tokens=Tokens(
                    *(
                        torch.stack([getattr(column.tokens, part)[0], getattr(other.columns[name].tokens, part)[1]])
                        for part in ("values", "mask")
                    ),
                    column.tokens.grid,
                    tuple(
                        Tokens(torch.stack([one.values[0], two.values[1]]), one.mask, one.grid)
                        for one, two in zip(column.tokens.pyramid, other.columns[name].tokens.pyramid, strict=True)
                    ),
                ),
            )
            for name, column in both.columns.items()
        },
    )
    first, second = built.read(both, of(both)), built.read(mixed, of(mixed))
    torch.testing.assert_close(first.boxes[0], second.boxes[0])
    assert not torch.allclose(first.logits[1], second.logits[1])
    note = both.columns["note"]
    changed = dataclasses.replace(note, tokens=dataclasses.replace(note.tokens, values=note.tokens.values.flip(2)))
    said = built.read(Fused(both.pooled, {**both.columns, "note": changed}), of(both))
    assert not torch.allclose(said.logits, first.logits)


def test_the_moved_boxes_are_seen_by_nobody_else() -> None:
    built, fused = head(dropout=0.0).train(), rows([True, True, True])
    with_truth, without = (built.read(fused, of(fused), truth) for truth in (truth_of(3), None))
    assert with_truth.noised_logits.shape[:3] == (3, 2, 6)
    torch.testing.assert_close(with_truth.logits, without.logits)
    torch.testing.assert_close(with_truth.boxes, without.boxes)
    changed = dataclasses.replace(truth_of(3), boxes=truth_of(3).boxes + 3)
    again = built.read(fused, of(fused), changed)
    torch.testing.assert_close(again.logits, with_truth.logits)
    assert not torch.allclose(again.noised_logits, with_truth.noised_logits)
    assert built.eval().read(fused, of(fused), truth_of(3)).noised_logits.shape[2] == 0


def test_how_many_boxes_a_batch_is_padded_to_changes_nothing() -> None:
    built, fused, truth = head(dropout=0.0).train(), rows([True, True]), truth_of(2)
    padded = dataclasses.replace(
        truth,
        boxes=pad(truth.boxes, (0, 0, 0, 3)), originals=pad(truth.originals, (0, 0, 0, 3)),
        labels=pad(truth.labels, (0, 3), value=-1), kinds=pad(truth.kinds, (0, 3)), areas=pad(truth.areas, (0, 3)),
    )  # fmt: skip
    one, other = (built.loss(built.read(fused, of(fused), each), each) for each in (truth, padded))
    for name in one:
        torch.testing.assert_close(one[name].total, other[name].total, msg=name)


@pytest.mark.parametrize("settings", [{}, {"denoising": 0, "dense_weight": 0.0}])
def test_losses_count_boxes_and_reach_every_parameter(settings: dict[str, Any]) -> None:
    built, fused, truth = head(**settings).train(), rows([True, True, True, False]), truth_of(4)
    losses = built.loss(built.read(fused, of(fused), truth), truth)
    counts = built.count(truth)
    assert set(losses) == set(counts) == set(built.loss_weights)
    assert counts["distance"].tolist() == [2, 1, 0, 2]
    assert counts["quality"].tolist() == [2, 1, 1, 2]
    for name, loss in losses.items():
        assert loss.total[3] == 0, name
        assert loss.total[0] > 0, name
        assert torch.equal(loss.count, counts[name])
    sum((loss.total.sum() for loss in losses.values()), torch.zeros(())).backward()
    assert [name for name, each in built.named_parameters() if each.grad is None] == []


def test_they_learn_boxes_and_classes() -> None:
    built, fused = head(denoising=2).train(), rows([True, True, True])
    truth = truth_of(3)
    truth = dataclasses.replace(truth, labels=torch.tensor([[0, 2], [1, 0], [-1, -1]]))
    optimizer = torch.optim.AdamW(built.parameters(), lr=4e-3)
    for _ in range(120):
        losses = built.loss(built.read(fused, of(fused), truth), truth)
        total = sum(built.loss_weights[name] * loss.total.sum() / loss.count.sum() for name, loss in losses.items())
        assert isinstance(total, Tensor)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    values = built.eval().predict(fused, of(fused))["values"]
    for row, num in ((0, 2), (1, 1), (2, 0)):
        sure = values[row][values[row, :, 5] > 0.5]
        assert len(sure) == num
        for label, *corners, _ in sure.tolist():
            index = truth.labels[row].tolist().index(int(label))
            assert (truth.boxes[row, index] - torch.tensor(corners)).abs().max() < 3


def test_settings_that_can_not_be() -> None:
    with pytest.raises(ConfigError, match="expected a multiple of 8"):
        QueryDetectionHeadConfig(channels=20)
    with pytest.raises(ConfigError, match="no hidden layer"):
        QueryDetectionHeadConfig(hidden=8)
    built = QueryDetectionHeadConfig(channels=16).build(TARGET, WIDTH)
    with pytest.raises(ConfigError, match="is no input"):
        built.connect([NOTE])
    with pytest.raises(ConfigError, match="no fixed height and width"):
        built.connect_pyramids({"photo": (PyramidLevel(stride=(4,), width=8),)})
