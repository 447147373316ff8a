"""Cleaning as part of preprocessing: asked for by name, fitted on training cells, counted and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polysense.config.base import members
from polysense.config.codec import from_dict, to_dict
from polysense.data.cleaning import CellCleaner, CleaningConfig
from polysense.data.column_fingerprint import items_fingerprint
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ConfigError

NOTES = ["<p>red  car</p>", "blue\u200bcar", "red car", None, "<br>", "green car"]
CELLS = {"note": NOTES, "label": ["Red", "blue", "red ", "BLUE", "red", "blue"]}
CLEANING = {"note": ["html", "control_characters", {"type": "whitespace"}], "label": ["merge_variants"]}


def config(cleaning: Any = CLEANING) -> DataConfig:
    plain = {
        "columns": {"note": {"type": "text"}},
        "targets": {"label": {"type": "classification"}},
        "cleaning": cleaning,
    }
    return from_dict(DataConfig, plain)


@pytest.fixture
def table() -> Table:
    return read_table(CELLS, name="t")


def read(processor: Processor, table: Table) -> list[Any]:
    samples = [processor.transform(table, i, with_targets=True) for i in range(len(table))]
    notes = [[item.tolist() for item in sample.values.get("note", [])] for sample in samples]
    return list(zip(notes, [sample.targets.get("label") for sample in samples], strict=True))


def test_cells_are_cleaned_wherever_they_are_read_and_a_saved_processor_does_the_same(
    table: Table, tmp_path: Path
) -> None:
    processor = Processor.fit(table, config())
    assert processor.schema.targets[0].classes == ("blue", "red")  # type: ignore[attr-defined]
    first, second, third, missing, emptied, _ = read(processor, table)
    assert first == third
    assert second[0]
    assert second != third
    assert missing[0] == emptied[0] == []
    processor.save(tmp_path)
    loaded = Processor.load(tmp_path)
    assert read(loaded, table) == read(processor, table)
    assert loaded.cleaning_remarks() == []
    assert items_fingerprint(loaded.columns["note"]) == items_fingerprint(processor.columns["note"])
    plain = Processor.fit(table, config({}))
    assert items_fingerprint(processor.columns["note"]) != items_fingerprint(plain.columns["note"])


def test_what_each_one_changed_is_counted_with_an_example(table: Table) -> None:
    assert Processor.fit(table, config()).cleaning_remarks() == [
        "note: cleaning html changed 2 of 5 training cells, such as '<p>red  car</p>' to 'red car'",
        "note: cleaning control_characters changed 1 of 5 training cells, such as 'blue\\u200bcar' to 'bluecar'",
        "note: cleaning whitespace changed 0 of 5 training cells",
        "label: cleaning merge_variants changed 3 of 6 training cells, such as 'Red' to 'red'",
    ]


def test_nothing_is_cleaned_unless_it_is_asked_for(table: Table) -> None:
    plain = Processor.fit(table, config({}))
    assert plain.cleaning_remarks() == []
    assert len(plain.schema.targets[0].classes) > 2  # type: ignore[attr-defined]
    assert read(plain, table)[0] != read(plain, table)[2]


def test_what_is_learned_is_of_the_training_rows_alone(table: Table) -> None:
    processor = Processor.fit(table.select([0, 1, 2]), config())
    other = read_table({"note": ["a"], "label": ["RED"]})
    assert (
        processor.transform(other, 0, with_targets=True).targets["label"]
        == processor.transform(table, 0, with_targets=True).targets["label"]
    )


@pytest.mark.parametrize(
    ("cleaning", "message"),
    [
        ({"nothing": ["html"]}, r"no input column and no target 'nothing' \(there are: note, label\)"),
        ({"note": ["one_unit"]}, "'one_unit' cleans number; column 'note' is text"),
        ({"note": ["htm"]}, "did you mean 'html'"),
        ({"label": [{"type": "one_unit", "unit": "parsec"}]}, "unit: found 'parsec', expected one of kg"),
    ],
)
def test_a_wrong_cleaning_is_refused(cleaning: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(cleaning)


def test_every_cleaning_leaves_foreign_values_alone_and_comes_back_from_a_file() -> None:
    configs = [each() for each in members("cleaning").values()]  # type: ignore[call-arg]
    assert {type(each) for each in configs} >= {type(each) for each in config().cleaning["note"]}
    for each in configs:
        assert isinstance(each, CleaningConfig)
        assert each.reads()
        assert from_dict(CleaningConfig, to_dict(each)) == each  # type: ignore[type-abstract]
        if each.type == "mojibake":
            continue  # of a package that need not be installed
        cleaner = CellCleaner([each])
        cleaner.fitted([None, 1.5, True, "a", ["b", None], b"c"])
        assert cleaner.cell(None) is None
        assert cleaner.cell(1.5) == 1.5
        assert cleaner.cell(b"c") == b"c"
        again = CellCleaner.restored(cleaner.plain())
        assert [again.cell(cell) for cell in ("a", ["b", None])] == [cleaner.cell(cell) for cell in ("a", ["b", None])]
