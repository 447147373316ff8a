"""What becomes a target of a cell: images of any kind, as they are generated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polysense.core.registry import task
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetProcessor
from polysense.errors import BundleError, ColumnError, ConfigError, DecodeError
from polysense.tasks.image_generation.record import CHANGED, FREE, ImageGenerationTarget
from polysense.tasks.image_generation.target import ImageGenerationProcessor, ImageGenerationTargetConfig


def write(folder: Path, images: dict[str, Image.Image]) -> Table:
    for name, image in images.items():
        image.save(folder / name)
    rows = [{"picture": name, "kind": "ab"[i % 2], "note": str(i)} for i, name in enumerate(images)]
    return read_table(rows, root=folder)


def gray(seed: int, size: tuple[int, int] = (10, 8)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8))


def fitted(table: Table, inputs: dict[str, str] | None = None, **settings: Any) -> ImageGenerationProcessor:
    processor = ImageGenerationTargetConfig(**settings).build("picture")
    processor.fit(table, inputs=inputs or {})
    return processor


def record(processor: TargetProcessor) -> ImageGenerationTarget:
    return ImageGenerationTarget.of(processor.target)


def test_gray_stays_gray_and_its_size_is_kept(tmp_path: Path) -> None:
    table = write(tmp_path, {f"{i}.png": gray(i) for i in range(4)})
    processor = fitted(table, {"kind": "category"})
    target = record(processor)
    assert (target.num_channels, target.image_size, target.num_rows) == (1, (10, 8), 4)
    assert (target.shown, target.shown_classes) == ("kind", ("a", "b"))
    np.testing.assert_array_equal(processor.transform(table, 2), np.asarray(gray(2))[None])
    assert record(fitted(table, {"note": "text"})).shown == ""
    assert record(fitted(table, shown="kind")).shown_classes == ("a", "b")
    with pytest.raises(ColumnError, match="expected 2 to 200"):
        fitted(table.select([0, 2]), shown="kind")


def test_large_images_are_shrunk_and_others_cropped(tmp_path: Path) -> None:
    images = {f"{i}.jpg": gray(i, (300, 200 + 10 * i)).convert("RGB") for i in range(3)}
    target = record(fitted(write(tmp_path, images)))
    assert target.image_size == (64, 48)
    assert record(fitted(write(tmp_path, images), size=(20, 20))).image_size == (20, 20)


def test_transparency_is_white_and_deep_images_keep_their_range(tmp_path: Path) -> None:
    clear = np.zeros((6, 6, 4), dtype=np.uint8)
    clear[:3] = (255, 0, 0, 255)
    deep = Image.fromarray((np.arange(36).reshape(6, 6) * 100).astype(np.uint16))
    table = write(tmp_path, {"clear.png": Image.fromarray(clear), "deep.png": deep})
    processor = fitted(table)
    first, second = (processor.transform(table, i) for i in range(2))
    assert first is not None
    assert second is not None
    assert (first[:, :3] == np.array([255, 0, 0])[:, None, None]).all()
    assert (first[:, 3:] == 255).all()
    assert second.min() == 0
    assert second.max() > 200  # 3,500 of 12 bits


def test_what_can_not_be_read_is_no_target(tmp_path: Path) -> None:
    table = write(tmp_path, {f"{i}.png": gray(i) for i in range(3)})
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    processor = fitted(table)
    other = read_table(
        [{"picture": cell} for cell in ("broken.png", "absent.png", None, "", ["0.png"], ["0.png", "1.png"])],
        root=tmp_path,
    )
    for row in (0, 1, 5):
        with pytest.raises(DecodeError):
            processor.transform(other, row)
    assert processor.transform(other, 2) is None
    assert processor.transform(other, 3) is None
    assert processor.transform(other, 4) is not None
    for cells in ([None, None], ["broken.png", "absent.png"]):
        with pytest.raises(ColumnError, match="picture"):
            fitted(read_table([{"picture": cell, "kind": "a"} for cell in cells], root=tmp_path))


def test_it_comes_back_from_a_folder(tmp_path: Path) -> None:
    table = write(tmp_path, {f"{i}.png": gray(i) for i in range(5)})
    processor = fitted(table, {"kind": "category"})
    state = processor.save(tmp_path / "saved")
    again = TargetProcessor.load(state, tmp_path / "saved")
    assert isinstance(again, ImageGenerationProcessor)
    assert again.target == processor.target
    images = np.stack([processor.transform(table, i) for i in range(5)])  # type: ignore[misc]
    np.testing.assert_array_equal(again.features(images), processor.features(images))
    np.testing.assert_array_equal(again.training_images.thumbnails, processor.training_images.thumbnails)
    assert again.reader(table).shown_classes(np.arange(3)).tolist() == [0, 1, 0]
    (tmp_path / "saved" / "training_images.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError):
        TargetProcessor.load(state, tmp_path / "saved")


def test_a_column_of_images_is_recognized_and_can_be_stated(tmp_path: Path) -> None:
    table = write(tmp_path, {f"{i}.png": gray(i) for i in range(12)})
    guesses = {guess.name: guess for guess in infer(table, ["picture"])}
    assert guesses["picture"].task == "image_generation"
    stated = {guess.name: guess for guess in infer(table, ["picture"], overrides={"picture": "image_generation"})}
    assert stated["picture"].task == "image_generation"
    assert task("image_generation").absence(record(fitted(table))) == "no picture"


def test_start_images_and_masks_are_prompts(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.png": gray(i) for i in range(4)})
    mask = np.zeros((10, 8), dtype=np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    cells = [("1.png", None), ("3.png", "mask.png"), (None, "mask.png"), ("absent.png", None)]
    table = read_table(
        [{"picture": f"{i % 4}.png", "sketch": start, "mask": mask} for i, (start, mask) in enumerate(cells)],
        root=tmp_path,
    )
    processor = fitted(table, start="sketch", mask="mask")
    assert record(processor).typical_prompt == 80
    first, second = (processor.prompt(table, i) for i in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.ids.reshape(10, 8), np.asarray(gray(1)).astype(int) + CHANGED)
    np.testing.assert_array_equal(second.ids.reshape(10, 8)[:, :4], np.asarray(gray(3))[:, :4])
    assert (second.ids.reshape(10, 8)[:, 4:] == FREE).all()
    assert processor.prompt(table, 2) is None
    with pytest.raises(DecodeError):
        processor.prompt(table, 3)
    assert record(fitted(table)).typical_prompt == 0
    with pytest.raises((ValueError, ConfigError), match="mask"):
        ImageGenerationTargetConfig(mask="mask")


def test_a_size_has_pixels() -> None:
    with pytest.raises((ValueError, ConfigError), match="size"):
        ImageGenerationTargetConfig(size=(0, 8))
