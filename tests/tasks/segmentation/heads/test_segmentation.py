"""Logits of pixels: what they read, what their losses count, and what a row without its image says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from head_helpers import of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polysense.core.batch import ValueTruth
from polysense.core.tokens import Fused, FusedColumn, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.text.record import TextColumn
from polysense.tasks.segmentation.heads.segmentation import SegmentationHead, SegmentationHeadConfig
from polysense.tasks.segmentation.record import SegmentationTarget

WIDTH, SIZE = 8, (10, 14)
TARGET = SegmentationTarget(
    name="mask", columns=("mask",), classes=("a", "b", "c"), class_shares=(0.7, 0.2, 0.1), over="photo", size=SIZE,
    values=(0, 1, 2),
)  # fmt: skip
# Of 10 x 14 pixels halved upwards: the coarsest map reaches beyond the image.
LEVELS = tuple(
    PyramidLevel(stride=(stride, stride), width=width, grid=(-(-SIZE[0] // stride), -(-SIZE[1] // stride)))
    for stride, width in ((2, 16), (4, 24), (8, 32))
)
PHOTO = ImageColumn(name="photo", image_size=SIZE, num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)


def head(**settings: Any) -> SegmentationHead:
    torch.manual_seed(0)
    built = SegmentationHeadConfig(channels=16, **settings).build(TARGET, WIDTH)
    built.connect([PHOTO])
    built.connect_pyramids({"photo": LEVELS})
    for parameter in built.parameters():  # as after some training: nothing is zero
        torch.nn.init.normal_(parameter, std=0.3)
    return built.eval()


def rows(present: list[bool], seed: int = 0) -> Fused:
    """An image column beside another one, 0 where it is absent."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.tensor(present)

    def tokens(grid: tuple[int, ...], width: int) -> Tokens:
        values = torch.randn(len(present), grid[0] * grid[1], width, generator=generator)
        mask = there[:, None].expand(-1, values.shape[1])
        return Tokens(values, mask, grid).cleared()

    levels = [tokens(level.grid or (), level.width) for level in LEVELS]
    own = dataclasses.replace(tokens(LEVELS[-1].grid or (), WIDTH), pyramid=tuple(levels))
    pooled = torch.randn(len(present), WIDTH, generator=generator)
    return Fused(pooled, {"photo": FusedColumn(own, own.mean(), there, there[:, None].long())})


def truth_of(values: Tensor, present: list[bool] | None = None) -> ValueTruth:
    here = torch.ones(len(values), dtype=torch.bool) if present is None else torch.tensor(present)
    return ValueTruth(values=values.to(torch.uint8), present=here)


def random_truth(num: int, seed: int = 0) -> ValueTruth:
    generator = torch.Generator().manual_seed(seed)
    return truth_of(torch.randint(0, TARGET.void + 1, (num, *SIZE), generator=generator))


def test_every_pixel_gets_a_class() -> None:
    built, fused = head(), rows([True, True, False])
    arrays = built.predict(fused, of(fused))
    assert arrays["values"].shape == (3, *SIZE)
    assert arrays["values"].dtype is torch.uint8
    assert arrays["values"].max() < TARGET.other


def test_a_row_without_its_image_says_the_same_of_every_pixel_and_depends_on_the_others() -> None:
    built, fused = head(), rows([False, False, True])
    logits = built.read(fused, of(fused)).values
    assert torch.equal(logits[:2], logits[:2, :, :1, :1].expand_as(logits[:2]))
    assert not torch.allclose(logits[0], logits[1])
    untrained = SegmentationHeadConfig().build(TARGET, WIDTH)
    untrained.connect_pyramids({"photo": LEVELS})
    for row in untrained.eval().read(fused, of(fused)).values:  # at first the classes' shares, with and without image
        assert row[:, 0, 0].softmax(dim=0).tolist() == pytest.approx([0.7, 0.2, 0.1], abs=1e-5)


def test_nothing_of_a_masked_image_is_read() -> None:
    built, fused = head(), rows([False, True])
    column = fused.columns["photo"]
    masked = column.tokens.masked(torch.tensor([False, False]))
    hidden = Fused(fused.pooled, {"photo": dataclasses.replace(column, tokens=masked, present=column.present & False)})
    # As a batch whose table lacks the column has it: tokens of a grid of one.
    lacking = dataclasses.replace(Tokens.nothing(2, WIDTH, torch.device("cpu")), pyramid=masked.pyramid)
    none = Fused(fused.pooled, {"photo": dataclasses.replace(column, tokens=lacking, present=column.present & False)})
    assert torch.equal(built.read(hidden, of(fused)).values, built.read(none, of(fused)).values)
    assert torch.equal(built.read(hidden, of(fused)).values[0], built.read(fused, of(fused)).values[0])


def test_rows_are_apart_and_the_others_columns_matter() -> None:
    built, fused = head(), rows([True, True])
    both = built.read(fused, of(fused)).values
    swapped = Fused(fused.pooled.flip(0), fused.columns)
    assert not torch.allclose(built.read(swapped, of(fused)).values[0], both[0])
    noisy = rows([True, True], seed=1).columns["photo"].tokens
    mixed = [
        torch.stack([own.values[0], other.values[1]])
        for own, other in zip(fused.columns["photo"].tokens.pyramid, noisy.pyramid, strict=True)
    ]
    tokens = fused.columns["photo"].tokens
    levels = tuple(dataclasses.replace(level, values=new) for level, new in zip(tokens.pyramid, mixed, strict=True))
    column = dataclasses.replace(fused.columns["photo"], tokens=dataclasses.replace(tokens, pyramid=levels))
    again = built.read(Fused(fused.pooled, {"photo": column}), of(fused)).values
    assert torch.equal(again[0], both[0])
    assert not torch.allclose(again[1], both[1])


def test_the_words_of_another_column_are_told_apart() -> None:
    """A summary would not tell them: of two rows with the same words in another order pixels differ."""
    torch.manual_seed(0)
    built = SegmentationHeadConfig(channels=16).build(TARGET, WIDTH)
    built.connect([PHOTO, TextColumn(name="note", vocabulary_size=9)])
    built.connect_pyramids({"photo": LEVELS})
    torch.nn.init.normal_(built.readout.weight)
    fused = rows([True, True])
    same = {name: torch.stack([getattr(fused.columns["photo"].tokens, name)[0]] * 2) for name in ("values", "mask")}
    own = fused.columns["photo"].tokens
    levels = tuple(dataclasses.replace(level, values=level.values[[0, 0]]) for level in own.pyramid)
    photo = dataclasses.replace(fused.columns["photo"], tokens=Tokens(**same, grid=own.grid, pyramid=levels))
    words, mask = torch.randn(1, 3, WIDTH).repeat(2, 1, 1), torch.ones(2, 3, dtype=torch.bool)
    words[1, 2], mask[1, 2] = 0.0, False
    there = torch.ones(2, dtype=torch.bool)
    note = FusedColumn(Tokens(words, mask, (3,)), torch.zeros(2, WIDTH), there, there[:, None].long())

    def logits(note: FusedColumn) -> Tensor:
        columns = {"photo": photo, "note": note}
        return built.eval().read(Fused(fused.pooled[[0, 0]], columns), of(fused)).values

    first, second = logits(note)
    assert not torch.allclose(first, second)
    absent = dataclasses.replace(note, tokens=note.tokens.masked(~there), present=~there)
    assert torch.equal(*logits(absent))
    assert not any("look" in name for name, _ in head().named_parameters())  # with a photo alone there are none


@given(st.integers(0, 20))
@torch.no_grad()
def test_losses_are_what_they_are_called(seed: int) -> None:
    """Pixel by pixel and class by class, as written down; void and unknown pixels enter nothing."""
    built, fused, truth = head(class_weights={"c": 3.0}), rows([True, True, False]), random_truth(3, seed)
    output = built.read(fused, of(fused))
    losses, counts = built.loss(output, truth), built.count(truth)
    scored = built.score(fused, of(fused), truth)["likelihood"]
    probabilities = torch.nn.functional.interpolate(
        output.values, scale_factor=2, mode="bilinear", align_corners=False
    )[:, :, : SIZE[0], : SIZE[1]].softmax(dim=1)
    for row in range(3):
        ids = truth.values[row].long()
        entropy, weight, total = 0.0, 0.0, 0.0
        for c in range(3):
            own = probabilities[row, c][ids == c].log()
            total += float(own.sum())
            entropy -= float(own.sum()) * (3 if c == 2 else 1)
            weight += len(own) * (3 if c == 2 else 1)
        known = ids < TARGET.other
        dice = [
            2 * probabilities[row, c][ids == c].sum() / (probabilities[row, c][known].sum() + (ids == c).sum())
            for c in ids[known].unique().tolist()
        ]
        assert float(losses["cross_entropy"].total[row]) == pytest.approx(entropy, rel=1e-4)
        assert float(losses["cross_entropy"].count[row]) == weight
        assert float(losses["dice"].total[row]) == pytest.approx(1 - float(sum(dice)) / len(dice), abs=1e-5)
        assert float(scored[row, 0]) == pytest.approx(total, rel=1e-4)
        assert float(scored[row, 2]) == float(known.sum())
    for name, loss in losses.items():
        assert torch.equal(loss.count, counts[name])
    assert counts["dice"].tolist() == [1, 1, 1]


@torch.no_grad()
def test_losses_are_exact_under_autocast() -> None:
    built, fused, truth = head(), rows([True, True]), random_truth(2)
    output = built.read(fused, of(fused))
    exact = built.loss(output, truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = built.loss(output, truth)
    for name, loss in exact.items():
        assert torch.equal(mixed[name].total, loss.total), name


def test_rows_without_a_mask_or_with_a_void_one_count_nothing() -> None:
    built, fused = head(), rows([True, True, True])
    truth = truth_of(torch.stack([torch.zeros(SIZE), torch.full(SIZE, TARGET.void), torch.full(SIZE, TARGET.other)]))
    truth = dataclasses.replace(truth, present=torch.tensor([False, True, True]))
    for loss in built.loss(built.read(fused, of(fused)), truth).values():
        assert loss.total.tolist() == [0, 0, 0]
        assert loss.count.tolist() == [0, 0, 0]


@pytest.mark.parametrize("present", [[True, True], [False, False], [True, False]])
def test_every_parameter_has_a_gradient_whatever_is_absent(present: list[bool]) -> None:
    built, fused, truth = head().train(), rows(present), random_truth(2)
    sum(loss.total.sum() for loss in built.loss(built.read(fused, of(fused)), truth).values()).backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_balanced_weights_make_classes_weigh_alike() -> None:
    weights = head(class_weights="balanced").class_weights
    assert (weights[:3] * torch.tensor(TARGET.class_shares)).tolist() == pytest.approx([1 / 3] * 3)
    assert weights[3:].tolist() == [0, 0]


def test_what_can_not_be_built_says_why() -> None:
    with pytest.raises(ConfigError, match="no class is named 'd'"):
        head(class_weights={"d": 1.0})
    with pytest.raises(ConfigError, match="set channels instead"):
        SegmentationHeadConfig(hidden=8)
    built = SegmentationHeadConfig().build(TARGET, WIDTH)
    with pytest.raises(ConfigError, match="'photo', which is no input"):
        built.connect([])
    with pytest.raises(ConfigError, match="several items"):
        built.connect([dataclasses.replace(PHOTO, multiple=True)])
    with pytest.raises(ConfigError, match="no fixed height and width"):
        built.connect_pyramids({"photo": (PyramidLevel(stride=(2,), width=4),)})
