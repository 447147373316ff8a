"""Near copies share signatures; what merely resembles does not, and what holds nothing has none."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from polysense.core.likeness import Likeness, agreement
from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.series.record import SeriesColumn

RATE = 8000


def likeness(kind: str) -> Likeness:
    result = modality(kind).likeness
    assert not isinstance(result, Unsupported)
    return result


def agree(
    kind: str, column: Column, cells: tuple[object, object], items: tuple[list[np.ndarray], list[np.ndarray]]
) -> float:
    signs = [likeness(kind).signature(column, cell, own) for cell, own in zip(cells, items, strict=True)]
    assert signs[0] is not None
    assert signs[1] is not None
    return float(agreement(signs[0][None], signs[1][None])[0, 0])


def of_images(one: Image.Image, other: Image.Image) -> float:
    column = Column(name="x", modality="image")
    pixels = [np.asarray(each.convert("RGB").resize((64, 64))).transpose(2, 0, 1) for each in (one, other)]
    return agree("image", column, ("a", "b"), ([pixels[0]], [pixels[1]]))


def photograph(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (9, 9, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def box(color: str) -> Image.Image:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).rectangle((20, 30, 44, 50), fill=color)
    return image


def test_a_photograph_in_another_format_size_and_light() -> None:
    image, file = photograph(0), BytesIO()
    image.save(file, "JPEG", quality=60)
    least = likeness("image").threshold
    for copy in (Image.open(file), image.resize((48, 48)), image.point(lambda value: int(value * 0.9))):
        assert of_images(image, copy) >= least
    assert of_images(image, photograph(1)) < least
    assert of_images(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) < least


def test_one_shape_in_two_colors_is_no_copy() -> None:
    assert of_images(box("brown"), box("brown")) == 1
    assert of_images(box("brown"), box("gray")) < likeness("image").threshold


def sound(seed: int, seconds: float = 1.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    waves = sum(
        np.sin(2 * np.pi * draw.uniform(200, 3000) * time) * np.sin(np.pi * time * draw.uniform(1, 6)) ** 2
        for _ in range(6)
    )
    return np.asarray(waves * 3000, dtype=np.int16)


def of_sounds(one: np.ndarray, other: np.ndarray) -> float:
    return agree("audio", AudioColumn(name="x", sample_rate=RATE), ("a", "b"), ([one], [other]))


def test_a_sound_at_another_volume_and_after_silence() -> None:
    clip, least = sound(0), likeness("audio").threshold
    assert of_sounds(clip, clip // 3) >= least
    assert of_sounds(clip, np.concatenate([np.zeros(RATE // 4, dtype=np.int16), clip])) >= least
    assert of_sounds(clip, sound(1)) < least


def test_a_text_with_a_word_more() -> None:
    text = "The quick brown fox jumps over the lazy dog while the cat sleeps on the warm windowsill all afternoon."
    column, least = Column(name="x", modality="text"), likeness("text").threshold
    assert agree("text", column, (text, text.upper().replace(" ", "  ")), ([], [])) == 1
    assert agree("text", column, (text, text + " Indeed."), ([], [])) >= least
    assert agree("text", column, (text, text[::-1]), ([], [])) < least


def test_a_series_on_another_scale() -> None:
    column = SeriesColumn(name="x", channels=("a",), mean=(0.0,), std=(1.0,))
    draw = np.random.default_rng(0)
    series = [np.cumsum(draw.normal(size=(200, 1)), axis=0).astype(np.float32) for _ in range(2)]
    least = likeness("series").threshold
    assert agree("series", column, ("a", "b"), ([series[0]], [series[0] * 2 + 1])) >= least
    assert agree("series", column, ("a", "b"), ([series[0]], [series[1]])) < least


@pytest.mark.parametrize(
    ("kind", "column", "cell", "items"),
    [
        ("image", Column(name="x", modality="image"), "a", [np.full((3, 20, 20), 200, dtype=np.uint8)]),
        ("audio", AudioColumn(name="x", sample_rate=RATE), "a", [np.zeros(RATE, dtype=np.int16)]),
        ("audio", AudioColumn(name="x", sample_rate=RATE), "a", [np.zeros(0, dtype=np.int16)]),
        ("text", Column(name="x", modality="text"), "yes", []),
        ("text", Column(name="x", modality="text"), "", []),
        ("text", Column(name="x", modality="text"), "\x00" * 1000, []),
        ("series", SeriesColumn(name="x", channels=("a",), mean=(0.0,), std=(1.0,)), "a", [np.full((90, 1), np.nan)]),
    ],
)
def test_what_holds_nothing_has_no_signature(kind: str, column: Column, cell: str, items: list[np.ndarray]) -> None:
    assert likeness(kind).signature(column, cell, items) is None
