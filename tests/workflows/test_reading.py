"""What is said of how a table is read: the same in `check`, in a run's folder and on its page, also after a resume."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from html_page import Page
from tiny_run import TINY

import polysense
from polysense.core.json import read_json
from polysense.errors import TrainingInterrupted
from polysense.workflows import fit as fitting

QUICK = [*TINY, "evaluation.baselines=false", "training.epochs=1", "evaluation.contribution=false"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Units, decimal commas, sentinels, a one-sided leak, persons, a nameless column, and a name with an escape."""
    draw = random.Random(0)
    lines = ["size,temp,price,speaker,blood,e\x1b[31mvil,label,"]
    for i in range(120):
        label = draw.choice("ab")
        blood = f"{draw.uniform(1, 9):.2f}" if label == "a" or draw.random() < 0.3 else "0"
        temp = "-999" if i % 10 == 0 else f"{draw.uniform(10, 30):.1f}"
        price = f'"{draw.randint(1, 9)},{draw.randint(10, 99)}"'
        lines.append(f"{draw.randint(1, 90)} kg,{temp},{price},spk{i % 12},{blood},{draw.random():.3f},{label},{i}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fit(table: Path, folder: Path, *, resume: bool = False) -> polysense.Run:
    return polysense.fit(
        table, target="label", output=folder, preset="fast", overrides=QUICK, progress=False, resume=resume
    )


def test_the_run_and_its_page_say_what_check_says(table: Path, tmp_path: Path) -> None:
    checked = polysense.check(table, target="label", overrides=QUICK)
    fit(table, tmp_path / "run")
    kept = read_json(tmp_path / "run" / "reading.json", dict)
    assert kept["remarks"] == list(dict.fromkeys(checked.warnings))
    of_cells = {"missing", "properties"}  # which a run reads for itself
    expected = [{name: fact for name, fact in column.items() if name not in of_cells} for column in checked.columns]
    assert kept["columns"] == expected
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    words = Page(html).text
    for needed in (
        "in kg",
        "decimal comma",
        "temp: -999 (",
        "data.columns.temp.missing=[-999]",
        "the target 'label' is 'b' in all",
        "group: persons such as 'spk0'",
        "column 8 has no name",
    ):
        assert needed in words, needed
    assert "\x1b" not in html
    for warning in checked.warnings:
        told = warning.replace("\x1b", "\\x1b").replace(f"{tmp_path}/", "").replace(f"{table.parent}/", "")
        assert told in words, "without the folder of this machine"


def test_a_recipes_table_is_remarked_on_as_check_does(table: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(polysense.new(table, "label", preset="fast"), encoding="utf-8")
    checked = polysense.check(recipe, overrides=QUICK)
    polysense.fit(recipe, output=tmp_path / "run", overrides=QUICK, progress=False)
    kept = read_json(tmp_path / "run" / "reading.json", dict)
    assert kept["remarks"] == list(dict.fromkeys(checked.warnings))
    assert any("-999" in remark for remark in kept["remarks"])


def test_a_resumed_run_says_it_still(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "measure", stops)
        with pytest.raises(TrainingInterrupted):
            fit(table, tmp_path / "run")
    before = (tmp_path / "run" / "reading.json").read_bytes()
    fit(table, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "reading.json").read_bytes() == before
    assert "data.columns.temp.missing=[-999]" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_the_split_and_the_classes_are_like_is_among_the_remarks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i * 7 % 11},{'abc'[i % 2] if i > 3 else 'c'},{'train' if i % 4 else 'dev'}" for i in range(80)]
    rows[5] = "3,,train"
    rows[6] = "4,a,nowhere"
    path.write_text("x,y,split\n" + "\n".join(rows) + "\n", encoding="utf-8")
    checked = polysense.check(path, target="y", columns={"split": "split"})
    assert any("classes have fewer than 5 rows ('c')" in warning for warning in checked.warnings)
    assert any("has no class in 1 rows" in warning for warning in checked.warnings)
    assert any("1 rows are in no split: 'nowhere' (1)" in warning for warning in checked.warnings)
