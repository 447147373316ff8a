"""Every registered modality answers every required question, and answers or refuses every optional one."""

from __future__ import annotations

import importlib
import io
import os
import runpy
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from transforms import transform_of

from polysense.config.base import members
from polysense.config.codec import from_dict
from polysense.core.backbones import Backbones
from polysense.core.corruption import SEVERITIES, Corruption
from polysense.core.json import read_json, write_json
from polysense.core.modality_spec import ModalitySpec, ModelSize, Preview
from polysense.core.registry import modalities, modality
from polysense.core.role import Role
from polysense.core.sample import Sample, SourceInfo
from polysense.core.schema import Column, Requirements, Schema
from polysense.core.unsupported import Unsupported
from polysense.data.augmentation.base import TransformConfig
from polysense.data.batches.collate import collate
from polysense.data.column import ColumnConfig, ColumnProcessor
from polysense.data.features import FeatureConfig
from polysense.data.roles.infer import infer
from polysense.data.roles.profile import ColumnProfile
from polysense.data.tables.sources import read_table
from polysense.nn.column_decoder import ColumnDecoder, DecodingLimits
from polysense.nn.encoder import EncoderConfig
from polysense.nn.pretrained import Pretrained

SOURCE = SourceInfo(table="t", row=0, column="x")
ROOT = Path()


def rng(i: int) -> np.random.Generator:
    return np.random.default_rng(i)


def image(i: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng(i).integers(0, 256, (20, 32, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def clip(i: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, (rng(i).normal(0, 0.1, 4000 + 400 * i)).astype(np.float32), 8000, format="WAV")
    return file.getvalue()


EXAMPLES = {
    "text": lambda i: f"{'quick brown foxes ' * (1 + i)}jump over {i} lazy dogs",
    "image": image,
    "audio": clip,
    "number": lambda i: 0.5 + 3.7 * i,
    "category": lambda i: ("red", "green", "blue")[i % 3],
    "date": lambda i: f"2024-03-{1 + i:02d}",
}


FOLDERS = [Path(__file__).parent, Path(os.environ.get("POLYSENSE_EXAMPLE_CELLS", ""))]  # a package brings its own


@cache
def cells(kind: str) -> Sequence[object]:
    """Twelve cells that are surely of a kind: from `example_cell.py` in its tests' folder, or from above."""
    own = [path for path in (folder / kind / "example_cell.py" for folder in FOLDERS) if path.exists()]
    make = runpy.run_path(str(own[0]))["example_cell"] if own else EXAMPLES[kind]
    return [make(i) for i in range(12)]


@cache
def fitted(kind: str) -> ColumnProcessor:
    config = from_dict(ColumnConfig, {"type": modality(kind).column_type}, where="test")  # type: ignore[type-abstract]
    processor = config.build("x")
    processor.fit(cells(kind), [SOURCE] * len(cells(kind)), ROOT, Requirements())
    return processor


def items(kind: str, i: int = 0) -> list[np.ndarray]:
    return fitted(kind).transform(cells(kind)[i], SOURCE, ROOT)


KINDS = list(modalities())
every = pytest.mark.parametrize("kind", KINDS)


def test_the_kinds_come_in_their_stated_order() -> None:
    ranks = [spec.rank for spec in modalities().values()]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks), "two kinds of one rank stand in the order of their names by accident"


@every
def test_it_claims_its_own_cells_and_no_others(kind: str) -> None:
    table = read_table({"x": cells(kind)})
    claims = {name: spec.claim(ColumnProfile(table, "x", literal=False)) for name, spec in modalities().items()}
    claim = claims[kind]
    assert claim is not None
    assert claim.evidence
    surest = max(given.confidence for given in claims.values() if given is not None)
    assert claim.confidence == surest
    (guess,) = infer(table, [])
    assert guess.modality == kind
    assert (guess.role is Role.INPUT) is claim.is_used


@every
def test_files_are_recognized_by_their_first_bytes_alone(kind: str) -> None:
    for name in KINDS:
        cell = cells(name)[0]
        if isinstance(cell, bytes):
            assert modality(kind).recognizes(cell[:16]) is (kind == name)
    assert not modality(kind).recognizes(b"")
    assert modality(kind).is_file is isinstance(cells(kind)[0], bytes)


@every
def test_fitting_gives_its_record_and_survives_saving(kind: str, tmp_path: Path) -> None:
    spec, processor = modality(kind), fitted(kind)
    assert type(processor.column) is spec.record
    assert processor.column.modality == kind
    again = ColumnProcessor.load(processor.save(tmp_path), tmp_path)
    assert again.column == processor.column
    assert all(map(np.array_equal, again.transform(cells(kind)[3], SOURCE, ROOT), items(kind, 3)))


@every
def test_items_are_of_the_stated_type_shape_and_length(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    for i, cell in enumerate(cells(kind)):
        found = items(kind, i)
        assert spec.measure(fitted(kind), cell, SOURCE, ROOT) == [
            1 if spec.length_multiple is None else len(item) for item in found
        ]
        for item in found:
            assert item.dtype == spec.dtype
            assert item.shape == spec.item_shape(column, len(item))
    assert spec.cost(column, 20) == pytest.approx(2 * spec.cost(column, 10))
    assert np.array(spec.padding(column), dtype=spec.dtype) == spec.padding(column)
    estimate = spec.estimate
    assert isinstance(estimate, Unsupported) or len(estimate(cells(kind)[0])) == len(items(kind))
    longest = spec.longest(fitted(kind))
    assert longest is None or longest > 0


@every
def test_its_default_encoder_reads_a_batch(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    for size in (None, ModelSize(channels=4, layers=1, width=8)):
        config = from_dict(EncoderConfig, dict(spec.default_encoder(size)), where="test")
        assert kind in config.reads()
    encoder = config.create(column, 16).eval()
    samples = [Sample(row=i, values={"x": items(kind, i)}) for i in range(3)]
    batch = collate(samples, Schema(columns=(column,), targets=()))
    tokens = encoder(batch.columns["x"])
    assert tokens.values.shape[0] == 3
    assert tokens.mask.any(dim=1).all()
    assert spec.item_column(column).modality == spec.item_modality
    if spec.item_modality != kind:
        assert spec.item_column(column).multiple == column.multiple


@every
def test_its_default_features_are_of_one_size_finite_and_saved_to_the_bit(kind: str, tmp_path: Path) -> None:
    processor = from_dict(ColumnConfig, {"type": modality(kind).column_type}, where="test").build("x")  # type: ignore[type-abstract]
    sources = [SOURCE] * len(cells(kind))
    processor.fit(cells(kind), sources, ROOT, Requirements())
    configs = tuple(from_dict(FeatureConfig, dict(each), where="test") for each in modality(kind).default_features(12))
    processor.fit_features(configs, cells(kind), sources, ROOT)
    if not configs:
        assert processor.column.num_features == 0
        return
    vectors = [processor.extract(cell, items(kind, i)) for i, cell in enumerate(cells(kind))]
    assert {(each.shape, each.dtype) for each in vectors} == {((processor.column.num_features,), np.dtype("float32"))}
    assert np.isfinite(vectors).all()
    assert np.std(vectors, axis=0).any(), "cells differ"
    write_json(tmp_path / "state.json", processor.save(tmp_path))
    loaded = ColumnProcessor.load(read_json(tmp_path / "state.json", dict), tmp_path)
    assert loaded.column == processor.column
    for i in reversed(range(12)):  # in another order: a vector is of its own cell alone
        assert loaded.extract(cells(kind)[i], items(kind, i)).tobytes() == vectors[i].tobytes()
    twice = processor.extract([cells(kind)[0]], items(kind))
    assert twice.tobytes() == vectors[0].tobytes(), "a list of one item"


@every
def test_its_default_augmentation_varies_a_batch(kind: str) -> None:
    column = fitted(kind).column
    plain = modality(kind).default_augmentation(cells(kind), ROOT)
    if plain is None:
        return
    transform = transform_of(from_dict(TransformConfig, dict(plain), where="test"), column)  # type: ignore[type-abstract]
    samples = [Sample(row=i, values={"x": items(kind, i)}) for i in range(6)]
    batch = collate(samples, Schema(columns=(column,), targets=())).columns["x"]
    changed = transform(batch, np.arange(6), 0, 0)
    assert changed.values.dtype == batch.values.dtype
    assert (changed.lengths > 0).equal(batch.lengths > 0)


@every
def test_a_person_can_look_at_it(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    preview = spec.preview(column, cells(kind)[0], items(kind), most=2, side=16, playable=True)
    assert preview.images or preview.audio or preview.texts
    assert all(each.dtype == np.uint8 and each.shape[2] == 3 for each in preview.images)
    facts = spec.summary(column)
    assert facts
    assert all(isinstance(value, str) and value for value in facts.values())
    assert all(spec.nouns)


@every
def test_its_cells_are_described_by_numbers_or_it_says_why_not(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    descriptors = spec.descriptors
    if isinstance(descriptors, Unsupported):
        assert descriptors.reason
        return
    assert len({descriptor.name for descriptor in descriptors}) == len(descriptors) > 0
    for descriptor in descriptors:
        for words in (descriptor.low, descriptor.high):
            assert words.format(column="x", value="3").count("x") >= 1
            assert "3" in words.format(column="x", value="3")
        values = [
            descriptor.measure(column, cell, items(kind, i) if descriptor.reads_items else ())
            for i, cell in enumerate(cells(kind))
        ]
        assert np.isfinite(values).all(), descriptor.name
    # Of a made cell one number at least says which is which.
    assert any(
        len({descriptor.measure(column, cell, items(kind, i)) for i, cell in enumerate(cells(kind))}) > 1
        for descriptor in descriptors
    )


@every
def test_its_cells_are_told_apart_by_more_than_numbers_or_it_says_why_not(kind: str) -> None:
    categories = modality(kind).categories
    if isinstance(categories, Unsupported):
        assert categories.reason
        return
    assert len({category.name for category in categories}) == len(categories) > 0
    for category in categories:
        assert all(told is None or isinstance(told, str) for told in map(category.tell, cells(kind)))


@every
def test_same_cells_have_one_identity(kind: str) -> None:
    spec = modality(kind)
    first, second, last = cells(kind)[0], cells(kind)[1], cells(kind)[-1]
    assert spec.identity(first) == spec.identity(first)
    assert len({spec.identity(cell) for cell in (first, second, last)}) == len({first, second, last})


@every
def test_its_decoder_is_there_or_refused(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    path = spec.decoder(column)
    if isinstance(path, Unsupported):
        assert path.reason
        return
    decoder = resolved(path)
    assert issubclass(decoder, ColumnDecoder)
    made = decoder.create(spec.item_column(column), 8, DecodingLimits())
    assert made.num_positions >= 1


@every
def test_pretrained_backbones_are_named_or_refused(kind: str) -> None:
    spec = modality(kind)
    backbones, path = spec.backbones(cells(kind)), spec.pretrained
    assert isinstance(backbones, Unsupported) is isinstance(path, Unsupported)
    if isinstance(backbones, Backbones):
        assert backbones.names
        assert set(backbones.encoders) <= set(members("encoder"))
    if isinstance(path, str):
        assert issubclass(resolved(path), Pretrained)


@every
def test_a_reconstruction_can_be_looked_at(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    shape = {"audio": (64, 20), "image": (3, 20, 32), "video": (3, 20, 32)}.get(kind, ())
    preview = spec.preview_reconstruction(column, np.zeros(shape, dtype=np.float32))
    assert preview is None or isinstance(preview, Preview)
    assert preview is None or preview.images


def test_hashed_categories_are_not_decoded() -> None:
    hashed = from_dict(ColumnConfig, {"type": "category", "hash_buckets": 8}, where="test")  # type: ignore[type-abstract]
    processor = hashed.build("x")
    column = processor.fit(cells("category"), [SOURCE] * 12, ROOT, Requirements())
    refusal = modality("category").decoder(column)
    assert isinstance(refusal, Unsupported)
    assert "hashed" in refusal.reason


def test_specs_are_instances_of_the_contract() -> None:
    assert all(isinstance(spec, ModalitySpec) for spec in modalities().values())
    assert Column(name="x", modality="smell").num_ids is None, "the base knows nothing of ids"


def resolved(path: str) -> type:
    module, _, name = path.rpartition(".")
    found: type = vars(importlib.import_module(module))[name]
    return found


def damaged(kind: str, i: int, corruption: Corruption, severity: int) -> list[np.ndarray]:
    """What a cell becomes; every draw is that of its number."""
    if corruption.of_cell is not None:
        return fitted(kind).transform(corruption.of_cell(cells(kind)[i], severity, rng(i)), SOURCE, ROOT)
    assert corruption.of_item is not None
    return [corruption.of_item(fitted(kind).column, item, severity, rng(i)) for item in items(kind, i)]


def alike(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return len(some) == len(others) and all(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in zip(some, others, strict=True)
    )


def num_changed(kind: str, corruption: Corruption, severity: int) -> int:
    """Cells that are other items than before."""
    return sum(not alike(damaged(kind, i, corruption, severity), items(kind, i)) for i in range(12))


@every
def test_its_corruptions_damage_cells_the_more_the_severer_and_the_same_each_time(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    offered = spec.corruptions
    if isinstance(offered, Unsupported):
        assert offered.reason
        return
    assert len({each.name for each in offered}) == len(offered) > 0
    before = [item.copy() for i in range(12) for item in items(kind, i)]
    for corruption in offered:
        for severity in SEVERITIES:
            for i in range(3):
                once, again = (damaged(kind, i, corruption, severity) for _ in range(2))
                assert alike(once, again)
                for item in once:
                    assert item.dtype == spec.dtype
                    assert item.shape == spec.item_shape(column, len(item) if spec.length_multiple is not None else 1)
        assert num_changed(kind, corruption, 5) >= num_changed(kind, corruption, 1)
        assert num_changed(kind, corruption, 5) > 0, f"{corruption.name} changes nothing"
    after = [item for i in range(12) for item in items(kind, i)]
    assert alike(before, after)


@every
def test_damage_survives_the_smallest_and_the_emptiest_items(kind: str) -> None:
    spec, column = modality(kind), fitted(kind).column
    offered = spec.corruptions
    if isinstance(offered, Unsupported):
        return
    shape = spec.item_shape(column, 1)
    plain = np.zeros(shape, dtype=spec.dtype)
    for corruption in offered:
        for severity in SEVERITIES:
            if corruption.of_item is not None:
                result = corruption.of_item(column, plain, severity, rng(0))
                assert result.dtype == spec.dtype
            else:
                assert corruption.of_cell is not None
                for cell in (None, "", "x", [], ["a", None], b"\xff", 7):
                    corruption.of_cell(cell, severity, rng(0))
