"""Tables that are made of others, or of nothing, for tasks that no table states as it is.

    python benchmarks/tables.py words DIR/avdigits/data.csv words.csv            # a recording and the word that is said
    python benchmarks/tables.py dialogue DIR/meld/data.jsonl dialogue.jsonl      # an utterance and the turns before it
    python benchmarks/tables.py pairs DIR/coco_captions/data.jsonl pairs.csv     # the first 32 pictures, a caption each
    python benchmarks/tables.py styles DIR/emoji/data.jsonl styles.jsonl         # drawings, one style of them held out
    python benchmarks/tables.py sample DIR/easy_vqa/data.jsonl sample.jsonl      # some of its rows, by split
    python benchmarks/tables.py spoken-numbers FOLDER --rows 2000                # English speech and Greek text
    python benchmarks/tables.py service FOLDER --rows 2000                       # picture, voice and message; a reply

Files of a table that is made of another are named relative to the new table's folder, so it is trained on as it is.
The last two are generated (see toys.spoken_numbers and .service) and the same for the same seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toys.service import make_service
from toys.spoken_numbers import make_spoken_numbers

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TURNS = 8
_SAMPLE = (("train", 20_000), ("val", 600), ("test", 1_500))


def make_words(table: Path, output: Path) -> None:
    """Of a table of spoken digits (audio, label, split) each recording once, with its word as the transcript.

    Several rows may share a recording there. One that stands in two splits would be tested on what was learned.
    """
    rows: dict[str, dict[str, str]] = {}
    for row in _read_csv(table):
        found = {
            "audio": _moved(row["audio"], table, output),
            "transcript": _DIGITS[int(row["label"])],
            "speaker": row["speaker"],
            "split": row["split"],
        }
        if rows.setdefault(row["audio"], found) != found:
            raise SystemExit(f"{table}: {row['audio']} stands in two splits, or with two labels")
    _write_csv(output, list(rows.values()))


def make_dialogue(table: Path, output: Path, num_turns: int = _TURNS) -> None:
    """Of a table of utterances (dialogue_id, turn, speaker, text, ..., split) each with the turns before it.

    `context` is a list of up to `num_turns` texts, "Speaker: what was said", the oldest first: of the same dialogue and
    before this turn only, wherever in the table they stand. The first turn of a dialogue has an empty list.
    """
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    dialogues: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        dialogues.setdefault(row["dialogue_id"], []).append(row)
    generated = []
    for row in rows:
        before = sorted((other for other in dialogues[row["dialogue_id"]] if other["turn"] < row["turn"]), key=_turn)
        context = [f"{other['speaker']}: {other['text']}" for other in before[-num_turns:]]
        retained = {name: row[name] for name in ("speaker", "text", "emotion", "split")}
        generated.append({"dialogue_id": row["dialogue_id"], "context": context, **retained})
    _write_lines(output, generated)


def _turn(row: dict[str, Any]) -> int:
    return int(row["turn"])


def make_pairs(table: Path, output: Path, num_rows: int = 32) -> None:
    """Of a table of pictures with several captions the first training rows, each with its first caption.

    What any captioner must be able to learn by heart; there is no split, so name the table for validation and test too.
    """
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    pairs = [
        {"image": _moved(row["image"], table, output), "caption": row["captions"][0]}
        for row in rows
        if row["split"] == "train"
    ][:num_rows]
    if len(pairs) < num_rows:
        raise SystemExit(f"{table}: has {len(pairs)} training rows, {num_rows} are asked for")
    _write_csv(output, pairs)


def make_styles(table: Path, output: Path, held_out: str = "openmoji") -> None:
    """Of a table of drawings (image, style, ..., split) one whose training and validation lack a style.

    Its rows are the test where their concept is new too. Where the concept was trained on in the other styles they are
    a table of their own, OUTPUT with `_known` before its ending. The other styles' test rows are left out.
    """
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    styles = sorted({row["style"] for row in rows})
    if held_out not in styles:
        raise SystemExit(f"{table}: has no style {held_out!r}; it has {', '.join(styles)}")
    rows = [{**row, "image": _moved(row["image"], table, output)} for row in rows]
    new = [row for row in rows if row["style"] == held_out]
    old = [row for row in rows if row["style"] != held_out and row["split"] != "test"]
    _write_lines(output, [*old, *(row for row in new if row["split"] == "test")])
    known = [row for row in new if row["split"] == "train"]
    _write_lines(output.with_name(f"{output.stem}_known{output.suffix}"), known)


def make_sample(table: Path, output: Path, rows: Mapping[str, int], media: Sequence[str] = ("image",)) -> None:
    """Of a table with a split column so many rows of each of its splits, drawn with a fixed seed.

    Args:
        table: JSON Lines.
        output: Likewise.
        rows: By split how many; the others are left out.
        media: Columns that name files.
    """
    splits: dict[str, list[dict[str, Any]]] = {}
    for row in map(json.loads, table.read_text(encoding="utf-8").splitlines()):
        splits.setdefault(row["split"], []).append(row)
    draws = random.Random(0)
    for split, number in rows.items():
        if len(splits.get(split, ())) < number:
            raise SystemExit(f"{table}: has {len(splits.get(split, ()))} rows of {split!r}, {number} are asked for")
    drawn = {split: draws.sample(splits[split], number) for split, number in rows.items()}
    sample = [row for split in splits for row in drawn.get(split, ())]
    moved = [{**row, **{name: _moved(row[name], table, output) for name in media if name in row}} for row in sample]
    _write_lines(output, moved)


def _share(text: str) -> tuple[str, int]:
    split, _, number = text.rpartition("=")
    return split, int(number)


def _moved(path: str, table: Path, output: Path) -> str:
    """A path that is relative to a table, relative to another."""
    return Path(os.path.relpath(table.resolve().parent / path, output.resolve().parent)).as_posix()


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    made = (("words", make_words), ("dialogue", make_dialogue), ("pairs", make_pairs), ("styles", make_styles))
    for name, what in made:
        command = commands.add_parser(name, help=(what.__doc__ or "").splitlines()[0])
        command.add_argument("table", type=Path)
        command.add_argument("output", type=Path)
    commands.choices["dialogue"].add_argument("--turns", type=int, default=_TURNS, help="earlier turns, at most")
    commands.choices["pairs"].add_argument("--rows", type=int, default=32)
    commands.choices["styles"].add_argument("--held-out", default="openmoji", help="the style that is not trained on")
    command = commands.add_parser("sample", help=(make_sample.__doc__ or "").splitlines()[0])
    command.add_argument("table", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument(
        "--rows", nargs="+", type=_share, default=_SAMPLE, metavar="SPLIT=ROWS", help="by default those of results.md"
    )
    for name in ("spoken-numbers", "service"):
        command = commands.add_parser(name, help="generated")
        command.add_argument("folder", type=Path)
        command.add_argument("--rows", type=int, default=2000)
        command.add_argument("--seed", type=int, default=0)
    requested = parser.parse_args(arguments)
    if requested.command in ("spoken-numbers", "service"):
        make = make_service if requested.command == "service" else make_spoken_numbers
        requested.output = make(requested.folder, seed=requested.seed, num_rows=requested.rows)
    else:
        requested.output.parent.mkdir(parents=True, exist_ok=True)
        match requested.command:
            case "words":
                make_words(requested.table, requested.output)
            case "dialogue":
                make_dialogue(requested.table, requested.output, requested.turns)
            case "styles":
                make_styles(requested.table, requested.output, requested.held_out)
            case "sample":
                make_sample(requested.table, requested.output, dict(requested.rows))
            case _:
                make_pairs(requested.table, requested.output, requested.rows)
    sys.stdout.write(f"wrote {requested.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
