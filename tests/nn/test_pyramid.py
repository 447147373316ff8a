"""Feature maps for heads that predict densely: given only where a head asks, and true to their levels."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polysense.config.base import members
from polysense.core.batch import Batch, ColumnBatch, Truth
from polysense.core.rows import RowContext
from polysense.core.schema import Column, Schema, Target
from polysense.core.tokens import Fused, PyramidLevel, Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.series.record import SeriesColumn
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense.nn.fusion import FusionConfig
from polysense.nn.head import Logits
from polysense.nn.masking import excluding
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.tasks.regression.heads.regression import RegressionHead, RegressionHeadConfig

PHOTO = ImageColumn(name="photo", image_size=(44, 58), num_channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))
SOUND = AudioColumn(name="sound", sample_rate=8000, typical_length=8000)
SERIES = SeriesColumn(name="series", channels=("a", "b"), mean=(0.0, 0.0), std=(1.0, 1.0))

IMAGE = ["image_cnn", "resnet", "resnet18", "convnext", "vgg", "vit"]
EVERY = [(name, PHOTO) for name in IMAGE] + [
    ("audio_cnn", SOUND),
    ("waveform_cnn", SOUND),
    ("series_cnn", SERIES),
]


def build(type_: str, column: Column, **options: Any) -> Encoder:
    torch.manual_seed(0)
    config = members("encoder")[type_](**options)
    assert isinstance(config, EncoderConfig)
    return config.create(column, 8).eval()


def cells(column: Column, lengths: Sequence[int], items: int = 1) -> ColumnBatch:
    generator = torch.Generator().manual_seed(0)
    number = len(lengths) * items
    if isinstance(column, ImageColumn):
        shape = (number, column.num_channels, *column.image_size)
        values = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    elif isinstance(column, AudioColumn):
        values = torch.randint(-3000, 3000, (number, max(*lengths, 1)), generator=generator).to(torch.int16)
    else:
        values = torch.randn(number, max(*lengths, 1), 2, generator=generator)
    unfolded = values.unflatten(0, (len(lengths), items))
    return ColumnBatch(values=unfolded, lengths=torch.tensor(lengths)[:, None].expand(-1, items).contiguous())


def lengths_of(column: Column) -> list[int]:
    return [1, 0, 1] if isinstance(column, ImageColumn) else [1601, 0, 900]


def positions(column: Column) -> tuple[int, ...]:
    return column.image_size if isinstance(column, ImageColumn) else (1601,)


@pytest.mark.parametrize(("name", "column"), EVERY)
def test_levels_are_as_announced_and_tokens_are_what_they_are_without(name: str, column: Column) -> None:
    encoder, batch = build(name, column), cells(column, lengths_of(column))
    plain = encoder(batch)
    assert plain.pyramid == ()
    levels = encoder.give_pyramid()
    tokens = encoder(batch)
    assert tokens.values.equal(plain.values)
    assert tokens.mask.equal(plain.mask)
    assert len(tokens.pyramid) == len(levels) > 0
    for level, given in zip(levels, tokens.pyramid, strict=True):
        assert given.grid == tuple(-(-n // s) for n, s in zip(positions(column), level.stride, strict=True))
        assert level.grid in (None, given.grid)
        assert given.values.shape[2] == level.width
        assert given.present.tolist() == [True, False, True]
        assert not given.values[~given.mask].any()
        assert given.values[given.mask].any()
    strides = [level.stride for level in levels]
    assert strides == sorted(set(strides))


@pytest.mark.parametrize(("name", "column"), EVERY)
def test_a_rows_levels_depend_on_the_row_alone(name: str, column: Column) -> None:
    encoder, batch = build(name, column), cells(column, lengths_of(column))
    encoder.give_pyramid()
    together = encoder(batch).pyramid
    alone = encoder(ColumnBatch(values=batch.values[2:], lengths=batch.lengths[2:])).pyramid
    for both, own in zip(together, alone, strict=True):
        torch.testing.assert_close(both.values[2:][both.mask[2:]], own.values[own.mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in IMAGE if name != "vit"])
@pytest.mark.parametrize("where", [(10, 12), (33, 50)])
def test_a_cell_stands_for_the_pixels_that_its_stride_says(name: str, where: tuple[int, int]) -> None:
    column = dataclasses.replace(PHOTO, image_size=(96, 96))
    encoder = build(name, column)
    levels = encoder.give_pyramid()
    values = torch.full((1, 1, 3, 96, 96), 100, dtype=torch.uint8)
    changed = values.clone()
    changed[..., where[0], where[1]] = 255
    before, after = (encoder(ColumnBatch(values=each, lengths=torch.ones(1, 1).long())) for each in (values, changed))
    for level, one, other in zip(levels, before.pyramid, after.pyramid, strict=True):
        assert level.grid is not None
        change = (one.values - other.values).abs().sum(dim=2).reshape(level.grid)
        largest = divmod(int(change.argmax()), level.grid[1])
        expected = [position // stride for position, stride in zip(where, level.stride, strict=True)]
        assert all(abs(cell - right) <= 1 for cell, right in zip(largest, expected, strict=True)), level


@pytest.mark.parametrize(("name", "column"), EVERY)
@pytest.mark.parametrize("training", [True, False])
def test_a_column_that_no_row_has_keeps_its_levels(name: str, column: Column, training: bool) -> None:
    encoder = build(name, column)
    levels = encoder.give_pyramid()
    encoder.train(training)
    batch = cells(column, lengths_of(column))
    for absent in (
        dataclasses.replace(batch, lengths=torch.zeros_like(batch.lengths)),
        dataclasses.replace(batch, values=batch.values[:, :0], lengths=batch.lengths[:, :0]),
    ):
        tokens = encoder(absent)
        assert [level.values.shape[2] for level in tokens.pyramid] == [level.width for level in levels]
        assert not any(level.mask.any() or level.values.any() for level in tokens.pyramid)


def test_items_of_a_cell_come_first_in_a_levels_grid() -> None:
    encoder = build("image_cnn", dataclasses.replace(PHOTO, multiple=True, max_items=2), stages=1)
    levels = encoder.give_pyramid()
    batch = cells(PHOTO, [1, 1], items=2)
    batch = dataclasses.replace(batch, lengths=torch.tensor([[1, 1], [1, 0]]))
    for level, given in zip(levels, encoder(batch).pyramid, strict=True):
        assert given.grid == (2, *(level.grid or ()))
        assert given.mask.unflatten(1, given.grid).any(dim=(2, 3)).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("name", ["image_cnn", "resnet18"])
def test_training_gives_absent_rows_no_level(name: str) -> None:
    encoder = build(name, PHOTO)
    encoder.give_pyramid()
    for level in encoder.train()(cells(PHOTO, [0, 1, 0, 1])).pyramid:
        assert level.present.tolist() == [False, True, False, True]
        assert not level.values[~level.mask].any()
        assert level.values.requires_grad


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "test_vit", "swin_tiny_patch4_window7_224", "vgg11"])
def test_timm(name: str) -> None:
    column = dataclasses.replace(PHOTO, image_size=(64, 96))
    encoder, batch = build("timm", column, name=name, pretrained=False, tune="full"), cells(column, [1, 0])
    plain = encoder(batch)
    levels = encoder.give_pyramid()
    tokens = encoder(batch)
    torch.testing.assert_close(tokens.values, plain.values, rtol=1e-5, atol=1e-5)
    for level, given in zip(levels, tokens.pyramid, strict=True):
        assert given.grid == level.grid == (64 // level.stride[0], 96 // level.stride[1])
        assert given.values.shape[2] == level.width
        assert given.present.tolist() == [True, False]
    for level in encoder.train()(batch).pyramid:
        assert level.present.tolist() == [True, False]
        assert not level.values[1].any()


@pytest.mark.parametrize(
    ("name", "settings", "strides"),
    [
        ("ResNet", {"embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 1, 1]}, [4, 8, 16]),
        ("Swin", {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "image_size": 32, "window_size": 2}, [4, 8]),
        ("ViT", {"image_size": 32, "patch_size": 8}, [8]),
        ("Dinov2", {"image_size": 32, "patch_size": 16}, [16]),
    ],
)
def test_transformers(name: str, settings: Mapping[str, object], strides: list[int], tmp_path: Path) -> None:
    transformers: Any = importlib.import_module("transformers")
    if name in ("ViT", "Dinov2"):
        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        settings = {**small, **settings}
    getattr(transformers, f"{name}Config")(**settings).save_pretrained(tmp_path)
    column = dataclasses.replace(PHOTO, image_size=(32, 32))
    encoder = build("pretrained", column, path=str(tmp_path), weights="random", tune="full")
    batch = cells(column, [1, 0])
    plain = encoder(batch)
    levels = encoder.give_pyramid()
    tokens = encoder(batch)
    assert tokens.values.equal(plain.values)
    assert [level.stride for level in levels] == [(stride, stride) for stride in strides]
    for level, given in zip(levels, tokens.pyramid, strict=True):
        assert given.grid == level.grid
        assert given.values.shape[2] == level.width
        assert given.present.tolist() == [True, False]
        assert given.values[0].any()


def test_an_encoder_without_feature_maps_says_so() -> None:
    column = CategoryColumn(name="kind", num_categories=2)
    with pytest.raises(ConfigError, match=r"model\.encoders\.kind: .* has none; choose a convolutional encoder"):
        build("category_embedding", column).give_pyramid()


@pytest.mark.parametrize("name", ["gated", "sum", "transformer", "bottleneck", "perceiver"])
def test_fusions_carry_levels_through(name: str) -> None:
    encoder = build("image_cnn", PHOTO)
    encoder.give_pyramid()
    tokens = {"photo": encoder(cells(PHOTO, [1, 0])), "other": Tokens.nothing(2, 8, torch.device("cpu"))}
    config = members("fusion")[name]()
    assert isinstance(config, FusionConfig)
    fused = config.build(("photo", "other"), 8).eval()(tokens)
    retained: Sequence[Tokens] = fused.columns["photo"].tokens.pyramid
    assert all(one.values.equal(other.values) for one, other in zip(retained, tokens["photo"].pyramid, strict=True))
    masked = fused.columns["photo"].tokens.masked(torch.tensor([False, False]))
    assert not any(level.mask.any() or level.values.any() for level in masked.pyramid)


def test_of_an_excluded_column_nothing_is_left() -> None:
    encoder = build("image_cnn", PHOTO)
    levels: tuple[PyramidLevel, ...] = encoder.give_pyramid()
    rest = excluding({"photo": encoder(cells(PHOTO, [1, 1]))}, ["photo"])["photo"].pyramid
    left: list[Tensor] = [level.values for level in rest]
    assert len(left) == len(levels)
    assert not any(values.any() for values in left)


@dataclass(frozen=True, kw_only=True)
class DenseConfig(RegressionHeadConfig):
    """A number from the cells of a column's finest and coarsest maps."""

    def build(self, target: Target, width: int) -> DenseHead:
        return DenseHead(self, target, width)


class DenseHead(RegressionHead):
    """A linear map of each level's mean."""

    reads_pyramids = ("photo",)

    def connect_pyramids(self, levels: Mapping[str, tuple[PyramidLevel, ...]]) -> None:
        self.each = nn.ModuleList(nn.Linear(level.width, len(self.target.columns)) for level in levels["photo"])

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> Logits:
        pyramid = fused.columns["photo"].tokens.pyramid
        maps = zip(self.each, pyramid, strict=True)
        return Logits(self.readout(fused.pooled) + sum(each(level.mean()) for each, level in maps))


def test_a_model_asks_the_encoders_of_what_its_heads_read(schema: Schema, make_batch: Callable[..., Batch]) -> None:
    target = next(target for target in schema.targets if target.name == "size")
    photo = next(column for column in schema.columns if column.name == "photo")
    schema = dataclasses.replace(schema, columns=(photo, *schema.columns[-1:]), targets=(target,))

    def model(head: RegressionHeadConfig) -> MultimodalModel:
        torch.manual_seed(0)
        encoders = {"photo": members("encoder")["resnet"](), schema.names[1]: CategoryEmbeddingConfig(size=4)}
        return ModelConfig(width=16, encoders=encoders, heads={"size": head}).build(schema)  # type: ignore[arg-type]

    batch = make_batch()
    batch = dataclasses.replace(batch, columns={n: c for n, c in batch.columns.items() if n in schema.names})
    plain, dense = model(RegressionHeadConfig()), model(DenseConfig())
    assert plain.encode(batch)["photo"].pyramid == ()
    assert list(plain.encoders.state_dict()) == list(dense.encoders.state_dict())
    output = dense(batch)
    sum(loss.total.sum() for loss in output.losses.values()).backward()
    assert all(parameter.grad is not None for parameter in dense.parameters())
    # Absent is absent, however the head reads it.
    dense.eval()
    (without_photo,) = dense.predict(batch, [[schema.names[1]]])
    (alone,) = dense.predict(batch.only([schema.names[1]]))
    assert without_photo["size"]["values"].equal(alone["size"]["values"])
