"""Class names of a `datasets` dataset are found wherever its features have them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table
from polysense.errors import TableError


@pytest.fixture
def datasets() -> Any:
    return importlib.import_module("datasets")


def test_class_names_in_lists_and_structures(datasets: Any) -> None:
    label = datasets.ClassLabel(names=["O", "B-PER", "I-PER"])
    features = datasets.Features(
        {
            "label": label,
            "tags": datasets.List(label),
            "large": datasets.LargeList(label),
            "pair": datasets.List(label, length=2),
            "nested": datasets.List(datasets.List(label)),
            "structure": {"tag": label, "n": datasets.Value("int64")},
            "spans": datasets.List({"tag": label, "start": datasets.Value("int64")}),
            "sequence": datasets.Sequence({"tag": label}),
            "plain": datasets.List(datasets.Value("int64")),
        }
    )
    row = {
        "label": 1, "tags": [0, 1, None], "large": [2], "pair": [0, 2], "nested": [[1], []],
        "structure": {"tag": 2, "n": 5}, "spans": [{"tag": 1, "start": 3}], "sequence": {"tag": [0, 1]},
        "plain": [0, 1],
    }  # fmt: skip
    empty = dict.fromkeys(row) | {"label": -1}
    table = read_table(datasets.Dataset.from_list([row, empty], features=features))
    assert table.cells("label") == ["B-PER", None]
    assert table.cells("tags") == [["O", "B-PER", None], None]
    assert table.cells("large") == [["I-PER"], None]
    assert table.cells("pair")[0] == ["O", "I-PER"]
    assert table.cells("nested") == [[["B-PER"], []], None]
    assert table.cells("structure")[0] == {"tag": "I-PER", "n": 5}
    assert table.cells("spans")[0] == [{"tag": "B-PER", "start": 3}]
    assert "B-PER" in str(table.cells("sequence")[0])
    assert table.cells("plain") == [[0, 1], None]


def test_decoded_audio_is_audio() -> None:
    rows = [
        {"sound": {"path": None, "array": np.zeros(400 + i, np.float32), "sampling_rate": 16_000}, "n": i}
        for i in range(20)
    ]
    (sound, _) = infer(read_table(rows), [])
    assert (sound.role, sound.modality) == ("input", "audio")
    rows = [{"sound": {"array": None, "sampling_rate": 16_000}, "other": {"array": [1.0], "b": 1}} for _ in range(20)]
    assert all(guess.modality != "audio" for guess in infer(read_table(rows), []))


@pytest.mark.parametrize("place", ["label", "tags", "nested", "structure"])
@pytest.mark.parametrize("wrong", [2, 7, -2])
def test_an_id_beyond_the_names_is_named(datasets: Any, place: str, wrong: int) -> None:
    label = datasets.ClassLabel(names=["a", "b"])
    kinds = {
        "label": label,
        "tags": datasets.List(label),
        "nested": datasets.List(datasets.List(label)),
        "structure": {"tag": label},
    }

    def cells(number: int) -> dict[str, Any]:
        return {"label": number, "tags": [0, number], "nested": [[1, None], [number]], "structure": {"tag": number}}

    def dataset(*numbers: int) -> Any:
        made = datasets.Dataset.from_dict({place: [cells(number)[place] for number in numbers]})
        made.info.features = datasets.Features({place: kinds[place]})  # as a file with other ids claims
        return made

    with pytest.raises(TableError, match=f"column '{place}': found the class id {wrong}, but its feature names 2"):
        read_table(dataset(0, wrong, 1))
    assert len(read_table(dataset(0, -1, 1))) == 3
