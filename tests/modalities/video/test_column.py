"""A video is its frames; the sound of the same file can be a column of its own."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import torch
from model_helpers import row_arrays
from PIL import Image

import polysense
from polysense.core.registry import modality
from polysense.core.sample import Sample, SourceInfo
from polysense.core.schema import Schema
from polysense.data.augmentation.augment import augment
from polysense.data.batches.collate import collate
from polysense.data.column import ColumnProcessor
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError, DecodeError
from polysense.modalities.audio.column import AudioColumnConfig
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.video.column import VideoColumnConfig
from polysense.tasks.classification.target import ClassificationTargetConfig

Fit = Callable[..., ColumnProcessor]


@cache
def clip(num: int, level: int = 0, *, waveform: bool = False) -> bytes:
    """A video of `num` frames of 1/10 s that grows lighter from `level` on."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        tone = out.add_stream("aac", rate=16_000) if waveform else None
        for i in range(num):
            pixels = np.full((24, 32, 3), min(level + 8 * i, 255), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
        if tone is not None:
            wave = np.sin(np.arange(1600 * num) * (0.1 + level / 500)).astype(np.float32)
            part = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            part.sample_rate = 16_000
            out.mux(tone.encode(part))
            out.mux(tone.encode())
    return file.getvalue()


def transform(processor: ColumnProcessor, cell: object) -> list[np.ndarray]:
    return processor.transform(cell, SourceInfo(table="t", row=0, column="c"), Path())


def levels(items: list[np.ndarray]) -> list[int]:
    return [round(float(item.mean()) / 8) for item in items]


def test_a_video_is_its_frames(fit: Fit) -> None:
    column = fit(VideoColumnConfig(frames=4), [clip(20), clip(12), None])
    assert (column.column.multiple, column.column.max_items) == (True, 4)
    frame = ImageColumn.of(modality("video").item_column(column.column))
    assert (frame.image_size, frame.num_channels, frame.multiple, frame.max_items) == ((24, 32), 1, True, 4)
    assert levels(transform(column, clip(20))) == pytest.approx([2, 7, 12, 17], abs=1)
    assert levels(transform(column, clip(3))) == pytest.approx([0, 1, 2], abs=1), "a shorter one gives all that it has"
    still = np.full((24, 32, 3), 80, np.uint8)
    assert levels(transform(column, still)) == [10], "a picture among videos is one frame"
    assert levels(transform(column, [clip(8), still])) == pytest.approx([1, 3, 5, 7, 10], abs=1)
    assert transform(column, None) == []
    with pytest.raises(DecodeError, match=r"item 1 of 2: .*cut short|damaged"):
        transform(column, [clip(8), clip(20)[:900]])


def test_frames_per_second(fit: Fit) -> None:
    column = fit(VideoColumnConfig(frames_per_second=5.0), [clip(20), clip(12)])
    assert column.column.max_items == 10
    assert [len(transform(column, clip(num))) for num in (20, 12, 2, 30)] == [10, 6, 1, 15]
    limited = fit(VideoColumnConfig(frames_per_second=5.0, frames=3), [clip(20)])
    assert len(transform(limited, clip(20))) == 3


def test_moving_images_are_videos_only_if_the_column_says_so(fit: Fit) -> None:
    moving = io.BytesIO()
    frames = [Image.fromarray(np.full((8, 8), 8 * i, np.uint8)) for i in range(1, 5)]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=100)
    images = [np.full((8, 8), 8, np.uint8)] * 3
    column = fit(ImageColumnConfig(), [*images, moving.getvalue()])
    assert (column.column.multiple, column.column.max_items) == (False, 1)
    assert levels(transform(column, moving.getvalue())) == [1], "the first frame of a moving one"
    with pytest.raises(DecodeError, match="holds 2 items; each cell of the training rows held one"):
        transform(column, images[:2])
    with pytest.raises(DecodeError, match="video"):
        transform(column, clip(20))
    assert levels(transform(fit(VideoColumnConfig(frames=2), [moving.getvalue()]), moving.getvalue())) == [2, 4]
    single = fit(VideoColumnConfig(frames=1), [clip(20)])
    assert single.column.multiple is False
    assert levels(transform(single, clip(20))) == pytest.approx([10], abs=1), "the frame in its middle"


@pytest.mark.parametrize("settings", [{"frames": 0}, {"frames_per_second": 0.0}, {"frames_per_second": 1e9}])
def test_settings_that_make_no_sense(settings: dict[str, float]) -> None:
    with pytest.raises((ConfigError, ValueError), match="frames"):
        VideoColumnConfig(**settings)  # type: ignore[arg-type]


def table(folder: Path, num: int = 24) -> Path:
    rows = []
    for i in range(num):
        (folder / f"{i}.mp4").write_bytes(clip(4 + i % 5, 10 + 100 * (i % 2), waveform=True))
        rows.append({"clip": None if i % 7 == 3 else f"{i}.mp4", "label": ["low", "high"][i % 2]})
    pl.DataFrame(rows).write_ndjson(folder / "t.jsonl")
    return folder / "t.jsonl"


def test_one_file_is_two_inputs(tmp_path: Path) -> None:
    read = read_table(table(tmp_path))
    config = DataConfig(
        columns={"clip": VideoColumnConfig(frames=3), "sound": AudioColumnConfig(column="clip")},
        targets={"label": ClassificationTargetConfig()},
    )
    processor = Processor.fit(read, config)
    assert [column.table_column for column in processor.schema] == ["clip", "clip"]
    sample = processor.transform(read, 0, with_targets=True)
    assert len(sample.values["clip"]) == 3
    assert len(sample.values["sound"][0]) == pytest.approx(6400, abs=2100)
    assert processor.transform(read, 3, with_targets=True).values == {}
    processor.save(tmp_path / "p")
    again = Processor.load(tmp_path / "p").transform(read, 0, with_targets=True)
    assert all(np.array_equal(a, b) for a, b in zip(sample.values["clip"], again.values["clip"], strict=True))
    (tmp_path / "0.mp4").write_bytes(clip(4))  # has no sound
    sample = processor.transform(read, 0, with_targets=True)
    assert list(sample.values) == ["clip"]
    assert [(cell.source.column, cell.source.file) for cell in sample.unreadable] == [("sound", "0.mp4")]
    with pytest.raises(ValueError, match="'label' is also a target"):
        DataConfig(columns={"x": ImageColumnConfig(column="label")}, targets={"label": ClassificationTargetConfig()})


def test_a_training_on_videos_and_their_sound(tmp_path: Path) -> None:
    """From a table of paths to predictions that don't depend on the other rows."""
    path = table(tmp_path)
    run = polysense.fit(
        path,
        target="label",
        output=tmp_path / "run",
        columns={"clip": "video", "sound": "audio:clip"},
        overrides=[
            "training.epochs=2", "model.width=16", "evaluation.bootstrap=10", "evaluation.contribution=false",
            "data.columns.clip.frames=4", "data.split.validation=0.3", "model.encoders.clip.channels=4",
        ],
        progress=False,
    )  # fmt: skip
    assert run.recipe.data.columns["sound"].column == "clip"
    assert run.recipe.data.transforms["clip"] == ImageTransformConfig(erase_probability=0.0, together=True)
    rows = [{"clip": str(tmp_path / f"{i}.mp4")} for i in (0, 4, 8)] + [{"clip": None}]
    bundle = polysense.load(tmp_path / "run")
    together = row_arrays(bundle, rows, "label")["probabilities"]
    for i, row in enumerate(rows):
        alone = row_arrays(bundle, [row], "label")["probabilities"]
        assert np.array_equal(together[i], alone[0])
    missing = bundle.predict(rows).frame["missing"].to_list()
    assert missing == ["", "", "", "clip, sound"]
    page = (tmp_path / "run" / "samples.html").read_text()
    assert "data:image/jpeg" in page
    assert "data:audio/" in page


def test_frames_lie_in_their_video_and_move_together(fit: Fit) -> None:
    processor = fit(VideoColumnConfig(size=(8, 8), frames=3), [clip(6)])
    (*items,), placement = processor.placed(clip(6), SourceInfo(table="t", row=0, column="c"), Path())
    assert len(items) == 3
    assert placement is not None
    assert placement.size == (24, 32), "of the video itself, however its frames were reduced"
    np.testing.assert_allclose(placement.matrix, [[8 / 32, 0, 0], [0, 6 / 24, 1], [0, 0, 1]])
    schema = Schema(columns=(processor.column,), targets=())
    batch = collate([Sample(row=0, values={"c": items}, placements={"c": placement})], schema)
    transform = ImageTransformConfig(together=True, erase_probability=0.0).create(processor)
    moved = augment(batch, schema, {"c": transform}, seed=0, epoch=0).columns["c"]
    assert moved.geometry is not None
    assert not moved.geometry.isnan().any()
    frames = batch.columns["c"].values[0]
    own = moved.geometry[0].double() @ torch.from_numpy(np.linalg.inv(placement.matrix))
    assert not torch.allclose(own, torch.eye(3).double(), atol=1e-3)
    marks = torch.zeros_like(frames)
    marks[:, :, 3:5, 3:5] = 200  # the same mark in each frame
    marked = dataclasses.replace(batch.columns["c"], values=marks[None])
    after = augment(dataclasses.replace(batch, columns={"c": marked}), schema, {"c": transform}, seed=0, epoch=0)
    assert (after.columns["c"].values[0, 0] == after.columns["c"].values[0, 1:]).all()
