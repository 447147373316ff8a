"""A table with sounds left out, a small joint embedding space over it, and everything that an index of it promises."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from rich.cells import cell_len

import polysense
from polysense import api
from polysense.bundle import Bundle, load
from polysense.cli.app import main
from polysense.errors import SearchError, UserError
from polysense.search import Neighbors, VectorIndex

COLORS = [(250, 20, 20), (20, 240, 20), (20, 20, 250), (240, 240, 240), (10, 10, 10), (240, 240, 10)]
NAMES = ["red", "green", "blue", "white", "black", "yellow"]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, trained: Callable[[str], polysense.Run]) -> Path:
    """A folder with photos.csv, and a run on others like these."""
    home = tmp_path_factory.mktemp("shop")
    rows = []
    draws = np.random.default_rng(0)
    for i in range(48):
        pixels = np.tile(np.array(COLORS[i % 6], dtype=np.uint8), (12, 12, 1))
        pixels = np.clip(pixels + draws.integers(-9, 9, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(home / f"{i}.png")
        rows.append({"code": f"{i:03d}", "photo": f"{i}.png", "text": f"a {NAMES[i % 6]} tile, number {i}", "size": i})
    rows[4]["photo"], rows[5]["photo"], rows[6]["text"], rows[7]["size"] = "gone.png", "", "", ""
    write(home / "photos.csv", rows)
    shutil.copytree(trained("retrieval").folder, home / "run")
    return home


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    return load(home / "run")


@pytest.fixture(scope="module")
def photos(home: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexes") / "photos"
    made = api.index_table(bundle, home / "photos.csv", folder, column="photo")
    assert (made.num_added, made.num_replaced, made.num_missing, made.num_rows) == (46, 0, 2, 46)
    assert [cell.source.row for cell in made.unreadable] == [4]
    return folder


def test_the_index_holds_what_embed_gives(home: Path, bundle: Bundle, photos: Path) -> None:
    rows, vectors = api.embed(bundle, home / "photos.csv", column="photo")
    index = VectorIndex.open(photos)
    assert index.ids.to_list() == rows.tolist()
    np.testing.assert_allclose(index.get(rows)[0], vectors, rtol=1e-5, atol=1e-6)
    metadata = index.get([7, 8])[1]
    # An index names files as they read from its folder, and holds no path of this machine.
    assert [
        not Path(cell).is_absolute() and (photos / cell).samefile(home / f"{i}.png")
        for i, cell in enumerate(metadata["photo"], 7)
    ] == [True, True]
    assert not Path(index.info["bundle"]).is_absolute()
    assert metadata["code"].to_list() == ["007", "008"]  # no number: it would lose its zeros
    assert metadata["size"].to_list() == [None, 8]


def test_blocks_change_nothing(home: Path, bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("polysense.workflows.representation.index._ROWS_AT_ONCE", 7)
    done: list[tuple[int, int]] = []
    made = api.index_table(
        bundle, home / "photos.csv", tmp_path / "i", column="photo", progress=lambda *at: done.append(at)
    )  # fmt: skip
    assert made.num_rows == 46
    assert done[-1] == (48, 48)
    whole, cut = VectorIndex.open(photos), VectorIndex.open(tmp_path / "i")
    assert whole.get(whole.ids)[0].tobytes() == cut.get(whole.ids)[0].tobytes()
    assert whole.get(whole.ids)[1].equals(cut.get(whole.ids)[1])


def test_any_modality_finds_any(home: Path, bundle: Bundle, photos: Path) -> None:
    found = api.search(photos, str(home / "9.png"), 3)
    assert found.neighbors.ids[0] == 9
    assert found.neighbors.scores[0] == pytest.approx(1.0, abs=1e-5)
    assert found.items[0].column == "photo"
    # A text is compared with pictures: the places of `embed`, multiplied.
    texts = dict(zip(*api.embed(bundle, home / "photos.csv", column="text"), strict=True))
    rows, vectors = api.embed(bundle, home / "photos.csv", column="photo")
    found = api.search(photos, "a red tile, number 0", 46)
    scores = dict(zip(found.neighbors.ids, found.neighbors.scores, strict=True))
    np.testing.assert_allclose([scores[row] for row in rows.tolist()], vectors @ texts[0], atol=1e-5)
    assert api.search(photos, "text=photo.png", 1).items[0].value == "photo.png"


def test_several_things_are_averaged(home: Path, bundle: Bundle, photos: Path) -> None:
    parts = [str(home / "9.png"), "a red tile, number 0"]
    alone = [
        dict(zip(one.neighbors.ids, one.neighbors.scores, strict=True))
        for one in (api.search(photos, part, 100) for part in parts)
    ]
    both = api.search(photos, parts, 100, weights=[3.0, -1.0]).neighbors
    mixed = np.array([3 * alone[0][i] - alone[1][i] for i in both.ids])
    np.testing.assert_allclose(mixed / np.linalg.norm(mixed), both.scores / np.linalg.norm(both.scores), atol=1e-5)
    assert np.all(np.diff(both.scores) <= 0)
    with pytest.raises(SearchError, match="has no direction"):
        api.search(photos, [parts[0], parts[0]], weights=[1.0, -1.0])
    with pytest.raises(SearchError, match="found 1 weights for 2 items"):
        api.search(photos, parts, weights=[1.0])


def test_filters_see_the_tables_columns(photos: Path) -> None:
    found = api.search(photos, "a red tile", 100, filter="size > 40 and text like '%red%'").neighbors
    assert sorted(map(int, found.ids)) == [42]
    with pytest.raises(SearchError, match="no column 'sise'; did you mean 'size'"):
        api.search(photos, "a red tile", filter="sise > 1")


def test_all_columns_together(home: Path, bundle: Bundle, tmp_path: Path) -> None:
    made = api.index_table(bundle, home / "photos.csv", tmp_path / "i", ids="code")
    assert (made.num_rows, made.num_missing) == (48, 0)  # a row without its picture has its text
    assert api.search(tmp_path / "i", "a white tile, number 9", 2).neighbors.ids[0] in {f"{i:03d}" for i in range(48)}


def test_rows_are_added_and_replaced(home: Path, bundle: Bundle, tmp_path: Path) -> None:
    rows = [{"key": "a", "photo": str(home / "0.png"), "n": 1}, {"key": "b", "photo": str(home / "1.png"), "n": 2}]
    api.index_table(bundle, rows, tmp_path / "i", column="photo", ids="key")
    more = [{"key": "b", "photo": str(home / "2.png"), "n": 5}, {"key": "c", "photo": str(home / "3.png"), "n": 3}]
    with pytest.raises(SearchError, match=r"row id 'b' is there already \(1 of 2 are\).*--update"):
        api.index_table(bundle, more, tmp_path / "i", ids="key", add=True)
    made = api.index_table(bundle, more, tmp_path / "i", ids="key", update=True)
    assert (made.num_added, made.num_replaced, made.num_rows) == (1, 1, 3)
    assert api.search(tmp_path / "i", str(home / "2.png"), 1).neighbors.ids == ["b"]
    with pytest.raises(SearchError, match="holds vectors of 'photo', not of 'text'"):
        api.index_table(bundle, more, tmp_path / "i", ids="key", column="text", update=True)
    with pytest.raises(SearchError, match="is an index already"):
        api.index_table(bundle, more, tmp_path / "i", ids="key", column="photo")


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        (["a", "a"], "row 1 has the row id of another row: 'a'"),
        (["a", None], "row 1 has no row id"),
        ([1.5, 2], "texts"),
    ],
)
def test_ids_name_one_row_each(home: Path, bundle: Bundle, tmp_path: Path, ids: list[Any], match: str) -> None:
    rows = [{"key": key, "text": "a tile"} for key in ids]
    with pytest.raises(SearchError, match=match):
        api.index_table(bundle, rows, tmp_path / "i", column="text", ids="key")
    assert not (tmp_path / "i").exists()


def test_another_model_is_refused(home: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "run" / "bundle", tmp_path / "same")
    assert len(api.search(photos, "a tile", bundle=tmp_path / "same").neighbors) == 10
    other = load(home / "run")
    with torch.no_grad():
        next(parameter for parameter in other.model.parameters() if parameter.dtype == torch.float32).add_(1e-3)
    shutil.rmtree(tmp_path / "same")
    other.save(tmp_path / "same")
    with pytest.raises(SearchError, match="was made by another model"):
        api.search(photos, "a tile", bundle=tmp_path / "same")
    with pytest.raises(SearchError, match="was made by another model"):
        api.index_table(tmp_path / "same", home / "photos.csv", photos, update=True)

    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    with VectorIndex.open(moved, writable=True) as index:
        index.update_info(bundle=str(tmp_path / "nowhere"))
    with pytest.raises(SearchError, match=r"its model is not where it was.*--bundle"):
        api.search(moved, "a tile")
    assert len(api.search(moved, "a tile", bundle=home / "run").neighbors) == 10


@pytest.mark.parametrize(
    ("query", "match"),
    [
        ("nowhere.png", "no such file; expected an image"),
        ("song.wav", "is inferred as an audio clip, and no column reads it"),
        ("text=", "can't be read as 'text'"),
        ("", "can't be read as 'text'"),
    ],
)
def test_what_can_not_be_asked(photos: Path, query: str, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        api.search(photos, query)


def test_a_broken_picture_is_told(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no")
    with pytest.raises(SearchError, match=r"broken.png.*can't be read as 'photo'"):
        api.search(photos, str(tmp_path / "broken.png"))


def test_an_index_of_no_model_is_told(tmp_path: Path, home: Path) -> None:
    with VectorIndex.create(tmp_path / "i", dim=2) as index:
        index.add([1], np.ones((1, 2)))
    with pytest.raises(SearchError, match="remembers no model"):
        api.search(tmp_path / "i", "x")
    with pytest.raises(SearchError, match="are of no model that it remembers"):
        api.search(tmp_path / "i", "x", bundle=home / "run")


def test_the_command_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index, table = str(tmp_path / "i"), str(home / "photos.csv")
    assert main(["index", str(home / "run"), table, "-o", index, "--column", "photo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["num_rows"], told["num_missing"], told["unreadable"][0]["row"]) == (46, 2, 4)

    sheet = tmp_path / "sheet.png"
    line = ["search", index, str(home / "9.png"), "a white tile", "-k", "3", "--weight", "1", "--weight", "0.01"]
    assert main([*line, "--filter", "size < 30", "--contact-sheet", str(sheet), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [item["column"] for item in told["query"]] == ["photo", "text"]
    assert len(told["neighbors"]) == 3
    assert all(row["metadata"]["size"] < 30 for row in told["neighbors"])
    with Image.open(sheet) as drawn:
        assert drawn.size[0] > 400
        assert len(drawn.convert("RGB").getcolors(1 << 20) or []) > 100
    assert main(line) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split()[:3] == ["score", "row", "photo"]
    assert str(home / "9.png") in listed[1]

    assert main(["index", "-o", index, "--delete", "9,10,1000", "--compact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "not_in_index": [1000],
        "num_deleted": 2,
        "num_rows": 44,
    }
    assert main(["index", str(home / "run"), table, "-o", index, "--update"]) == 0
    assert "2 rows added, 44 replaced" in capsys.readouterr().out
    assert main(["index", "-o", index, "--duplicates", "0.5", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["duplicates"]
    assert pairs
    assert pairs[0]["score"] >= pairs[-1]["score"] >= 0.5


def test_an_ann_index_is_built_and_measured(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, place = str(home / "photos.csv"), str(tmp_path / "photos")
    assert main(["index", str(home / "run"), table, "-o", place, "--column", "photo", "--ann", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["num_rows"], result["num_missing"], result["location"]) == (46, 2, place)
    assert result["ann"]["recall"] >= 0.95
    results = []
    for option in ("--exact", "--approximate"):
        assert main(["search", place, str(home / "9.png"), "-k", "5", option, "--json", "--filter", "size < 30"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert [one["approximate"] for one in results] == [False, True]
    assert results[0]["neighbors"][0] == results[1]["neighbors"][0]
    assert main(["index", str(home / "run"), table, "-o", place, "--add"]) == 2
    assert "is there already (46 of 48 are)" in capsys.readouterr().err


def test_an_ann_index_is_built_unasked_where_there_are_many_rows(
    home: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polysense.workflows.representation.index.ANN_FROM", 40)
    table = home / "photos.csv"
    assert api.index_table(bundle, table, tmp_path / "a", column="photo").ann is not None
    assert api.index_table(bundle, table, tmp_path / "b", column="photo", ann=False).ann is None


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (["index", "run", "t.csv"], "name the index with -o"),
        (["index", "run", "-o", "i"], "both a model and a table"),
        (["index", "-o", "i"], "nothing to do"),
        (["index", "run", "t.csv", "-o", "i", "--delete", "1"], "go without BUNDLE and TABLE"),
        (["index", "-o", "nowhere", "--compact"], "nowhere: there is no index; expected one"),
        (["search", "nowhere", "x"], "nowhere: there is no index"),
    ],
)
def test_mistakes_on_the_command_line(line: list[str], match: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    assert match in capsys.readouterr().err


def test_every_mistake_is_the_users(photos: Path) -> None:
    assert issubclass(SearchError, UserError)


def test_only_the_column_that_is_indexed_is_read_and_encoded(
    home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, called = load(home / "run"), []
    for name, encoder in bundle.model.column_encoders.items():

        def noted(*items: Any, name: str = name, encode: Any = encoder.encode_items) -> Any:
            if len(items[0]) > 1:  # of a column that is not read, one empty item tells the shape of its tokens
                called.append(name)
            return encode(*items)

        monkeypatch.setattr(encoder, "encode_items", noted)
    rows, vectors = api.embed(bundle, home / "photos.csv", column="photo")
    assert set(called) == {"photo"}
    whole_rows, whole = api.embeddings(bundle, home / "photos.csv").of("photo")
    assert set(called) == {"photo", "text"}
    assert rows.tolist() == whole_rows.tolist()
    np.testing.assert_allclose(vectors, whole, atol=1e-6)
    # The text's cells are not needed for the vectors, and stand in the index all the same.
    assert VectorIndex.open(photos).get([9])[1]["text"].to_list() == ["a white tile, number 9"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("./folder/", "is a folder"),
        ("folder/notes", "a file without an ending"),
        ("photo=", "photo=: names no file; expected an image"),
        ("photo=folder", "folder: is a folder; expected an image"),
    ],
)
def test_a_place_on_the_disk_is_no_text(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SearchError, match=said):
        api.search(photos, query)
    assert len(api.search(photos, "folder", 2).neighbors) == 2, "a word is a word, whatever lies in the folder"
    assert len(api.search(photos, f"text={query}", 2).neighbors) == 2
    assert len(api.search(photos, "a/b " * 2000, 2).neighbors) == 2, "longer than any path"


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_are_numbers(photos: Path, weight: float) -> None:
    with pytest.raises(SearchError, match="expected numbers as weights"):
        api.search(photos, "red", weights=[weight])


def test_columns_line_up_in_a_terminal_whatever_the_script(photos: Path) -> None:
    neighbors = Neighbors(
        ids=["a", "b"],
        scores=np.array([0.5, 0.25], dtype=np.float32),
        metadata=pl.DataFrame({"name": ["青い丸", "blue"], "year": ["x", "x"]}),
        approximate=False,
    )
    text = api.SearchResult(items=(), neighbors=neighbors).text()
    assert len({cell_len(line) for line in text.splitlines()[1:]}) == 1


def test_an_index_of_a_column_that_the_table_lacks_is_not_made(home: Path, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column to index 'photo' \(columns: 'text'\)"):
        api.index_table(bundle, [{"text": "red"}], tmp_path / "i", column="photo")
    assert not (tmp_path / "i").exists()


def test_ids_that_are_not_there_are_named(home: Path, bundle: Bundle, tmp_path: Path, capsys: Any) -> None:
    place = tmp_path / "i"
    api.index_table(bundle, home / "photos.csv", place, column="photo", ids="code")
    with pytest.raises(SearchError, match=r"its row ids are texts; name the column that holds them \(--ids\)"):
        api.index_table(bundle, home / "photos.csv", place, update=True)
    assert main(["index", "-o", str(place), "--delete", "001,nowhere,002", "--ann"]) == 0
    told = capsys.readouterr()
    assert "not in the index: nowhere" in told.err
    assert "deleted: 2" in told.out
    assert "ann: recall@10 " in told.out
    assert main(["index", "-o", str(place), "--delete", "nowhere", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["num_deleted"], told["not_in_index"], told["num_rows"]) == (0, ["nowhere"], 44)


def test_a_table_with_none_of_the_columns_is_refused_and_makes_no_index(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "other.csv", [{"name": "x", "price": 1}])
    model = str(bundle.folder)
    for line in (
        ["embed", model, str(table), "-o", str(tmp_path / "vectors.parquet")],
        ["index", model, str(table), "-o", str(tmp_path / "tiles.index")],
    ):
        assert main(line) == 2
        assert "other.csv: has none of the model's columns; expected at least one of" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]
    with pytest.raises(UserError, match="has none of the model's columns"):
        polysense.embed(bundle, [{"name": "x"}])
