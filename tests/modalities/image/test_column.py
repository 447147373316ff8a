"""Every picture comes to one size without being bent, with the channels and statistics of the training pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.codec import from_dict
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnProcessor
from polysense.errors import ColumnError, ConfigError, DecodeError
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.image.record import ImageColumn

Fit = Callable[..., ColumnProcessor]


def gray(height: int, width: int, value: int = 100) -> np.ndarray:
    return np.full((height, width), value, dtype=np.uint8)


def colored(height: int, width: int, value: tuple[int, int, int] = (200, 100, 0)) -> np.ndarray:
    return np.broadcast_to(np.array(value, dtype=np.uint8), (height, width, 3)).copy()


def item(processor: ColumnProcessor, cell: object) -> np.ndarray:
    (found,) = processor.transform(cell, SourceInfo(table="t", row=0, column="c"), Path())
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    return found


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(30, 45)] * 3, (30, 45)),
        ([(128, 128)] * 2, (128, 128)),
        ([(129, 129)] * 2, (128, 128)),
        ([(480, 640)] * 3, (96, 128)),
        ([(640, 480)] * 3, (128, 96)),
        ([(20, 31), (22, 33), (19, 29)], (24, 32)),
        ([(50, 100), (100, 50), (60, 60)], (64, 64)),
        ([(1, 1000)] * 2, (8, 128)),
    ],
)
def test_the_size_follows_the_stated_rule(sizes: list[tuple[int, int]], expected: tuple[int, int], fit: Fit) -> None:
    assert fit(ImageColumnConfig(), [gray(*size) for size in sizes]).column.image_size == expected


def test_channels_are_one_only_if_all_are_gray(fit: Fit) -> None:
    same = colored(8, 8, (7, 7, 7))
    assert fit(ImageColumnConfig(), [gray(8, 8), same]).column.num_channels == 1
    mixed = fit(ImageColumnConfig(), [gray(8, 8, 50), colored(8, 8)])
    assert mixed.column.num_channels == 3
    assert item(mixed, gray(8, 8, 50)).tolist() == np.full((3, 8, 8), 50).tolist()
    forced = fit(ImageColumnConfig(channels=1), [colored(8, 8)])
    assert item(forced, colored(8, 8)).shape == (1, 8, 8)
    assert item(forced, colored(8, 8))[0, 0, 0] == round(0.299 * 200 + 0.587 * 100)


def test_mean_and_std_are_those_of_the_pixels(fit: Fit) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    column = fit(ImageColumnConfig(), list(pixels)).column
    assert np.allclose(column.mean, (pixels / 255).mean(axis=(0, 1, 2)))
    assert np.allclose(column.std, (pixels / 255).std(axis=(0, 1, 2)))
    flat = fit(ImageColumnConfig(), [gray(4, 4)]).column
    assert flat.std == (1.0,), "nothing to scale by"


def test_a_picture_of_another_shape_is_padded_cropped_or_stretched(fit: Fit) -> None:
    wide = np.concatenate([gray(10, 10, 0), gray(10, 10, 200), gray(10, 10, 0)], axis=1)
    train = [gray(20, 20, 60)]
    padded = item(fit(ImageColumnConfig(size=(20, 20)), train), wide)[0]
    assert (padded[:6] == 60).all()
    assert (padded[-6:] == 60).all()
    assert padded[10, 10] == 200
    assert padded[10, 0] == 0
    cropped = item(fit(ImageColumnConfig(size=(20, 20), fit="crop"), train), wide)[0]
    assert cropped[10, 3:17].min() == 200
    stretched = item(fit(ImageColumnConfig(size=(20, 20), fit="stretch"), train), wide)[0]
    assert (stretched[0] == stretched[-1]).all()
    assert stretched[0, 0] == 0
    assert stretched[0, 10] == 200


@given(
    st.sampled_from(["pad", "crop", "stretch"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.booleans(),
)
def test_every_picture_comes_to_the_size(fit: str, size: tuple[int, int], shape: tuple[int, int], rgb: bool) -> None:
    config = from_dict(ImageColumnConfig, {"type": "image", "size": list(size), "fit": fit})
    processor = config.build("c")
    source = SourceInfo(table="t", row=0, column="c")
    cell = colored(*shape) if rgb else gray(*shape)
    processor.fit([cell], [source], Path(), Requirements())
    assert item(processor, cell).shape == (3 if rgb else 1, *size)
    # One color stays one color: no black border, no ringing.
    assert np.abs(item(processor, cell).astype(int) - cell.reshape(-1, 3 if rgb else 1)[0][:, None, None]).max() <= 1


def test_what_a_pretrained_encoder_asks_for_is_done(fit: Fit) -> None:
    needs = {"image_size": (16, 16), "num_channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    processor = fit(ImageColumnConfig(), [gray(40, 20)], **needs)
    column = processor.column
    assert (column.image_size, column.num_channels, column.mean, column.std) == tuple(needs.values())
    assert item(processor, gray(40, 20))[0, 0, 0] == 128, "padded with its mean"
    with pytest.raises(ColumnError, match=r"size is \(8, 8\) in the recipe.*needs \(16, 16\); set size: auto"):
        fit(ImageColumnConfig(size=(8, 8)), [gray(4, 4)], **needs)


def test_lists_and_limits(fit: Fit) -> None:
    processor = fit(ImageColumnConfig(max_pixels=100), [[gray(8, 8), gray(8, 8)], [gray(8, 8)]])
    assert processor.column.max_items == 2
    found = processor.transform([gray(8, 8, 1), gray(8, 8, 2)], SourceInfo(table="t", row=0, column="c"), Path())
    assert [int(part[0, 0, 0]) for part in found] == [1, 2]
    with pytest.raises(DecodeError, match="limit"):
        item(processor, gray(11, 11))


def test_saving_and_loading_changes_nothing(fit: Fit, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 256, (int(h), int(w), 3)).astype(np.uint8) for h, w in rng.integers(5, 60, (10, 2))]
    processor = fit(ImageColumnConfig(fit="crop"), cells)
    state = json.loads(json.dumps(processor.save(tmp_path)))
    loaded = ColumnProcessor.load(state, tmp_path)
    assert loaded.column == processor.column
    assert loaded.config == processor.config
    for cell in cells:
        assert np.array_equal(item(loaded, cell), item(processor, cell))


@pytest.mark.parametrize("bad", [{"size": [0, 5]}, {"max_pixels": 0}, {"channels": 2}, {"fit": "squash"}, {"size": 64}])
def test_senseless_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        from_dict(ImageColumnConfig, {"type": "image", **bad})


def test_the_range_of_deep_images_is_the_columns(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    def deep(highest: int) -> np.ndarray:
        return np.linspace(0, highest, 64).astype(np.uint16).reshape(8, 8)

    processor = fit(ImageColumnConfig(), [deep(1800), deep(4095), gray(8, 8)])
    assert ImageColumn.of(processor.column).whole_range == (0, 4095)
    # One range for all: brightness means the same in each.
    assert item(processor, deep(4095)).max() == 255
    assert item(processor, deep(1800)).max() == round(1800 / 4095 * 255)
    assert item(processor, gray(8, 8, 100)).max() == 100
    with caplog.at_level("WARNING"):
        assert item(processor, deep(60_000)).max() == 255
    assert "its column's training images reach from 0 to 4095" in caplog.text
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(Path()))), Path())
    assert np.array_equal(item(loaded, deep(1800)), item(processor, deep(1800)))
