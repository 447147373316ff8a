"""WebDataset shards: rows by key, columns by type, written and read back as the same rows, and hostile ones."""

from __future__ import annotations

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.role import Role
from polysense.data.media.media import locate
from polysense.data.roles.infer import infer
from polysense.data.tables.shard_names import shard_paths, table_folder
from polysense.data.tables.shard_writer import write_shards
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ConfigError, TableError

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"


def shard(path: Path, *members: tuple[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def cells_of(table: Table) -> dict[str, list[object]]:
    return {name: table.cells(name) for name in table.names if name != "__key__"}


def test_rows_are_keys_and_columns_are_types(tmp_path: Path) -> None:
    shard(
        tmp_path / "p-0.tar",
        ("dir/a.jpg", PNG), ("dir/a.cls", "3\n"), ("dir/a.txt", "a cat\r\n"),
        ("dir/a.json", '{"x": 1.5, "tags": ["u"]}'),
        ("dir/b.JPG", PNG), ("dir/b.cls", "12"), ("dir/b.seg.png", PNG), ("dir/b.json", '{"x": null, "jpeg": true}'),
    )  # fmt: skip
    shard(tmp_path / "p-1.tar", ("c.seg.webp", PNG), ("dir/a.txt", "another row"))
    table = read_table(tmp_path / "p-{0..1}.tar")
    assert table.cells("__key__") == ["p-0.tar:dir/a", "p-0.tar:dir/b", "p-1.tar:c", "p-1.tar:dir/a"]
    assert cells_of(table) == {
        "jpg": ["p-0.tar/dir/a.jpg", "p-0.tar/dir/b.JPG", None, None],
        "cls": [3, 12, None, None],
        "txt": ["a cat", None, None, "another row"],
        "x": [1.5, None, None, None],
        "tags": [["u"], None, None, None],
        "seg": [None, "p-0.tar/dir/b.seg.png", "p-1.tar/c.seg.webp", None],
        "jpeg": [None, True, None, None],
    }
    assert str(table.source(1, "jpg")) == "p-{0..1}.tar, row 1 (p-0.tar:dir/b), column 'jpg'"
    assert locate(table.cell(1, "jpg"), table.root, "image").read() == PNG
    guesses = {guess.name: guess for guess in infer(table, [], logs=False)}
    assert guesses["__key__"].role is Role.IGNORED
    assert (guesses["jpg"].modality, guesses["seg"].modality) == ("image", "image")
    kept = table.select([3, 1])
    assert kept.source(0, "txt").key == "p-1.tar:dir/a"


def test_members_out_of_order_are_one_row(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.txt", "one"), ("2.txt", "two"), ("1.json", '{"n": 1}'), ("2.json", '{"n": 2}'))
    assert cells_of(read_table(path)) == {"txt": ["one", "two"], "n": [1, 2]}


def test_lists_of_members_are_cells_of_lists(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.view.1.png", PNG), ("1.view.0.jpg", PNG), ("2.view.2.png", PNG))
    assert cells_of(read_table(path)) == {
        "view": [["a.tar/1.view.0.jpg", "a.tar/1.view.1.png"], [None, None, "a.tar/2.view.2.png"]]
    }


def test_labels_with_zeros_in_front_stay_texts(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.cls", "007"), ("2.cls", "7"))
    assert cells_of(read_table(path)) == {"cls": ["007", "7"]}


def test_two_cells_for_one_column_have_longer_names(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "a.tar",
        ("1.seg.png", PNG),
        ("1.seg.npy", b"x"),
        ("1.txt", "t"),
        ("1.json", '{"txt": "u", "__key__": 1}'),
    )
    table = read_table(path)
    assert cells_of(table) == {
        "seg.png": ["a.tar/1.seg.png"], "seg.npy": ["a.tar/1.seg.npy"], "txt": ["t"], "json.txt": ["u"],
        "json.__key__": [1],
    }  # fmt: skip
    assert any("'seg.png', 'seg.npy'" in remark for remark in table.remarks)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (("2.txt", b"\xff\xfe\xff"), "is not in UTF-8"),
        (("2.json", "{"), "can't be read as JSON"),
        (("2.json", '{"a": 1, "a": 2}'), "the key 'a' stands twice"),
        (("2.pickle", b"\x80"), "Python pickle"),
        (("README", "x"), "is not named KEY.TYPE"),
        (("__meta__.json", "{}"), "is not named KEY.TYPE"),
        (("../2.txt", "x"), "leads out of the archive"),
    ],
)
def test_what_cannot_be_read_is_missing_and_said(tmp_path: Path, member: tuple[str, bytes | str], said: str) -> None:
    path = shard(tmp_path / "a.tar", ("1.txt", "one"), ("2.n.json", "5"), member)
    table = read_table(path)
    assert cells_of(table)["txt"] == ["one", None]
    assert cells_of(table)["n"] == [None, 5]
    assert any(said in remark for remark in table.remarks), table.remarks


def test_a_shard_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.png", PNG), ("1.txt", "x"), ("2.png", PNG * 100))
    path.write_bytes(path.read_bytes()[:2600])
    table = read_table(path)
    assert cells_of(table) == {"png": ["a.tar/1.png", "a.tar/2.png"], "txt": ["x", None]}
    assert any("ends within its member '2.png'" in remark for remark in table.remarks)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.txt", "a"), ("1.txt", "b")], "two members named '1.txt', at bytes 512 and 1,536"),
        ([("1.v.0.png", PNG), ("1.v.00.png", PNG)], "two members for item 0 of 'v'"),
        ([("README", "x")], "no member is named KEY.TYPE"),
        ([], "holds no rows"),
    ],
)
def test_undecidable_rows_are_an_error(tmp_path: Path, members: list[tuple[str, bytes | str]], message: str) -> None:
    path = shard(tmp_path / "a.tar", *members)
    with pytest.raises(TableError, match=message) as error:
        read_table(path)
    assert "a.tar" in str(error.value)


def test_items_that_are_not_there_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard(tmp_path / "a.tar", ("1.v.99999.png", b""))
    monkeypatch.setenv("POLYSENSE_TABLE_MEMORY", "1MB")
    with pytest.raises(TableError, match=r"a\.tar: is held in more than 1 MB"):
        read_table(path)


def test_a_compressed_archive_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("1.txt"))
    with pytest.raises(TableError, match=r"a\.tar: is no tar archive: it is compressed \(gzip\).*unpack it to \.tar"):
        read_table(path)
    with pytest.raises(TableError, match=r"no table can be read from '\.tar\.gz'"):
        read_table(path.rename(tmp_path / "a.tar.gz"))


def test_names_of_shards(tmp_path: Path) -> None:
    for name in ("a-008.tar", "a-009.tar", "a-010.tar", "b.tar"):
        shard(tmp_path / "s" / name, ("1.txt", name))
    folder = tmp_path / "s"

    def names(path: Path) -> list[str]:
        return [each.name for each in shard_paths(path) or []]

    assert names(folder) == ["a-008.tar", "a-009.tar", "a-010.tar", "b.tar"]
    assert names(folder / "a-{008..010}.tar") == ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert names(folder / "{b,a-00{8..9}}.tar".replace("a-00{8..9}", "a-009")) == ["b.tar", "a-009.tar"]
    assert names(tmp_path / "*" / "a-*.tar") == ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert table_folder(tmp_path / "*" / "a-*.tar") == folder
    assert table_folder(folder) == folder
    for name, message in (
        ("a-{007..011}.tar", "2 of 5 archives are not there: a-007.tar, a-011.tar"),
        ("c-*.tar", "no file fits"),
        ("a-{5..1}.tar", "a first and a last number"),
        ("a-{0..99999999}.tar", "at most 1,000,000 apart"),
        ("a-{x}.tar", "expected numbers"),
        ("c.tar", "no such file"),
    ):
        with pytest.raises(TableError, match=message):
            read_table(folder / name)
    (folder / "train.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"with archives \(a-008.tar\) and tables \(train.csv\)"):
        read_table(folder)


def test_media_are_found_from_another_root(tmp_path: Path) -> None:
    shard(tmp_path / "s" / "a.tar", ("1.png", PNG))
    (tmp_path / "other").mkdir()
    for root in (tmp_path, tmp_path / "other"):
        table = read_table(tmp_path / "s", root=root)
        assert locate(table.cell(0, "png"), table.root, "image").read() == PNG


NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.none() | st.floats(allow_nan=False)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LISTS = st.none() | st.lists(st.none() | st.floats(allow_nan=False), min_size=1, max_size=3)
FILES = st.none() | st.sampled_from(["one.png", "two.jpg", "gone.png", "sound.txt.wav"])
SEVERAL = st.none() | st.lists(FILES, min_size=1, max_size=3)
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=8
).filter(lambda name: name == name.strip() and name.strip(". ") and not name.rpartition(".")[2].isdecimal())


def content(cell: Any, root: Path) -> Any:
    """A cell as what it says: of files their content."""
    if isinstance(cell, list):
        return [content(item, root) for item in cell]
    if not isinstance(cell, str):
        return cell
    try:
        return locate(cell, root, "media").read()
    except Exception:
        return "unreadable"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_table_that_is_written_and_read_has_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for name in ("one.png", "two.jpg", "sound.txt.wav"):
        (folder / name).write_bytes(name.encode() * 100)
    height = data.draw(st.integers(1, 7))
    names = data.draw(st.lists(NAMES, min_size=6, max_size=6, unique_by=lambda name: name.casefold()))
    kinds = dict(zip(names, (NUMBERS, FLOATS, TEXTS, LISTS, FILES, SEVERAL), strict=True))
    rows = {name: data.draw(st.lists(kind, min_size=height, max_size=height)) for name, kind in kinds.items()}
    files = names[4:]
    table = read_table(rows, root=folder, name="rows")
    limit = data.draw(st.sampled_from([1, 3, 100]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)  # which takes longer than all else
        written = write_shards(table, folder / "out", max_bytes=10**9, max_rows=limit, columns=files)
    again = read_table(folder / "out")
    assert len(again) == height == written.num_rows
    assert again.names[0] == "__key__"
    assert again.names[1:] == table.names
    for name in table.names:
        before, after = table.cells(name, literal=True), again.cells(name, literal=True)
        if name in files:
            assert [content(cell, again.root) for cell in after] == _without_ends(before, folder)
        else:
            assert after == before


def _without_ends(cells: list[Any], root: Path) -> list[Any]:
    """Files' contents; a list without a file at its end is shorter, and one without any is missing."""
    results = []
    for cell in cells:
        if isinstance(cell, list):
            while cell and cell[-1] is None:
                cell = cell[:-1]
            cell = cell or None
        results.append(content(cell, root))
    return results


def test_infinite_numbers_come_back(tmp_path: Path) -> None:
    rows = {"x": [math.inf, -math.inf, 1.0], "y": [[math.inf, 2.0], [1.0], None]}
    write_shards(read_table(rows), tmp_path / "out", max_bytes=10**9, max_rows=10)
    again = read_table(tmp_path / "out")
    assert {name: again.cells(name) for name in rows} == rows
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as archive:
        file = archive.extractfile("000000000.json")
        assert file is not None
        assert json.loads(file.read(), parse_constant=pytest.fail)["x"] == math.inf


@pytest.fixture
def written(tmp_path: Path) -> Table:
    (tmp_path / "one.png").write_bytes(PNG)
    (tmp_path / "big.png").write_bytes(PNG * 200)
    rows = {"photo": ["one.png", "big.png", "one.png", "gone.png"], "n": [1, 2, 3, 4], "raw": [PNG, None, b"", PNG]}
    return read_table(rows, root=tmp_path, name="rows")


def write(table: Table, folder: Path, **limits: int) -> Any:
    return write_shards(table, folder, **{"max_bytes": 10**9, "max_rows": 2, **limits})


def test_shards_have_sizes_and_say_what_cannot_be_read(tmp_path: Path, written: Table) -> None:
    result = write(written, tmp_path / "out")
    assert [each.num_rows for each in result.shards] == [2, 2]
    assert result.columns == ("photo", "raw")
    assert [(cell.source.row, cell.source.column) for cell in result.unreadable] == [(2, "raw"), (3, "photo")]
    again = read_table(tmp_path / "out")
    assert again.cells("photo")[3] == "gone.png"
    assert again.cells("photo")[0] == "shard-000000.tar/000000000.photo.png"
    assert len(write(written, tmp_path / "small", max_bytes=16_000, max_rows=100).shards) == 3


def test_the_same_table_gives_the_same_bytes_and_goes_on_where_it_was(tmp_path: Path, written: Table) -> None:
    write(written, tmp_path / "one")
    write(written, tmp_path / "two")
    last = tmp_path / "two" / "shard-000001.tar"
    last.unlink()
    assert write(written, tmp_path / "two").num_new == 1
    assert write(written, tmp_path / "two").num_new == 0
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_a_folder_of_other_shards_is_not_written_to(tmp_path: Path, written: Table) -> None:
    write(written, tmp_path / "out")
    with pytest.raises(ConfigError, match="another table: it had 4 rows and has 2"):
        write(written.select(np.array([0, 1])), tmp_path / "out")
    with pytest.raises(ConfigError, match="found max_rows 2, expected 3"):
        write(written, tmp_path / "out", max_rows=3)
    shard(tmp_path / "other" / "a.tar", ("1.txt", "x"))
    with pytest.raises(ConfigError, match="not written by this"):
        write(written, tmp_path / "other")


def test_shards_written_from_shards_keep_their_keys(tmp_path: Path) -> None:
    shard(tmp_path / "a" / "a.tar", ("x/1.png", PNG), ("x/1.txt", "one"), ("y.txt", "two"))
    write(read_table(tmp_path / "a"), tmp_path / "b")
    again = read_table(tmp_path / "b")
    assert again.cells("__key__") == ["shard-000000.tar:x/1", "shard-000000.tar:y"]
    assert cells_of(again) == {"png": ["shard-000000.tar/x/1.png.png", None], "txt": ["one", "two"]}


def test_columns_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    for name in ("a/b", "..", "view.1"):
        with pytest.raises(TableError, match="rename it"):
            write(read_table({name: [PNG]}), tmp_path / "out")
    nested = pl.DataFrame({"a": [{"b": b"x", "c": 1}]})
    with pytest.raises(TableError, match="holds bytes within structures"):
        write(read_table(nested), tmp_path / "out")
