"""A labeling from Python: rows out, decisions in, labels beside the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polysense
from polysense.errors import ConfigError, LockedError, TableError, UserError
from polysense.workflows.labeling.session import LabelingSession

TEXTS = [f"line {number} of a <b>long</b> story about {'cats' if number % 3 else 'dogs'}" for number in range(30)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "lines.csv"
    pl.DataFrame({"text": TEXTS, "length": [len(text) for text in TEXTS]}).write_csv(path)
    return path


@contextmanager
def labeling(table: Path, **settings: Any) -> Iterator[LabelingSession]:
    usual = {"target": "mood", "classes": ["good", "bad"], "output": table.parent / "labels", "strategy": "off"}
    with polysense.label(table, **{**usual, **settings}) as session:
        yield session


def decide(session: LabelingSession, row: int, value: object = "good", kind: str = "label", **more: Any) -> None:
    more = {"annotator": "ann", "id": f"{more.get('annotator', 'ann')} {row} {kind} {value}", **more}
    session.decide(row, session.row(row, "ann", "tab")["key"], kind, value=value, **more)  # type: ignore[arg-type]


def test_labels_outlive_the_session_and_the_table_stays_as_it_was(table: Path) -> None:
    before = table.read_bytes()
    with labeling(table) as session:
        shown = session.next("ann", "tab")
        assert shown is not None
        assert [cell["column"] for cell in shown["cells"]] == ["text", "length"]
        assert shown["cells"][0]["texts"] == [TEXTS[shown["row"]]]
        decide(session, 3)
        decide(session, 4, "bad")
        decide(session, 5, None, "unsure")
    with labeling(table, classes=()) as session:  # the journal knows the classes
        assert session.labels() == {3: "good", 4: "bad"}
        progress = session.progress("ann")
        assert [progress[name] for name in ("labeled", "unsure", "waiting")] == [2, 1, 27]
        assert progress["by_label"] == {"good": 1, "bad": 1}
    assert table.read_bytes() == before


def test_labels_find_their_rows_in_a_table_that_was_sorted_and_grew(table: Path) -> None:
    with labeling(table) as session:
        decide(session, 3)
        decide(session, 4, "bad")
    frame = pl.read_csv(table).reverse()
    pl.concat([frame, frame.head(1).with_columns(text=pl.lit("new"))]).filter(pl.col("text") != TEXTS[4]).write_csv(
        table
    )
    with labeling(table) as session:
        assert {TEXTS.index(session.table.cell(row, "text")): label for row, label in session.labels().items()} == {
            3: "good"
        }
        assert session.num_orphans == 1


def test_undo_gives_the_row_back_and_an_earlier_word_counts_again(table: Path) -> None:
    with labeling(table) as session:
        decide(session, 3, "good")
        decide(session, 3, "bad")
        assert session.labels() == {3: "bad"}
        assert session.undo(id="undo number 1", annotator="ann").row == 3
        assert session.undo(id="undo number 1", annotator="ann").row == 3  # sent again
        assert session.labels() == {3: "good"}
        assert session.undo(id="undo number 2", annotator="ann").row == 3
        assert session.undo(id="undo number 3", annotator="ann") is None
        assert session.progress("ann")["labeled"] == 0
        assert session.undo(id="undo number 4", annotator="bob") is None


def test_annotators_who_differ_are_settled(table: Path) -> None:
    with labeling(table, shared=1.0) as session:
        for row in range(6):
            decide(session, row, "good")
            decide(session, row, "good" if row else "bad", annotator="bob")
        (differing,) = session.differing()
        assert (differing["row"], differing["by"]["bob"]["value"]) == (0, "bad")
        agreed = session.agreement()
        assert (agreed.num_rows, agreed.pairs[0].share) == (6, 5 / 6)
        assert session.progress("ann")["differ"] == 1
        assert 0 not in session.labels()
        decide(session, 0, "bad", "adjudicate", annotator="zoe")
        assert session.differing() == []
        assert session.labels()[0] == "bad"
        assert session.progress("zoe")["differ"] == 0


@pytest.mark.parametrize(
    "changes",
    [{"key": "another row's"}, {"row": 99}, {"row": -1}, {"value": "middling"}, {"kind": "undo"}, {"annotator": " "},
     {"id": "x"}, {"annotator": "a" * 101}],
)  # fmt: skip
def test_what_is_no_decision_is_refused_and_not_written(table: Path, changes: dict[str, Any]) -> None:
    with labeling(table) as session:
        key = session.row(1, "ann", "tab")["key"]
        right = {"row": 1, "key": key, "kind": "label", "value": "good", "id": "decision 1", "annotator": "ann"}
        size = (session.folder / "journal.jsonl").stat().st_size
        with pytest.raises(ConfigError):
            session.decide(**{**right, **changes})
        assert (session.folder / "journal.jsonl").stat().st_size == size


def test_rows_with_a_label_are_not_handed_out_again(tmp_path: Path) -> None:
    rows = [{"text": text, "mood": "good" if number < 20 else None} for number, text in enumerate(TEXTS)]
    for relabel, expected in ((False, 10), (True, 30)):
        with polysense.label(
            rows,
            target="mood",
            classes=["good", "bad"],
            output=tmp_path / str(relabel),
            relabel=relabel,
            strategy="off",
        ) as session:
            assert session.progress("ann")["waiting"] == expected
            assert session.progress("ann")["given"] == 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ()}, "no row has a label yet; name at least two classes"),
        ({"task": "detection"}, "labels of the task detection can't be entered"),
        ({"task": "guessing"}, "task: found 'guessing', expected one of"),
        ({"columns": ["tint"]}, "no column to show 'tint'"),
        ({"shared": 2.0}, "shared: found 2"),
        ({"annotations": 0}, "annotations: found 0"),
        ({"key": "length"}, "the key column 'length'"),
        ({"guideline": "nowhere.txt"}, "can't be read as a guideline"),
        ({"output": ""}, "found an empty path"),
    ],
)
def test_what_can_not_be_labeled_is_told(table: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message), labeling(table, **settings):
        pass


def test_one_labeling_at_a_time(table: Path) -> None:
    with labeling(table), pytest.raises(LockedError), labeling(table):
        pass


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_an_export_is_the_table_with_its_labels(table: Path, ending: str) -> None:
    output = table.parent / f"labeled{ending}"
    with pytest.raises(TableError, match="holds no labels yet"):
        polysense.export_labels(table, output, target="mood", classes=["good", "bad"], output=table.parent / "labels")
    with labeling(table) as session:
        decide(session, 3)
        decide(session, 4, "bad")
        written = polysense.export_labels(table, output, target="mood", output=table.parent / "labels")  # meanwhile
    assert (written.num_labels, written.num_rows, written.original) == (2, 30, None)
    frame = polysense.read_table(output).frame
    assert frame["text"].to_list() == TEXTS
    assert [frame["mood"][row] or None for row in (2, 3, 4)] == [None, "good", "bad"]
    assert frame.columns == ["text", "length", "mood"]
    with pytest.raises(ConfigError, match="the table itself"):
        polysense.export_labels(table, table, target="mood", output=table.parent / "labels")


def test_an_export_keeps_what_the_table_had(tmp_path: Path) -> None:
    table = tmp_path / "lines.csv"
    moods = ["Good ", "bad", None, "good"] * 6
    pl.DataFrame({"text": TEXTS[:24], "mood": moods}).write_csv(table)
    with polysense.label(
        table, target="mood", output=tmp_path / "labels", relabel=True, strategy="off", classes=["Good", "bad", "good"]
    ) as session:
        decide(session, 0, "Good")
        decide(session, 1, "good")
        decide(session, 2, "bad")
    written = polysense.export_labels(table, tmp_path / "out.csv", target="mood", output=tmp_path / "labels")
    frame = pl.read_csv(tmp_path / "out.csv")
    assert written.original == "mood_original"
    assert frame["mood"].to_list()[:4] == ["Good ", "good", "bad", "good"]
    assert [mood or None for mood in frame["mood_original"]] == moods


def test_label_studio_gives_back_what_it_was_given(table: Path) -> None:
    settings = {"target": "mood", "output": table.parent / "labels"}
    with labeling(table) as session:
        decide(session, 3)
        decide(session, 4, "bad", annotator="bob")
        decide(session, 5, None, "unsure")
    path = table.parent / "tasks.json"
    polysense.export_labels(table, path, **settings)
    tasks = json.loads(path.read_text())
    assert [task["data"]["text"] for task in tasks] == TEXTS[3:6]
    assert tasks[1]["annotations"][0]["result"][0]["value"] == {"choices": ["bad"]}
    other = {**settings, "output": table.parent / "others", "classes": ["good", "bad"]}
    for task in tasks[:2]:
        del task["data"]["polysense_row"]  # a task that was made elsewhere
    tasks += [{"data": {"text": "no such line"}, "annotations": []}, 7, {"data": {**tasks[0]["data"]}, "annotations": [
        {"result": [{"type": "choices", "value": {"choices": ["odd"]}, "from_name": "mood"}]}]}]  # fmt: skip
    path.write_text(json.dumps(tasks))
    taken = polysense.import_labels(table, path, **other)
    assert (taken.num_new, taken.num_known, len(taken.unmatched)) == (3, 0, 3)
    assert polysense.import_labels(table, path, **other).num_new == 0
    with labeling(table, output=table.parent / "others") as session:
        assert session.labels() == {3: "good", 4: "bad"}
        assert session.outcome(5).state == "unsure"
        assert session.outcome(4).by["bob"].annotator == "bob"


@pytest.mark.parametrize(
    ("task", "settings", "value"),
    [
        ("multilabel", {"classes": ["a", "b"]}, ["a", "b"]),
        ("regression", {}, 3.5),
        ("generation", {}, "a <story>, told"),
        ("tagging", {"classes": ["a", "b"]}, [{"start": 0, "end": 4, "label": "a"}]),
    ],
)
def test_every_kind_of_label_goes_out_and_comes_back(table: Path, task: str, settings: Any, value: object) -> None:
    settings = {"target": "answer", "task": task, "output": table.parent / task, **settings}
    with polysense.label(table, strategy="off", **settings) as session:
        decide(session, 0, value)
        assert session.labels() == {0: value}
    polysense.export_labels(table, table.parent / "answers.csv", **settings)
    again = {**settings, "output": table.parent / "again"}
    with polysense.label(table.parent / "answers.csv", strategy="off", **again) as session:
        assert session.row(0, "ann", "tab")["given"] == value
    polysense.export_labels(table, table.parent / "tasks.json", **settings)
    polysense.import_labels(table, table.parent / "tasks.json", **again)
    with polysense.label(table, strategy="off", **again) as session:
        assert session.labels() == {0: value}


def test_search_and_history(table: Path) -> None:
    with labeling(table) as session:
        decide(session, 3)
        assert [each["row"] for each in session.search("<B>LONG", "ann")] == list(range(30))
        assert session.search("line 3 of", "ann")[0]["label"] == "good"
        assert session.search("7", "ann")[0]["row"] == 7
        assert session.search("(", "ann") == session.search(" ", "ann") == []
        assert [each["row"] for each in session.history("ann")] == [3]
