"""Cells in parts, for every modality that has any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from every_kind import write_rows

from polysense.config.codec import from_dict
from polysense.core.cell_parts import CellParts
from polysense.core.geometry import Placement
from polysense.core.registry import modalities, modality
from polysense.core.sample import SourceInfo
from polysense.core.unsupported import Unsupported
from polysense.data.column import ColumnConfig, ColumnProcessor
from polysense.data.media.pixels import Resize
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.image.spec import SPEC as IMAGE
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.spec import SPEC as TEXT

Fit = Callable[..., ColumnProcessor]
WITH_PARTS = [name for name, spec in modalities().items() if not isinstance(spec.cell_parts, Unsupported)]


def texts(fit: Fit, cell: object, most: int = 36) -> CellParts:
    column = fit(TextColumnConfig(), ["one two three", "four five"])
    items = column.transform(cell, SourceInfo(table="t", row=0, column="c"), Path())
    return TEXT.cell_parts(column, cell, Path(), items, most)


def test_a_value_has_no_parts() -> None:
    refusals = {name: str(modality(name).cell_parts) for name in modalities() if name not in WITH_PARTS}
    assert refusals["number"] == "a number has no parts"
    assert set(WITH_PARTS) >= {"text", "image", "audio", "video", "series"}


class TestTexts:
    def test_words_are_left_out(self, fit: Fit) -> None:
        parts = texts(fit, "Don't panic, it is 3 o'clock.")
        assert [place.name for place in parts.places] == [
            "'Don't'", "'panic'", "','", "'it'", "'is'", "'3'", "'o'clock'", "'.'",
        ]  # fmt: skip
        assert parts.without({1, 2})[0] == "Don't it is 3 o'clock."
        assert parts.without(range(8)) == (None, [])
        assert parts.without(())[0] == "Don't panic, it is 3 o'clock."

    def test_a_script_without_spaces_is_taken_letter_by_letter(self, fit: Fit) -> None:
        parts = texts(fit, "今日は雨")
        assert len(parts.places) == 4
        assert parts.without({0, 1})[0] == "は雨"

    def test_many_words_are_few_parts(self, fit: Fit) -> None:
        cell = " ".join(f"word{i}" for i in range(1000))
        parts = texts(fit, cell, most=10)
        assert len(parts.places) == 10
        assert str(parts.without({0})[0]).split()[0] == "word100"
        assert max(len(place.name) for place in parts.places) <= 62

    def test_several_texts_are_one_list(self, fit: Fit) -> None:
        column = fit(TextColumnConfig(), [["one two", "three"], ["four"]])
        cell = ["one two", "three"]
        items = column.transform(cell, SourceInfo(table="t", row=0, column="c"), Path())
        parts = TEXT.cell_parts(column, cell, Path(), items, 36)
        assert [place.item for place in parts.places] == [0, 0, 1]
        assert parts.without({2})[0] == ["one two"]
        assert parts.without({0})[0] == ["two", "three"]

    @pytest.mark.parametrize("cell", ["   ", "\n\n"])
    def test_a_text_without_words_has_no_parts(self, fit: Fit, cell: str) -> None:
        assert texts(fit, cell).places == []


class TestImages:
    @staticmethod
    def parts(num: int, most: int = 36) -> tuple[CellParts, list[np.ndarray]]:
        column = ImageColumnConfig(size=(12, 10)).build("c")  # what it learns is not looked at
        pixels = np.random.default_rng(0).integers(0, 255, (num, 3, 12, 10), dtype=np.uint8)
        items = list(pixels)
        return IMAGE.cell_parts(column, "cell", Path(), items, most), items

    def test_patches_cover_an_image_once(self) -> None:
        parts, items = self.parts(1)
        assert len(parts.places) == 30  # no patch is smaller than two pixels
        changed = np.zeros((12, 10))
        mean = np.rint(items[0].reshape(3, -1).mean(axis=1))
        before = items[0].copy()
        for part in range(len(parts.places)):
            cell, (removed,) = parts.without({part})
            assert cell == "cell"
            left, top, right, bottom = parts.places[part].box or (0, 0, 0, 0)
            area = np.zeros((12, 10), dtype=bool)
            area[round(12 * top) : round(12 * bottom), round(10 * left) : round(10 * right)] = True
            np.testing.assert_array_equal(removed[:, ~area], items[0][:, ~area])
            np.testing.assert_array_equal(removed[:, area], np.broadcast_to(mean[:, None], (3, area.sum())))
            changed += area
        np.testing.assert_array_equal(changed, np.ones((12, 10)))
        np.testing.assert_array_equal(items[0], before)

    def test_padding_is_no_part_of_an_image(self) -> None:
        column = ImageColumnConfig(size=(12, 10)).build("c")
        pixels = np.full((3, 12, 10), 200, dtype=np.uint8)
        pixels[:, 3:9] = np.random.default_rng(0).integers(0, 100, (3, 6, 10), dtype=np.uint8)
        placement = Placement(Resize((12, 10)).matrix(12, 20), (12, 20))
        parts = IMAGE.cell_parts(column, "cell", Path(), [pixels], 9, placement)
        (removed,) = parts.without(set(range(len(parts.places))))[1]
        np.testing.assert_array_equal(removed[:, [0, 1, 2, 9, 10, 11]], pixels[:, [0, 1, 2, 9, 10, 11]])
        mean = np.rint(pixels[:, 3:9].reshape(3, -1).mean(axis=1))
        np.testing.assert_array_equal(removed[:, 3:9], np.broadcast_to(mean[:, None, None], (3, 6, 10)))
        assert len(parts.places) == 9
        assert min(place.box[1] for place in parts.places if place.box) == 3 / 12
        assert max(place.box[3] for place in parts.places if place.box) == 9 / 12

    def test_several_images_share_the_parts(self) -> None:
        parts, items = self.parts(4)
        assert len(parts.places) == 4 * 9
        assert parts.places[9].name == "image 2, row 1, column 1"
        assert [np.array_equal(a, b) for a, b in zip(parts.without({9})[1], items, strict=True)] == [
            True, False, True, True,
        ]  # fmt: skip

    def test_of_many_images_whole_ones_are_parts(self) -> None:
        parts, _ = self.parts(50)
        assert 2 <= len(parts.places) <= 36
        assert sum(place.num_items for place in parts.places) == 50


@pytest.mark.parametrize("name", WITH_PARTS)
def test_a_cell_without_some_parts_is_a_cell(name: str, tmp_path: Path, fit: Fit) -> None:
    cells = [row[name] for row in write_rows(tmp_path) if row[name]]
    column = fit(from_dict(ColumnConfig, {"type": modality(name).column_type}, where="test"), cells)
    cell, root = cells[1], tmp_path
    items = column.transform(cell, SourceInfo(table="t", row=0, column=column.name), root)
    before = [item.copy() for item in items]
    make = modality(name).cell_parts
    assert not isinstance(make, Unsupported)
    parts = make(column, cell, root, items, 12)
    assert 1 <= len(parts.places) <= 12
    for place in parts.places:
        assert (place.box is None) != (place.span is None)
        if place.box is not None:
            left, top, right, bottom = place.box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
        assert 0 <= place.item < len(items)
    same = parts.without(())[1]
    assert [np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(same, items, strict=True)]
    for removed in ({0}, set(range(len(parts.places)))):
        _, left_over = parts.without(removed)
        for item, original in zip(left_over, items, strict=False):
            assert item.dtype == original.dtype
    for item, original in zip(items, before, strict=True):
        np.testing.assert_array_equal(item, original)
