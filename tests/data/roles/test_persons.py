"""Columns that name persons: by name in several languages, and by cells; the group, and a split that shares them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.split import ColumnSplitConfig, GroupSplitConfig
from polysense.data.tables.sources import read_table
from polysense.presets import recipe_for

RNG = np.random.default_rng(5)
CODES = [f"s{i:02d}" for i in RNG.integers(0, 12, 150)]
NUMBERS = RNG.integers(1, 25, 150).tolist()
NAMED = """
    speaker speaker_id SpeakerID actor sender patient patient_id PATIENT_NO patientid id_patient user userId
    customer participant sprecher Kundennummer proband_nr Patientin locuteur expéditeur utilisateur hablante
    paciente usuario_id remitente parlante paziente utente usuário deelnemer klant ομιλητής ασθενής χρήστης
    пациент отправитель 患者ID 用户 話者 ユーザー subject client_id author next_speaker
"""
NAMES = ["Ada Lane", "Bo Reed", "Cy Dee", "Di Roe", "Ed Poe"]


def guesses(**columns: Sequence[Any]) -> dict[str, ColumnGuess]:
    count = len(next(iter(columns.values())))
    rows = {**{name: list(cells) for name, cells in columns.items()}, "x": RNG.normal(size=count).tolist()}
    return {found.name: found for found in infer(read_table(rows), ["y"] if "y" in columns else [])}


@pytest.mark.parametrize(
    "name",
    re.findall(r"\S+", NAMED),
)
@pytest.mark.parametrize("cells", [CODES, NUMBERS], ids=["codes", "numbers"])
def test_named_persons(name: str, cells: list[Any]) -> None:
    found = guesses(**{name: cells})[name]
    assert found.role is Role.GROUP, found.reason
    assert "persons such as" in found.reason
    assert "an automatic split keeps each one's rows together" in found.reason


def test_full_names() -> None:
    assert guesses(sender=[NAMES[i % 5] for i in range(60)])["sender"].role is Role.GROUP


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("patient_age", RNG.integers(20, 80, 150).tolist()),
        ("num_speakers", RNG.integers(1, 5, 150).tolist()),
        ("users", RNG.integers(1, 40, 150).tolist()),
        ("user_rating", RNG.integers(1, 6, 150).tolist()),
        ("subject", ["math", "history", "physics"] * 50),
        ("subject", [f"Re: the meeting about room {i % 40} on next Monday" for i in range(150)]),
        ("speaker", ["user", "assistant", "system"] * 50),
        ("sender", ["yes", "no"] * 75),
        ("is_patient", [0, 1] * 75),
        ("client", ["firefox", "chrome", "safari"] * 50),
        ("patient", RNG.normal(size=150).tolist()),
        ("color", CODES),
    ],
)  # fmt: skip
def test_no_persons(name: str, cells: list[Any]) -> None:
    assert guesses(**{name: cells})[name].role is not Role.GROUP


def test_the_group_of_the_automatic_split() -> None:
    found = guesses(speaker=CODES, y=["a", "b", "a"] * 50)
    recipe = recipe_for(list(found.values()), 150)
    assert recipe.data.split == GroupSplitConfig(column="speaker", validation=0.1, test=0.0)
    assert list(recipe.data.columns) == ["x"]


def test_patients_go_first_and_one_column_is_the_group() -> None:
    found = guesses(user=NUMBERS, patient=CODES)
    assert found["patient"].role is Role.GROUP
    assert found["user"].role is Role.IGNORED
    assert "the rows are grouped by 'patient'" in found["user"].reason


def test_a_stated_group_stays_the_group() -> None:
    rows = {"user": NUMBERS, "ward": [f"w{i % 4}" for i in range(150)], "x": RNG.normal(size=150).tolist()}
    found = {each.name: each.role for each in infer(read_table(rows), [], overrides={"ward": "group"})}
    assert found == {"user": Role.IGNORED, "ward": Role.GROUP, "x": Role.INPUT}


def test_a_stated_input_is_read_and_still_groups() -> None:
    rows = {"speaker": CODES, "y": ["a", "b", "a"] * 50}
    found = infer(read_table(rows), ["y"], overrides={"speaker": "category"})
    recipe = recipe_for(found, 150)
    assert list(recipe.data.columns) == ["speaker"]
    assert recipe.data.split == GroupSplitConfig(column="speaker", validation=0.1, test=0.0)


def test_a_split_that_shares_persons_makes_them_an_input_with_a_warning() -> None:
    split = [("train", "train", "test")[i % 3] for i in range(150)]
    found = guesses(speaker=[NAMES[i % 5] for i in range(150)], split=split)
    assert (found["speaker"].role, found["speaker"].modality) == (Role.INPUT, "category")
    assert found["speaker"].warnings == (
        "5 of its persons are both in training rows and in other rows of the split 'split'",
    )
    patients = guesses(patient=[NAMES[i % 5] for i in range(150)], split=split)
    assert patients["patient"].role is Role.GROUP


def test_a_split_that_keeps_persons_apart() -> None:
    speakers = [f"s{i % 6}" for i in range(150)]
    found = guesses(
        speaker=speakers, split=["test" if each == "s5" else "train" for each in speakers], y=["a", "b", "a"] * 50
    )
    assert found["speaker"].role is Role.GROUP
    assert "no two parts of the split 'split' share one" in found["speaker"].reason
    split = recipe_for(list(found.values()), 150).data.split
    assert split == ColumnSplitConfig(column="split", group="speaker"), "validation rows are of other persons too"


def test_the_target_spelled_again_is_no_group() -> None:
    found = guesses(speaker=CODES, y=[f"voice {code}" for code in CODES])
    assert found["speaker"].role is Role.IGNORED
    assert "follows from the target 'y'" in found["speaker"].reason


@pytest.mark.parametrize(
    ("name", "cells"),
    [("author", ["Ann Lee", "Bo Chen"]), ("speaker_id", [7, 9]), ("patient", ["p1", "p2"]), ("autor", ["A", "B"])],
)
def test_two_persons_are_too_few_to_keep_apart_and_that_is_said(name: str, cells: list[Any]) -> None:
    guess = guesses(**{name: cells * 75})[name]
    assert guess.role is Role.INPUT
    (warning,) = guess.warnings
    assert "it names persons, but only 2, too few to be kept apart" in warning
    assert warning in guess.reason


def test_two_parts_of_a_conversation_are_no_persons() -> None:
    assert not guesses(speaker=["user", "assistant"] * 75)["speaker"].warnings
