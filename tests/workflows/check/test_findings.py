"""Faults that are planted in files are found by the public function, in the right rows; a cell is decoded once."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_schema import check_by_schema
from markupsafe import escape
from PIL import Image

import polysense
from polysense.cli.app import main
from polysense.core.finding import Finding
from polysense.core.json import read_json
from polysense.reports.check import Check

NUM = 90


def picture(draw: np.random.Generator, brightness: int = 0) -> Image.Image:
    small = draw.integers(0, 155, (7, 7, 3)) + brightness
    return Image.fromarray(small.astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)


def of_kind(check: Check, kind: str) -> list[Finding]:
    return [finding for finding in check.findings if finding.kind == kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of two classes: row 61 is a copy of 2 under another name, 64 one of 5 in another format and size, 7
    is cut short, and the photographs of "b" are brighter."""
    root = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    lines = ["photo,size_class,label,split"]
    images = [picture(draw, 100 * (i % 2)) for i in range(NUM)]
    for i, image in enumerate(images):
        name, file = f"{i}.png", BytesIO()
        image.save(file, "PNG")
        data = file.getvalue()
        if i == 61:
            data = (root / "2.png").read_bytes()
        elif i == 64:
            name, file = f"{i}.jpg", BytesIO()
            images[5].resize((64, 64)).save(file, "JPEG", quality=80)
            data = file.getvalue()
        elif i == 7:
            data = data[: len(data) // 2]
        (root / name).write_bytes(data)
        of = {61: 2, 64: 5}.get(i, i)
        lines.append(
            f"{name},{'uvw'[of % 3]},{'ab'[of % 2]},{'test' if i >= 60 else 'validation' if i >= 50 else 'train'}"
        )
    (root / "photos.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def checked(folder: Path) -> Check:
    return polysense.check(folder / "photos.csv", target="label")


def test_copies_of_files_are_found_across_the_split(checked: Check) -> None:
    (equal,) = of_kind(checked, "duplicates_across_splits")
    assert equal.rows == (61,)
    (near,) = of_kind(checked, "near_duplicates_across_splits")
    assert near.rows == (64,)
    assert not of_kind(checked, "conflicting_labels")
    assert not of_kind(checked, "shared_cells")


def test_a_property_that_predicts_the_class_and_a_broken_file_are_found(checked: Check) -> None:
    assert any("brightness predicts label" in each.message for each in of_kind(checked, "spurious_property"))
    (broken,) = of_kind(checked, "unreadable")
    assert (broken.columns, broken.rows) == (("photo",), (7,))
    assert checked.reaches("warning")
    assert not checked.reaches("error")


def test_scripts_get_what_the_schema_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", str(folder / "photos.csv"), "--target", "label"]
    assert main([*arguments, "--json", "--fail-on", "warning"]) == 3
    plain = json.loads(capsys.readouterr().out)
    check_by_schema(plain, polysense.api.check_schema())
    assert {"kind", "severity", "columns", "rows", "message", "action"} <= set(plain["findings"][0])
    assert main([*arguments, "--fail-on", "error"]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())
    assert main([*arguments, "--fail-on", "sometimes"]) == 2
    assert "expected warning or error" in capsys.readouterr().err


def test_every_cell_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polysense.data.processor import Processor

    seen: list[int] = []
    transform = Processor.transform

    def counting(self: Processor, table: Any, i: int, **more: Any) -> Any:
        seen.append(int(table.rows[i]))
        return transform(self, table, i, **more)

    monkeypatch.setattr(Processor, "transform", counting)
    polysense.check(folder / "photos.csv", target="label")
    assert sorted(seen[:NUM]) == list(range(NUM))


def test_leaks_identifiers_and_groups_without_files() -> None:
    draw = np.random.default_rng(1)
    rows = [
        {
            "number": i,
            "session_id": f"s{i % 40:03d}",
            "x": draw.normal(),
            "y": draw.normal(),
            "code": ["k1", "k2"][i % 2],
            "label": "ab"[i % 2],
            "fold": i % 5,
            "constant": "same",
        }
        for i in range(200)
    ]
    check = polysense.check(rows, target="label")
    assert of_kind(check, "target_leak")[0].columns == ("code",)
    assert of_kind(check, "row_number")[0].columns == ("number",)
    assert of_kind(check, "split_mark")[0].columns == ("fold",)
    assert of_kind(check, "constant_column")[0].columns == ("constant",)
    assert of_kind(check, "identifier")[0].columns == ("session_id",)
    assert of_kind(check, "shared_groups")[0].columns == ("session_id",)
    without = polysense.check(rows)
    assert {"row_number", "split_mark", "constant_column"} <= {each.kind for each in without.findings}


def test_wrong_labels_are_found_by_a_simple_model() -> None:
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 3, 300)
    rows = [
        {"x": float(draw.normal() + 6 * (k == 1)), "y": float(draw.normal() + 6 * (k == 2)), "label": "abc"[k]}
        for k in labels.tolist()
    ]
    assert not of_kind(polysense.check(rows, target="label"), "label_error")
    for i in range(0, 300, 25):
        rows[i]["label"] = "bca"["abc".index(str(rows[i]["label"]))]
    (finding,) = of_kind(polysense.check(rows, target="label"), "label_error")
    wrong = set(range(0, 300, 25))
    assert len(wrong & set(finding.rows)) >= 10
    assert len(set(finding.rows) - wrong) <= 3


def test_of_a_long_table_a_sample_is_compared_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from polysense.workflows.check import examine

    rows = [{"x": i * 0.37 % 1, "y": "ab"[i % 2]} for i in range(300)]
    assert not any("rows were compared" in each.message for each in polysense.check(rows, target="y").findings)
    monkeypatch.setattr(examine, "MOST_ROWS", 100)
    for target in ("y", None):
        findings = polysense.check(rows, target=target).findings
        assert [each.message for each in findings if "rows were compared" in each.message] == [
            "100 of 300 rows were compared for findings, spread evenly"
        ]


@pytest.mark.parametrize(
    "cells", [["", "\x00", "a" * 100_000, "=1+1", "🦊" * 50], ["../../etc/passwd", "/dev/zero"] * 3]
)
def test_odd_cells_end_in_no_traceback(cells: list[str], tmp_path: Path) -> None:
    rows = [{"odd": cells[i % len(cells)], "x": i % 7, "label": "ab"[i % 2]} for i in range(60)]
    for target in (None, "label"):
        check = polysense.check(rows, target=target, columns={"odd": "image"} if target else None)
        assert all(finding.message for finding in check.findings)
        assert all(len(line) <= 80 for line in check.text().splitlines())


def test_the_page_shows_findings_first_and_every_column(folder: Path, tmp_path: Path) -> None:
    check = polysense.check(folder / "photos.csv", target="label", output=tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert page.index('id="findings"') < page.index('id="columns"')
    for finding in check.findings:
        assert escape(finding.message.split(";")[0]) in page
    assert page.count("<img") >= 5
    assert "http" not in page.replace("http-equiv", "")
    assert "is cut short" in page
    plain = read_json(tmp_path / "out" / "check.json", dict)
    assert plain == json.loads(json.dumps(check.as_json()))


def test_hostile_names_are_no_markup(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    rows = [{name: i * 1.5, "text": f"<b>{i}</b> {name}", "y": ["a", "<i>b</i>"][i % 2]} for i in range(60)]
    for target in ("y", None):
        polysense.check(rows, target=target, output=tmp_path)
        page = (tmp_path / "check.html").read_text(encoding="utf-8")
        assert name not in page
        assert "<i>b" not in page


def test_cleanings_are_proposed_with_the_line_that_asks_for_them() -> None:
    draw = np.random.default_rng(0)
    words = ["red", "green", "blue", "house", "river", "stone", "cloud"]
    num = 80
    rows = {
        "note": [f"the {' '.join(draw.choice(words, 6))} number {i}" for i in range(num)],
        "kind of shop": [("North", "South")[i % 2] for i in range(num)],
        "price": [float(draw.normal()) for _ in range(num)],
        "label": [("yes", "no")[int(draw.integers(2))] for _ in range(num)],
    }
    columns = {"note": "text", "kind of shop": "category", "price": "number"}
    assert not of_kind(polysense.check(rows, target="label", columns=columns), "cleaning")
    dirty = {**rows, "note": list(rows["note"]), "label": list(rows["label"]), "kind of shop": [*rows["kind of shop"]]}
    for i in (3, 9):
        dirty["note"][i] = f"<p>{rows['note'][i]}</p>"
    dirty["note"][12] = dirty["note"][13] = "a zero\u200bwidth space"
    dirty["label"][5] = rows["label"][5].upper()
    dirty["kind of shop"][6] = dirty["kind of shop"][8] = "north"
    check = polysense.check(dirty, target="label", columns=columns)
    by_column = {finding.columns[0]: finding for finding in of_kind(check, "cleaning")}
    assert {name: finding.rows for name, finding in by_column.items()} == {
        "note": (3, 9, 12, 13), "label": (5,), "kind of shop": (6, 8),
    }  # fmt: skip
    assert "html would change 2 cells of 80, such as '<p>the" in by_column["note"].message
    assert by_column["label"].severity == "warning"
    lines = {name: finding.action.rpartition(" add ")[2].strip("'") for name, finding in by_column.items()}
    assert lines == {
        "note": "data.cleaning.note=[control_characters, html]",
        "label": "data.cleaning.label=[merge_variants]",
        "kind of shop": "data.cleaning[kind of shop]=[merge_variants]",
    }
    accepted = polysense.check(dirty, target="label", columns=columns, overrides=[*lines.values()])
    assert not of_kind(accepted, "cleaning")
    assert "would change" in check.text()


def test_texts_in_another_language_are_listed_with_their_rows(tmp_path: Path) -> None:
    english = "We walked along the river for {} minutes and then we had a coffee"
    german = "Wir sind {} Minuten am Fluss entlang gelaufen und haben einen Kaffee getrunken"
    notes = [(german if i % 9 == 4 else english).format(i) for i in range(100)] + ["ok", None]
    check = polysense.check({"note": notes, "label": ["a", "b"] * 51}, target="label", output=tmp_path)
    (finding,) = of_kind(check, "few_of_a_kind")
    assert sorted(finding.rows) == [i for i in range(100) if i % 9 == 4]
    assert finding.message == "note: language is English in 89 of 100 cells, German in 11"
    (column,) = (each for each in check.columns if each["name"] == "note")
    assert column["properties"] == {"language": {"English": 89, "German": 11}}
    assert "language: English 89%, German 11% of 100 cells" in check.text()
    assert "English" in (tmp_path / "check.html").read_text(encoding="utf-8")
    kept = [note for i, note in enumerate(notes) if i % 9 != 4 or i < 20]
    few = polysense.check({"note": kept, "label": (["a", "b"] * 60)[: len(kept)]}, target="label")
    assert not of_kind(few, "few_of_a_kind"), "three cells may be told by mistake"
