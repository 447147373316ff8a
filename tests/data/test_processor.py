"""A row becomes the same sample in every process, a bad cell touches nothing but itself."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from polysense.core.sample import Sample
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table, read_table
from polysense.errors import BundleError, ColumnError, TableError
from polysense.modalities.audio.column import AudioColumnConfig
from polysense.modalities.audio.record import AudioRequirements
from polysense.modalities.category.column import CategoryColumnConfig
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.text.column import TextColumnConfig
from polysense.tasks.classification.target import ClassificationTargetConfig
from polysense.tasks.multilabel.target import MultilabelTargetConfig
from polysense.tasks.regression.target import RegressionTargetConfig
from polysense.tasks.tagging.target import TaggingTargetConfig

CONFIG = DataConfig(
    columns={
        "pic": ImageColumnConfig(),
        "snd": AudioColumnConfig(),
        "note": TextColumnConfig(),
        "a/b c": NumberColumnConfig(),
        "cat": CategoryColumnConfig(),
    },
    targets={
        "y": ClassificationTargetConfig(),
        "tags": MultilabelTargetConfig(),
        "two": RegressionTargetConfig(columns=("p", "q")),
    },
    weight="w",
)
NUM = 12


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).normal(0, 0.1, 400 + 10 * seed)
    soundfile.write(buffer, values, 8000, format="WAV")
    return buffer.getvalue()


def rows() -> dict[str, list[Any]]:
    return {
        "pic": [png(i) for i in range(NUM)],
        "snd": [wav(i) for i in range(NUM)],
        "note": [f"note number {i} of many words" for i in range(NUM)],
        "a/b c": [float(i) for i in range(NUM)],
        "cat": ["uvw"[i % 3] for i in range(NUM)],
        "y": [i % 2 for i in range(NUM)],
        "tags": [["s", "t"][: i % 3] for i in range(NUM)],
        "p": [float(i) for i in range(NUM)],
        "q": [float(-i) for i in range(NUM)],
        "w": [1.0 + i for i in range(NUM)],
    }


@pytest.fixture(scope="module")
def fitted() -> Processor:
    return Processor.fit(table(), CONFIG)


def table(**changes: list[Any]) -> Table:
    return read_table({**rows(), **changes}, name="t")


def bad(column: str, position: int, cell: Any) -> Table:
    cells = rows()[column]
    cells[position] = cell
    return table(**{column: cells})


def same(one: Sample, other: Sample) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

    return (
        one.values.keys() == other.values.keys()
        and all(
            len(one.values[name]) == len(other.values[name]) and all(map(equal, one.values[name], other.values[name]))
            for name in one.values
        )
        and one.targets.keys() == other.targets.keys()
        and all(equal(one.targets[name], other.targets[name]) for name in one.targets)
        and (one.row, one.weight, one.unreadable) == (other.row, other.weight, other.unreadable)
    )


def test_a_whole_row_becomes_a_sample(fitted: Processor) -> None:
    sample = fitted.transform(table(), 5, with_targets=True)
    assert sample.row == 5
    kinds = {name: (items[0].dtype.name, items[0].shape) for name, items in sample.values.items()}
    assert kinds["pic"] == ("uint8", (3, 10, 12))
    assert kinds["snd"] == ("int16", (450,))
    assert kinds["note"][0] == "int32"
    assert kinds["a/b c"] == ("float32", (1,))
    assert kinds["cat"] == ("int64", (1,))
    assert sample.targets["y"].tolist() == 1
    assert sample.targets["tags"].tolist() == [1.0, 1.0]
    assert sample.targets["two"].tolist() == [5.0, -5.0]
    assert sample.weight == 6.0
    assert sample.unreadable == ()
    assert fitted.schema.names == tuple(CONFIG.columns)
    assert [target.name for target in fitted.schema.targets] == ["y", "tags", "two"]
    assert fitted.transform(table(), 5, with_targets=False).targets == {}


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("pic", b"\x89PNG\r\n\x1a\n", "."),
        ("pic", png(0)[:200], "."),
        ("pic", b"plain text", "text file"),
        ("snd", b"", "0 bytes"),
        ("snd", wav(3)[:300], "truncated"),
        ("a/b c", "many", "expected a number"),
        ("y", 7, "did not know"),
        ("tags", ["s", "zz"], "'zz'"),
        ("p", "x", "'p': found 'x'"),
        ("w", -1.0, "expected 0 or more"),
    ],
)
def test_a_bad_cell_is_listed_and_touches_nothing_else(column: str, cell: Any, reason: str, fitted: Processor) -> None:
    import re

    spoilt = bad(column, 4, cell)
    for i in range(NUM):
        good = fitted.transform(table(), i, with_targets=True)
        found = fitted.transform(spoilt, i, with_targets=True)
        if i != 4:
            assert same(found, good)
            continue
        (listed,) = found.unreadable
        assert (listed.source.table, listed.source.row) == ("t", 4)
        assert column in listed.source.column
        assert re.search(reason, listed.reason)
        name = {"p": "two"}.get(column, column)
        assert name not in found.values
        assert name not in found.targets
        assert found.weight == (1.0 if column == "w" else 5.0)
        found.unreadable = ()
        for retained, lost in ((found.values, good.values), (found.targets, good.targets)):
            lost.pop(name, None)
            assert retained.keys() == lost.keys()


def test_the_list_names_the_original_row_and_the_file(tmp_path: Path, fitted: Processor) -> None:
    (tmp_path / "x.png").write_text("no picture")
    source = read_table({"pic": ["gone.png", "x.png", None], "y": [0, 1, 0]}, root=tmp_path, name="files.csv")
    first, second = (fitted.transform(source.select([1, 0]), i, with_targets=True).unreadable[0] for i in range(2))
    assert (first.source.row, first.source.file) == (1, "x.png")
    assert (second.source.row, second.source.file) == (0, "gone.png")
    assert str(second).startswith("files.csv, row 0, column 'pic' (gone.png): no such file")


def test_missing_cells_and_missing_columns_are_absent(fitted: Processor, caplog: pytest.LogCaptureFixture) -> None:
    empty = fitted.transform(bad("pic", 3, None), 3, with_targets=True)
    assert "pic" not in empty.values
    assert empty.unreadable == ()
    few = read_table({"note": ["hello", None], "extra": [1, 2]}, name="few.csv")
    with caplog.at_level(logging.WARNING):
        found = [fitted.transform(few, i, with_targets=True) for i in (0, 1)]
    assert [set(sample.values) for sample in found] == [{"note"}, set()]
    assert found[0].targets == {}
    assert found[0].weight == 1.0
    messages = [record.getMessage() for record in caplog.records if "few.csv" in record.getMessage()]
    assert len(messages) == 4, "each missing column once"


def test_saving_and_loading_changes_no_byte(fitted: Processor, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    loaded = Processor.load(tmp_path / "one")
    assert loaded.schema == fitted.schema
    loaded.save(tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert Path("processor.json") in files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    for i in range(NUM):
        assert same(loaded.transform(table(), i, with_targets=True), fitted.transform(table(), i, with_targets=True))


CELLS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=30)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5), max_size=3)
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.fixed_dictionaries(dict.fromkeys(rows(), CELLS)))
def test_no_cell_of_any_kind_ends_a_run(fitted: Processor, cells: dict[str, Any]) -> None:
    source = read_table({name: [cell] for name, cell in cells.items()}, name="t")
    sample = fitted.transform(source, 0, with_targets=True)
    assert np.isfinite(sample.weight)
    for listed in sample.unreadable:
        assert listed.reason
    for name in ("pic", "snd"):
        assert name not in sample.values
    again = fitted.transform(source, 0, with_targets=True)
    assert same(sample, again)


def test_fitting_needs_columns_rows_and_what_it_names() -> None:
    with pytest.raises(ColumnError, match="no input column"):
        Processor.fit(table(), DataConfig())
    with pytest.raises(ColumnError, match="no training rows"):
        Processor.fit(table().select([]), CONFIG)
    with pytest.raises(TableError, match=r"no input column 'zz'"):
        Processor.fit(table(), DataConfig(columns={"zz": TextColumnConfig()}))
    with pytest.raises(TableError, match=r"no weight column 'zz'"):
        Processor.fit(table(), DataConfig(columns={"note": TextColumnConfig()}, weight="zz"))


def test_weights_that_can_be_read_in_two_ways_are_told(caplog: pytest.LogCaptureFixture) -> None:
    config = DataConfig(
        columns={"a/b c": NumberColumnConfig()}, targets={"y": ClassificationTargetConfig()}, weight="w"
    )
    processor = Processor.fit(table(w=["1,234"] * NUM), config)
    (warning,) = processor.warnings
    assert warning.startswith(
        "weight 'w': cells such as '1,234' (12 of 12) can be read in two ways, as 1,234 or as 1.234"
    )
    assert warning.endswith("to settle it, write the weights without a mark between thousands")
    assert "weight 'w': cells such as '1,234'" in caplog.text
    caplog.clear()
    assert not Processor.fit(table(w=["1.5"] * NUM), config).warnings
    assert not caplog.text


def test_requirements_reach_their_column() -> None:
    config = DataConfig(columns={"snd": AudioColumnConfig(), "pic": ImageColumnConfig()})
    processor = Processor.fit(table(), config, {"snd": AudioRequirements(sample_rate=16000)})
    assert processor.schema.column("snd").sample_rate == 16000
    assert processor.schema.column("pic").image_size == (10, 12)


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"version": 99}', '{"version": 1}', '{"version": 1, "columns": [3]}']
)
def test_a_broken_folder_is_a_bundle_error(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "processor.json").write_text(content)
    with pytest.raises(BundleError, match=r"processor\.json|column"):
        Processor.load(tmp_path)


def test_a_lost_tokenizer_is_a_bundle_error(fitted: Processor, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    next(tmp_path.rglob("tokenizer.json")).unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Processor.load(tmp_path)


def test_columns_and_decoders_need_no_torch() -> None:
    code = (
        "import sys, polysense.data.column, polysense.data.target, polysense.modalities.audio.decode\n"
        "from polysense.config.base import members\n"
        "assert members('column') and members('target')\n"
        "heavy = {'torch', 'torchvision', 'transformers', 'av', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print(*heavy)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_real_table_is_read_wholly(real_data: Callable[[str], Path]) -> None:
    source = read_table(real_data("avdigits") / "data.csv").select(np.arange(0, 8400, 60))
    config = DataConfig(
        columns={"image_deg": ImageColumnConfig(), "audio": AudioColumnConfig(), "speaker": CategoryColumnConfig()},
        targets={"label": ClassificationTargetConfig()},
    )
    processor = Processor.fit(source, config)
    column = processor.schema.column("audio")
    assert column.sample_rate == 8000
    assert processor.schema.column("image_deg").image_size == (28, 28)
    assert processor.schema.column("image_deg").num_channels == 1
    samples = [processor.transform(source, i, with_targets=True) for i in range(len(source))]
    assert all(len(sample.values) == 3 and not sample.unreadable for sample in samples)
    pixels = np.stack([sample.values["image_deg"][0] for sample in samples]) / 255
    assert abs(pixels.mean() - processor.schema.column("image_deg").mean[0]) < 1e-9


def test_what_is_odd_about_a_targets_cells_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    config = DataConfig(
        columns={"note": TextColumnConfig()},
        targets={"y": ClassificationTargetConfig(), "parts": TaggingTargetConfig(over="note")},
    )
    spans = [[[0, 3, apart if i % 2 else composed]] for i in range(NUM)]
    labels = [apart if i == 1 else composed if i % 2 else "bar" for i in range(NUM)]
    with caplog.at_level(logging.WARNING):
        Processor.fit(table(note=["one two three"] * NUM, y=labels, parts=spans), config)
    for name in ("y", "parts"):
        assert caplog.text.count(f"target '{name}': ") == 1
