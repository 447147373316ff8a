"""Explanations of a model that was taught what to look at: a patch in a picture, a word, a tone, two categories."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import runs
import soundfile
import torch
from PIL import Image
from typer.testing import CliRunner

import polysense
from polysense.bundle import Bundle
from polysense.cli.app import app
from polysense.errors import ConfigError, TableError
from polysense.evaluation.explanation import ExplanationOptions
from polysense.evaluation.explanation_result import CellMap, RowExplanation, TargetExplanation

RATE = 8000
ROWS = 260
WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "near", "house", "tree", "under", "over", "blue", "green", "old"]
QUICK = ExplanationOptions(parts=16, pairs=3, donors=4)


def planted(folder: Path) -> list[dict[str, str]]:
    """Rows whose answers lie in one place of one cell, and where that is."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(ROWS):
        seen, said, heard = (bool(each) for each in generator.integers(0, 2, 3))
        pixels = generator.integers(60, 110, (16, 16), dtype=np.uint8)
        top, left = (int(each) for each in generator.integers(0, 4, 2) * 4)
        if seen:
            pixels[top : top + 4, left : left + 4] = 250
        Image.fromarray(pixels).save(folder / f"{i}.png")
        words = generator.choice(WORDS, 9).tolist()
        place = int(generator.integers(9))
        words[place] = "fire" if said else words[place]
        wave = 0.02 * generator.standard_normal(4000)
        start = int(generator.integers(4)) * 1000
        if heard:
            wave[start : start + 1000] += 0.4 * np.sin(2 * np.pi * 1500 * np.arange(1000) / RATE)
        soundfile.write(folder / f"{i}.wav", wave, RATE)
        rows.append(
            {
                "photo": f"{i}.png", "note": " ".join(words), "sound": f"{i}.wav",
                "noise": f"{generator.normal():.3f}",
                "seen": "yes" if seen else "no", "said": "yes" if said else "no", "heard": "yes" if heard else "no",
                "patch": f"{top // 4} {left // 4}", "place": str(place), "second": str(start // 1000),
            }
        )  # fmt: skip
    return rows


def train(folder: Path) -> polysense.Run:
    rows = planted(folder)
    (folder / "rows.json").write_text(json.dumps(rows))
    inputs = ("photo", "note", "sound", "noise", "seen", "said", "heard")
    return polysense.fit(
        runs.write_csv(folder / "data.csv", [{name: row[name] for name in inputs} for row in rows]),
        target=["seen", "said", "heard"],
        columns={"note": "text", "noise": "number"},
        output=folder / "run",
        preset="fast",
        overrides=[
            "model.width=32", "training.epochs=6", "training.batch_size=16", "training.tensorboard=false",
            "evaluation.bootstrap=0", "evaluation.contribution=false", "evaluation.simple_baselines=false",
            "data.split.validation=0.15",
        ],
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(run_once: runs.RunOnce) -> Path:
    return run_once("explained", train).folder.parent


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return polysense.load(folder / "run")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    loaded: list[dict[str, str]] = json.loads((folder / "rows.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def explained(bundle: Bundle, folder: Path, rows: list[dict[str, str]]) -> list[RowExplanation]:
    """Rows in which everything is there, which the model has right."""
    chosen = [i for i, row in enumerate(rows) if row["seen"] == row["said"] == row["heard"] == "yes"][:5]
    return bundle.explain(folder / "data.csv", chosen, options=QUICK)


def column_map(row: RowExplanation, target: str, column: str) -> CellMap:
    found = next(each for each in of(row, target).columns if each.name == column).map
    assert found is not None
    return found


def of(row: RowExplanation, target: str) -> TargetExplanation:
    return next(each for each in row.targets if each.target == target)


DECIDES = {"seen": "photo", "said": "note", "heard": "sound"}


@pytest.mark.parametrize("target", list(DECIDES))
def test_the_column_that_decides_has_the_largest_share(target: str, explained: list[RowExplanation]) -> None:
    ranked = [of(row, target).ranked[0].name for row in explained]
    assert ranked == [DECIDES[target]] * len(explained)


def test_the_shares_sum_to_the_distance_from_the_prior(explained: list[RowExplanation]) -> None:
    for row in explained:
        for target in row.targets:
            assert sum(column.share for column in target.columns) == pytest.approx(
                target.value - target.prior, abs=1e-5
            )
            for column in target.columns:
                if column.map is not None:
                    assert column.map.without is not None
                    lost = target.value - column.map.without
                    assert column.map.shares.sum() == pytest.approx(lost, abs=1e-4)


def test_what_was_planted_is_found(explained: list[RowExplanation], rows: list[dict[str, str]]) -> None:
    """The strongest part lies on the patch, is the word, overlaps the tone: at least 4 rows of 5 each."""
    found = {"photo": 0, "note": 0, "sound": 0}
    for row in explained:
        truth = rows[row.row]
        photo = column_map(row, "seen", "photo")
        left, top, _, _ = photo.places[int(photo.shares.argmax())].box or (9, 9, 9, 9)
        found["photo"] += f"{int(4 * top + 1e-6)} {int(4 * left + 1e-6)}" == truth["patch"]
        note = column_map(row, "said", "note")
        found["note"] += note.places[int(note.shares.argmax())].name == "'fire'"
        sound = column_map(row, "heard", "sound")
        start, _, end, _ = sound.places[int(sound.shares.argmax())].box or (9, 9, 9, 9)
        found["sound"] += start < (int(truth["second"]) + 1) / 4 and end > int(truth["second"]) / 4
    assert min(found.values()) >= 4, found


def test_the_maps_of_deciding_columns_pass_their_own_test(explained: list[RowExplanation]) -> None:
    for target, column in DECIDES.items():
        tests = [column_map(row, target, column).test for row in explained]
        held = [test for test in tests if test is not None and test.holds]
        assert len(held) >= 4, (target, tests)


def test_the_answer_flips_without_the_column_that_decides(explained: list[RowExplanation]) -> None:
    for row in explained:
        columns = {column.name: column for column in of(row, "said").columns}
        assert columns["noise"].answer_without is None
        assert columns["noise"].num_flipped == 0
    flipped = [column.num_flipped for row in explained for column in of(row, "said").columns if column.name == "note"]
    assert sum(each or 0 for each in flipped) >= 1  # about half of the donors have no fire


def test_a_model_with_random_weights_has_other_maps(
    bundle: Bundle, folder: Path, explained: list[RowExplanation]
) -> None:
    """Parameter randomization (Adebayo et al. 2018, section 3): an explanation of what was learned is gone with it."""
    random = copy.copy(bundle)
    random.model = copy.deepcopy(bundle.model)
    generator = torch.Generator().manual_seed(0)
    for value in random.model.state_dict().values():
        if value.is_floating_point() and value.numel() > 1:
            flat = value.flatten()
            value.copy_(flat[torch.randperm(len(flat), generator=generator)].view_as(value))
    positions = [row.position for row in explained]
    others = random.explain(folder / "data.csv", positions, options=QUICK)
    alike = []
    for before, after in zip(explained, others, strict=True):
        for target, column in DECIDES.items():
            one, other = (column_map(row, target, column).shares for row in (before, after))
            if np.ptp(other) > 0:
                ranks = [np.argsort(np.argsort(np.abs(each))) for each in (one, other)]
                alike.append(np.corrcoef(*ranks)[0, 1])
    assert abs(float(np.mean(alike or [0.0]))) < 0.4


def test_occlusion_finds_the_word_too(bundle: Bundle, folder: Path, explained: list[RowExplanation]) -> None:
    options = ExplanationOptions(method="occlusion", parts=16, donors=0)
    (row,) = bundle.explain(folder / "data.csv", [explained[0].position], options=options)
    note = column_map(row, "said", "note")
    assert note.places[int(note.shares.argmax())].name == "'fire'"
    assert note.test is None


def test_what_a_row_lacks_has_no_share(bundle: Bundle) -> None:
    (row,) = bundle.explain([{"note": "fire on the mat", "noise": None}], options=QUICK)
    columns = {column.name: column for column in of(row, "said").columns}
    assert [columns[name].is_present for name in ("photo", "note", "sound", "noise")] == [False, True, False, False]
    assert columns["photo"].share == 0
    assert columns["note"].share == pytest.approx(of(row, "said").value - of(row, "said").prior, abs=1e-6)
    (nothing,) = bundle.explain([{"note": None, "noise": " "}], options=QUICK)
    assert of(nothing, "said").value == of(nothing, "said").prior
    assert not any(column.is_present for column in of(nothing, "said").columns)


def test_an_unreadable_cell_is_missing_and_said(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    rows = [{"photo": str(tmp_path / "broken.png"), "note": "fire"}]
    result = polysense.explain(bundle, rows, output=tmp_path / "out", parts=4, pairs=1)
    assert [cell.source.column for cell in result[0].sample.unreadable] == ["photo"]
    assert "can't be read" in (tmp_path / "out" / "explanation.html").read_text()


def test_another_class_can_be_explained(bundle: Bundle, folder: Path, explained: list[RowExplanation]) -> None:
    position = [explained[0].position]
    options = ExplanationOptions(maps=False)
    (no,) = bundle.explain(folder / "data.csv", position, choices={"said": "no"}, options=options)
    (yes,) = bundle.explain(folder / "data.csv", position, choices={"said": "yes"}, options=options)
    assert of(no, "said").title == "probability of 'no'"
    assert of(no, "said").value == pytest.approx(1 - of(yes, "said").value, abs=1e-6)
    for one, other in zip(of(no, "said").columns, of(yes, "said").columns, strict=True):
        assert one.share == pytest.approx(-other.share, abs=1e-5)
        assert one.map is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [400]}, "row 400 is asked for, and it has 260 rows"),
        ({"rows": [-1]}, "row -1 is asked for"),
        ({"rows": []}, "no row to explain"),
        ({"rows": None}, "data.csv: has 260 rows, which would take long; name those to explain"),
        ({"rows": [0], "choices": {"sayd": "yes"}}, "no target 'sayd'; did you mean 'said'"),
        ({"rows": [0], "choices": {"said": "maybe"}}, "expected one of 'no', 'yes'"),
        ({"rows": [0], "method": "magic"}, "expected shapley or occlusion"),
        ({"rows": [0], "parts": 1}, "parts: found 1, expected a whole number of at least 2"),
    ],
)
def test_mistakes(bundle: Bundle, folder: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises((TableError, ConfigError), match=re.escape(message)):
        polysense.explain(bundle, folder / "data.csv", **arguments)  # type: ignore[arg-type]


def test_a_model_of_which_nothing_can_be_explained_says_why(trained: Callable[[str], polysense.Run]) -> None:
    run = trained("reconstruction")
    with pytest.raises(ConfigError, match="can't be explained: it predicts its own inputs"):
        polysense.explain(run.folder, run.folder.parent / "data.csv", rows=[0])


def test_the_command_writes_a_page_and_a_file(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "explain", str(folder / "run"), str(folder / "data.csv"), "--rows", "0,2-3", "-o", str(tmp_path / "out"),
        "--parts", "4", "--of", "said=yes",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines() if str(tmp_path) not in line) <= 80
    assert "probability of 'yes'" in result.stdout
    record = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert [row["row"] for row in record["rows"]] == [0, 2, 3]
    first = record["rows"][0]["targets"][1]
    assert first["target"] == "said"
    assert sum(each["share"] for each in first["columns"]) == pytest.approx(first["value"] - first["prior"], abs=1e-5)
    page = (tmp_path / "out" / "explanation.html").read_text()
    assert str(folder) not in page
    assert page.count('<section id="row-') == 3


@pytest.mark.parametrize("rows", ["", "x", "3-1", "1.5", "-1", "0-5000", "99999999999999999999999999999999"])
def test_the_command_refuses_odd_rows(rows: str, folder: Path) -> None:
    result = CliRunner().invoke(app, ["explain", str(folder / "run"), str(folder / "data.csv"), f"--rows={rows}"])
    assert result.exit_code != 0
    assert isinstance(result.exception, (ConfigError, TableError)), result.exception
