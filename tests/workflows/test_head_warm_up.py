"""The warm-up: what leads into a language model has learned before the first step; resuming does not repeat it."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import polysense
from polysense.bundle import load
from polysense.training.time_plan import Deadline
from polysense.workflows.head_warm_up import warm_up

COLORS = ("red", "green", "blue", "yellow")
SETTINGS = [
    "training.epochs=1", "evaluation.bootstrap=0", "evaluation.generated_rows=0", "model.width=16",
    "training.tensorboard=false",
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = []
    for index in range(32):
        color = COLORS[index % 4]
        Image.new("RGB", (16, 16), color).save(tmp_path / f"{index}.png")
        rows.append({"photo": f"{index}.png", "caption": f"{color} or {color}"})
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def recipe(table: Path, model: Path, warm_up: int) -> Path:
    path = table.parent / f"recipe{warm_up}.yaml"
    path.write_text(
        f"data:\n  table: {table.name}\n  columns: {{photo: {{type: image, size: [16, 16]}}}}\n"
        "  targets: {caption: generation}\n  split: {type: fraction, test: 0.25}\n"
        "model:\n  encoders: {photo: image_cnn}\n"
        f"  heads: {{caption: {{type: language_model, path: {model}, connector: none, warm_up_epochs: {warm_up}}}}}\n"
        "training: {epochs: 1, batch_size: 16}\n"
    )
    return path


def loss_of_the_bag(run: Path) -> float:
    """The bag's loss of the first steps."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = [record for record in records if "caption/bag" in json.dumps(record)]
    assert found, records
    match = re.search(r'"[^"]*caption/bag": ([0-9.]+)', json.dumps(found[0]))
    assert match is not None
    return float(match[1])


def test_the_tokens_mean_something_before_the_language_model_reads_them(
    table: Path, tmp_path: Path, language_model: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polysense")
    model = language_model("llama")
    for epochs in (0, 40):
        polysense.fit(
            recipe(table, model, epochs), output=tmp_path / f"run{epochs}", overrides=SETTINGS, progress=False
        )
    said = re.findall(r"warm-up of (\d+) epochs .* its loss fell from ([0-9.]+) to ([0-9.]+)", caplog.text)
    assert len(said) == 1, "without epochs there is none"
    assert float(said[0][2]) < 0.8 * float(said[0][1])
    assert loss_of_the_bag(tmp_path / "run40") < 0.9 * loss_of_the_bag(tmp_path / "run0")
    load(tmp_path / "run40" / "bundle")


def test_a_run_that_is_resumed_does_not_warm_up_again(
    table: Path, tmp_path: Path, language_model: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polysense")
    path = recipe(table, language_model("llama"), 3)
    polysense.fit(path, output=tmp_path / "run", overrides=SETTINGS, progress=False)
    assert caplog.text.count("warm-up of 3 epochs") == 1
    polysense.fit(tmp_path / "run", resume=True, overrides=["training.epochs=2"], progress=False)
    assert caplog.text.count("warm-up of 3 epochs") == 1
    # Within a time, which each look at the clock takes a second of.
    bundle, ticks = load(tmp_path / "run" / "bundle"), itertools.count()
    dataset = bundle.dataset(bundle.read(table), with_targets=True)
    deadline = Deadline(24.0, lambda: float(next(ticks)))
    warm_up(bundle.model, dataset, 0, torch.device("cpu"), deadline)
    assert len(deadline.left_out) == 1
    assert deadline.left_out[0].endswith("of 3 epochs of the warm-up of 'caption'")
