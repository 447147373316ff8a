"""Every encoder with every fusion and every head: two steps, saved, loaded, predicted with each column missing in turn.

A component joins by being registered. What is large, or can not be built from its defaults (a pretrained one needs a
path), is given what it needs in `needs`.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import runpy
import wave
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import polysense
from polysense.bundle import Bundle
from polysense.config.base import members
from polysense.core.batch import Batch
from polysense.core.modality import Task
from polysense.core.registry import modalities
from polysense.core.schema import Target
from polysense.data.column import ColumnConfig
from polysense.data.config import DataConfig
from polysense.data.dataset import TableDataset
from polysense.data.loader import PredictLoader, TrainLoader
from polysense.data.processor import Processor
from polysense.data.sources import Table, read_table
from polysense.data.target import TargetConfig
from polysense.nn.encoder import EncoderConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.unimodal import UnimodalConfig

WIDTH, ROWS = 16, 6
GROUP = 4
"""Encoders in one model."""

TARGETS = {
    Task.CLASSIFICATION: "kind",
    Task.MULTILABEL: "tags",
    Task.REGRESSION: "size",
    Task.GENERATION: "caption",
    Task.TAGGING: "parts",
    Task.RETRIEVAL: "space",
    Task.RECONSTRUCTION: "whole",
}
ANSWER = "answer"
"""The text target in the tokens of a pretrained language model, for the head that is one."""
SEGMENTED = ("text", "audio")
"""What segments can lie in; a model without such a column has no such target."""

# `auto` is a choice among the others, made before a model is built.
ENCODERS = [name for name in members("encoder") if name != "auto"]
LARGE = ("resnet18", "resnet34", "resnet50", "vgg", "convnext")
"""One of them is tried with every fusion each time, the rest where slow tests are asked for."""
FUSIONS = list(members("fusion"))
HEADS = [name for name, config in members("head").items() if config.tasks]  # type: ignore[attr-defined]
"""Those that serve a task; an ensemble is made of them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column of every modality; each is empty in some row, and one row is empty altogether."""
    root = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    words = ("red apple", "green pear", "blue plum", "left unsaid")
    rows: list[dict[str, Any]] = []
    for index in range(ROWS):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(root / f"{index}.png")
        samples = (3000 * generator.standard_normal(700 + 100 * index)).astype("<i2")
        with wave.open(str(root / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())
        cells = {
            "text": f"a {words[index % 4]} lay here for {index} days",
            "image": f"{index}.png",
            "audio": f"{index}.wav",
            "number": str(index / 3),
            "category": ("north", "south", "east")[index % 3],
            "date": f"2024-0{1 + index}-1{index} 0{index}:30:00",
        }
        for kind in modalities():  # a modality's tests bring its own example
            example = Path(__file__).parents[1] / "modalities" / kind / "example_cell.py"
            if kind not in cells and example.exists():
                (root / f"{index}.{kind}").write_bytes(runpy.run_path(str(example))["example_cell"](index))
                cells[kind] = f"{index}.{kind}"
        targets = {"kind": "ab"[index % 2], "tags": ("x", "x,y", "y", "")[index % 4], "size": str(float(index))}
        targets["caption"] = ("", "a fruit", "two ripe fruits")[index % 3]
        segments = {"text": [[2, 2 + len(words[index % 4]), "thing"]], "audio": [[0.02, 0.06, "noise"]]}
        targets |= {f"parts of {kind}": json.dumps(cell) for kind, cell in segments.items()}
        rows.append({**{k: "" if i % ROWS == index else c for i, (k, c) in enumerate(cells.items())}, **targets})
    rows.append({**dict.fromkeys(rows[0], ""), "kind": "a", "tags": "y", "size": "2.5", "caption": "nothing"})
    (root / "table.json").write_text(json.dumps(rows))
    return root


@pytest.fixture(scope="module")
def needs(language_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What encoders need that can't be built from their defaults."""
    root = tmp_path_factory.mktemp("needs")
    transformers: Any = importlib.import_module("transformers")
    settings = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.ViTModel(settings).save_pretrained(root / "vit")
    preprocessing = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.2, 0.2, 0.2],
    }
    (root / "vit" / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    lines = [f"{word} {' '.join(['0.5'] * 5)}" for word in ("red", "apple", "lay")]
    (root / "vectors.txt").write_text("\n".join(lines))
    return {
        "pretrained": {"path": str(root / "vit")},
        "timm": {"name": "test_resnet", "pretrained": False, "tune": "full"},
        "word_vectors": {"path": str(root / "vectors.txt")},
        # Small ones of their kind.
        "convnext": {"size": "atto"},
        "vgg": {"depth": 11},
        "vit": {"num_layers": 1},
        # Heads.
        "language_model": {"path": str(language_model("gpt2"))},
    }


# The modality that an encoder of several is tried on.
PREFERRED = {"pretrained": "image"}


def _groups() -> list[Any]:
    quick = [name for name in ENCODERS if name not in LARGE]
    groups: list[Any] = [tuple(quick[start : start + GROUP]) for start in range(0, len(quick), GROUP)]
    return groups + [pytest.param((name,), marks=() if name == "convnext" else pytest.mark.slow) for name in LARGE]


@dataclass
class Prepared:
    """A table's columns under the names of the encoders that are to read them."""

    encoders: dict[str, EncoderConfig]
    processor: Processor
    table: Table

    def only(self, names: Collection[str]) -> Processor:
        """The same preprocessing with some of the targets."""
        return Processor(self.processor.columns, {name: self.processor.targets[name] for name in names})


@pytest.fixture(scope="module", params=_groups(), ids="+".join)
def prepared(request: pytest.FixtureRequest, folder: Path, needs: dict[str, dict[str, Any]]) -> Prepared:
    names: tuple[str, ...] = request.param
    configs: dict[str, Any] = {name: members("encoder")[name](**needs.get(name, {})) for name in names}
    source = json.loads((folder / "table.json").read_text())
    modality = {name: PREFERRED.get(name, sorted(configs[name].reads())[0]) for name in names}
    over = next((name for name in names if modality[name] in SEGMENTED), None)
    asked = dict(TARGETS)
    if over is None:
        del asked[Task.TAGGING]
    if len(names) < 2:
        del asked[Task.RETRIEVAL]
    cells = {column: column for task, column in asked.items() if task not in (Task.RETRIEVAL, Task.RECONSTRUCTION)}
    if over is not None:
        cells["parts"] = f"parts of {modality[over]}"
    rows = [
        {**{name: row[modality[name]] for name in names}, **{key: row[cell] for key, cell in cells.items()}}
        for row in source
    ]
    settings: dict[Task, dict[str, Any]] = {
        Task.MULTILABEL: {"delimiter": ","},
        Task.TAGGING: {"over": over},
        # A bucket can't be turned back into its category.
        Task.RECONSTRUCTION: {"columns": tuple(name for name in names if name != "hashed_category")},
    }
    columns: Any = {name: members(ColumnConfig.family)[modality[name]]() for name in names}
    targets: Any = {
        column: members(TargetConfig.family)[task.value](**settings.get(task, {})) for task, column in asked.items()
    }
    targets[ANSWER] = members(TargetConfig.family)["generation"](column=TARGETS[Task.GENERATION])  # type: ignore[call-arg]
    table = read_table(rows, root=folder)
    data = DataConfig(columns=columns, targets=targets)
    writer: Any = members("head")["language_model"](**needs["language_model"])
    processor = Processor.fit(
        table,
        data,
        {name: config.requirements(name, modality[name]) for name, config in configs.items()},
        {ANSWER: writer.requirements(ANSWER)},
    )
    return Prepared(configs, processor, table)


def _heads(index: int, tasks: Collection[Task], first: str, needs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A head per target, so that every registered head is in some model; which of a task's heads, by `index`.

    One that reads a column of its own reads the first.
    """
    found = {}
    for task in tasks:
        serving = [head for head in HEADS if task in members("head")[head].tasks]  # type: ignore[attr-defined]
        name = serving[index % len(serving)]
        config: Any = members("head")[name]
        reads_one = any(field.name == "column" for field in dataclasses.fields(config))
        settings = {**({"column": first} if reads_one else {}), **needs.get(name, {})}
        head = config(**settings)
        if config.unimodal and index % 3:
            head = members("head")["ensemble"](head=head, joint=index % 3 == 2)  # type: ignore[call-arg]
        found[ANSWER if name == "language_model" else TARGETS[task]] = head
    return found


def test_every_head_serves_a_task_that_is_tried_here() -> None:
    assert all(set(members("head")[head].tasks) & set(TARGETS) for head in HEADS)  # type: ignore[attr-defined]


def _two_steps(model: MultimodalModel, batches: list[Batch]) -> None:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for batch in batches[:2]:
        optimizer.zero_grad()
        losses = model(batch).losses
        counts = model.counts(batch)
        total = sum(
            model.loss_weights[name] * loss.total.sum() / counts[name].clamp(min=1) for name, loss in losses.items()
        )
        assert isinstance(total, torch.Tensor)
        assert total.isfinite()
        total.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_encoder_with_every_fusion_and_head(
    prepared: Prepared, fusion: str, needs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    fusion_config: Any = members("fusion")[fusion]()
    given = {target.target.task for target in prepared.processor.targets.values()}
    tasks = [task for task in TARGETS if task in given]
    heads = _heads(FUSIONS.index(fusion), tasks, next(iter(prepared.encoders)), needs)
    config = ModelConfig(
        width=WIDTH,
        encoders=prepared.encoders,
        fusion=fusion_config,
        heads=heads,
        objectives={"unimodal": UnimodalConfig()},
    )
    processor = prepared.only(heads)
    dataset, schema = TableDataset(prepared.table, processor, cache_bytes=2**30), processor.schema
    torch.manual_seed(0)
    model = config.build(schema)
    with TrainLoader(dataset, schema, 4, seed=0, num_workers=0) as loader:
        _two_steps(model, list(loader.epoch(0)))
    model.eval()
    bundle = Bundle(processor, model, config)
    bundle.save(tmp_path / "bundle")
    loaded = polysense.load(tmp_path / "bundle")
    whole = next(iter(PredictLoader(dataset, schema, ROWS + 1)))
    for missing in (None, *schema.names):
        batch = whole.only([name for name in schema.names if name != missing])
        (after,) = loaded.model.predict(batch)
        if missing is None:
            (before,) = model.predict(batch)
            for name in before:  # bit for bit; a place that is not there is NaN in both
                torch.testing.assert_close(after[name].values, before[name].values, rtol=0, atol=0, equal_nan=True)
        for target in schema.targets:
            values = after[target.name]
            found = values.values if target.task is not Task.RETRIEVAL else _there(values.values, target, batch)
            assert found.isfinite().all(), (missing, target.name)
            if values.probabilities is not None:
                assert values.probabilities.isfinite().all(), (missing, target.name)
    (nothing,) = loaded.model.predict(whole.only([]))
    for target in schema.targets:
        values = nothing[target.name].values
        assert bool(values.isnan().all() if target.task is Task.RETRIEVAL else values.isfinite().all()), target.name


def _there(places: torch.Tensor, target: Target, batch: Batch) -> torch.Tensor:
    """The places of cells that are there; a missing one has none."""
    absent = torch.zeros(len(batch), dtype=torch.bool)
    present = torch.stack(
        [batch.columns[name].present if name in batch.columns else absent for name in target.members], dim=1
    )
    assert places[~present].isnan().all()
    return places[present]
