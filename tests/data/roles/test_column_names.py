"""Words of columns' names in several styles and scripts."""

from __future__ import annotations

import pytest

from polysense.data.roles.column_names import name_words, without_identifier


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PatientID", ["patient", "id"]),
        ("usuário", ["usuario"]),
        ("expe\u0301diteur", ["expediteur"]),
        ("Schüler-Nr.", ["schuler", "nr"]),
        ("col_12b", ["col", "b"]),
        ("ΟΜΙΛΗΤΗΣ", ["ομιλητησ"]),
        ("ユーザー", ["ユーザー"]),
        ("ユーサ\u3099ー", ["ユーザー"]),
        ("パンの写真2", ["パンの写真"]),
        ("42", []),
        ("idéal", ["ideal"]),
        ("UsuárioID", ["usuario", "id"]),
        ("ÉcoleNr", ["ecole", "nr"]),
        ("номерПользователя", ["номер", "пользователя"]),
        ("患者id", ["患者", "id"]),
        ("ผู้ID", [*name_words("ผู้"), "id"]),
    ],
)
def test_words(name: str, words: list[str]) -> None:
    assert name_words(name) == words


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("patient_id", "patient"),
        ("id_patient", "patient"),
        ("patientid", "patient"),
        ("Patientennummer", "patienten"),
        ("nom du client", "du client"),
        ("患者ID", "患者"),
    ],
)
def test_identifiers(name: str, rest: str) -> None:
    assert without_identifier(name_words(name)) == (rest.split(), True)


def test_a_plain_name_is_no_identifier() -> None:
    assert without_identifier(["valid"]) == (["val"], True), "a glued end is cut off, and the caller looks at both"
    assert without_identifier(["price"]) == (["price"], False)
