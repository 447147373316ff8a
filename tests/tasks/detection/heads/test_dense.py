"""Boxes from every place: what they read, what their losses count, which places are to find which box."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from head_helpers import of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from polysense.core.tokens import Fused, FusedColumn, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn
from polysense.tasks.detection.assignment import assign, pairwise_iou
from polysense.tasks.detection.heads.dense import DenseBoxes, DenseDetectionHead, DenseDetectionHeadConfig, giou_loss
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth

WIDTH, SIZE = 8, (40, 56)
TARGET = DetectionTarget(
    name="boxes", columns=("boxes",), classes=("a", "b", "c"), class_counts=(3, 2, 1), over="photo", size=SIZE
)
LEVELS = tuple(
    PyramidLevel(stride=(stride, stride), width=width, grid=(-(-SIZE[0] // stride), -(-SIZE[1] // stride)))
    for stride, width in ((2, 16), (4, 24), (8, 32), (16, 32))
)
PHOTO = ImageColumn(name="photo", image_size=SIZE, num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
NOTE = dataclasses.replace(PHOTO, name="note")
NUM_PLACES = 10 * 14 + 5 * 7 + 3 * 4


def head(*, note: bool = False, spread: bool = True, **settings: Any) -> DenseDetectionHead:
    torch.manual_seed(0)
    built = DenseDetectionHeadConfig(channels=16, **settings).build(TARGET, WIDTH)
    built.connect([PHOTO, NOTE] if note else [PHOTO])
    built.connect_pyramids({"photo": LEVELS})
    if spread:
        for parameter in built.parameters():  # as after some training: nothing is zero
            torch.nn.init.normal_(parameter, std=0.2)
    return built.eval()


def rows(present: list[bool], seed: int = 0, *, words: int = 0) -> Fused:
    """An image column, 0 where it is absent, and another one of so many tokens."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.tensor(present)

    def tokens(grid: tuple[int, ...], width: int, mask: Tensor) -> Tokens:
        num = grid[0] * (grid[1] if len(grid) > 1 else 1)
        values = torch.randn(len(present), num, width, generator=generator)
        return Tokens(values, mask[:, None].expand(-1, num), grid).cleared()

    levels = [tokens(level.grid or (), level.width, there) for level in LEVELS]
    own = dataclasses.replace(tokens(LEVELS[-1].grid or (), WIDTH, there), pyramid=tuple(levels))
    pooled = torch.randn(len(present), WIDTH, generator=generator)
    columns = {"photo": FusedColumn(own, own.mean(), there, there[:, None].long())}
    if words:
        every = torch.ones(len(present), dtype=torch.bool)
        text = tokens((words,), WIDTH, every)
        columns["note"] = FusedColumn(text, text.mean(), every, every[:, None].long())
    return Fused(pooled, columns)


def truth_of(rows_of_boxes: list[list[list[float]]], kinds: list[list[int]] | None = None) -> BoxTruth:
    """Rows of boxes [label, left, top, right, bottom]."""
    most = max(1, *map(len, rows_of_boxes))
    labels, boxes = torch.full((len(rows_of_boxes), most), -1), torch.zeros(len(rows_of_boxes), most, 4)
    kind = torch.zeros_like(labels)
    for row, own in enumerate(rows_of_boxes):
        for index, (label, *corners) in enumerate(own):
            labels[row, index], boxes[row, index] = int(label), torch.tensor(corners)
            kind[row, index] = kinds[row][index] if kinds else 0
    present = torch.ones(len(rows_of_boxes), dtype=torch.bool)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(dim=2)
    return BoxTruth(present=present, boxes=boxes, labels=labels, kinds=kind, originals=boxes, areas=areas)


def test_every_place_predicts_and_the_finest_level_is_chosen_by_the_size() -> None:
    built, fused = head(), rows([True, True])
    output = built.read(fused, of(fused))
    assert output.logits.shape == (2, NUM_PLACES, 3)
    assert output.boxes.shape == (2, NUM_PLACES, 4)
    assert (output.boxes[..., 2:] > output.boxes[..., :2]).all()
    assert built.centers[:2].tolist() == [[2, 2], [6, 2]]
    assert head(finest_stride=2).read(fused, of(fused)).logits.shape[1] == NUM_PLACES + 20 * 28
    assert head(finest_stride=100).read(fused, of(fused)).logits.shape[1] == 12


def test_predictions_are_within_the_image_sorted_few_and_none_without_it() -> None:
    built, fused = head(max_detections=7), rows([True, False, True])
    values = built.predict(fused, of(fused))["values"]
    assert values.shape == (3, 7, 6)
    assert not values[1].any()
    for row in (0, 2):
        kept = values[row][values[row, :, 5] > 0]
        assert len(kept)
        assert (kept[:-1, 5] >= kept[1:, 5]).all()
        assert (kept[:, 1:5] >= 0).all()
        assert (kept[:, 3] <= SIZE[1]).all()
        assert (kept[:, 4] <= SIZE[0]).all()
        for label in range(3):
            own = kept[kept[:, 0] == label, 1:5]
            assert (box_iou(own, own) - torch.eye(len(own)) <= 0.6 + 1e-6).all()


@pytest.mark.parametrize("words", [0, 5])
def test_rows_are_apart_and_the_other_columns_matter(words: int) -> None:
    built, fused = head(note=bool(words)), rows([True, True], words=words)
    both = built.read(fused, of(fused))
    swapped = built.read(Fused(fused.pooled.flip(0), fused.columns), of(fused))
    assert not torch.allclose(swapped.logits[0], both.logits[0])
    other = rows([True, True], seed=1, words=words)

    def mixed(one: Any, two: Any) -> Any:
        return torch.stack([one[0], two[1]])

    photo, noisy = fused.columns["photo"], other.columns["photo"]
    levels = tuple(
        dataclasses.replace(a, values=mixed(a.values, b.values))
        for a, b in zip(photo.tokens.pyramid, noisy.tokens.pyramid, strict=True)
    )
    column = dataclasses.replace(photo, tokens=dataclasses.replace(photo.tokens, pyramid=levels))
    again = built.read(Fused(fused.pooled, {**fused.columns, "photo": column}), of(fused))
    assert torch.equal(again.logits[0], both.logits[0])
    assert not torch.allclose(again.logits[1], both.logits[1])
    if words:
        note = dataclasses.replace(fused.columns["note"], tokens=other.columns["note"].tokens)
        reread = built.read(Fused(fused.pooled, {**fused.columns, "note": note}), of(fused))
        assert not torch.allclose(reread.logits, both.logits)
        nothing = fused.columns["note"].tokens.masked(torch.tensor([False, True]))
        silent = dataclasses.replace(fused.columns["note"], tokens=nothing)
        unheard = built.read(Fused(fused.pooled, {**fused.columns, "note": silent}), of(fused))
        assert torch.isfinite(unheard.logits).all()
        assert torch.allclose(unheard.logits[1], both.logits[1], atol=1e-5)
        assert not torch.allclose(unheard.logits[0], both.logits[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5))
def test_places_are_given_as_in_a_loop_over_boxes(seed: int, num: int) -> None:
    """SimOTA written out place by place, box by box."""
    generator = torch.Generator().manual_seed(seed)
    built = head()
    centers, strides = built.centers, built.strides
    logits = torch.randn(1, len(centers), 3, generator=generator)
    half = torch.rand(1, len(centers), 4, generator=generator) * 16 + 1
    predicted = torch.cat([centers - half[..., :2], centers + half[..., 2:]], dim=2)
    low = torch.rand(1, num + 1, 2, generator=generator) * 30
    boxes = torch.cat([low, low + torch.rand(1, num + 1, 2, generator=generator) * 22 + 2], dim=2)
    labels = torch.randint(0, 3, (1, num + 1), generator=generator)
    wanted = torch.ones(1, num + 1, dtype=torch.bool)
    wanted[0, -1] = False  # as padding or a crowd
    result = assign(logits, predicted, centers, strides, boxes, labels, wanted)
    iou = box_iou(predicted[0], boxes[0])
    assert torch.allclose(pairwise_iou(predicted, boxes)[0], iou, atol=1e-5)
    given_to: dict[int, list[tuple[float, int]]] = {}
    for box in range(num):
        left, top, right, bottom = boxes[0, box].tolist()
        costs, overlaps = [], []
        for place, ((x, y), stride) in enumerate(zip(centers.tolist(), strides.tolist(), strict=True)):
            inside = left < x < right and top < y < bottom
            near = abs(x - (left + right) / 2) < 2.5 * stride and abs(y - (top + bottom) / 2) < 2.5 * stride
            if not (inside or near):
                continue
            own, score = iou[place, box], logits[0, place, labels[0, box]]
            wrong = torch.nn.functional.binary_cross_entropy_with_logits(score, own) * (own - score.sigmoid()) ** 2
            costs.append((float(wrong - 3 * (own + 1e-7).log() + 1e5 * (not (inside and near))), place))
            overlaps.append(float(own))
        count = max(1, int(sum(sorted(overlaps, reverse=True)[:10]) + 1e-9))
        for cost, place in sorted(costs)[:count]:
            given_to.setdefault(place, []).append((cost, box))
    assert set(torch.nonzero(result.assigned[0])[:, 0].tolist()) == set(given_to)
    for place, candidates in given_to.items():
        box = int(result.box[0, place])
        assert {b: c for c, b in candidates}[box] == pytest.approx(min(candidates)[0], rel=1e-4)
        assert result.iou[0, place] == pytest.approx(float(iou[place, box]), abs=1e-5)
    assert result.places.sum() == len(given_to)


def test_the_box_loss_is_torchvisions() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 2, 50, 2, generator=generator) * 20
    one, two = torch.cat([low, low + torch.rand(2, 2, 50, 2, generator=generator) * 15 + 0.1], dim=3)
    assert torch.allclose(giou_loss(one, two), generalized_box_iou_loss(one, two), atol=1e-5)


def test_a_box_counts_once_and_an_image_without_any_teaches_that_nothing_is_there() -> None:
    built, fused = head(), rows([True, True, False, True])
    truth = truth_of(
        [[[0, 4, 4, 30, 30], [1, 30, 10, 50, 30]], [], [[2, 4, 4, 20, 20]], [[2, 4, 4, 20, 20]]],
        kinds=[[0, 0], [], [0], [1]],
    )
    counts = built.count(truth)
    assert counts["box"].tolist() == [2, 0, 1, 0]
    assert counts["quality"].tolist() == [2, 1, 1, 1]
    output = built.read(fused, of(fused))
    losses = built.loss(output, truth)
    assert losses["box"].total[0] > 0
    assert losses["box"].total[1:].tolist() == [0, 0, 0]  # no box, no image, a crowd
    assert losses["quality"].total[2] == 0
    assert (losses["quality"].total[[0, 1, 3]] > 0).all()
    # In a crowd's box no place is told anything.
    x, y = built.centers.T
    within = (x > 4) & (x < 20) & (y > 4) & (y < 20)
    louder = dataclasses.replace(output, logits=output.logits + 3.0 * within[None, :, None])
    assert built.loss(louder, truth)["quality"].total[3] == losses["quality"].total[3]
    assert built.loss(louder, truth)["quality"].total[1] != losses["quality"].total[1]


def test_right_predictions_lose_nothing_and_a_class_that_was_not_learned_is_not_learned() -> None:
    built = head()
    boxes = [[0.0, 8, 8, 24, 24], [1.0, 32, 16, 48, 32]]
    truth = truth_of([boxes])
    predicted = torch.zeros(1, NUM_PLACES, 4)
    logits = torch.full((1, NUM_PLACES, 3), -30.0)
    for label, *corners in boxes:
        x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
        own = (built.centers - torch.tensor([x, y])).abs().sum(dim=1).argmin()
        predicted[0, own], logits[0, own, int(label)] = torch.tensor(corners), 30.0
    losses = built.loss(DenseBoxes(logits, predicted, torch.tensor([True])), truth)
    assert losses["box"].total[0] == pytest.approx(0, abs=1e-5)
    assert losses["quality"].total[0] == pytest.approx(0, abs=1e-5)
    values = built.arrays(DenseBoxes(logits, predicted, torch.tensor([True])))["values"][0, :3]
    assert sorted(values[:2].tolist()) == [[0, 8, 8, 24, 24, 1], [1, 32, 16, 48, 32, 1]]
    assert not values[2].any()
    unknown = truth_of([[[3.0, 8, 8, 24, 24]]])
    assert built.count(unknown)["box"].tolist() == [0]
    assert built.loss(DenseBoxes(logits, predicted, torch.tensor([True])), unknown)["box"].total.tolist() == [0]


def test_the_first_scores_are_the_prior() -> None:
    fused = rows([True])
    scores = head(spread=False).read(fused, of(fused)).logits.detach().sigmoid()
    assert scores.mean() == pytest.approx(0.01, rel=0.5)


def test_columns_and_maps_that_boxes_can_not_lie_in_are_refused() -> None:
    built = DenseDetectionHeadConfig().build(TARGET, WIDTH)
    with pytest.raises(ConfigError, match="its boxes lie in column 'photo', which is no input"):
        built.connect([NOTE])
    with pytest.raises(ConfigError, match="holds several items in a cell"):
        built.connect([dataclasses.replace(PHOTO, multiple=True)])
    built.connect([PHOTO])
    with pytest.raises(ConfigError, match="no fixed height and width"):
        built.connect_pyramids({"photo": (PyramidLevel(stride=(4, 4), width=8, grid=None),)})
    with pytest.raises(ConfigError, match="set channels instead"):
        DenseDetectionHeadConfig(hidden=4)
