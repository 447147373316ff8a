"""The page of what training sees: the cells that a training of the same recipe is given, to the last bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from polysense.api import show_augmented
from polysense.cli.app import app
from polysense.errors import ConfigError

ROWS = 40


def picture(draw: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "photo": [None if i % 5 == 0 else picture(draw) for i in range(ROWS)],
            "note": [f"this is note number {i} of all the notes" for i in range(ROWS)],
            "label": ["ab"[i % 2] for i in range(ROWS)],
        }
    )
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    frame.write_parquet(path)
    return path


COLUMNS = {"photo": "image", "note": "text"}


def test_cells_stand_beside_their_versions(table: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "page.html"
    changes = ["data.transforms.note={type: text, probability: 1.0}", "data.transforms.photo={type: image, flip: true}"]
    written = show_augmented(table, page, target="label", columns=COLUMNS, overrides=changes, rows=3, epochs=2)
    assert written == page
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == 2 * 3 * 3
    assert text.count("this is note number") == 3, "all but the ends are left out of every version"
    assert text.count("data:image/jpeg") == 3 * 3
    again = tmp_path / "again.html"
    show_augmented(table, again, target="label", columns=COLUMNS, overrides=changes, rows=3, epochs=2)
    assert again.read_text(encoding="utf-8") == text


def test_where_nothing_is_varied_it_is_said(tmp_path: Path) -> None:
    numbers = pl.DataFrame({"x": [float(i) for i in range(ROWS)], "label": ["ab"[i % 2] for i in range(ROWS)]})
    with pytest.raises(ConfigError, match=r"no column is varied in training"):
        show_augmented(numbers, tmp_path / "x.html", target="label", columns={"x": "number"})


def test_check_writes_the_page(table: Path, tmp_path: Path) -> None:
    page = tmp_path / "seen.html"
    result = CliRunner().invoke(
        app, ["check", str(table), "--target", "label", "--column", "photo=image", "--augmented", str(page)]
    )
    assert result.exit_code == 0, result.output
    assert "What training sees of" in page.read_text(encoding="utf-8")
