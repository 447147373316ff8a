"""Feature vectors from a table to a batch: learned on training cells, of each cell alone, made where they are read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polysense.config.codec import dump_yaml, from_dict, parse_yaml, to_dict
from polysense.core.json import read_json, write_json
from polysense.core.sample import Sample
from polysense.data.batches.collate import FILLER, collate
from polysense.data.batches.dataset import TableDataset
from polysense.data.column import ColumnProcessor
from polysense.data.config import DataConfig
from polysense.data.features import CellFeatures, FeatureConfig, FeatureExtractor, compressed
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table, read_table
from polysense.errors import BundleError, ColumnError, ConfigError
from polysense.modalities.category.column import CategoryColumnConfig
from polysense.modalities.category.features.one_hot import OneHotConfig
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.image.features.color_histogram import ColorHistogramConfig
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.number.features.value import NumberFeaturesConfig
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.features.tfidf import WordTfidfConfig

NUMBER = NumberColumn(name="x", mean=0.0, std=1.0)
COLUMNS: dict[str, Any] = {
    "note": TextColumnConfig(), "age": NumberColumnConfig(), "kind": CategoryColumnConfig(), "pic": ImageColumnConfig(),
}  # fmt: skip
FEATURES: dict[str, tuple[FeatureConfig, ...]] = {
    "note": (WordTfidfConfig(min_texts=1),), "age": (NumberFeaturesConfig(),), "pic": (ColorHistogramConfig(),)
}  # fmt: skip


def png(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows() -> list[dict[str, Any]]:
    return [
        {
            "note": None if i == 1 else f"word{i % 3} common {i}",
            "age": None if i == 2 else 1.5 * i,
            "kind": "abc"[i % 3],
            "pic": b"broken" if i == 3 else png(i),
        }
        for i in range(8)
    ]


def fitted(**changes: Any) -> tuple[Table, Processor]:
    table = read_table(rows())
    return table, Processor.fit(table, DataConfig(**{"columns": COLUMNS, "features": FEATURES, **changes}))


class Given(FeatureExtractor):
    """Gives what its cells hold."""

    num_features = 3

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        return items[0]


def given(vectors: list[list[float]]) -> CellFeatures:
    features = CellFeatures([], NUMBER)
    features._extractors, features.configs = [Given(NumberFeaturesConfig(), NUMBER)], (NumberFeaturesConfig(),)
    features.fit([0.0] * len(vectors), [(0.0, [np.array(vector)]) for vector in vectors])
    return features


def test_quantities_are_standardized_and_constants_say_nothing() -> None:
    features = given([[1.0, 7.0, 5e8], [3.0, 7.0, 5e8 + 1e-3]])
    assert features.extract(0.0, [np.array([1.0, 7.0, 5e8])]).tolist() == [-1, 0, 0]
    assert features.extract(0.0, [np.array([4.0, 9.0, -1e9])]).tolist() == [2, 0, 0]


def test_far_values_keep_their_order_and_what_is_not_finite_is_0() -> None:
    values = np.array([-1e300, -50.0, -10.0, -3.0, 0.0, 9.9, 10.0, 10.1, 1e9])
    found = compressed(values)
    assert (np.diff(found) > 0).all()
    np.testing.assert_array_equal(found[2:7], values[2:7])
    assert found[-1] == pytest.approx(10 + np.log1p(1e9 - 10))
    features = given([[1.0, 7.0, -1.0], [3.0, 7.0, 1.0]])
    assert features.extract(0.0, [np.array([np.nan, np.inf, -np.inf])]).tolist() == [0, 0, 0]


def test_samples_have_the_vectors_of_the_cells_that_are_there() -> None:
    table, processor = fitted()
    dataset = TableDataset(table, processor, cache_bytes=2**20)
    names = [sorted(dataset[i].features or {}) for i in range(4)]
    assert names == [["age", "note", "pic"], ["age", "pic"], ["note", "pic"], ["age", "note"]]
    assert processor.schema.column("kind").num_features == 0
    batch = collate([dataset[0], dataset[3], dataset[FILLER]], processor.schema, num_rows=4)
    picture = batch.columns["pic"].features
    assert picture is not None
    assert picture.shape == (4, processor.schema.column("pic").num_features)
    assert not picture[1:].any(), "unreadable, a filler, and no row at all"
    assert picture[0].numpy().tobytes() == (dataset[0].features or {})["pic"].tobytes()
    assert batch.columns["kind"].features is None


def test_a_rows_vectors_are_its_own() -> None:
    table, processor = fitted()
    whole = [TableDataset(table, processor)[i].features or {} for i in range(8)]
    for order in ([5], [7, 0, 3], [0, 0]):
        part = TableDataset(table.select(np.array(order)), processor)
        for position, i in enumerate(order):
            own = part[position].features or {}
            assert {name: vector.tobytes() for name, vector in own.items()} == {
                name: vector.tobytes() for name, vector in whole[i].items()
            }


def test_a_saved_processor_makes_the_same_vectors(tmp_path: Path) -> None:
    table, processor = fitted()
    processor.save(tmp_path)
    loaded = Processor.load(tmp_path)
    assert loaded.schema == processor.schema
    for i in range(8):
        first, second = (TableDataset(table, each)[i].features or {} for each in (processor, loaded))
        assert {name: each.tobytes() for name, each in first.items()} == {
            name: each.tobytes() for name, each in second.items()
        }
    # A file for each column would take most of the time of saving a wide table.
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"processor.json", "tokenizer.json"}
    state = read_json(tmp_path / "processor.json", dict)
    del state["columns"][0]["features"]["mean"]
    write_json(tmp_path / "processor.json", state)
    with pytest.raises(BundleError, match="column_0"):
        Processor.load(tmp_path)


def _with_fewer(plain: dict[str, Any], *path: str | int) -> dict[str, Any]:
    copy = json.loads(json.dumps(plain))
    inner = copy
    for step in path:
        inner = inner[step]
    inner.pop()
    return copy


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("mean",), r"found \d+ in mean, expected \d+ as the column has"),
        (("factor",), r"found \d+ in factor"),
        (("extractors",), r"found \d+ in extractors"),
        (("extractors", 0, "state", "terms"), r"found \d+ weights for \d+ different terms"),
        (("extractors", 0, "state", "idf"), r"found \d+ weights for \d+ different terms"),
    ],
)
def test_saved_features_whose_parts_do_not_fit_are_refused(path: tuple[str | int, ...], message: str) -> None:
    _, processor = fitted()
    column = processor.columns["note"]
    assert column.features is not None
    plain = column.features.plain()
    assert CellFeatures.restored(plain, column.column).plain() == plain
    with pytest.raises(ValueError, match=message):
        CellFeatures.restored(_with_fewer(plain, *path), column.column)


def test_nobody_pays_for_what_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    table, processor = fitted()
    made: list[str] = []
    extract = ColumnProcessor.extract

    def counted(self: ColumnProcessor, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        made.append(self.name)
        return extract(self, cell, items)

    monkeypatch.setattr(ColumnProcessor, "extract", counted)
    dataset = TableDataset(table, processor, with_features=False, cache_bytes=2**20)
    assert collate(dataset.__getitems__([0, 4]), processor.schema).columns["pic"].features is None
    assert not made
    kept = dataset.cached_bytes
    dataset.with_features = True  # what is cached is not decoded again
    monkeypatch.setattr(ColumnProcessor, "placed", None)
    first = dataset[4].features
    assert first is not None
    assert made == ["note", "age", "pic"]
    assert dataset.cached_bytes > kept
    assert dataset[4].features is not None
    assert len(made) == 3, "cached"
    dataset.with_features = False
    assert dataset[4].features is None


def test_a_cache_that_is_full_changes_nothing_but_time() -> None:
    table, processor = fitted()
    dataset = TableDataset(table, processor, with_features=False, cache_bytes=2500)
    plain = [dataset[i] for i in range(8)]
    dataset.with_features = True
    reference = TableDataset(table, processor)
    for _ in range(2):
        for i in (0, 7, 4):
            own, expected = dataset[i].features or {}, reference[i].features or {}
            assert {name: each.tobytes() for name, each in own.items()} == {
                name: each.tobytes() for name, each in expected.items()
            }
    assert dataset.cached_bytes <= 2500
    assert all(sample.features is None for sample in plain)


def test_only_training_cells_are_learned_from() -> None:
    _, processor = fitted()
    new = read_table([{"note": "unseen common", "age": 1e12, "pic": png(99)}])
    sample = processor.transform(new, 0, with_targets=False)
    processor.add_features(sample, new, 0)
    assert sample.features is not None
    assert np.count_nonzero(sample.features["note"]) == 1
    assert sample.features["age"][1] == pytest.approx(1.5, abs=0.3), "the highest quantile, standardized"
    assert np.isfinite(sample.features["age"]).all()


def test_preprocessing_that_is_taken_over_keeps_its_features_or_learns_others() -> None:
    table, processor = fitted()
    note = processor.columns["note"].taken_over("text", "note")
    columns, same = {"text": TextColumnConfig(column="note")}, {"text": FEATURES["note"]}
    kept = Processor.fit(table, DataConfig(columns=columns, features=same), fitted_columns={"text": note})
    assert kept.columns["text"].features is processor.columns["note"].features
    other = {"text": (WordTfidfConfig(longest=1, min_texts=1),)}
    note = processor.columns["note"].taken_over("text", "note")
    learned = Processor.fit(table, DataConfig(columns=columns, features=other), fitted_columns={"text": note})
    assert learned.schema.column("text").num_features < processor.schema.column("note").num_features
    note = processor.columns["note"].taken_over("text", "note")
    none = Processor.fit(table, DataConfig(columns=columns), fitted_columns={"text": note})
    assert none.schema.column("text").num_features == 0
    assert processor.columns["note"].features is not None


def test_cells_that_hold_nothing() -> None:
    features = CellFeatures(FEATURES["age"], NUMBER)
    with pytest.raises(ColumnError, match=r"data\.features\.x: no training cell"):
        features.fit(["", ""], [("", [])])


def test_a_recipe_names_them_by_type() -> None:
    plain = {
        "columns": {"note": "text", "pic": "image"},
        "features": {"note": ["word_tfidf", {"type": "character_tfidf", "longest": 3}], "pic": ["hog"]},
    }
    config = from_dict(DataConfig, plain, where="data")
    assert [each.type for each in config.features["note"]] == ["word_tfidf", "character_tfidf"]
    again = from_dict(DataConfig, parse_yaml(dump_yaml(to_dict(config)), where="test"), where="data")
    assert again == config


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"other": (NumberFeaturesConfig(),)}, "features: there is no input column 'other'"),
        ({"age": (OneHotConfig(),)}, "'one_hot' is made of category; column 'age' is number"),
        ({"age": (NumberFeaturesConfig(), NumberFeaturesConfig())}, "'value_and_quantile' is there twice"),
    ],
)
def test_what_can_not_be_made_is_refused(features: Any, message: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=message):
        DataConfig(columns={"age": NumberColumnConfig()}, features=features)


def test_a_row_with_nothing_has_no_vector() -> None:
    _, processor = fitted()
    empty = read_table({"note": [None], "age": [None], "kind": [None], "pic": [None]})
    sample = TableDataset(empty, processor)[0]
    assert sample.features == {}
    batch = collate([sample], processor.schema)
    vectors = batch.columns["age"].features
    assert vectors is not None
    assert not vectors.any()
    assert collate([Sample(row=FILLER)], processor.schema).columns["age"].features is None
