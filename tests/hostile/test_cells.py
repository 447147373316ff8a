"""Names, cells and labels that drive terminals, forge lines or compute, from a table to a model and its pages."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import polysense
from polysense.cli.app import main

ESC, CSI, BEL, BIDI = "\x1b", "\x9b", "\x07", "\u202e"
NAME = f"a{ESC}[2J"
FORGED = f"b\nerror: forged{BIDI}"
CELLS = [
    f"x{ESC}]8;;http://evil{BEL}click",
    f"y{CSI}31m\nWARNING: forged",
    "z\u200b\u2066w\rq [red]markup[/red] [link=http://evil]l[/link]",
]
LABELS = ["=1+1", f"no{ESC}[31m\nProblem: forged"]
DRIVING = {ESC, CSI, BEL, BIDI, "\r", "\u200b", "\u2066", "\x00"}
SMALL = ["model.width=16", "training.epochs=1", "training.batch_size=16", "training.tensorboard=false"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([NAME, FORGED, "label"])
        for number in range(60):
            writer.writerow([number % 7, CELLS[number % 3], LABELS[number % 2]])
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> polysense.Run:
    return polysense.fit(
        table,
        target="label",
        output=table.parent / "run",
        overrides=[*SMALL, "evaluation.bootstrap=20", "evaluation.samples=2"],
        columns={FORGED: "category"},
        progress=False,
    )


def lines(text: str) -> list[str]:
    """What a terminal shows, which nothing drives and nothing forges."""
    assert not DRIVING & set(text)
    listed = text.split("\n")
    assert not [line for line in listed if line.startswith(("error: forged", "WARNING: forged", "Problem: forged"))]
    return listed


@pytest.mark.parametrize("arguments", [[], ["--target", "label"], ["--target", NAME], ["--target", "nosuch"]])
def test_check_shows_what_is_there(arguments: list[str], table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(table), *arguments])
    listed = capsys.readouterr()
    lines(listed.out)
    lines(listed.err)
    assert "a\\u001b[2J" in listed.out + listed.err or "a\\x1b[2J" in listed.out + listed.err
    assert main(["check", str(table), *arguments, "--json"]) in (0, 2)
    shown = capsys.readouterr().out
    lines(shown)
    assert not shown or NAME in [column["name"] for column in json.loads(shown)["columns"]]


def test_train_evaluate_and_predict_show_what_is_there(
    table: Path, run: polysense.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["evaluate", str(run.folder), str(table)], ["predict", str(run.folder), str(table)]):
        assert main(command) == 0
        listed = capsys.readouterr()
        lines(listed.out)
        lines(listed.err)
    lines(run.summary())
    lines((run.folder / "train.log").read_text(encoding="utf-8"))
    lines((run.folder / "recipe.yaml").read_text(encoding="utf-8"))
    # The data themselves are exact, in the recipe and the predictions.
    assert FORGED in polysense.load_recipe(run.folder / "recipe.yaml").data.columns
    assert set(run.bundle.predict(table).frame["label"]) <= set(LABELS)


def test_pages_and_the_model_card_escape_all(run: polysense.Run) -> None:
    pages = [*run.folder.rglob("*.html"), run.folder / "bundle" / "README.md"]
    assert len(pages) >= 2
    for page in pages:
        content = page.read_text(encoding="utf-8")
        assert not DRIVING & set(content), page
        assert "\nerror: forged" not in content


def test_written_predictions_compute_nothing(table: Path, run: polysense.Run, tmp_path: Path) -> None:
    for option, prefix in (([], "'"), (["--no-csv-safe"], "")):
        output = tmp_path / "out.csv"
        assert main(["predict", str(run.folder), str(table), "-o", str(output), *option]) == 0
        with output.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["label"] for row in rows} <= {f"{prefix}=1+1", LABELS[1]}
        assert all(float(row["label_probability"]) >= 0 for row in rows)


def test_deeply_nested_cells_are_cells(tmp_path: Path) -> None:
    table = tmp_path / "deep.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["a", "label"])
        writer.writerows([["[" * 100_000 if number == 3 else f"[{number}]", "xy"[number % 2]] for number in range(40)])
    assert main(["check", str(table), "--target", "label"]) in (0, 2)
