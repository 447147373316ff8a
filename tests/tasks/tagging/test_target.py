"""Cells of a tagging target: what is read, what is refused, and the way back."""

from __future__ import annotations

import json
import unicodedata
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polysense.config.codec import from_dict
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.audio.column import AudioColumnConfig
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.text.augment import TextTransformConfig
from polysense.modalities.text.column import TextColumnConfig
from polysense.tasks.tagging.labeled import read_labeled
from polysense.tasks.tagging.target import TaggingProcessor, TaggingTargetConfig

WORDS = [["Ada", "lives", "in", "New", "York", "."], ["Oslo", "sleeps"], ["nobody", "is", "here"]] * 8
TAGS = [["B-PER", "O", "O", "B-LOC", "I-LOC", "O"], ["B-LOC", "O"], ["O", "O", "O"]] * 8
SPANS = [[(0, 3, "PER"), (13, 21, "LOC")], [(0, 4, "LOC")], []] * 8
RATE = 8000


def fitted(rows: list[dict[str, Any]], *, root: Path | None = None, column: Any = None, **target: Any) -> Any:
    """A table, its processor and its tagging target."""
    table = read_table(rows, root=root)
    name = next(name for name in rows[0] if name != "tags")
    config = DataConfig(columns={name: column or TextColumnConfig()}, targets={"tags": TaggingTargetConfig(**target)})
    processor = Processor.fit(table, config)
    return table, processor, processor.targets["tags"]


def values(table: Table, processor: Processor) -> list[Any]:
    samples = [processor.transform(table, i, with_targets=True) for i in range(len(table))]
    assert not any(sample.unreadable for sample in samples)
    return [sample.targets["tags"].tolist() for sample in samples]


def as_words() -> list[dict[str, Any]]:
    return [{"text": words, "tags": tags} for words, tags in zip(WORDS, TAGS, strict=True)]


@pytest.mark.parametrize("cleaning", ["html", "whitespace", "unicode_form", "control_characters"])
def test_cleanings_that_move_characters_are_refused(cleaning: str) -> None:
    rows = [{"text": f"<p>{text}</p>", "tags": [(3, 6, "PER")]} for text in ("Ada lives", "Eve sleeps")] * 4
    plain = {
        "columns": {"text": {"type": "text"}},
        "targets": {"tags": {"type": "tagging"}},
        "cleaning": {"text": [cleaning]},
    }
    with pytest.raises(ColumnError, match=f"{cleaning!r} would shift the places of target 'tags'"):
        Processor.fit(read_table(rows), from_dict(DataConfig, plain))


def spelled(kind: str) -> list[dict[str, Any]]:
    """The same annotation as every spelling."""
    rows = []
    for words, tags, spans in zip(WORDS, TAGS, SPANS, strict=True):
        cell: Any
        match kind:
            case "dicts":
                cell = [{"start": a, "end": b, "label": label} for a, b, label in spans]
            case "triples as JSON":
                cell = json.dumps(spans)
            case "dicts as JSON":
                cell = json.dumps([{"start": a, "end": b, "label": label} for a, b, label in spans])
            case "labels of a string's words":
                cell = tags
            case "labels as a string":
                cell = " ".join(tags)
            case "labels as JSON":
                cell = json.dumps(tags)
            case "BILOU":
                cell = [{"PER": "U-PER", "LOC": "L-LOC"}.get(t[2:], t) if t[0] != "O" else t for t in tags]
                cell = [
                    "B-LOC" if w == "New" else "U-LOC" if w == "Oslo" else t for w, t in zip(words, cell, strict=True)
                ]
        rows.append({"text": " ".join(words), "tags": cell})
    return rows


SPELLINGS = (
    "dicts",
    "triples as JSON",
    "dicts as JSON",
    "labels of a string's words",
    "labels as a string",
    "labels as JSON",
    "BILOU",
)


@pytest.mark.parametrize("kind", SPELLINGS)
def test_every_spelling_is_the_same_target(kind: str) -> None:
    table, processor, target = fitted(as_words(), column=TextColumnConfig(words=True))
    reference = values(table, processor)
    other_table, other, found = fitted(spelled(kind))
    assert values(other_table, other) == reference
    assert found.target.classes == target.target.classes == ("LOC", "PER")
    assert found.target.boundaries
    assert found.target.class_lengths == target.target.class_lengths
    assert found.target.over == "text"
    # A row with no segment has the target; its length is known.
    assert reference[2] == [[0.0, reference[2][0][1], -1.0]]


@pytest.mark.parametrize("kind", ["words", "dicts"])
def test_and_back_in_the_tables_own_spelling(kind: str) -> None:
    rows = as_words() if kind == "words" else spelled("dicts")
    table, processor, target = fitted(rows, column=TextColumnConfig(words=kind == "words"))
    for i in range(3):
        truth = np.array(values(table, processor)[i])
        predicted = np.concatenate([truth, np.full((len(truth), 1), 0.5)], axis=1)
        found, scores = target.render_row(np.concatenate([predicted, np.full((1, 4), -1.0)]), table, i)
        if kind == "words":
            assert found == TAGS[i]
            assert [score is not None for score in scores] == [tag != "O" for tag in TAGS[i]]
        else:
            text = " ".join(WORDS[i])
            assert found == [
                {"start": a, "end": b, "text": text[a:b], "label": label, "score": 0.5} for a, b, label in SPANS[i]
            ]
    assert target.render_row(np.array([[0.0, 0.0, -1.0, 0.0]]), table, 0) is None


def test_saved_and_loaded(tmp_path: Path) -> None:
    table, processor, _ = fitted(as_words(), column=TextColumnConfig(words=True))
    processor.save(tmp_path)
    loaded = Processor.load(tmp_path)
    assert loaded.schema == processor.schema
    assert values(table, loaded) == values(table, processor)
    target = loaded.targets["tags"]
    assert isinstance(target, TaggingProcessor)
    assert target.writes_labels


def test_marks_that_join_their_letter() -> None:
    """Places count the text as it is given, whatever normal form it has."""
    text = unicodedata.normalize("NFD", "à Zürich né Ångström")
    start = text.index("Z")
    end = start + len(unicodedata.normalize("NFD", "Zürich"))
    rows = [{"text": text, "tags": [[start, end, "LOC"]]}, {"text": "nothing", "tags": []}] * 5
    table, processor, target = fitted(rows)
    value = processor.transform(table, 0, with_targets=True).targets["tags"]
    found, _ = target.render_row(np.concatenate([value, np.ones((2, 1))], axis=1), table, 0)
    assert (found[0]["start"], found[0]["end"], found[0]["text"]) == (start, end, text[start:end])


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (["B-PER", "O"], "found 2 labels for 6 words in the list, expected one label for each"),
        ([], "found 0 labels for 6 words"),
        (["B-PER", "O", "O", "B-ORG", "O", "O"], "'ORG', which training did not know .known: 'LOC', 'PER'"),
        (["PER", "O", "O", "O", "O", "O"], "found the label 'PER', expected a prefix, such as B-PER"),
        ("[[0, 99, \"PER\"]]", "from 0 to 99, expected it within 0 to 23 characters"),
        ("[[-1, 3, \"PER\"]]", "from -1 to 3, expected it within"),
        ("[[5, 5, \"PER\"]]", "from 5 to 5, expected its end after its start"),
        ("[[0, 8, \"PER\"], [4, 9, \"LOC\"]]", r"overlap, 0 to 8 \(PER\) and 4 to 9"),
        ("[[0, 3]]", "expected start, end and label"),
        ("[[\"a\", 3, \"PER\"]]", "expected numbers"),
        ("[{\"start\": 0", "is not valid JSON"),
        ("7.5", "found 1 labels for 6 words"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_located_and_the_row_stays(cell: Any, message: str) -> None:
    _, processor, _ = fitted(as_words(), column=TextColumnConfig(words=True))
    table = read_table({"text": [WORDS[0], WORDS[1]], "tags": [cell, TAGS[1]]}, name="new")
    sample = processor.transform(table, 0, with_targets=True)
    (unreadable,) = sample.unreadable
    assert (unreadable.source.table, unreadable.source.row, unreadable.source.column) == ("new", 0, "tags")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(unreadable.reason)
    assert "text" in sample.values
    assert "tags" not in sample.targets
    assert not processor.transform(table, 1, with_targets=True).unreadable


def test_labels_without_their_text() -> None:
    _, processor, _ = fitted(as_words(), column=TextColumnConfig(words=True))
    table = read_table(
        [{"text": None, "tags": TAGS[0]}, {"text": None, "tags": None}, {"text": WORDS[0], "tags": None}]
    )
    first = processor.transform(table, 0, with_targets=True)
    assert "the cell of 'text' that they lie in is empty" in first.unreadable[0].reason
    for i in (1, 2):
        sample = processor.transform(table, i, with_targets=True)
        assert not sample.unreadable
        assert not sample.targets


def test_what_is_cut_off_is_not_learned(caplog: pytest.LogCaptureFixture) -> None:
    rows = spelled("dicts")
    table, processor, target = fitted(rows, column=TextColumnConfig(max_tokens=3))
    value = processor.transform(table, 0, with_targets=True).targets["tags"]
    assert value[0, 1] == 3
    assert len(value) == 2, "New York is beyond the cut"
    assert target.num_unread == 1
    assert "beyond where its text is cut" in caplog.text


def test_plain_labels_that_touch_are_one() -> None:
    rows = [
        {"text": words, "tags": [tag[2:] if tag != "O" else None for tag in tags]}
        for words, tags in zip(WORDS, TAGS, strict=True)
    ]
    table, processor, target = fitted(rows, column=TextColumnConfig(words=True))
    assert not target.target.boundaries
    assert target.target.classes == ("LOC", "PER")
    value = processor.transform(table, 0, with_targets=True).targets["tags"]
    assert len(value) == 3
    found, _ = target.render_row(np.concatenate([value, np.ones((3, 1))], axis=1), table, 0)
    assert found == ["PER", "O", "O", "LOC", "LOC", "O"]


def write_clip(path: Path, seconds: float) -> str:
    samples = (1000 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path.name


def test_events_and_frames_of_a_recording(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", 2.0)
    rows = [
        {"clip": clip, "tags": [{"onset": 0.5, "offset": 1.25, "event_label": "dog"}]},
        {"clip": clip, "tags": [{"onset": 1.0, "offset": 2.04, "event_label": "cat"}]},
    ] * 4
    table, processor, target = fitted(rows, root=tmp_path, column=AudioColumnConfig())
    assert (target.target.units_per_second, target.target.boundaries) == (RATE, False)
    found = values(table, processor)
    assert found[0] == [[0, 2 * RATE, -1], [0.5 * RATE, 1.25 * RATE, 1]]
    assert found[1][1] == [RATE, 2 * RATE, 0], "the rounding over the end is cut"
    value = np.concatenate([np.array(found[0]), np.full((2, 1), 0.25)], axis=1)
    assert target.render_row(value, table, 0) == ([{"start": 0.5, "end": 1.25, "label": "dog", "score": 0.25}], [0.25])
    # The same by labels of 8 frames of 250 ms.
    labels = ["O", "O", "dog", "dog", "dog", "O", "O", "O"]
    table, processor, target = fitted(
        [{"clip": clip, "tags": labels}, {"clip": clip, "tags": ["O"] * 4 + ["cat"] * 4}] * 4,
        root=tmp_path,
        column=AudioColumnConfig(),
    )
    assert values(table, processor)[0] == found[0]
    assert target.render_row(value, table, 0)[0] == labels
    outside = read_table([{"clip": clip, "tags": json.dumps([[1.9, 2.5, "dog"]])}], root=tmp_path)
    assert "within 0 to 2 seconds" in processor.transform(outside, 0, with_targets=True).unreadable[0].reason


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"columns": {"n": NumberColumnConfig()}}, "none is text or audio"),
        ({"columns": {"text": TextColumnConfig(), "more": TextColumnConfig()}}, "'text' or 'more'; say so with `over`"),
        ({"columns": {"text": TextColumnConfig()}, "over": "more"}, "'more', which is no input column"),
        ({"columns": {"text": TextColumnConfig(), "n": NumberColumnConfig()}, "over": "n"}, "of type number"),
        ({"columns": {"text": TextColumnConfig()}}, r"holds lists .* set data.columns.text.words to true"),
        (
            {"columns": {"text": TextColumnConfig(words=True)}, "transforms": {"text": TextTransformConfig()}},
            "data.transforms.text: probability makes the positions of target 'tags' undefined; set it to 0",
        ),
    ],
)
def test_which_column(config: dict[str, Any], message: str) -> None:
    rows = [{**row, "more": "a b", "n": i} for i, row in enumerate(as_words())]
    over = config.pop("over", None)
    data = DataConfig(targets={"tags": TaggingTargetConfig(over=over)}, **config)
    with pytest.raises(ColumnError, match=message):
        Processor.fit(read_table(rows), data)


def test_a_table_whose_labels_fit_nowhere() -> None:
    rows = [{"text": "one two", "tags": ["A", "B", "C"]}] * 4
    with pytest.raises(
        ColumnError, match=r"no training row has labels that lie in column 'text'; first .*row 0.*found 3"
    ):
        fitted(rows)


def test_cells_of_other_kinds() -> None:
    assert read_labeled(None) is None
    assert read_labeled("  ") is None
    empty = read_labeled([])
    assert empty is not None
    assert empty.labels == []
    with pytest.raises(DecodeError, match="expected a list of labels, or of segments"):
        read_labeled(3.5)


@pytest.mark.parametrize(
    "segment",
    [
        {"start": 4, "end": 8, "text": "Lane", "labels": ["PER"]},
        {"start_offset": 4, "end_offset": 8, "label": "PER"},
        {"start_char": 4, "end_char": 8, "label": "PER", "kb_id": ""},
        {"start": 4, "end": 8, "token_start": 1, "token_end": 1, "label": "PER"},
        {"entity_group": "PER", "score": 0.99, "word": "Lane", "start": 4, "end": 8},
        {"start_time": 4, "end_time": 8, "event_label": "PER"},
        [4, 8, "PER"],
        [4, 8, ["PER"]],
    ],
    ids=str,
)
def test_segments_as_programs_export_them(segment: object) -> None:
    for cell in ([segment], json.dumps([segment])):
        labeled = read_labeled(cell)
        assert labeled is not None
        assert labeled.segments == [(4.0, 8.0, "PER")]


def test_a_segment_has_one_label() -> None:
    with pytest.raises(DecodeError, match="with 2 labels, expected one"):
        read_labeled([{"start": 4, "end": 8, "labels": ["PER", "LOC"]}])
    with pytest.raises(DecodeError, match="with 0 labels, expected one"):
        read_labeled([{"start": 4, "end": 8, "labels": []}])


def test_what_is_recognized() -> None:
    def guess(rows: list[dict[str, Any]]) -> Any:
        return next(one for one in infer(read_table(rows), ["tags"]) if one.name == "tags")

    found = guess(as_words())
    assert (found.task, found.over) == ("tagging", "text")
    assert found.reason == "tagging: lists of labels, one for each word of 'text' in all 24 rows looked at"
    for kind in ("dicts", "triples as JSON", "labels of a string's words", "labels as JSON"):
        assert guess(spelled(kind)).task == "tagging", kind
    # Texts of one length, told by a label that stands twice.
    equal = [
        {"text": ["Ada", "met", "Chen"], "tags": ["B-PER", "O", "B-PER"]},
        {"text": ["no", "one", "met"], "tags": ["O"] * 3},
    ]
    assert guess(equal * 6).task == "tagging"
    # Sets of labels are not as many as the words.
    several = [{"text": "a b c d", "tags": tags} for tags in (["x"], ["x", "y"], ["y", "z"], ["x", "y", "z"])] * 6
    assert guess(several).task == "multilabel"


def test_segments_with_a_list_of_one_label_are_read() -> None:
    """As Label Studio writes them."""
    read = read_labeled([{"start": 0, "end": 8, "text": "Ada Lane", "labels": ["PER"]}])
    assert read is not None
    assert read.segments == [(0.0, 8.0, "PER")]
    with pytest.raises(DecodeError, match=r"with 2 labels, expected one"):
        read_labeled([{"start": 0, "end": 8, "labels": ["PER", "LOC"]}])
