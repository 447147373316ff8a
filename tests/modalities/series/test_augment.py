from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.series.augment import SeriesTransformConfig
from polysense.modalities.series.record import SeriesColumn

COLUMN = SeriesColumn(name="s", channels=("x", "y"), mean=(0.0, 0.0), std=(1.0, 1.0))
OFF = {"jitter": 0.0, "scale": 0.0, "time_warp": 0.0, "min_crop": 1.0, "probability": 1.0}
LENGTHS = (32, 20, 1, 0, 32)


def batch(padding: int = 0, value: float = 0.0) -> ColumnBatch:
    values = torch.randn(len(LENGTHS), 1, 32, 2, generator=torch.Generator().manual_seed(0))
    values = torch.nn.functional.pad(values, (0, 0, 0, padding))
    for row, length in enumerate(LENGTHS):
        values[row, :, length:] = value
    return ColumnBatch(values=values, lengths=torch.tensor(LENGTHS)[:, None])


def vary(column: ColumnBatch, rows: list[int] | None = None, epoch: int = 0, **options: float) -> ColumnBatch:
    transform = SeriesTransformConfig(**{**OFF, **options}).build(COLUMN)  # type: ignore[arg-type]
    return transform(column, np.array(rows or range(len(column.lengths))), 1, epoch)


def test_nothing_asked_nothing_done() -> None:
    assert torch.equal(vary(batch()).values, batch().values)


@pytest.mark.parametrize("options", [{"jitter": 0.5}, {"scale": 0.5}, {"time_warp": 0.5}, {"min_crop": 0.3}])
def test_each_changes_something_and_repeats(options: dict[str, float]) -> None:
    first, again, next_epoch = vary(batch(), **options), vary(batch(), **options), vary(batch(), epoch=1, **options)
    assert torch.equal(first.values, again.values)
    assert torch.equal(first.lengths, again.lengths)
    assert first.values.shape != next_epoch.values.shape or not torch.equal(first.values, next_epoch.values)
    assert (first.lengths > 0).tolist() == (batch().lengths > 0).tolist()


@pytest.mark.parametrize(
    "options", [{"jitter": 0.5}, {"scale": 0.5}, {"time_warp": 0.5, "min_crop": 0.3, "jitter": 0.1}]
)
def test_a_row_depends_on_itself_alone(options: dict[str, float]) -> None:
    whole = vary(batch(padding=16, value=1e6), **options)
    for row in range(len(LENGTHS)):
        column = batch()
        alone = ColumnBatch(values=column.values[row : row + 1], lengths=column.lengths[row : row + 1])
        one = vary(alone, [row], **options)
        length = int(one.lengths)
        assert length == int(whole.lengths[row])
        assert torch.equal(one.values[0, 0, :length], whole.values[row, 0, :length])


def test_a_crop_is_a_part_of_the_series() -> None:
    column, cropped = batch(), vary(batch(), min_crop=0.5)
    for row in (0, 1, 4):
        length, own = int(cropped.lengths[row]), column.values[row, 0, : LENGTHS[row]]
        assert LENGTHS[row] / 2 <= length <= LENGTHS[row]
        part = cropped.values[row, 0, :length]
        assert any(torch.equal(part, own[start : start + length]) for start in range(len(own) - length + 1))


def test_a_crop_says_how_much_of_the_beginning_it_cut_off() -> None:
    column = batch()
    column.values[:] = torch.arange(column.values.shape[2])[:, None].to(column.values.dtype)
    cropped = vary(column, min_crop=0.5)
    assert cropped.geometry is not None
    for row in (0, 1, 4):
        assert cropped.values[row, 0, 0, 0] + cropped.geometry[row, 0, 2] == 0, "the step that is now the first"
    assert cropped.geometry[:, 0, 2].min() < 0
    warped = vary(column, min_crop=0.5, time_warp=0.2).geometry
    assert warped is not None
    assert warped.isnan().all(), "a bend is no matrix"
    assert SeriesTransformConfig(time_warp=0.2).untraced == ("time_warp",)
    assert SeriesTransformConfig(time_warp=0.0).untraced == ()


def test_a_warp_keeps_the_ends_and_the_range() -> None:
    column, warped = batch(), vary(batch(), time_warp=0.5)
    for row in (0, 1, 4):
        length, own = int(warped.lengths[row]), column.values[row, 0, : LENGTHS[row]]
        part = warped.values[row, 0, :length]
        torch.testing.assert_close(part[0], own[0])
        torch.testing.assert_close(part[-1], own[-1])
        assert part.min() >= own.min() - 1e-6
        assert part.max() <= own.max() + 1e-6
    assert len(set(warped.lengths[[0, 4], 0].tolist())) > 1, "speeds differ from row to row"


def test_what_is_missing_stays_missing() -> None:
    column = batch()
    column.values[0, 0, 5] = float("nan")
    noisy = vary(column, jitter=0.5, scale=0.5)
    assert noisy.values[0, 0].isnan().any(dim=1).nonzero().flatten().tolist() == [5]
    warped = vary(column, time_warp=0.5, min_crop=0.9)
    assert warped.values[0].isnan().any()
    assert not warped.values[1:].isnan().any()


def test_probability_zero_is_the_identity() -> None:
    column = batch()
    assert vary(column, probability=0.0, jitter=1.0) is column


def test_it_says_whether_it_moves_what_segments_mark() -> None:
    still = SeriesTransformConfig(time_warp=0.0, min_crop=1.0)
    assert not still.moves
    assert replace(still, min_crop=0.9).moves
    assert replace(still, time_warp=0.1).moves


@pytest.mark.parametrize(
    "options", [{"probability": 2.0}, {"jitter": -1.0}, {"scale": 1.0}, {"time_warp": 1.0}, {"min_crop": 0.0}]
)
def test_settings_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SeriesTransformConfig(**options)  # type: ignore[arg-type]
