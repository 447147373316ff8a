"""An empty path is refused by name wherever Python takes one: as a path it would be the current folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import polysense
from polysense import api
from polysense.bundle import Bundle, load
from polysense.data.tables.predictions import Predictions
from polysense.errors import ConfigError
from polysense.search.index import VectorIndex

ROWS = [{"x": i * 7 % 11 + 0.5, "y": "ab"[i % 2]} for i in range(40)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    settings = ["training.epochs=1", "evaluation.bootstrap=0", "evaluation.baselines=false", "data.num_workers=0"]
    folder = tmp_path_factory.mktemp("run") / "run"
    return polysense.fit(
        ROWS, target="y", preset="fast", output=folder, overrides=[*settings, "model.width=16"], progress=False
    ).bundle


CALLS: dict[str, Callable[[Bundle, str], object]] = {
    "save": lambda bundle, empty: bundle.save(empty),
    "load": lambda bundle, empty: load(empty),
    "predictions": lambda bundle, empty: bundle.predict(ROWS).write(empty),
    "fit": lambda bundle, empty: polysense.fit(ROWS, target="y", output=empty, progress=False),
    "demo": lambda bundle, empty: polysense.demo(empty),
    "compare": lambda bundle, empty: polysense.compare(ROWS, ["training.epochs=1,2"], target="y", output=empty),
    "create an index": lambda bundle, empty: VectorIndex.create(empty, dim=2),
    "open an index": lambda bundle, empty: VectorIndex.open(empty),
    "check an index": lambda bundle, empty: VectorIndex.check_free(empty),
    "index": lambda bundle, empty: api.index_table(bundle, ROWS, empty),
    "map": lambda bundle, empty: api.map_rows(bundle, ROWS, empty),
}


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
@pytest.mark.parametrize("name", CALLS)
def test_an_empty_path_is_refused_by_name(
    bundle: Bundle, name: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"found an empty path, expected .* the current folder is \."):
        CALLS[name](bundle, empty)
    assert not list(tmp_path.iterdir())


def test_the_current_folder_can_be_named(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle.save(".")
    assert load(".").schema.names == bundle.schema.names
    Predictions(frame=pl.DataFrame({"y": ["a"]}), unreadable=()).write("p.csv")
    assert (tmp_path / "p.csv").is_file()
