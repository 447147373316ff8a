"""A joint embedding space and a decoder on one forward, as in the example; then its image encoder in a classifier."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from runs import RunOnce

import polysense
from polysense.errors import ConfigError
from polysense.workflows.finetune.submodules import part_tensors

RECIPE = Path(__file__).parents[2] / "examples" / "coca" / "recipe.yaml"
COLORS = {"red": (210, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (230, 230, 230)}
SMALL = [
    "model.width=32",
    "model.encoders.image={type: vit, num_layers: 1, num_heads: 2}",
    "model.encoders.caption={type: text_transformer, num_layers: 1, num_heads: 2}",
    "model.fusion={type: transformer, num_layers: 1, num_heads: 2}",
    "model.heads.caption.num_layers=1",
    "data.targets.caption.tokens=words",
    "training.epochs=6",
    "training.batch_size=16",
    "training.optimizer={type: adamw, lr: 0.005}",
    "training.tensorboard=false",
    "training.validate_every=6",
    "evaluation.bootstrap=0",
    "evaluation.report=false",
    "evaluation.contribution=false",
    "evaluation.samples=0",
    "data.num_workers=0",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioned")
    generator = np.random.default_rng(0)
    rows = []
    for index in range(96):
        color = list(COLORS)[index % 4]
        pixels = generator.integers(0, 30, (8, 8, 3), dtype=np.uint8)
        pixels[2:6, 2:6] = np.array(COLORS[color], dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        rows.append({"image": f"{index}.png", "caption": f"a {color} square", "label": color, "split": "train"})
    for row in rows[80:]:
        row["split"] = "validation"
    path = folder / "captioned.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def run(table: Path, run_once: RunOnce) -> polysense.Run:
    def train(to: Path) -> polysense.Run:
        return polysense.fit(
            RECIPE,
            output=to / "coca",
            overrides=[*SMALL, f"data.table={table}", "data.split={type: column, column: split}"],
            progress=False,
        )

    return run_once("coca", train)


def test_the_caption_changes_nothing_of_the_text_that_is_written(run: polysense.Run, table: Path) -> None:
    frame = pl.read_csv(table).head(12)
    images = [str(table.parent / name) for name in frame["image"]]
    rows = [{"image": image, "caption": text} for image, text in zip(images, frame["caption"], strict=True)]
    lies = [{**row, "caption": "a long text of other words, blue or green or whatever, " * 4} for row in rows]
    texts = [run.bundle.predict(each).frame for each in (rows, lies, [{"image": image} for image in images])]
    for other in texts[1:]:
        assert other["caption"].equals(texts[0]["caption"])
        # To the last bits in tests/nn/test_without.py; a longer row is predicted in a batch of another shape.
        apart = other["caption_log_probability"] - texts[0]["caption_log_probability"]
        assert np.abs(apart.to_numpy()).max() < 1e-5
    assert not texts[1]["space[caption]"].equals(texts[0]["space[caption]"])
    assert set(run.metrics["validation"]) == {"space", "caption"}
    # What is written follows the picture all the same.
    assert texts[0]["caption"].n_unique() > 1


def test_pretraining_moves_the_picture_encoder_and_says_which(run: polysense.Run, table: Path, tmp_path: Path) -> None:
    labeled = table.with_name("labeled.csv")
    pl.read_csv(table).drop("caption").write_csv(labeled)
    tuned = polysense.fit(
        labeled,
        target="label",
        init_from=run.folder,
        output=tmp_path / "run",
        overrides=[option for option in SMALL if not option.startswith(("model.", "data.targets"))],
        progress=False,
    )
    report = json.loads((tmp_path / "run" / "init_from.json").read_text())
    assert [moved["part"] for moved in report["moved"]] == ["encoders.image"]
    assert set(report["not_moved"]) == {"fusion", "heads.label"}
    assert set(report["not_used"]) == {"encoders.caption", "fusion", "heads.space", "heads.caption"}
    assert "`encoders.image`: " in (tmp_path / "run" / "bundle" / "README.md").read_text()
    moved, there = part_tensors(tuned.bundle.model, "encoders.image"), part_tensors(run.bundle.model, "encoders.image")
    assert {name: tensor.shape for name, tensor in moved.items()} == {n: t.shape for n, t in there.items()}
    assert not all(torch.equal(moved[name], there[name]) for name in moved)  # it went on learning


def test_a_decoder_that_would_read_its_answer_is_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"teaches nothing.*model.heads.caption.exclude: \[caption\]"):
        polysense.load_recipe(RECIPE, [f"data.table={table}", "model.heads.caption.exclude=[]"])
    with pytest.raises(ConfigError, match="'captoin'"):
        polysense.load_recipe(RECIPE, [f"data.table={table}", "model.heads.caption.exclude=[captoin]"])
