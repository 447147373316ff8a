"""Editors: what is a label, what is none, and what the table gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.editor import EditorRequest, same_label
from polysense.data.editors import ChoiceEditor, ChoicesEditor, NumberEditor, SpansEditor, TextEditor
from polysense.errors import ConfigError, UserError


def request(**changes: object) -> EditorRequest:
    return EditorRequest(**{"target": "mood", **changes})  # type: ignore[arg-type]


def test_classes_come_in_the_stated_order_and_those_of_the_cells_stay() -> None:
    editor = ChoiceEditor(request(classes=["good", "bad"], cells=["bad", None, "odd"]))
    assert editor.settings["options"] == ["good", "bad", "odd"]
    assert editor.parse(" good ") == "good"


def test_a_class_is_exported_as_the_table_has_it() -> None:
    editor = ChoiceEditor(request(cells=[2, 10, 1]))
    assert editor.settings["options"] == ["1", "2", "10"]
    assert [editor.read(1.0), editor.parse("10"), editor.cell("10")] == ["1", "10", 10]
    assert [editor.code("2"), editor.decoded(2.0)] == [1.0, "10"]


@pytest.mark.parametrize("cells", [[], [None], ["only"]])
def test_fewer_than_two_classes_are_refused(cells: list[object]) -> None:
    with pytest.raises(ConfigError, match=r"name at least two classes with --classes"):
        ChoiceEditor(request(cells=cells))


@pytest.mark.parametrize("value", [None, [], {}, "", "goood", 3, True, ["good"]])
def test_what_is_no_class_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="mood: found"):
        ChoiceEditor(request(classes=["good", "bad"])).parse(value)


def test_a_set_of_labels_has_one_order() -> None:
    editor = ChoicesEditor(request(cells=["a|b", "c", None]))
    assert editor.parse(["c", "a", "c"]) == ["a", "c"]
    assert editor.read("b | a") == ["a", "b"]
    assert [editor.cell(["a", "c"]), editor.cell([])] == ["a|c", []]
    assert editor.distance(["a"], ["a", "b"]) == 0.5
    assert editor.distance([], []) == 0


@pytest.mark.parametrize(("value", "number"), [("3.5", 3.5), ("3,5", 3.5), (2, 2.0), (" -1e3 ", -1000.0)])
def test_numbers_are_read(value: object, number: float) -> None:
    assert NumberEditor(request()).parse(value) == number


@pytest.mark.parametrize("value", ["", "much", "nan", "inf", None, True, float("inf"), [1], "3 kg"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="expected a number"):
        NumberEditor(request()).parse(value)


def test_numbers_come_to_their_median_and_texts_to_the_majority() -> None:
    assert NumberEditor(request()).resolved([1.0, 2.0, 9.0]) == 2.0
    assert TextEditor(request()).resolved(["a", "a", "b"]) == "a"
    assert TextEditor(request()).resolved(["a", "b"]) is None


def test_spans_are_sorted_and_checked() -> None:
    editor = SpansEditor(request(classes=["name", "place"], texts=["text"]))
    spans = [{"start": 5, "end": 9, "label": "place"}, {"start": 0, "end": 2, "label": "name"}]
    assert editor.parse(spans) == [spans[1], spans[0]]
    assert editor.settings["over"] == "text"
    for wrong in ([{"start": 3, "end": 3, "label": "name"}], [{"start": "0", "end": 2, "label": "name"}], "no", [1]):
        with pytest.raises(UserError):
            editor.parse(wrong)
    with pytest.raises(ConfigError, match="name the one that labels lie in"):
        SpansEditor(request(classes=["a", "b"], texts=["one", "two"]))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_whatever_is_sent_is_a_label_or_refused_and_a_label_stays_one(value: object) -> None:
    for editor in (
        ChoiceEditor(request(classes=["0", "1"])),
        ChoicesEditor(request(classes=["0", "1"])),
        NumberEditor(request()),
        TextEditor(request()),
        SpansEditor(request(classes=["0", "1"], texts=["text"])),
    ):
        try:
            label = editor.parse(value)
        except UserError:
            continue
        assert same_label(editor.parse(label), label)
        assert same_label(editor.read(editor.cell(label)), label)
        assert editor.distance(label, label) == 0
