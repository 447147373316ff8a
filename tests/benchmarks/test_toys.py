"""The toys that are spoken and shown: what they promise of their splits and of their answers holds."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from polysense.core import random
from polysense.data.demo.assets import read_speech
from polysense.errors import UserError
from toys import translation
from toys.service import SIZE, Case, draw_thing, make_service, reply
from toys.spoken_numbers import LARGEST, make_spoken_numbers, say
from toys.translation import greek_number

MAKERS = (make_spoken_numbers, make_service)
CASE = Case(name="Ada", wish="money", thing="cup", color="red", broken=True, order="47")


def read_rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_seed_gives_the_same_bytes(make: Callable[..., Path], tmp_path: Path) -> None:
    first = read_bytes(make(tmp_path / "a", num_rows=20).parent)
    assert first == read_bytes(make(tmp_path / "b", num_rows=20).parent)
    assert first != read_bytes(make(tmp_path / "c", num_rows=20, seed=1).parent)


@pytest.mark.parametrize("make", MAKERS)
def test_odd_requests_are_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10 to 50,000 rows, not 9"):
        make(tmp_path / "few", num_rows=9)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"can't be written to .*taken"):
        make(tmp_path / "taken", num_rows=10)


def test_numbers_are_said_digit_by_digit() -> None:
    speech = read_speech()
    one, three = (say(digits, speech, 0, random.generator("said")) for digits in ("3", "305"))
    assert one.dtype == three.dtype == np.int16
    shortest = [speech.length[(speech.voice == 0) & (speech.digit == digit)].min() for digit in (3, 0, 5)]
    assert len(three) >= sum(shortest) + 2 * 0.05 * speech.sample_rate
    assert len(one) < len(three)


def test_no_number_and_no_voice_is_in_two_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voices: list[int] = []

    def noted(digits: str, speech: object, voice: int, draws: object) -> np.ndarray:
        voices.append(voice)
        return np.zeros(80, dtype=np.int16)

    monkeypatch.setattr("toys.spoken_numbers.say", noted)
    rows = read_rows(make_spoken_numbers(tmp_path, num_rows=400))
    numbers = {greek_number(number, 2): number for number in range(1, LARGEST + 1)}
    assert len(numbers) == LARGEST, "each number has words of its own"
    splits = ("train", "validation", "test")
    said = {split: {numbers[row["greek"]] for row in rows if row["split"] == split} for split in splits}
    attended = {split: {v for row, v in zip(rows, voices, strict=True) if row["split"] == split} for split in splits}
    for found in (said, attended):
        assert not found["train"] & found["validation"]
        assert not found["train"] & found["test"]
        assert not found["validation"] & found["test"]
        assert all(len(found[split]) >= 4 for split in splits)


def test_a_recording_has_frames_enough_for_its_words(tmp_path: Path) -> None:
    """25 frames a second of a Conformer, a character each and one more between repeated ones."""
    rows = read_rows(make_spoken_numbers(tmp_path, num_rows=60))
    short = 0
    for row in rows:
        info = soundfile.info(tmp_path / row["audio"])
        assert info.samplerate == 8000
        greek = row["greek"]
        short += 25 * info.duration < len(greek) + sum(a == b for a, b in pairwise(greek))
    assert short <= 6, "at most a tenth can't be aligned"


def test_a_reply_says_what_the_columns_tell() -> None:
    assert reply(CASE) == (
        "Dear Ada, we are sorry about your broken red cup of order 4 7; your money is on its way."
    )  # fmt: skip
    changes = [{"name": "Lea"}, {"wish": "repair"}, {"thing": "box"}, {"color": "blue"}, {"order": "70"}]
    others = [dataclasses.replace(CASE, **change) for change in [*changes, {"broken": False}]]
    assert len({reply(case) for case in [CASE, *others]}) == 7, "each of the three columns changes it"
    assert reply(dataclasses.replace(CASE, has_photo=False)) == "Dear Ada, please send us a picture of what arrived."
    neither = dataclasses.replace(CASE, has_photo=False, has_voice=False)
    assert reply(neither) == "Dear Ada, please send us a picture of what arrived and the number of your order."
    unseen = dataclasses.replace(CASE, has_photo=False, thing="lamp", color="green", broken=False)
    assert reply(unseen) == reply(dataclasses.replace(CASE, has_photo=False)), "what is not there is not told"


def test_a_picture_shows_its_thing_and_whether_it_is_broken() -> None:
    images = {
        (thing, color, broken): np.asarray(
            draw_thing(
                dataclasses.replace(CASE, thing=thing, color=color, broken=broken), random.generator("same")
            )
        )
        for thing in ("cup", "lamp", "ball", "box")
        for color in ("red", "yellow")
        for broken in (False, True)
    }  # fmt: skip
    assert all(image.shape == (SIZE, SIZE, 3) for image in images.values())
    assert len({image.tobytes() for image in images.values()}) == len(images)
    for (thing, color, broken), image in images.items():
        if broken:
            changed = (image != images[thing, color, False]).any(axis=2)
            assert 20 < changed.sum() < 400, "a crack, and nothing else"


def test_service_cells_are_missing_as_promised_and_splits_are_apart(tmp_path: Path) -> None:
    rows = read_rows(make_service(tmp_path, num_rows=200))
    for column in ("photo", "voice"):
        assert 8 < sum(not row[column] for row in rows) < 40
    for row in rows[:40]:
        if row["photo"]:
            with Image.open(tmp_path / row["photo"]) as image:
                assert (image.size, image.mode) == ((SIZE, SIZE), "RGB")
        if row["voice"]:
            assert soundfile.info(tmp_path / row["voice"]).samplerate == 8000
    for row in rows:
        assert ("a picture of what arrived" in row["reply"]) == (not row["photo"])
        assert ("the number of your order" in row["reply"]) == (not row["voice"])
        name = row["reply"].split(",")[0].removeprefix("Dear ")
        assert row["message"].endswith(name)
    found: dict[str, set[tuple[str, str]]] = {"train": set(), "validation": set(), "test": set()}
    for row in rows:
        if "broken" in row["reply"]:
            what, answer = row["reply"].split("broken ")[1].split("; ")
            found[row["split"]].add((what.split(" of order")[0], answer))
    assert len(found["train"]) > 20
    assert found["test"]
    assert not found["train"] & found["test"], "a thing, color and wish that no training row has together"


def test_the_toy_translation_follows_its_rules(tmp_path: Path) -> None:
    assert translation.phrase(1, 0, 1) == ("one small road", "ένας μικρός δρόμος")
    assert translation.phrase(21, 5, 0) == ("twenty-one cities", "είκοσι μία πόλεις")
    assert translation.phrase(203, 8, 1) == ("two hundred and three small houses", "διακόσια τρία μικρά σπίτια")
    assert translation.phrase(203, 5, 1) == ("two hundred and three small cities", "διακόσιες τρεις μικρές πόλεις")
    assert translation.phrase(3014, 6, 0)[1] == "τρεις χιλιάδες δεκατέσσερις μέρες"
    assert translation.phrase(1100, 9, 0)[1] == "χίλια εκατό βιβλία"
    assert len({translation.english_number(i) for i in range(1, 10_000)}) == 9_999
    assert all(len({translation.greek_number(i, gender) for i in range(1, 10_000)}) == 9_999 for gender in range(3))
    rows = read_rows(translation.make_translation(tmp_path, num_rows=2_000))
    assert len({row["english"] for row in rows}) == len({row["greek"] for row in rows}) == 2_000
    numbers = {split: set() for split in ("train", "validation", "test")}
    known = {translation.english_number(i): i for i in range(1, 10_000)}
    for row in rows:
        words = row["english"].split()
        longest = next(n for n in range(len(words), 0, -1) if " ".join(words[:n]) in known)
        numbers[row["split"]].add(" ".join(words[:longest]))
    assert not numbers["train"] & numbers["test"], "compositions that no training row holds"
    assert not numbers["train"] & numbers["validation"]
    assert 100 < sum(row["split"] == "test" for row in rows) < 300
    first = (tmp_path / "translation.csv").read_bytes()
    assert translation.make_translation(tmp_path, num_rows=2_000).read_bytes() == first
    with pytest.raises(UserError, match="10 to 100,000 rows"):
        translation.make_translation(tmp_path, num_rows=5)
    with pytest.raises(UserError, match="can't be written"):
        translation.make_translation(tmp_path / "translation.csv", num_rows=10)
