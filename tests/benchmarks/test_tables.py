"""Tables that are made of others: what they hold, and that they look neither ahead nor into another split."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from benchmark_scripts import load
from hypothesis import given, settings
from hypothesis import strategies as st

TABLES = load("tables")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def dialogue(rows: list[dict[str, Any]], folder: Path, **options: int) -> list[dict[str, Any]]:
    source = write_lines(folder / "data.jsonl", rows)
    TABLES.make_dialogue(source, folder / "dialogue.jsonl", **options)
    return [json.loads(line) for line in (folder / "dialogue.jsonl").read_text(encoding="utf-8").splitlines()]


def utterance(name: str, turn: int, text: str) -> dict[str, Any]:
    speaker, split = "AB"[turn % 2], name.split("_")[0]
    return {
        "dialogue_id": name, "turn": turn, "speaker": speaker, "text": text, "emotion": "joy", "sentiment": "positive",
        "season": 1, "split": split,
    }  # fmt: skip


def test_each_recording_stands_once_with_its_word(tmp_path: Path) -> None:
    (tmp_path / "set" / "audio").mkdir(parents=True)
    rows = [
        "image,audio,label,speaker,split",
        "1.png,audio/3_a_1.wav,3,a,train",
        "2.png,audio/3_a_1.wav,3,a,train",
        "3.png,audio/0_b_7.wav,0,b,test",
    ]
    source = tmp_path / "set" / "data.csv"
    source.write_text("\n".join(rows), encoding="utf-8")
    assert TABLES.main(["words", str(source), str(tmp_path / "made" / "words.csv")]) == 0
    assert read_csv(tmp_path / "made" / "words.csv") == [
        {"audio": "../set/audio/3_a_1.wav", "transcript": "three", "speaker": "a", "split": "train"},
        {"audio": "../set/audio/0_b_7.wav", "transcript": "zero", "speaker": "b", "split": "test"},
    ]
    source.write_text("\n".join([*rows, "4.png,audio/0_b_7.wav,0,b,train"]), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"0_b_7.wav stands in two splits"):
        TABLES.make_words(source, tmp_path / "words.csv")


def test_context_is_the_turns_before_of_the_same_dialogue(tmp_path: Path) -> None:
    rows = [
        utterance("train_1", 2, "third"),  # out of order, and another dialogue between
        utterance("train_1", 0, "first"),
        utterance("test_1", 0, "elsewhere"),
        utterance("train_1", 3, "fourth"),
        utterance("train_1", 1, "second"),
    ]
    found = {row["text"]: row["context"] for row in dialogue(rows, tmp_path)}
    assert found == {
        "third": ["A: first", "B: second"],
        "first": [],
        "elsewhere": [],
        "fourth": ["A: first", "B: second", "A: third"],
        "second": ["A: first"],
    }
    assert {row["text"]: row["context"] for row in dialogue(rows, tmp_path, num_turns=1)}["fourth"] == ["A: third"]
    assert set(dialogue(rows, tmp_path)[0]) == {"dialogue_id", "context", "speaker", "text", "emotion", "split"}


@settings(max_examples=25)
@given(
    turns=st.lists(
        st.tuples(st.sampled_from(["train_1", "train_2", "test_1"]), st.integers(0, 9)), min_size=1, unique=True
    ),
    num_turns=st.integers(1, 4),
)
def test_what_is_said_later_or_elsewhere_changes_no_context(
    turns: list[tuple[str, int]], num_turns: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dialogues")
    rows = [utterance(name, turn, f"{name} {turn}") for name, turn in turns]
    whole = dialogue(rows, folder, num_turns=num_turns)
    name, turn = turns[0]
    earlier = [row for row in rows if row["dialogue_id"] == name and row["turn"] <= turn]
    assert whole[0] == dialogue(earlier, folder, num_turns=num_turns)[0]
    assert len(whole[0]["context"]) == min(len(earlier) - 1, num_turns)


def test_pairs_are_the_first_training_rows_with_one_caption_each(tmp_path: Path) -> None:
    rows = [
        {"image": f"images/{i}.jpg", "captions": [f"caption {i}", "another"], "split": "train" if i % 2 else "test"}
        for i in range(80)
    ]
    source = write_lines(tmp_path / "data.jsonl", rows)
    assert TABLES.main(["pairs", str(source), str(tmp_path / "pairs.csv")]) == 0
    found = read_csv(tmp_path / "pairs.csv")
    assert found == [{"image": f"images/{i}.jpg", "caption": f"caption {i}"} for i in range(1, 65, 2)]
    with pytest.raises(SystemExit, match="has 40 training rows, 50 are asked for"):
        TABLES.make_pairs(source, tmp_path / "pairs.csv", num_rows=50)


@pytest.mark.parametrize(("command", "name"), [("service", "service.csv"), ("spoken-numbers", "spoken_numbers.csv")])
def test_generated_tables_are_written(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TABLES.main([command, str(tmp_path), "--rows", "10", "--seed", "3"]) == 0
    assert len(read_csv(tmp_path / name)) == 10
    assert name in capsys.readouterr().out


def test_a_style_that_is_held_out_is_neither_trained_on_nor_validated_on(tmp_path: Path) -> None:
    concepts = {"sun": "train", "moon": "val", "star": "test"}
    rows = [
        {"id": f"{name}/{style}", "image": f"{style}/{name}.png", "style": style, "split": split}
        for name, split in concepts.items()
        for style in ("ink", "oil", "wax")
    ]
    source = write_lines(tmp_path / "data.jsonl", rows)
    assert TABLES.main(["styles", str(source), str(tmp_path / "sub" / "styles.jsonl"), "--held-out", "oil"]) == 0
    lines = (tmp_path / "sub" / "styles.jsonl").read_text(encoding="utf-8").splitlines()
    found = {row["id"]: row for row in map(json.loads, lines)}
    assert {name: row["split"] for name, row in found.items()} == {
        "sun/ink": "train", "sun/wax": "train", "moon/ink": "val", "moon/wax": "val", "star/oil": "test",
    }  # fmt: skip
    assert found["star/oil"]["image"] == "../oil/star.png"
    (known,) = (tmp_path / "sub" / "styles_known.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(known)["id"] == "sun/oil"
    with pytest.raises(SystemExit, match=r"no style 'chalk'; it has ink, oil, wax"):
        TABLES.main(["styles", str(source), str(tmp_path / "s.jsonl"), "--held-out", "chalk"])


def test_a_sample_has_so_many_rows_of_each_split(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "split": "train" if i % 3 else "test", "n": i} for i in range(30)]
    (tmp_path / "set").mkdir()
    source = write_lines(tmp_path / "set" / "data.jsonl", rows)
    output = tmp_path / "sample.jsonl"
    assert TABLES.main(["sample", str(source), str(output), "--rows", "train=7", "test=2"]) == 0
    drawn = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["split"] for row in drawn) == ["test"] * 2 + ["train"] * 7
    assert len({row["n"] for row in drawn}) == 9
    assert all(row["image"] == f"set/{row['n']}.png" for row in drawn)
    first = output.read_bytes()
    TABLES.main(["sample", str(source), str(output), "--rows", "train=7", "test=2"])
    assert output.read_bytes() == first
    with pytest.raises(SystemExit, match="has 10 rows of 'test', 11 are asked for"):
        TABLES.main(["sample", str(source), str(output), "--rows", "test=11"])
