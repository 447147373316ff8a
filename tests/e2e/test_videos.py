"""Videos read as a whole, from files to predictions: frames that are stored, broken files, and the bits of each row."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from backbone_folders import save_vit
from safetensors.torch import load_file
from tiny_run import TINY

import polysense

_NUM_ROWS = 24


def moving(to_the_right: bool, frames: int) -> bytes:
    """A bar that moves over an empty picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for k in range(frames):
            pixels = np.zeros((24, 32, 3), np.uint8)
            start = 2 * (k if to_the_right else frames - 1 - k)
            pixels[8:16, start : start + 6] = 255
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    rows: list[dict[str, Any]] = []
    for i in range(_NUM_ROWS):
        (folder / f"{i}.mp4").write_bytes(moving(bool(i % 2), 4 + i % 7))  # some have fewer frames than are read
        rows.append({"clip": f"{i}.mp4", "label": ("left", "right")[i % 2]})
    rows[3]["clip"] = None
    (folder / "4.mp4").write_bytes(moving(False, 9)[:700])
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_vit(folder / "vit")
    return folder / "table.jsonl"


def fit(table: Path, output: Path, encoder: str, *overrides: str) -> polysense.Run:
    return polysense.fit(
        table,
        target="label",
        columns={"clip": "video"},
        output=output,
        overrides=[
            *TINY, "evaluation.baselines=false", "audit=off", "data.transforms={}", "training.batch_size=6",
            "data.split={type: fraction, validation: 0.25, test: 0.25}", f"model.encoders.clip={encoder}", *overrides,
        ],
        progress=False,
    )  # fmt: skip


def test_frames_under_a_recurrence_are_stored_and_give_what_live_ones_give(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, logger="polysense.workflows")
    encoder = f"{{type: video_rnn, frames: {{type: pretrained, path: {table.parent / 'vit'}}}}}"
    live = fit(table, tmp_path / "live", encoder, "data.store=off")
    assert not [record for record in caplog.records if "frozen features" in record.message]
    stored = fit(table, tmp_path / "stored", encoder)
    assert any("'clip': frozen features" in record.message for record in caplog.records)
    mine, yours = (load_file(run.folder / "bundle" / "weights.safetensors") for run in (live, stored))
    assert all(torch.equal(mine[name], yours[name]) for name in mine)
    assert live.bundle.predict(table).frame.equals(stored.bundle.predict(table).frame)


@pytest.mark.parametrize("encoder", ["{type: video_cnn, channels: 4}", "{type: video_transformer, num_layers: 1}"])
def test_rows_are_predicted_alike_alone_and_in_any_company(encoder: str, table: Path, tmp_path: Path) -> None:
    transform = "data.transforms.clip={type: video, shortest: 0.5, frames: {type: image, together: true}}"
    # Without simple models, beside which networks of two epochs would have weight 0.
    run = fit(table, tmp_path / "run", encoder, transform, "model.heads.label.estimators={}")
    bundle = polysense.load(run.folder)
    whole = bundle.predict(table)
    assert len(whole.frame) == _NUM_ROWS
    assert [(cell.source.row, cell.source.column) for cell in whole.unreadable] == [(4, "clip")]
    some = [8, 4, 3, 21]
    lines = table.read_text().splitlines()
    part = table.parent / "part.jsonl"
    part.write_text("".join(f"{lines[row]}\n" for row in some))
    columns = [name for name in whole.frame.columns if name != "row"]
    assert bundle.predict(part).frame.select(columns).equals(whole.frame[some].select(columns))
