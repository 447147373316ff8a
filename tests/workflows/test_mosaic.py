"""Training images put together: learned from where only they are read, and refused with the reason elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import polysense
from polysense.errors import ConfigError

SMALL = [
    "model.width=16", "model.encoders.photo.channels=8", "model.heads.boxes.channels=16", "training.batch_size=4",
    "training.tensorboard=false", "evaluation.bootstrap=0", "training.epochs=3", "training.mosaic=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder, draws = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    result = []
    for index in range(16):
        pixels = draws.integers(60, 110, (40, 48, 3), dtype=np.uint8)
        left, top = (int(each) for each in draws.integers(2, 20, 2))
        pixels[top : top + 14, left : left + 18] = (230, 210, 60)
        path = folder / f"{index}.png"
        Image.fromarray(pixels).save(path)
        boxes = [{"label": "square", "box": [left, top, left + 18, top + 14]}]
        result.append({"photo": str(path), "boxes": boxes, "note": f"thing {index % 3}", "kind": "ab"[index % 2]})
    return result


def trained(rows: list[dict[str, Any]], folder: Path, target: str, *columns: str, **options: Any) -> Any:
    table = [{name: row[name] for name in ("photo", target, *columns)} for row in rows]
    return polysense.fit(table, target=target, output=folder, preset="fast", progress=False, **options)


def test_boxes_are_learned_from_four_images_at_once_whoever_reads_them(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    losses = []
    for name, more in (("whole", []), ("workers", ["data.num_workers=2"])):
        trained(rows, tmp_path / name, "boxes", overrides=[*SMALL, *more])
        records = map(json.loads, (tmp_path / name / "log.jsonl").read_text(encoding="utf-8").splitlines())
        losses.append([record["loss"] for record in records if record["event"] == "step"])
    assert len(losses[0]) > 1
    assert losses[0] == losses[1]


def test_it_is_refused_where_something_is_said_of_one_image_alone(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.mosaic: 'note' would be said of four images"):
        trained(rows, tmp_path / "note", "boxes", "note", overrides=SMALL)
    plain = [each for each in SMALL if "boxes" not in each]
    with pytest.raises(
        ConfigError, match=r"training.mosaic: target 'kind' can't be put together: its truth lies in no"
    ):
        trained(rows, tmp_path / "kind", "kind", overrides=plain)
