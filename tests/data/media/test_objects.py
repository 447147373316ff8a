"""Objects of cloud storage as files and tables, on storage in this process's memory: fetched once, within bounds."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from polysense.core.addresses import address
from polysense.core.files import absolute_path
from polysense.data.media import objects as module
from polysense.data.media.media import locate
from polysense.data.media.objects import Objects
from polysense.data.media.paths import RemoteFolder, RemoteOnlineFolder, media_folder
from polysense.data.tables.shard_names import table_folder
from polysense.data.tables.sources import read_table
from polysense.errors import DecodeError, TableError

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Storage in memory, and a cache of its own."""
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_own", {})
    made = fsspec.filesystem("memory")
    made.store.clear()
    yield made
    made.store.clear()


def test_addresses_are_told_from_paths() -> None:
    for text in ("s3://data/a.csv", "S3:/data/a.csv", Path("s3://data/a.csv"), "gs://data/a.csv"):
        assert str(address(text)).endswith("://data/a.csv")
    for text in ("a.csv", "/data/a.csv", "C:/a.csv", "file:///a.csv", "s3.csv", "x/s3:/a", "zip://a::s3://b"):
        assert address(text) is None
    assert absolute_path(Path("s3://data/a.csv")) == "s3://data/a.csv"
    assert table_folder(Path("s3://data/x/a.csv")) == RemoteFolder("s3://data/x")
    assert RemoteFolder("s3://data/x").absolute().url == "s3://data/x"


def test_an_object_is_fetched_once_and_again_when_it_changed(storage: Any, tmp_path: Path) -> None:
    storage.pipe("memory://b/one.csv.gz", b"first")
    mine = Objects(tmp_path)
    path = mine.file("memory://b/one.csv.gz")
    assert (path.read_bytes(), path.name[64:]) == (b"first", ".csv.gz")
    assert mine.file("memory:/b/one.csv.gz") == path == Objects(tmp_path).file("memory://b/one.csv.gz")
    storage.pipe("memory://b/one.csv.gz", b"second, and longer")
    assert mine.file("memory://b/one.csv.gz") == path, "a process reads one state of an object"
    assert Objects(tmp_path).file("memory://b/one.csv.gz").read_bytes() == b"second, and longer"


def test_objects_have_bounds(storage: Any, tmp_path: Path) -> None:
    storage.pipe("memory://b/x", b"x" * 100)
    storage.pipe("memory://b/y", b"y" * 100)
    with pytest.raises(DecodeError, match="has 100 bytes, expected at most 99"):
        Objects(tmp_path, most_bytes=99).file("memory://b/x")
    mine = Objects(tmp_path, most_bytes=99, all_bytes=150)
    first = mine.file("memory://b/x", is_table=True)
    assert mine.file("memory://b/y", is_table=True).read_bytes() == b"y" * 100
    assert not first.exists(), "the oldest makes room"
    assert mine.file("memory://b/x", is_table=True).read_bytes() == b"x" * 100


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://b/gone.png", "no such object: memory://b/gone.png"),
        ("memory://b/../c.png", "leads out of its folder"),
        ("file:///etc/passwd", "is no address of object storage"),
        ("memory://x::file:///etc/passwd", "holds what no address"),
        ("s3://user@host/x", "holds what no address"),
        ("memory://b/" + "x" * 5000, "characters, expected at most 4,096"),
        ("gs://b/x.png", "needs the package gcsfs; pip install gcsfs"),
    ],
)
def test_what_cannot_be_fetched_says_why(storage: Any, tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        Objects(tmp_path).file(url)


def test_storage_that_is_busy_is_asked_again(storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.pipe("memory://b/x", b"x")
    whole, answers = type(storage).info, [ConnectionError("busy"), TimeoutError("slow")]

    def info(self: Any, path: str, **options: Any) -> Any:
        if answers:
            raise answers.pop()
        return whole(self, path, **options)

    monkeypatch.setattr(type(storage), "info", info)
    assert Objects(tmp_path, waits=(0.0, 0.0)).file("memory://b/x").read_bytes() == b"x"
    answers.extend([ConnectionError("busy")] * 3)
    with pytest.raises(DecodeError, match="memory://b/x can't be read after 3 tries: ConnectionError: busy"):
        Objects(tmp_path / "other", waits=(0.0, 0.0)).file("memory://b/x")


def test_a_table_of_storage_has_its_media_beside_it(storage: Any, tmp_path: Path) -> None:
    storage.pipe(
        "memory://b/t/rows.csv", b"photo,n\nimg/a.png,1\nmemory://b/t/img/a.png,2\n/etc/passwd,3\n../a.png,4\n"
    )
    storage.pipe("memory://b/t/img/a.png", PNG)
    for source in ("memory://b/t/rows.csv", Path("memory://b/t/rows.csv")):
        table = read_table(source)
        assert (table.name, table.root) == ("rows.csv", RemoteFolder("memory://b/t"))
        assert [locate(table.cell(i, "photo"), table.root, "image").read() for i in (0, 1)] == [PNG, PNG]
        for i in (2, 3):
            with pytest.raises(DecodeError, match="is not below the table's folder, memory://b/t"):
                locate(table.cell(i, "photo"), table.root, "image")
    assert isinstance(read_table("memory://b/t/rows.csv", allow_urls=True).root, RemoteOnlineFolder)


def test_a_cell_names_an_object_only_where_that_is_allowed(storage: Any, tmp_path: Path) -> None:
    storage.pipe("memory://b/a.png", PNG)
    with pytest.raises(DecodeError, match="nothing is downloaded unless"):
        locate("memory://b/a.png", tmp_path, "image")
    for is_confined in (False, True):
        root = media_folder(tmp_path, allow_outside=not is_confined, allow_urls=True)
        assert locate("memory://b/a.png", root, "image").read() == PNG
        with pytest.raises(DecodeError):
            locate("memory://b/gone.png", root, "image")


def test_shards_of_storage_are_a_table(storage: Any) -> None:
    for number in range(2):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in ((f"{number}.png", PNG), (f"{number}.txt", b"text")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        storage.pipe(f"memory://b/s/p-{number}.tar", buffer.getvalue())
    storage.pipe("memory://b/s/notes.md", b"x")
    for source in ("memory://b/s/p-{0..1}.tar", "memory://b/s/p-*.tar", "memory://b/s", "memory://b/s/"):
        table = read_table(source)
        assert table.cells("__key__") == ["p-0.tar:0", "p-1.tar:1"], source
        assert locate(table.cell(1, "png"), table.root, "image").read() == PNG
    elsewhere = read_table("memory://b/s/p-0.tar", root="memory://b/other", allow_urls=True)
    assert locate(elsewhere.cell(0, "png"), elsewhere.root, "image").read() == PNG


def test_a_table_that_is_damaged_is_named_by_its_address(storage: Any) -> None:
    storage.pipe("memory://b/rows.parquet", b"no parquet")
    storage.pipe("memory://b/rows.xyz", b"?")
    for name, message in (
        ("rows.parquet", "memory://b/rows.parquet: is not a Parquet file"),
        ("gone.csv", "memory://b/gone.csv: no such object"),
        ("p-{0..1}.tar", "memory://b/p-0.tar: no such object"),
    ):
        with pytest.raises(TableError, match=message):
            read_table(f"memory://b/{name}")
