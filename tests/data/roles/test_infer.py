"""What columns are taken for, with what reason; each kind of column and each trap once."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from polysense.core.random import generator
from polysense.core.role import Role
from polysense.data.media.sniff import kind_of_bytes, kind_of_path
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.roles.profile import other_marks
from polysense.data.tables.sources import Table, read_table
from polysense.data.values.numbers import is_number
from polysense.errors import ColumnError, PolysenseError, TableError
from polysense.modalities.date.parse import is_spelled
from polysense.presets import recipe_for

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"
WAV = b"RIFF\0\0\0\0WAVEfmt "
MP4 = b"\0\0\0\x18ftypmp42"
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "brew",
    "potions",
    "and",
    "nobody",
    "ever",
    "asks",
    "why",
]


def rng(name: str) -> np.random.Generator:
    return generator(7, name)


def sentences(num_rows: int) -> list[str]:
    return [" ".join(rng(f"s{i}").choice(WORDS, 9)) for i in range(num_rows)]


def guess(cells: Sequence[Any], name: str = "x", **overrides: str) -> ColumnGuess:
    table = read_table({name: list(cells)}, root="/nowhere")
    return infer(table, [], overrides=overrides)[0]


def cycle(values: Sequence[Any], num_rows: int = 200) -> list[Any]:
    """The values in a random order that repeats none of the other test columns'."""
    return [values[k] for k in rng(repr(values)).integers(0, len(values), num_rows)]


INPUTS: list[tuple[str, list[Any], str, bool]] = [
    ("image paths", [f"img\\{i}.PNG" for i in range(50)] + [""], "image", False),
    ("image urls of files", [f"file:///data/{i}.jpg" for i in range(50)], "image", False),
    ("few images, many rows", cycle(["a.png", "b.png"]), "image", False),
    ("image bytes", [PNG + bytes([i]) for i in range(50)], "image", False),
    ("image dicts", [{"bytes": JPEG, "path": None}, {"bytes": None, "path": "x.webp"}] * 9, "image", False),
    ("image lists", [["a.png", "b.png"], ["c.png"], None] * 20, "image", True),
    ("some unreadable images", [f"{i}.png" for i in range(45)] + ["oops"] * 5, "image", False),
    ("audio paths", [f"{i}.flac" for i in range(50)], "audio", False),
    ("audio bytes", [WAV] * 3 + [b"fLaC", b"OggS", b"ID3\x03"], "audio", False),
    ("keywords", [["a b", "c"], ["d"], []] * 20, "text", True),
    ("sentences", sentences(100), "text", False),
    ("single words", [f"{a}{b}" for a in WORDS for b in WORDS], "text", False),
    ("sentences with a list", [*sentences(50), "[1]"], "text", False),
    ("floats", rng("f").normal(size=100).tolist(), "number", False),
    (
        "floats spelled with commas",
        [f"{x:.2f}".replace(".", ",") for x in rng("f").normal(size=100)],
        "number",
        False,
    ),
    ("percentages", [f"{k}%" for k in range(100)], "number", False),
    ("thousands", [f"{k} {k * 7 % 900 + 100}" for k in range(1, 100)], "number", False),
    ("exponents", [f"{k}e-3" for k in range(100)], "number", False),
    (
        "numbers and junk",
        [*map(str, rng("n").integers(0, 1000, 95)), *["unknown"] * 5, "NA", None],
        "number",
        False,
    ),
    ("counts", rng("c").integers(0, 9, 200).tolist(), "number", False),
    ("unique quantities", (rng("q").permutation(10_000)[:200] * 37).tolist(), "number", False),
    ("patient_age", rng("age").integers(0, 90, 100).tolist(), "number", False),
    ("booleans", cycle([True, False]), "category", False),
    ("flag", cycle([0, 1]), "category", False),
    ("flag with missing", cycle([0.0, 1.0, None]), "category", False),
    ("color", cycle(["red", "green", "dark blue"]), "category", False),
    ("color of few", ["red", "green", "blue", "red", "green", "blue", "red"], "category", False),
    ("class_code", cycle(list(range(12))), "category", False),
    ("store_id", cycle([11, 17, 23, 29]), "category", False),
    ("leading zeros", cycle(["007", "012", "100"]), "category", False),
    ("codes that repeat", cycle(["A1", "B2", "C3"]), "category", False),
    ("present or not", cycle(["yes", None]), "category", False),
    ("group", cycle(["A", "B", "C"]), "category", False),
    ("split", cycle(["vertical", "horizontal"]), "category", False),
]


@pytest.mark.parametrize(("name", "cells", "modality", "multiple"), INPUTS, ids=[row[0] for row in INPUTS])
def test_inputs(name: str, cells: list[Any], modality: str, multiple: bool) -> None:
    found = guess(cells, name)
    assert (found.role, found.modality, found.multiple) == (Role.INPUT, modality, multiple), found.reason
    assert found.reason.startswith(f"{modality}: ")
    assert "\n" not in found.reason


IGNORED: list[tuple[str, list[Any], str, str | None]] = [
    ("empty", [None] * 10, "all 10 cells are missing", None),
    ("NA", ["NA", "", " "] * 5, "all 15 cells are missing", None),
    ("same", ["a"] * 20, "constant, 'a' in all 20 rows", None),
    ("sevens", [7] * 20, "constant, '7'", None),
    ("anything", list(range(50)), "numbers the rows, 0 to 49", None),
    ("shuffled", rng("p").permutation(np.arange(1, 51)).tolist(), "numbers the rows, 1 to 50", None),
    ("strings of it", [str(i) for i in range(50)], "numbers the rows", None),
    ("order_id", [i * 13 + 5 for i in range(50)], "each once", None),
    ("recording_index", cycle(list(range(20))), "an index by its name", None),
    ("hash", [hashlib.md5(bytes([i])).hexdigest() for i in range(50)], "an identifier: codes", None),
    ("uuid", [str(uuid.UUID(int=i * 7919 << 64)) for i in range(50)], "an identifier: codes", None),
    ("dialogue", rng("pat").integers(0, 80, 200).tolist(), "split by group on it", None),
    ("dialogueID", [f"test_{i // 3}" for i in range(300)], "split by group on it", None),
    ("file", [f"scan_{i}.dcm" for i in range(50)], "names of .dcm files", None),
    ("day", [f"2020-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(50)], "dates or times", None),
    ("day2", [f"{1 + i % 28}/{1 + i % 12}/2021 10:{i:02d}" for i in range(50)], "dates or times", None),
    ("film url", [f"https://example.org/{i}.mp4" for i in range(50)], "URLs of video files; download", "video"),
    ("sensor", [[1.0, 2.0, float(i)] for i in range(50)], "numbers, which no column type reads", None),
    ("url", [f"https://example.org/{i}.png" for i in range(50)], "URLs of image files; download", "image"),
    ("blob", [b"\x01\x02" + bytes([i]) for i in range(50)], "bytes of no format that is known here", None),
    ("structure", [{"a": i, "b": 2} for i in range(50)], "structures with the keys a, b", None),
]


@pytest.mark.parametrize(("name", "cells", "reason", "modality"), IGNORED, ids=[row[0] for row in IGNORED])
def test_ignored(name: str, cells: list[Any], reason: str, modality: str | None) -> None:
    found = guess(cells, name)
    assert found.role is Role.IGNORED, found.reason
    assert reason in found.reason
    if modality is not None:
        assert found.modality is modality


def test_file_names_without_extension_are_told_by_content(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"pic{i}").write_bytes(PNG)
    found = infer(read_table({"x": [f"./pic{i}" for i in range(30)]}, root=tmp_path), [])[0]
    assert (found.role, found.modality) == (Role.INPUT, "image")


def test_missing_files_are_mentioned(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(PNG)
    found = infer(read_table({"x": [f"{i}.png" for i in range(5)]}, root=tmp_path), [])[0]
    assert found.modality == "image"
    assert f"1 of 5 looked for in the folder {tmp_path.name!r} is there" in found.reason


@pytest.mark.parametrize("name", ["split", "Data Split", "fold", "subset"])
def test_split_column(name: str) -> None:
    found = guess(["train"] * 50 + ["Val"] * 10 + ["test"] * 10 + ["test_seen"] * 5, name)
    assert found.role is Role.SPLIT
    assert "train (50), Val (10), test (10), test_seen (5)" in found.reason
    assert "rows of 'test_seen' are in no split" in found.reason
    assert guess(["train"] * 50 + ["bus"] * 60, name).role is Role.INPUT
    assert guess(["train"] * 50 + ["test"] * 60, "vehicle").role is Role.INPUT


def target(cells: Sequence[Any], name: str = "y", **overrides: str) -> ColumnGuess:
    return infer(read_table({name: list(cells)}), [name], overrides=overrides)[0]


TARGETS: list[tuple[str, list[Any], str, str]] = [
    ("label", cycle(["cat", "dog", "NA"]), "classification", "3 distinct values"),
    ("label", cycle(["None", "mild"]), "classification", "2 distinct values in 200 rows"),
    ("label", cycle([True, False]), "classification", "2 distinct values"),
    ("label", cycle([0, 1, None]), "classification", "integers 0 to 1"),
    ("label", cycle([0.0, 1.0, None]), "classification", "integers 0 to 1"),
    ("digit", cycle(list("0123456789")), "classification", "10 distinct values"),
    ("class_id", cycle(list(range(40))), "classification", "integers 0 to 39"),
    ("age", cycle(list(range(90))), "regression", "if they are codes, its type is classification"),
    ("price", [f"{x:.2f}" for x in rng("p").uniform(1, 9, 100)] + ["NA"], "regression", "numbers from"),
    ("price", rng("p").uniform(1, 9, 100).tolist(), "regression", "numbers from"),
    ("city", cycle(["Rome, Italy", "Bari, Italy", "Paris, France", "Nice, France"]), "classification", "4 distinct"),
    ("one class once", ["a"] * 50 + ["b"] * 40 + ["c"], "classification", "3 distinct"),
    ("small", list("abcab"), "classification", "3 distinct"),
]


@pytest.mark.parametrize(("name", "cells", "task", "reason"), TARGETS)
def test_targets(name: str, cells: list[Any], task: str, reason: str) -> None:
    found = target(cells, name)
    assert (found.role, found.task, found.delimiter) == (Role.TARGET, task, None), found.reason
    assert reason in found.reason


@pytest.mark.parametrize("delimiter", ["|", ";", ",", ", "])
def test_multilabel_in_one_text(delimiter: str) -> None:
    draws = rng("multi").random((200, 4)) < 0.4
    cells = [delimiter.join(np.array(["red", "green", "blue", "dark gray"])[row]) for row in draws]
    found = target(cells)
    assert (found.task, found.multiple, found.delimiter) == ("multilabel", True, delimiter.strip())
    assert f"4 labels separated by {delimiter.strip()!r}" in found.reason


def test_multilabel_lists() -> None:
    found = target([["a"], ["a", "b"], []] * 10)
    assert (found.task, found.multiple, found.delimiter) == ("multilabel", True, None)


def test_lists_spelled_in_a_delimited_file(tmp_path: Path) -> None:
    rows = [("['a.png']", '["a", "b"]', "[1, 2, 3]"), ('["a.png", "b.png"]', '["a"]', "[3]"), ("", "[]", "")] * 20
    path = tmp_path / "t.csv"
    pl.DataFrame(rows, schema=["photos", "tags", "sensor"], orient="row").write_csv(path)
    photos, tags, sensor = infer(read_table(path), ["tags"])
    assert (photos.modality, photos.multiple) == ("image", True)
    assert (tags.task, tags.multiple) == ("multilabel", True)
    assert sensor.modality != "text"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([None, "", " "], "all 3 cells are missing"),
        (["a", "a", None], "has the same value, 'a', in all 2 rows"),
        ([f"user{i}" for i in range(120)], "too many for classes, and too short for texts"),
        ([b"what no task reads"] * 10, "found bytes cells"),
    ],
)
def test_impossible_targets(cells: list[Any], expected: str) -> None:
    with pytest.raises(ColumnError) as error:
        target(cells)
    assert expected in str(error.value)
    assert "column 'y'" in str(error.value)


def test_images_are_to_be_generated() -> None:
    assert target([PNG] * 10).task == "image_generation"


def test_free_text_is_to_be_written() -> None:
    found = target(sentences(120))
    assert found.task == "generation"
    assert not found.multiple
    assert "if they are classes, its type is classification" in found.reason
    captions = [[text, f"{text} too"] for text in sentences(20)]
    assert (target(captions).task, target(captions).multiple) == ("generation", True)
    pairs = [f"{a} {b}" for a in ("red", "old", "tall", "odd") for b in ("house", "car", "dog", "tree", "cup")]
    assert target(pairs).task == "generation"  # none twice: no row teaches another's class
    assert target([*pairs, pairs[0]]).task == "classification"
    assert target(["静かな夜に星を見る" + "犬猫鳥魚"[i % 4] * (i + 1) for i in range(40)]).task == "generation"
    assert target(["very good", "not so good"] * 60).task == "classification", "few texts, each often: classes"
    assert target([["a dog"], ["a dog", "a cat"]] * 30).task == "multilabel"


def test_a_text_that_is_told_by_another_is_no_leak() -> None:
    texts = sentences(120)
    table = read_table({"source": [text.upper() + " !" for text in texts], "copy": texts, "y": texts}, name="t")
    source, copy, _ = infer(table, ["y"])
    assert source.role is Role.INPUT
    assert copy.role is Role.IGNORED
    assert "is the target 'y' itself in 100% of the rows" in copy.reason


def test_missing_columns_and_rows() -> None:
    table = read_table({"label": [1, 2], "image": ["a.png", "b.png"]}, name="t")
    with pytest.raises(
        TableError, match=r"t: no target column 'lable'; did you mean 'label'\? \(columns: 'label', 'image'\)"
    ):
        infer(table, ["lable"])
    with pytest.raises(TableError, match="no column 'images'; did you mean 'image'"):
        infer(table, ["label"], overrides={"images": "image"})
    with pytest.raises(TableError, match="has no rows"):
        infer(table.select([]), ["label"])


def test_overrides() -> None:
    cells = list(range(50))
    assert guess(cells, x="category").modality == "category"
    assert guess(cells, x="category").role is Role.INPUT
    assert guess(cells, x="ignored").role is Role.IGNORED
    assert guess(cells, x="group").role is Role.GROUP
    assert guess([["a"], ["b", "c"]] * 5, x="text").multiple
    assert target(sentences(120), y="classification").task == "classification"
    assert target(cycle(list(range(5))), y="regression").task == "regression"
    with pytest.raises(ColumnError, match=r"found 'imgae', expected one of .*did you mean 'image'"):
        guess(cells, x="imgae")


def test_videos_are_a_modality() -> None:
    for cells in ([f"{i}.mp4" for i in range(50)], [f"films/{i}.webm" for i in range(50)], [MP4] * 20):
        found = guess(cells, "clip")
        assert (found.role, found.modality) == (Role.INPUT, "video")
        assert found.reason.startswith("video: 8 frames of each (frames); ")
        for kind in ("video", "image", "audio"):
            assert guess(cells, x=kind).modality == kind
    assert guess([f"{i}.png" for i in range(50)], x="image").modality == "image"
    lists = guess([[f"{i}.mp4", f"{i}b.mp4"] for i in range(50)], "clips")
    assert (lists.multiple, lists.modality) == (True, "video")
    mixed = guess([f"{i}.{'mp4' if i % 5 == 0 else 'png'}" for i in range(50)], "clip")
    assert mixed.modality == "video", "an image among videos is a video of one frame"


def test_moving_images_are_videos(tmp_path: Path) -> None:
    images = [Image.fromarray(np.full((8, 8), 40 * i, np.uint8)) for i in range(4)]
    for i in range(12):
        images[0].save(tmp_path / f"moving{i}.gif", save_all=True, append_images=images[1:], duration=100)
        images[i % 4].save(tmp_path / f"still{i}.gif")
    for name, modality in (("moving", "video"), ("still", "image")):
        pl.DataFrame({"x": [f"{name}{i}.gif" for i in range(12)]}).write_csv(tmp_path / "t.csv")
        (found,) = infer(read_table(tmp_path / "t.csv"), [])
        assert found.modality == modality
        assert ("moving images" in found.reason) is (modality == "video")


@pytest.mark.parametrize(("name", "container", "codec"), [("webm", "webm", "libopus"), ("mp4", "mp4", "aac")])
def test_containers_without_images_are_audio(tmp_path: Path, name: str, container: str, codec: str) -> None:
    with av.open(tmp_path / f"a.{name}", "w", format=container) as out:
        stream = out.add_stream(codec, rate=48_000, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="fltp", layout="mono")
        part.sample_rate = 48_000
        out.mux(stream.encode(part))
        out.mux(stream.encode())
    content = (tmp_path / f"a.{name}").read_bytes()
    for cells in ([f"a.{name}"] * 5, [content] * 5, [{"bytes": content, "path": None}] * 5):
        found = infer(read_table({"x": cells}, root=tmp_path), [])[0]
        assert found.modality == "audio"
        assert "they hold sound and no images" in found.reason
    assert infer(read_table({"x": [f"gone.{name}"] * 5}, root=tmp_path), [])[0].modality == "video"


def test_transport_streams_are_told_from_programs(tmp_path: Path) -> None:
    (tmp_path / "program.ts").write_text("export const x = 1;\n" * 40)
    (tmp_path / "show.ts").write_bytes((b"\x47" + bytes(187)) * 4)
    assert infer(read_table({"x": ["show.ts"] * 5}, root=tmp_path), [])[0].modality == "video"
    for name in ("program.ts", "gone.ts"):
        assert infer(read_table({"x": [name] * 5}, root=tmp_path), [])[0].modality != "video"


def test_one_column_can_be_two_inputs() -> None:
    table = read_table({"clip": [f"{i}.mp4" for i in range(20)], "y": ["a", "b"] * 10})
    found = {g.name: g for g in infer(table, ["y"], overrides={"sound": "audio:clip"})}
    assert list(found) == ["clip", "y", "sound"]
    assert (found["sound"].modality, found["sound"].column) == ("audio", "clip")
    assert (found["clip"].modality, found["clip"].column) == ("video", None)
    for overrides, message in (
        ({"clip": "audio:clip"}, "needs a new name"),
        ({"sound": "audio:film"}, "film"),
        ({"sound": "ignored:clip"}, "expected what an input is"),
        ({"sound": "odio:clip"}, "did you mean 'audio'"),
    ):
        with pytest.raises(PolysenseError, match=message):
            infer(table, ["y"], overrides=overrides)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["2024-01-31", "2024-02-01"] * 20, "dates or times such as '2024-01-31', from which"),
        (["03/04/2024", "25/04/2024"] * 20, "(day first, as 20 of 40 cells can only be read so)"),
        (["03/04/2024", "04/25/2024"] * 20, "(month first, as 20 of 40 cells can only be read so)"),
        (["03/04/2024", "05/06/2024"] * 20, "(month first by convention, no cell tells; set day_first"),
        ([date(2024, 1, day) for day in range(1, 31)], "dates or times such as '2024-01-01'"),
    ],
)
def test_dates_are_recognized_and_taken_in_if_stated(cells: list[Any], told: str) -> None:
    found = guess(cells)
    assert (found.role, found.modality) == (Role.IGNORED, "date")
    assert told in found.reason
    assert "name it under columns with its type, date" in found.reason
    stated = guess(cells, x="date")
    assert (stated.role, stated.modality) == (Role.INPUT, "date")


def test_dates_are_taken_in_where_the_table_has_its_own_split() -> None:
    cells = {
        "day": ["2024-01-31", "2024-02-01", "2024-03-05", "2024-03-06"] * 10,
        "link": [f"https://example.org/{i}.jpg" for i in range(40)],
        "part": ["train", "train", "train", "test"] * 10,
        "y": ["a", "b"] * 20,
    }
    own = {g.name: g for g in infer(read_table({**cells, "split": cells["part"]}), ["y"])}
    assert (own["day"].role, own["day"].modality) == (Role.INPUT, "date")
    assert "used since the table has its own split" in own["day"].reason
    assert own["link"].role is Role.IGNORED  # nothing is downloaded, however the rows are split
    del cells["part"]
    random = {g.name: g for g in infer(read_table(cells), ["y"])}
    assert random["day"].role is Role.IGNORED
    left_out = {
        g.name: g
        for g in infer(read_table({**cells, "split": ["train", "test"] * 20}), ["y"], overrides={"day": "ignored"})
    }
    assert left_out["day"].role is Role.IGNORED


def test_numbers_are_dates_only_if_stated() -> None:
    seconds = (1_700_000_000 + rng("unix").integers(0, 10_000_000, 50)).tolist()
    assert guess(seconds).modality == "number"
    assert guess(seconds, x="date").modality == "date"


def leaky(**columns: list[Any]) -> dict[str, ColumnGuess]:
    labels = cycle([f"kind {c}" for c in "abcdefgh"], 400)
    table = read_table({"label": labels, **columns})
    return {found.name: found for found in infer(table, ["label"])}


def test_give_away_columns_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    labels = cycle([f"kind {c}" for c in "abcdefgh"], 400)
    noise = rng("noise").random(400)
    with caplog.at_level(logging.WARNING):
        found = leaky(
            class_id=[ord(label[-1]) for label in labels],
            coarse=["early" if label[-1] < "d" else "late" for label in labels],
            fine=[f"{label} {'x' if u < 0.5 else 'y'}" for label, u in zip(labels, noise, strict=True)],
            about=[f"a long description of all that is known about {label[-1]}, for every class" for label in labels],
            caption=[f"picture {i} of a {label.upper()}, drawn" for i, label in enumerate(labels)],
            good=[label if u < 0.9 else "kind a" for label, u in zip(labels, noise, strict=True)],
            nearly=[
                ("early" if label[-1] < "d" else "late") if u < 0.95 else "late"
                for label, u in zip(labels, noise, strict=True)
            ],
            noise=noise.tolist(),
        )
    expected = {
        "class_id": "determines the target 'label' exactly (8 values, one to one): looks like another spelling of it",
        "coarse": "follows from the target 'label' exactly (2 values for 8 classes)",
        "fine": "determines the target 'label' exactly (16 values for 8 classes)",
        "about": "determines the target 'label' exactly (8 values, one to one)",
        "caption": "holds the target 'label' itself in 100% of the rows",
    }
    for name, reason in expected.items():
        assert found[name].role is Role.IGNORED, name
        assert reason in found[name].reason
        assert "to use it, name it under columns" in found[name].reason
        assert f"column {name!r}" in caplog.text
    assert found["good"].role is found["nearly"].role is found["noise"].role is Role.INPUT
    assert "careful: the target 'label' tells it in 9" in found["nearly"].reason
    assert "careful" not in found["noise"].reason


def test_give_away_columns_stay_if_stated() -> None:
    labels = cycle(["a", "b"], 100)
    table = read_table({"label": labels, "same": labels})
    assert infer(table, ["label"])[1].role is Role.IGNORED
    assert infer(table, ["label"], overrides={"same": "category"})[1].role is Role.INPUT


def test_rescaled_regression_target_is_left_out() -> None:
    celsius = rng("celsius").normal(20, 5, 100)
    table = read_table(
        {"y": celsius.tolist(), "f": (celsius * 1.8 + 32).tolist(), "z": rng("z").normal(size=100).tolist()}
    )
    found = infer(table, ["y"])
    assert [guess.role for guess in found] == [Role.TARGET, Role.IGNORED, Role.INPUT]
    assert "on another scale" in found[1].reason


def test_two_targets_are_no_inputs_of_each_other() -> None:
    labels = cycle(["a", "b"], 100)
    found = infer(read_table({"p": labels, "q": labels, "x": cycle([1.5, 2.5, 3.5], 100)}), ["p", "q"])
    assert [guess.role for guess in found] == [Role.TARGET, Role.TARGET, Role.INPUT]


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(max_size=6),
            st.floats(),
            st.integers(-(2**40), 2**40),
            st.booleans(),
            st.lists(st.text(max_size=2), max_size=2),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None, max_examples=100)
def test_any_column_gets_a_guess(cells: list[Any]) -> None:
    try:
        table = read_table({"x": cells})
    except TableError:
        return  # a lone surrogate
    first = infer(table, [])
    assert first == infer(table, [])
    assert first[0].name == "x"
    assert (first[0].role is Role.INPUT) == (
        first[0].modality is not None and not first[0].reason.startswith("ignored")
    )


def test_kinds() -> None:
    for number in (
        "1",
        "-1.5",
        "+.5",
        "1,5",
        "1 000",
        "1\u202f000,5",
        "1,234,567.8",
        "1.234,5",
        "1e3",
        "50%",
        "50 %",
        "−3",
    ):
        assert is_number(number), number
    for other in ("", "a", "1 2", "1-2", "1_000", "0x10", "nan", "inf", "1.2.3", "12.03.2020", "1f600", "e5", "+"):
        assert not is_number(other), other
    for text in (
        "2020-01-03",
        "2020-01-03T04:05:06Z",
        "3.1.2020",
        "01/03/20",
        "3 Jan 2020",
        "January 3, 2020",
        "04:05",
    ):
        assert is_spelled(text), text
    for other in ("2020", "3.5", "Jan", "May be 3", "192.168.0.1"):
        assert not is_spelled(other), other
    assert kind_of_path("https://x/y.jpeg") == "image"
    assert kind_of_path("He said it.mp3\nand more") is None
    assert kind_of_path(".png") is None
    for data, kind in (
        (WAV, "audio"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"\0\0\0\x1cftypM4A ", "audio"),
        (MP4, "video"),
        (b"\xff\xfb\x90", "audio"),
        (b"text", None),
        (b"", None),
    ):
        assert kind_of_bytes(data) == kind


SENSIBLE = {
    "avdigits/data.csv": ("label", {"image": "image", "image_deg": "image", "audio": "audio"}),
    "grocery/data.csv": ("label", {"image": "image"}),
    "meld/data.jsonl": (
        "emotion",
        {"text": "text", "speaker": "category", "sentiment": "category", "turn": "number", "season": "number"}
        | {"episode": "number", "start": "number", "end": "number"},
    ),
    "emoji/data.jsonl": (
        "group",
        {"image": "image", "name": "text", "keywords": "text", "style": "category", "emoji": "text", "family": "text"},
    ),
    "covid_cxr/data.csv": (
        "label_covid",
        {"image": "image", "notes": "text", "notes_masked": "text", "location": "text"}
        | dict.fromkeys(["survival", "went_icu", "intubated", "sex", "view", "image_licence"], "category")
        | dict.fromkeys(["age", "offset_days", "temperature", "pO2_saturation"], "number")
        | dict.fromkeys(["leukocyte_count", "neutrophil_count", "lymphocyte_count"], "number"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SENSIBLE)
def test_real_tables(name: str, real_data: Callable[[str], Path]) -> None:
    label, inputs = SENSIBLE[name]
    folder, _, file = name.partition("/")
    found = infer(read_table(real_data(folder) / file), [label])
    assert {g.name: g.modality for g in found if g.role is Role.INPUT} == inputs
    assert [g.name for g in found if g.role is Role.SPLIT] == ["split"]
    assert [g.task for g in found if g.role is Role.TARGET] == ["classification"]


def _drawings(num_concepts: int = 90) -> Table:
    """Two drawings of each concept; a third of the concepts is held out."""
    rows = []
    for i in range(num_concepts):
        part = ("train", "train", "test")[i % 3]
        for style in ("plain", "bright"):
            name = f"thing{i} with dots{i // 3}"
            rows.append({"name": name, "caption": f"{name}, {style} style", "color": f"dots{i // 3}", "split": part})
    return read_table(rows)


def test_names_that_training_never_sees_are_written_not_chosen() -> None:
    guesses = {guess.name: guess for guess in infer(_drawings(), ["name"])}

    assert guesses["name"].task == "generation"
    assert "training rows hold none of 30 of the 30" in guesses["name"].reason


def test_names_that_training_sees_stay_classes() -> None:
    rows = [dict(row, split=("train", "test")[i % 2]) for i, row in enumerate(_drawings().frame.to_dicts())]
    guesses = {guess.name: guess for guess in infer(read_table(rows), ["name"])}

    assert guesses["name"].task == "classification"


def test_a_text_that_was_made_from_the_text_to_write_is_not_an_input() -> None:
    guesses = {guess.name: guess for guess in infer(_drawings(), ["name"])}

    assert guesses["caption"].role is Role.IGNORED
    assert "holds the target 'name' itself in 100% of the rows (that of another row in 0%)" in guesses["caption"].reason


def test_a_long_text_that_holds_the_answer_is_an_input_with_a_question() -> None:
    rows = [
        {"text": f"In the year {i} a man called Person {i} came by and " + "went on and on " * 10, "who": f"Person {i}"}
        for i in range(60)
    ]
    guesses = {guess.name: guess for guess in infer(read_table(rows), ["who"], overrides={"who": "generation"})}

    assert guesses["text"].role is Role.INPUT


def test_a_category_that_the_text_to_write_holds_is_warned_of() -> None:
    rows = [
        {"color": color, "text": f"put {color} at {letter} {digit} now"}
        for color in ("red", "blue", "green", "white")
        for letter in "abcdef"
        for digit in ("one", "two", "three")
    ]
    guesses = {guess.name: guess for guess in infer(read_table(rows), ["text"])}

    assert guesses["color"].role is Role.INPUT
    assert "careful: the target 'text' holds it in 100% of the rows" in guesses["color"].reason


def test_words_are_counted_where_no_spaces_stand_between_them() -> None:
    rows = [{"said": f"図の左に赤い丸が{i}個あります", "label": "ab"[i % 2]} for i in range(60)]
    guesses = {guess.name: guess for guess in infer(read_table(rows), ["label"])}

    assert "6 words on average" in guesses["said"].reason


def _guess(target: str = "label", **columns: Sequence[Any]) -> dict[str, ColumnGuess]:
    rows = len(next(iter(columns.values())))
    table = read_table({"label": [f"{'ab'[i % 2]}" for i in range(rows)], **columns})
    return {guess.name: guess for guess in infer(table, [target])}


def _numbers(spelling: Callable[[float], str], num: int = 80) -> list[str]:
    return [spelling(value) for value in rng("spelled").uniform(1, 9, num).tolist()]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (_numbers(lambda x: f"${1000 * x:,.2f}"), "in $; decimal point, comma between thousands"),
        (_numbers(lambda x: f"{x:.1f} kg"), "in kg"),
        (_numbers(lambda x: f"{100 * x:.0f} %"), "in %"),
        (_numbers(lambda x: f"{x:.2f}" if x < 7 else "?"), "'?' in"),
        (_numbers(lambda x: f"{x:.2f}" if x < 7 else "refused"), "'refused' in"),
        (_numbers(lambda x: f"{x:.2f}" if x > 3 else "<3"), "beyond a limit such as '<3'"),
        (_numbers(lambda x: f"{x:.2f} kg" if x > 3 else f"{1000 * x:.0f} g"), "in another unit (g)"),
    ],
)
def test_numbers_with_units_marks_and_limits_are_numbers(cells: list[str], reason: str) -> None:
    guess = _guess(c=cells)["c"]
    assert (guess.role, guess.modality) == (Role.INPUT, "number")
    assert reason in guess.reason
    target = _guess("c", c=cells)["c"]
    assert target.task == "regression"
    assert reason in target.reason


def test_the_other_columns_settle_what_a_column_leaves_open() -> None:
    thousands = _numbers(lambda x: f"{x:.3f}")  # 4.567 or 4,567
    alone = _guess(c=thousands)["c"]
    assert alone.settings == {}
    german = _guess(c=thousands, other=_numbers(lambda x: f"{x:.2f}".replace(".", ",")))["c"]
    assert german.settings == {"decimal": ","}
    assert "decimal mark ',', as in the other columns" in german.reason
    plain = _guess(c=thousands, other=_numbers(lambda x: f"{x:.2f}"))["c"]
    assert plain.settings == {"decimal": "."}
    assert _guess("c", c=thousands, other=_numbers(lambda x: f"{x:.2f}"))["c"].settings == {"decimal": "."}


def test_columns_that_disagree_settle_nothing_but_for_the_one_that_stands_alone() -> None:
    points, commas = _numbers(lambda x: f"{x:.2f}"), _numbers(lambda x: f"{x:.2f}".replace(".", ","))
    table = read_table({"open": _numbers(lambda x: f"{x:.3f}"), "point": points, "comma": commas, "other": commas})
    assert other_marks(table) == {"point": ","}
    table = read_table({"point": points, "comma": commas, "number": [0.5] * len(points)})
    assert other_marks(table) == {"point": ",", "comma": "."}


@pytest.mark.parametrize("name", ["idéal", "clé", "idée"])
def test_an_accent_ends_no_word(name: str) -> None:
    values = [37 * i * i % 7919 + 5000 for i in range(1, 60)]
    assert len(set(values)) == len(values)
    assert _guess(**{name: values})[name].role is Role.INPUT
    assert _guess(id=values)["id"].role is Role.IGNORED


@pytest.mark.parametrize("spelling", ["+49 170 {:07.0f}", "(555) {:03.0f}-1234", "030 {:07.0f}", "+1555{:07.0f}"])
def test_phone_numbers_are_codes(spelling: str) -> None:
    guess = _guess(c=[spelling.format(100 + 7 * i) for i in range(80)])["c"]
    assert guess.role is Role.IGNORED
    assert "an identifier: phone numbers such as" in guess.reason


def test_a_column_of_limits_alone_is_left_out() -> None:
    guess = _guess(c=[[np.inf, -np.inf, None][i % 3] for i in range(60)])["c"]
    assert guess.role is Role.IGNORED
    assert "no numbers, but limits such as 'inf', in 100% of its cells" in guess.reason


def test_a_word_beside_two_classes_is_a_third_one() -> None:
    guesses = _guess("c", c=[["0", "1", "unknown"][i % 3] for i in range(60)])
    assert guesses["c"].task == "classification"
    assert "3 distinct values" in guesses["c"].reason


def test_whatever_is_offered_can_be_stated() -> None:
    cells = {"x": [f"{i % 7}" for i in range(60)], "y": ["a", "b"] * 30}
    with pytest.raises(ColumnError, match="expected one of") as error:
        infer(read_table(cells), [], overrides={"x": "nonsense"})
    for kind in str(error.value).partition("expected one of ")[2].split(", "):
        assert infer(read_table(cells), [], overrides={"x": kind})[0].reason == f"{kind}: as stated"
    with pytest.raises(ColumnError) as error:
        infer(read_table(cells), ["y"], overrides={"y": "nonsense"})
    for kind in str(error.value).partition("expected one of ")[2].split(", "):
        assert recipe_for(infer(read_table(cells), ["y"], overrides={"y": kind, "x": "text"}), 60).data.targets["y"]
