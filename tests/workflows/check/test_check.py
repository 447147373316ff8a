"""What `polysense check` says before a training: of a table, of a table with its columns stated, and of a recipe."""

from __future__ import annotations

import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import polysense
from polysense.core.role import Role


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    draw = random.Random(0)
    things = ["ball", "box", "tree", "house"]
    found = []
    for number in range(60):
        thing = draw.choice(things)
        found.append(
            {
                "name": f"the {thing} {number}",
                "note": f"{draw.choice(things)} beside the {thing} of number {number}",
                "weight": 1 + number % 3,
                "thing": thing,
                "same": thing.upper(),
                "where": ["train", "train", "train", "validation"][number % 4],
            }
        )
    return found


def _roles(found: polysense.api.Check) -> dict[str, tuple[str, str | None]]:
    return {column["name"]: (column["role"], column["type"]) for column in found.columns}


def test_a_shared_space_is_checked_like_a_target(rows: list[dict[str, Any]]) -> None:
    found = polysense.check(rows, target=["name", "note"], task="retrieval")
    assert found.ok, found.problems
    assert found.num_tried == 60
    assert found.splits == {"train": 54, "validation": 6}
    assert _roles(found)["thing"] == (Role.IGNORED, "category")


def test_columns_can_be_stated(rows: list[dict[str, Any]]) -> None:
    found = polysense.check(rows, target="thing", columns={"name": "ignored", "same": "text"})
    roles = _roles(found)
    assert roles["name"][0] == Role.IGNORED
    assert roles["same"] == (Role.INPUT, "text")
    without_target = polysense.check(rows, columns={"weight": "category"})
    assert _roles(without_target)["weight"] == (Role.INPUT, "category")


def test_a_recipe_is_checked_as_it_stands(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    table.write_text(polysense.data.tables.sources.read_table(rows).frame.write_ndjson(), encoding="utf-8")
    recipe = tmp_path / "recipe.yaml"
    # 60 different texts of a few words: too many for classes and too short to be taken for texts, but stated.
    recipe.write_text(
        "data:\n  table: rows.jsonl\n  weight: weight\n  columns:\n    told: {type: text, column: note}\n"
        "    thing: {type: category}\n  targets:\n    name: {type: generation}\n"
        "  split: {type: column, column: where}\n"
        "model:\n  encoders: {told: {type: bag_of_words}, thing: {type: category_embedding}}\n"
        "  heads: {name: {type: generation}}\n"
    )
    found = polysense.check(recipe)
    assert found.ok, found.problems
    assert _roles(found) == {
        "name": (Role.TARGET, "generation"),
        "told": (Role.INPUT, "text"),
        "weight": (Role.WEIGHT, None),
        "thing": (Role.INPUT, "category"),
        "same": (Role.IGNORED, None),
        "where": (Role.SPLIT, None),
    }


def test_a_recipe_that_reads_the_answer_is_warned_of(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "data:\n  table: rows.jsonl\n  columns:\n    same: {type: category}\n"
        "  targets:\n    thing: {type: classification}\n"
        "model:\n  encoders: {same: {type: category_embedding}}\n  heads: {thing: {type: classification}}\n"
    )
    (tmp_path / "rows.jsonl").write_text(polysense.data.tables.sources.read_table(rows).frame.write_ndjson())
    found = polysense.check(recipe)
    assert _roles(found)["same"] == (Role.INPUT, "category")
    assert any("determines the target 'thing'" in warning for warning in found.warnings)


def test_files_outside_of_the_tables_folder_are_unreadable_where_they_are_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(tmp_path / "data" / f"{i}.png")
    Image.new("L", (8, 8), 9).save(tmp_path / "outside.png")
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "outside.png")
    cells = [*(f"{i}.png" for i in range(12)), "../outside.png", "link.png", str(tmp_path / "outside.png")]
    table = tmp_path / "data" / "t.csv"
    table.write_text("photo,label\n" + "".join(f"{cell},{'ab'[i % 2]}\n" for i, cell in enumerate(cells)))
    assert polysense.check(table, target="label").unreadable == ()
    for found in (
        polysense.check(table, target="label", overrides=["data.allow_outside=false"]),
        polysense.check(polysense.read_table(table, allow_outside=False), target="label"),
        polysense.check(polysense.read_table(table, root=polysense.ConfinedFolder(tmp_path / "data")), target="label"),
    ):
        assert [cell.source.row for cell in found.unreadable] == [12, 13, 14]
        assert all("lies outside of the table's folder" in cell.reason for cell in found.unreadable)


def test_names_are_those_that_they_look_like(rows: list[dict[str, Any]]) -> None:
    typed, stored = "größe", unicodedata.normalize("NFD", "größe")
    for given, there in ((typed, stored), (stored, typed)):
        table = [{there: row["weight"], "thing": row["thing"], "name": row["name"]} for row in rows]
        check = polysense.check(table, target="thing", columns={given: "category", "more": f"text:{given}"})
        assert _roles(check)[typed] == (Role.INPUT, "category")
        assert polysense.check(table, target=given).classes == {typed: {"1": 20, "2": 20, "3": 20}}


@pytest.mark.parametrize("target", ["class", "pressure"])
def test_a_number_that_may_stand_for_a_missing_value_is_named_with_what_to_do(target: str) -> None:
    draw = random.Random(3)
    rows = [
        {
            "age": -999 if number % 19 == 0 else draw.randint(18, 90),
            "pressure": draw.gauss(120, 9),
            "class": "ab"[number % 2],
        }
        for number in range(200)
    ]
    for number in range(7):
        rows[number * 13]["pressure"] = 9999.0
    key = "data.targets.pressure" if target == "pressure" else "data.columns.pressure"
    result = polysense.check(rows, target=target)
    text = " ".join(result.warnings)
    assert re.search(r"age: -999 \((9|10|11) of 180\)", text)
    assert "data.columns.age.missing=[-999]" in text
    assert f"{key}.missing=[9999]" in text
    stated = polysense.check(
        rows, target=target, overrides=["data.columns.age.missing=[-999]", f"{key}.missing=[9999]"]
    )
    assert not any("9999" in warning or "-999" in warning for warning in stated.warnings)
    assert "11 of 200 are -999" in polysense.check(rows).columns[0]["reason"]


@pytest.mark.parametrize("target", [None, "y"])
def test_the_missing_share_counts_what_reading_takes_for_missing(target: str | None, tmp_path: Path) -> None:
    marks = ["?", "-", "#N/A", "", "unknown"]
    lines = ["amount,when,word,y"]
    for i in range(100):
        amount = marks[i % 5] if i < 30 else str(i / 4)
        when = marks[i % 5] if i < 20 else f"2024-01-{1 + i % 28:02}"
        lines.append(f"{amount},{when},{'?' if i < 50 else 'yes'},{'ab'[i % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = polysense.check(tmp_path / "t.csv", target=target)
    missing = {column["name"]: column["missing"] for column in result.columns}
    assert missing == {"amount": 0.3, "when": 0.2, "word": 0.0, "y": 0.0}
    stated = polysense.check(tmp_path / "t.csv", target="y", columns={"when": "date", "amount": "number"})
    assert {column["name"]: column["missing"] for column in stated.columns} == missing


@pytest.mark.parametrize(
    ("cells", "delimiter", "expected"),
    [
        (["1,234", "5,678", "12,345"], ";", "from 1.234 to 12.35"),
        (["1,234", "5,678", "12,345"], ",", "integers from 1,234 to 12,345"),
        (["1.234", "5.678", "12.345"], ";", "from 1.234 to 12.35"),
    ],
)
def test_semicolons_between_the_fields_say_that_a_comma_is_a_decimal_mark(
    cells: list[str], delimiter: str, expected: str, tmp_path: Path
) -> None:
    rows = [f'"{cells[i % 3]}"{delimiter}{"ab"[i % 2]}' for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join([f"x{delimiter}y", *rows]) + "\n", encoding="utf-8")
    assert expected in polysense.check(tmp_path / "t.csv", target="y").columns[0]["reason"]
    # Other columns say more than what separates them.
    rows = [f'"{cells[i % 3]}"{delimiter}{i / 4:.2f}{delimiter}{"ab"[i % 2]}' for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join([f"x{delimiter}z{delimiter}y", *rows]) + "\n", encoding="utf-8")
    reason = polysense.check(tmp_path / "t.csv", target="y").columns[0]["reason"]
    assert ("1,234" in reason) is ("," in cells[0])


def test_a_stated_number_column_of_a_file_with_semicolons_is_read_with_decimal_commas(tmp_path: Path) -> None:
    rows = [f"{1 + i % 9},{100 + i};{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x;y", *rows]) + "\n", encoding="utf-8")
    result = polysense.check(tmp_path / "t.csv", target="y", columns={"x": "number"})
    assert result.ok
    assert not any("two ways" in warning for warning in result.warnings)


def test_classes_that_no_validation_row_shares_with_training_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{i * 7 % 13 / 3:.2f},2021-{1 + i % 12:02d}-{1 + i % 28:02d}\n" for i in range(48))
    path.write_text("x,when\n" + rows, encoding="utf-8")
    result = polysense.check(path, target="when")
    assert any("none of the 5 validation rows has a class that training rows have too" in p for p in result.problems)
    with pytest.raises(polysense.PolysenseError, match="no validation row has a value of 'when' that can be scored"):
        polysense.fit(
            path, target="when", preset="fast", output=tmp_path / "run", progress=False,
            overrides=["training.epochs=1", "data.num_workers=0", "evaluation.baselines=false"],
        )  # fmt: skip
