"""Labeled segments from a table to a bundle and back: names in two scripts, sounds in noise."""

from __future__ import annotations

import csv
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from runs import sentences

import polysense
from polysense import api
from polysense.cli.app import main
from polysense.errors import ColumnError

SMALL = [
    "model.width=32",
    "training.batch_size=16",
    "training.tensorboard=false",
    "training.ema=null",
    "evaluation.bootstrap=20",
    "data.modality_dropout=0",
]


def as_spans(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as characters of a string."""
    found = []
    for row in rows:
        spans: list[dict[str, Any]] = []
        position = 0
        for word, tag in zip(row["words"], row["tags"], strict=True):
            if tag.startswith("B"):
                spans.append({"start": position, "end": position + len(word), "label": tag[2:]})
            elif tag.startswith("I"):
                spans[-1]["end"] = position + len(word)
            position += len(word) + 1
        found.append({"words": " ".join(row["words"]), "tags": spans})
    return found


def fit(table: Any, folder: Path, target: str = "tags", *overrides: str, **more: Any) -> Any:
    return polysense.fit(table, target=target, output=folder, overrides=[*SMALL, *overrides], progress=False, **more)


@pytest.fixture(scope="module")
def names(trained: Callable[[str], polysense.Run]) -> polysense.Run:
    return trained("tagging")


def test_names_are_found_in_two_scripts(names: Any) -> None:
    assert names.recipe.model.heads["tags"].type == "tagging"
    assert names.recipe.model.fusion.type == "transformer"
    assert names.recipe.data.columns["words"].words
    assert names.evaluations["validation"].value("tags", "entity_f1") > 0.9
    majority = names.baselines["validation"]["constant"]
    assert majority.value("tags", "entity_f1") == 0
    assert 0.5 < majority.value("tags", "token_accuracy") < 0.9
    assert set(names.metrics) == {"validation"}
    report = (names.folder / "report.html").read_text()
    assert "tags: Segments by class" in report
    assert "entity_f1" in (names.folder / "bundle" / "README.md").read_text()


def test_predictions_are_labels_where_the_table_has_labels(names: Any, tmp_path: Path) -> None:
    new = [*sentences(12, seed=7), {"words": None, "tags": None}, {"words": ["Ada"], "tags": None}]
    found = names.bundle.predict(new)
    cells = found.frame["tags"].to_list()
    assert cells[12] is None
    assert [len(cell) for cell in cells[:12]] == [len(row["words"]) for row in new[:12]]
    right = sum(cell == row["tags"] for cell, row in zip(cells[:12], new[:12], strict=True))
    assert right >= 10
    for cell, scores in zip(cells[:12], found.frame["tags_score"].to_list()[:12], strict=True):
        assert [score is None for score in scores] == [label == "O" for label in cell]
    for ending in ("csv", "jsonl", "parquet"):
        found.write(tmp_path / f"p.{ending}")
    with (tmp_path / "p.csv").open(newline="") as file:
        assert json.loads(next(iter(csv.DictReader(file)))["tags"]) == cells[0]
    # Each row as if it were alone, in any order, after loading.
    loaded = polysense.load(names.folder)
    again = loaded.predict(new[::-1]).frame.reverse()
    assert again.drop("row").equals(found.frame.drop("row"))
    alone = loaded.predict([new[3]]).frame
    assert alone.drop("row").equals(found.frame[3:4].drop("row"))


def test_an_evaluation_of_another_table(names: Any) -> None:
    rows = sentences(30, seed=9)
    rows[3]["tags"] = rows[3]["tags"][:-1]
    scores = api.evaluate(names.bundle, rows, bootstrap=20)
    assert scores.evaluation.value("tags", "entity_f1") > 0.9
    assert scores.evaluation.num_counted("tags") == 29
    (cell,) = scores.evaluation.unreadable
    assert (cell.source.row, cell.source.column) == (3, "tags")
    assert "expected one label for each" in cell.reason
    assert scores.as_json()["metrics"]["tags"]["entity_f1/LOC"]["value"] > 0.8
    assert "entity f1" in scores.text()


def test_characters_and_words_train_the_same_model(tmp_path: Path) -> None:
    rows = sentences(60)
    words = fit(rows, tmp_path / "words", "tags", "training.epochs=2", "evaluation.report=false")
    spans = fit(as_spans(rows), tmp_path / "spans", "tags", "training.epochs=2", "evaluation.report=false")
    ours, theirs = words.bundle.model.state_dict(), spans.bundle.model.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert words.metrics == spans.metrics
    texts = as_spans(sentences(5, seed=1))
    found = spans.bundle.predict(texts).frame["tags"].to_list()
    for row, cell in zip(texts, found, strict=True):
        for one in cell:
            assert row["words"][one["start"] : one["end"]] == one["text"]
            assert 0 < one["score"] <= 1


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    rows = as_spans(sentences(60))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["words", "tags"])
        writer.writeheader()
        writer.writerows({**row, "tags": json.dumps(row["tags"])} for row in rows)
    assert main(["check", str(path), "--target", "tags"]) == 0
    assert "lists of segments with start, end and label" in capsys.readouterr().out
    folder = tmp_path / "run"
    settings = [*SMALL, "training.epochs=1", "model.heads.tags.crf=true"]
    assert main(["train", str(path), "--target", "tags", "-o", str(folder), *settings]) == 0
    out = tmp_path / "predictions.jsonl"
    assert main(["predict", str(folder), str(path), "-o", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 60
    assert all(set(one) == {"start", "end", "text", "label", "score"} for line in lines for one in line["tags"])
    assert main(["evaluate", str(folder), str(path)]) == 0
    assert "entity f1" in capsys.readouterr().out


@pytest.mark.slow
def test_another_column_helps_to_tell_and_is_measured(tmp_path: Path) -> None:
    """Which class a name has stands in another column; what each column contributes is measured."""
    generator = np.random.default_rng(0)
    rows = []
    for row in as_spans(sentences(150)):
        kind = ("PER", "LOC")[generator.integers(2)]
        spans = [{**span, "label": kind} for span in row["tags"]]
        rows.append({"words": row["words"], "kind": f"kind {kind}", "tags": spans})
    run = fit(
        rows,
        tmp_path / "run",
        "tags",
        "training.epochs=8",
        "evaluation.baselines=true",
        columns={"kind": "category"},
    )
    assert run.recipe.data.targets["tags"].over == "words"
    found = run.evaluations["validation"].value("tags", "entity_f1")
    alone = run.baselines["validation"]["words only (trained separately)"].value("tags", "entity_f1")
    assert found > 0.85 > alone
    assert "kind only (trained separately)" not in run.baselines["validation"]
    (target,) = run.contributions.targets
    assert {column.name for column in target.columns} == {"words", "kind"}
    shares = {column.name: column.shapley["log_likelihood"].value for column in target.columns}
    assert shares["words"] > shares["kind"] > 0
    # Without its text nothing is said, with it alone something is.
    frame = run.bundle.predict([{"kind": "kind PER"}, {"words": rows[0]["words"]}]).frame
    assert frame["tags"][0] is None
    assert frame["tags"][1] is not None


def clips(folder: Path, num_rows: int, seed: int = 0) -> Path:
    """Tones of two pitches at random times in noise."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rate, rows = 8000, []
    for i in range(num_rows):
        seconds = generator.uniform(1.4, 2.0)
        samples = generator.normal(0, 0.02, round(seconds * rate))
        time = np.arange(len(samples)) / rate
        events = []
        start = generator.uniform(0.05, 0.5)
        while start < seconds - 0.4:
            end = min(start + generator.uniform(0.25, 0.5), seconds)
            kind = int(generator.integers(2))
            tone = 0.2 * np.sin(2 * np.pi * (500, 1500)[kind] * generator.uniform(0.95, 1.05) * time)
            samples += tone * ((time >= start) & (time < end))
            events.append({"onset": round(start, 3), "offset": round(end, 3), "event_label": ("low", "high")[kind]})
            start = end + generator.uniform(0.25, 0.8)
        with wave.open(str(folder / f"{i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((samples * 30000).clip(-32768, 32767).astype("<i2").tobytes())
        rows.append({"clip": f"{i}.wav", "events": json.dumps(events)})
    pl.DataFrame(rows).write_csv(folder / "t.csv")
    return folder / "t.csv"


def test_sounds_are_found_in_noise(tmp_path: Path) -> None:
    run = fit(
        clips(tmp_path / "clips", 80),
        tmp_path / "run",
        "events",
        "training.epochs=10",
        "training.optimizer.lr=0.004",
        "data.split.validation=0.2",
        "model.encoders.clip.num_layers=1",
    )
    assert run.recipe.model.encoders["clip"].type == "audio_transformer"
    assert run.recipe.data.transforms["clip"].shift == 0
    found = run.evaluations["validation"]
    assert found.value("events", "segment_f1") > 0.8
    assert found.value("events", "frame_f1") > 0.8
    assert found.value("events", "onset_f1") >= found.value("events", "segment_f1")
    new = clips(tmp_path / "new", 3, seed=5)
    predicted = run.bundle.predict(new).frame["events"].to_list()
    for cell in predicted:
        assert all(0 <= one["start"] < one["end"] <= 2.0 for one in cell)
        assert all(set(one) == {"start", "end", "label", "score"} for one in cell)


def test_a_transform_that_would_make_positions_undefined_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match="makes the positions of target 'tags' undefined"):
        fit(sentences(40), tmp_path / "b", "tags", "data.transforms.words.type=text")
