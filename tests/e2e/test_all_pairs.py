"""Every encoder with every fusion and every head: two steps, saved, loaded, predicted with each column missing in turn.

A component joins by being registered. What is large, or can not be built from its defaults (a pretrained one needs a
path), is given what it needs in `needs`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from every_kind import (
    CHOICES,
    EXAMPLES,
    LARGE,
    READS,
    ROWS,
    TARGETS,
    features_of,
    lies_in,
    needs_of,
    settings_of,
    write_rows,
)

import polysense
from polysense.bundle import Bundle
from polysense.config.base import members
from polysense.core.batch import Batch
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader, TrainLoader
from polysense.data.column import ColumnConfig
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetConfig
from polysense.evaluation.explanation import ExplanationOptions
from polysense.nn.encoder import EncoderConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.nn.objectives.unimodal import UnimodalConfig

WIDTH = 16
GROUP = 4
"""Encoders in one model."""

ANSWER = "answer"
"""The text target in the tokens of a pretrained language model, for the head that is one."""

ENCODERS = [name for name in members("encoder") if name not in CHOICES]
FUSIONS = list(members("fusion"))
OWN_ENCODER = "pretrained_decoder"  # it can't read another; see test_independent_rows
HEADS = [
    name
    for name, config in members("head").items()
    if config.tasks and name not in CHOICES | {OWN_ENCODER}  # type: ignore[attr-defined]
]
"""Those that serve a task; an ensemble is made of them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column of every modality; each is empty in some row, and one row is empty altogether."""
    root = tmp_path_factory.mktemp("pairs")
    (root / "table.json").write_text(json.dumps(write_rows(root)))
    return root


@pytest.fixture(scope="module")
def needs(
    language_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, dict[str, Any]]:
    return needs_of(tmp_path_factory.mktemp("needs"), language_model)


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
def prepared(request: pytest.FixtureRequest, folder: Path, needs: Mapping[str, dict[str, Any]]) -> Prepared:
    names: tuple[str, ...] = request.param
    configs: dict[str, Any] = {name: members("encoder")[name](**needs.get(name, {})) for name in names}
    source = json.loads((folder / "table.json").read_text())
    modality = {name: READS.get(name, sorted(configs[name].reads()))[0] for name in names}
    columns: Any = {name: members(ColumnConfig.family)[modality[name]]() for name in names}
    # A bucket can't be turned back into its category.
    reconstructed = tuple(name for name in names if name != "hashed_category")
    targets: Any = {}
    cells: dict[str, str] = {}
    for kind, target in TARGETS.items():
        over = next((name for name in names if modality[name] in lies_in(kind)), None)
        if (lies_in(kind) and over is None) or (task(kind).embeds_columns and len(names) < 2):
            continue
        given_back = reconstructed if task(kind).reconstructs_columns else ()
        targets[target] = members(TargetConfig.family)[kind](**settings_of(kind, over, given_back))
        if task(kind).has_column or kind in EXAMPLES:
            cells[target] = target if over is None else f"{target} of {modality[over]}"
    targets[ANSWER] = members(TargetConfig.family)["generation"](column=TARGETS["generation"])  # type: ignore[call-arg]
    rows = [
        {**{name: row[modality[name]] for name in names}, **{key: row[cell] for key, cell in cells.items()}}
        for row in source
    ]
    table = read_table(rows, root=folder)
    features = {name: features_of(modality[name]) for name in names if configs[name].reads_features}
    data = DataConfig(columns=columns, targets=targets, features=features)
    writer: Any = members("head")["language_model"](**needs["language_model"])
    processor = Processor.fit(
        table,
        data,
        {name: config.requirements(name, modality[name]) for name, config in configs.items()},
        {ANSWER: writer.requirements(ANSWER)},
    )
    return Prepared(configs, processor, table)


def _heads(index: int, kinds: Collection[str], first: str, needs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A head per target, so that every registered head is in some model; which of a task's heads, by `index`.

    One that reads a column of its own reads the first.
    """
    found = {}
    for kind in kinds:
        serving = [head for head in HEADS if kind in members("head")[head].tasks]  # type: ignore[attr-defined]
        name = serving[index % len(serving)]
        config: Any = members("head")[name]
        reads_one = any(field.name == "column" for field in dataclasses.fields(config))
        settings = {**({"column": first} if reads_one else {}), **needs.get(name, {})}
        head = config(**settings)
        if config.unimodal and index % 3:
            head = members("head")["ensemble"](head=head, joint=index % 3 == 2)  # type: ignore[call-arg]
        found[ANSWER if name == "language_model" else TARGETS[kind]] = head
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
    prepared: Prepared, fusion: str, needs: Mapping[str, dict[str, Any]], tmp_path: Path
) -> None:
    fusion_config: Any = members("fusion")[fusion]()
    given = {target.target.task for target in prepared.processor.targets.values()}
    kinds = [kind for kind in TARGETS if kind in given]
    heads = _heads(FUSIONS.index(fusion), kinds, next(iter(prepared.encoders)), needs)
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
                torch.testing.assert_close(
                    after[name]["values"], before[name]["values"], rtol=0, atol=0, equal_nan=True
                )
        for target in schema.targets:
            values = after[target.name]
            embeds = task(target.task).embeds_columns
            found = _there(values["values"], target, batch) if embeds else values["values"]
            assert found.isfinite().all(), (missing, target.name)
            if "probabilities" in values:
                assert values["probabilities"].isfinite().all(), (missing, target.name)
    (nothing,) = loaded.model.predict(whole.only([]))
    for target in schema.targets:
        values = nothing[target.name]["values"]
        embeds = task(target.task).embeds_columns
        assert bool(values.isnan().all() if embeds else values.isfinite().all()), target.name


def test_predictions_are_explained_whatever_encodes_them(
    prepared: Prepared, needs: Mapping[str, dict[str, Any]]
) -> None:
    """Of a network with random weights: the shares sum to what they must, and a map is no worse than chance."""
    kinds = ["classification", "regression"]
    heads = _heads(0, kinds, next(iter(prepared.encoders)), needs)
    processor = prepared.only([TARGETS[kind] for kind in kinds])
    config = ModelConfig(width=WIDTH, encoders=prepared.encoders, fusion=members("fusion")["concat"](), heads=heads)  # type: ignore[arg-type]
    torch.manual_seed(0)
    bundle = Bundle(processor, config.build(processor.schema).eval(), config)
    options = ExplanationOptions(parts=4, pairs=8, donors=2)
    last_first, num_maps = 0.0, 0
    for row in bundle.explain(prepared.table, [1, 2], options=options):
        for target in row.targets:
            total = sum(column.share for column in target.columns)
            assert total == pytest.approx(target.value - target.prior, abs=2e-4)
            for column in target.columns:
                assert math.isfinite(column.share)
                if column.map is not None and column.map.test is not None:
                    assert column.map.without is not None
                    lost = target.value - column.map.without
                    assert column.map.shares.sum() == pytest.approx(lost, abs=2e-4)
                    last_first += column.map.test.insertion - column.map.test.deletion
                    num_maps += 1
    modalities = {column.modality for column in processor.schema.columns}
    assert last_first >= 0
    assert num_maps or modalities <= {"number", "category", "date"}


def _there(positions: torch.Tensor, target: Target, batch: Batch) -> torch.Tensor:
    """The places of cells that are there; a missing one has none."""
    absent = torch.zeros(len(batch), dtype=torch.bool)
    present = torch.stack(
        [batch.columns[name].present if name in batch.columns else absent for name in target.members], dim=1
    )
    assert positions[~present].isnan().all()
    return positions[present]
