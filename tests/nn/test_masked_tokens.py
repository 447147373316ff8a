"""What is masked is 0, whatever an encoder or a fusion leaves there: no head can learn from what is absent."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from every_kind import CHOICES, LARGE, READS, ROWS, TARGETS, features_of, lies_in, needs_of, settings_of, write_rows
from torch import Tensor

from polysense.config.base import members
from polysense.config.codec import from_dict
from polysense.core.batch import Batch
from polysense.core.modality_spec import ModelSize
from polysense.core.pytree import tensors
from polysense.core.registry import modalities
from polysense.core.tokens import Tokens
from polysense.data.batches.collate import collate
from polysense.data.batches.dataset import TableDataset
from polysense.data.column import ColumnConfig
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetConfig
from polysense.errors import ConfigError
from polysense.nn.encoder import EncoderConfig
from polysense.nn.head import HeadConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig

ENCODERS = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE and name != "convnext" else ())
    for name in members("encoder")
    if name not in CHOICES
]
# A pretrained decoder reads no encoder but its own; its own tests spoil what is masked.
HEADS: dict[str, Any] = {
    name: config
    for name, config in members("head").items()
    if issubclass(config, HeadConfig) and config.tasks and name not in CHOICES | {"pretrained_decoder"}
}
WIDTH = 32
SMALL = ModelSize(channels=4, layers=1, width=WIDTH)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    root = tmp_path_factory.mktemp("every")
    return read_table(write_rows(root), root=root)


@pytest.fixture(scope="module")
def needs(
    language_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, dict[str, Any]]:
    return needs_of(tmp_path_factory.mktemp("needs"), language_model)


def batch_of(table: Table, processor: Processor) -> Batch:
    dataset = TableDataset(table, processor, cache_bytes=2**28)
    return collate([dataset[row] for row in range(ROWS + 1)], processor.schema)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_gives_zeros_where_masked(name: str, table: Table, needs: Mapping[str, dict[str, Any]]) -> None:
    config: Any = members("encoder")[name](**needs.get(name, {}))
    for kind in READS.get(name, sorted(config.reads())):
        features = features_of(kind) if config.reads_features else ()
        if config.reads_features and not features:
            continue
        data = DataConfig(columns={kind: members(ColumnConfig.family)[kind]()}, features={kind: features})  # type: ignore[dict-item]
        processor = Processor.fit(table, data, {kind: config.requirements(kind, kind)})
        torch.manual_seed(0)
        encoder = config.create(next(iter(processor.schema)), WIDTH)
        batch = batch_of(table, processor).columns[kind]
        absent = batch.masked(torch.arange(ROWS + 1) % 2 == 0)
        for mode in (True, False):
            tokens = encoder.train(mode)(absent)
            for level in (tokens, *tokens.pyramid):
                assert not level.values[~level.mask].any(), kind
                assert not level.mask[1::2].any(), kind
                assert level.values[level.mask].any(), kind


def columns_read(head: str, task: str) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """The column that a target lies in, and the settings of a head that reads one column: each that it could read."""
    if "column" in {field.name for field in dataclasses.fields(HEADS[head])}:
        yield from ((None, {"column": kind}) for kind in modalities())
    else:
        yield from ((over, {}) for over in lies_in(task) or (None,))


def build(
    table: Table, head: str, task: str, over: str | None, settings: Mapping[str, Any]
) -> tuple[MultimodalModel, Batch]:
    """A model over a column of every modality with one target."""
    name = TARGETS[task]
    config = HEADS[head](**settings)
    own: dict[str, Any] = settings_of(task, over) | ({"column": f"{name} of {over}"} if over is not None else {})
    data = DataConfig(
        columns={kind: members(ColumnConfig.family)[kind]() for kind in modalities()},  # type: ignore[misc]
        targets={name: members(TargetConfig.family)[task](**own)},  # type: ignore[dict-item]
    )
    processor = Processor.fit(table, data, {}, {name: config.requirements(name)})
    encoders = {
        kind: from_dict(EncoderConfig, dict(spec.default_encoder(SMALL)), where="test")
        for kind, spec in modalities().items()
    }
    torch.manual_seed(0)
    model = ModelConfig(width=WIDTH, encoders=encoders, heads={name: config}).build(processor.schema)
    return model, batch_of(table, processor)


def with_junk(tokens: Tokens | None, scale: float) -> Tokens | None:
    """The same tokens with something where they are masked."""
    if tokens is None:
        return None
    junk = scale * torch.ones_like(tokens.values)
    levels = tuple(level for each in tokens.pyramid if (level := with_junk(each, scale)) is not None)
    return Tokens(torch.where(tokens.mask[:, :, None], tokens.values, junk), tokens.mask, tokens.grid, levels)


def spoil(model: MultimodalModel, scale: float, patch: pytest.MonkeyPatch) -> None:
    """What a careless third party's encoders and fusion do: junk wherever nothing is."""
    for encoder in model.column_encoders.values():
        encode = type(encoder).encode_items.__get__(encoder)
        patch.setattr(encoder, "encode_items", lambda *given, e=encode: with_junk(e(*given), scale), raising=False)

    def fuse(*given: Any) -> tuple[Tokens | None, Tensor]:
        tokens, pooled = type(model.fusion).fuse(model.fusion, *given)
        # A fusion that leaves tokens as they are could as well give them once more.
        return with_junk(model.fusion.join(given[0]) if tokens is None else tokens, scale), pooled

    patch.setattr(model.fusion, "fuse", fuse, raising=False)


def seen(model: MultimodalModel, batch: Batch) -> list[Tensor]:
    """All that the head makes of the batch: predictions from all columns and from a half, then losses in training."""
    names = model.schema.names
    model.eval()
    predicted = model.predict(batch, [names, names[::2]])
    result = [tensor for each in predicted for one in each.values() for tensor in tensors(one)]
    model.train()
    torch.manual_seed(1)
    output = model(batch)
    return result + tensors(output.outputs) + [loss.total for loss in output.losses.values()]


def differs(table: Table, head: str, task: str, over: str | None, settings: Mapping[str, Any]) -> bool:
    """Whether a head's results depend on what is masked."""
    model, batch = build(table, head, task, over, settings)
    results = []
    for scale in (0.0, 50.0):
        with pytest.MonkeyPatch.context() as patch:
            spoil(model, scale, patch)
            results.append(seen(model, batch))
    assert len(results[0]) == len(results[1]) > 0
    return any(not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("head", HEADS)
def test_no_head_sees_what_is_masked(head: str, table: Table, needs: Mapping[str, dict[str, Any]]) -> None:
    for task in sorted(HEADS[head].tasks & set(TARGETS)):
        read = []
        for over, settings in columns_read(head, task):
            with contextlib.suppress(ConfigError) if "column" in settings else contextlib.nullcontext():
                assert not differs(table, head, task, over, settings | needs.get(head, {})), (task, over, settings)
                read.append(over or settings)
        assert read, f"{head} reads no column of these"


def test_a_leak_would_be_seen(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokens, "cleared", lambda tokens: tokens)
    assert differs(table, "tagging", "tagging", "text", {})
