"""Downloads of cells' files: bounded, from public addresses alone, once. Every server here is one of this machine."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polysense.config.codec import from_dict
from polysense.data.config import DataConfig
from polysense.data.media.download import Downloads, is_public
from polysense.data.media.media import locate
from polysense.data.media.paths import ConfinedOnlineFolder, OnlineFolder, find_file, media_folder
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import DecodeError, TableError

LOCAL = ipaddress.ip_address("127.0.0.1")


class Handler(BaseHTTPRequestHandler):
    """Answers by what the test's pages say."""

    pages: dict[str, Callable[[Any], None]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.pages[self.path.partition("?")[0]](self)

    def log_message(self, *args: object) -> None:
        del args

    def give(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Where it is, its pages, and what it was asked for."""
    handler = type("Own", (Handler,), {"pages": {}, "asked": []})
    made = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://files.example:{made.server_port}", handler.pages, handler.asked
    made.shutdown()
    made.server_close()


def local(folder: Path, **options: Any) -> Downloads:
    """Downloads that take every host for this machine, and this machine for a public one."""
    options = {"resolve": lambda host, port: ["127.0.0.1"], "allows": lambda address: address == LOCAL, **options}
    return Downloads(folder, **options)


def test_a_file_is_downloaded_once_and_kept_by_its_content(
    server: tuple[str, dict[str, Any], list[str]], tmp_path: Path
) -> None:
    url, pages, asked = server
    pages["/a.PNG"] = lambda page: page.give(b"one")
    pages["/b%20c.png"] = lambda page: page.give(b"one")
    path = local(tmp_path).file(f"{url}/a.PNG")
    assert (path.read_bytes(), path.suffix, path.is_relative_to(tmp_path)) == (b"one", ".png", True)
    again = local(tmp_path)
    assert again.file(f" {url}/a.PNG ") == again.file(f"{url}/b%20c.png?size=2") == path
    assert asked == ["/a.PNG", "/b%20c.png?size=2"]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (lambda page: page.give(b"", 404), "the server answers 404"),
        (lambda page: page.give(b""), r"empty \(0 bytes\)"),
        (lambda page: page.give(b"x" * 1001), "is a download of 1,001 bytes, expected at most 1,000"),
        (lambda page: page.give(b"x" * 5000, Content_Length="20"), None),
        (lambda page: page.give(b"x" * 20, Content_Length="50"), "ends after 20 of 50 bytes"),
        (lambda page: page.give(b"x", Content_Encoding="gzip"), "compresses the file"),
        (lambda page: page.give(b"", 302, Location="/loop"), "redirected more than 5 times"),
        (lambda page: page.give(b"", 302), "does not say where the file is"),
        (lambda page: page.give(b"", 302, Location="file:///etc/passwd"), "is a URL of file, expected http or https"),
        (lambda page: page.give(b"", 302, Location="gopher://x/"), "is a URL of gopher"),
        (lambda page: page.wfile.write(b"no HTTP at all\r\n\r\n"), "not one of HTTP"),
        (lambda page: page.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000), "not one of HTTP"),
        (lambda page: page.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 2000), "more than 1,000 bytes"),
    ],
)
def test_what_is_no_file_is_refused_with_its_reason(
    server: tuple[str, dict[str, Any], list[str]], tmp_path: Path, page: Any, message: str | None
) -> None:
    url, pages, asked = server
    pages["/loop"] = page
    downloads = local(tmp_path, most_bytes=1000)
    if message is None:  # what is beyond the stated length is no part of the answer
        assert downloads.file(f"{url}/loop").stat().st_size == 20
        return
    for _ in range(2):
        with pytest.raises(DecodeError, match=message):
            downloads.file(f"{url}/loop")
    assert len(asked) in (1, 6), "what can't be downloaded is not tried again"
    assert not list(tmp_path.glob("files/*"))


@pytest.mark.parametrize("slow", ["headers", "body", "silent"])
def test_a_slow_server_is_cut_off(server: tuple[str, dict[str, Any], list[str]], tmp_path: Path, slow: str) -> None:
    url, pages, _ = server

    def drip(page: Any) -> None:
        page.wfile.write(b"HTTP/1.1 200 OK\r\nX: " if slow == "headers" else b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(100):
            if slow != "silent":
                page.wfile.write(b"y")
            time.sleep(0.05)

    pages["/slow"] = drip
    start = time.monotonic()
    with pytest.raises(DecodeError, match=r"takes longer than 0\.5 seconds"):
        local(tmp_path, seconds=0.5).file(f"{url}/slow")
    assert time.monotonic() - start < 3


def test_a_name_server_without_an_answer_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="the host's name has no answer"):
        local(tmp_path, seconds=0.2, resolve=lambda host, port: time.sleep(5) or []).file("http://a.example/x")

    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror("no such host")

    with pytest.raises(DecodeError, match=r"the host 'a\.example' is not known"):
        local(tmp_path, resolve=unknown).file("http://a.example/x")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%lo", "fc00::1",
        "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1",
        "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "100::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_never_connected_to(address: str, tmp_path: Path) -> None:
    assert not is_public(ipaddress.ip_address(address))
    # One bad address among good ones is enough.
    downloads = Downloads(tmp_path, resolve=lambda host, port: ["8.8.8.8", address])
    with pytest.raises(DecodeError, match=r"'a\.example' is an address of this machine, of a private network"):
        downloads.file("http://a.example/x.png")


def test_public_addresses_are() -> None:
    for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"):
        assert is_public(ipaddress.ip_address(address))


@given(st.integers(0, 2**32 - 1))
def test_an_address_in_another_dress_is_public_if_it_is_itself(number: int) -> None:
    plain = ipaddress.IPv4Address(number)
    for prefix in (0xFFFF << 32, int(ipaddress.IPv6Address("64:ff9b::"))):
        assert is_public(ipaddress.IPv6Address(prefix | number)) == is_public(plain)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://2130706433/", "a number; expected a name, or an address as"),
        ("http://0x7f.1/", "a number"),
        ("http://0177.0.0.1/", "a number"),
        ("http://127.1/", "a number"),
        ("http://user:secret@a.example/", "a user's name or password"),
        ("http://a.example@127.0.0.1/", "a user's name or password"),
        ("http://a.example\\@127.0.0.1/", "backslashes"),
        ("http://a.example/\r\nHost: b.example", "control characters"),
        ("http:///x.png", "without a host"),
        ("http://a.example:99999/", "host or port can't be read"),
        ("http://[::1/", "host or port can't be read"),
        ("http://a.example/" + "x" * 5000, "is a URL of 5,017 characters"),
    ],
)
def test_urls_that_are_dressed_up_are_refused_before_any_name_is_looked_up(
    url: str, message: str, tmp_path: Path
) -> None:
    def never(host: str, port: int) -> Sequence[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(DecodeError, match=message):
        Downloads(tmp_path, resolve=never).file(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "localhost."])
def test_this_machine_is_refused_by_whatever_name(host: str, tmp_path: Path) -> None:
    """By the system's own resolver, which asks no name server for these."""
    with pytest.raises(DecodeError, match="is an address of this machine"):
        Downloads(tmp_path).file(f"http://{host}:1/x.png")


def test_the_connection_goes_to_the_address_that_was_checked_though_the_name_changes(
    server: tuple[str, dict[str, Any], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages, _ = server
    pages["/a"] = lambda page: page.give(page.headers["Host"].encode())
    answers = iter([["127.0.0.1"]])  # a second question would fail

    monkeypatch.setattr(socket, "getaddrinfo", _only_numbers(socket.getaddrinfo))
    path = local(tmp_path, resolve=lambda host, port: next(answers)).file(f"{url}/a")
    assert path.read_bytes() == url.removeprefix("http://").encode(), "the server is asked by its name"


def _only_numbers(original: Any) -> Any:
    def asked(host: Any, *args: Any, **options: Any) -> Any:
        ipaddress.ip_address(host)  # a name would be looked up a second time
        return original(host, *args, **options)

    return asked


def test_each_redirect_is_checked_anew(server: tuple[str, dict[str, Any], list[str]], tmp_path: Path) -> None:
    url, pages, asked = server
    pages["/a"] = lambda page: page.give(b"", 302, Location="http://inner.example/secret")
    pages["/b.wav"] = lambda page: page.give(b"", 307, Location="c")
    pages["/c"] = lambda page: page.give(b"sound")
    by_name = {"files.example": ["127.0.0.1"], "inner.example": ["169.254.169.254"]}
    downloads = local(tmp_path, resolve=lambda host, port: by_name[host])
    with pytest.raises(DecodeError, match=r"'inner\.example' is an address of this machine, of a private network"):
        downloads.file(f"{url}/a")
    assert downloads.file(f"{url}/b.wav").suffix == ".wav"
    assert asked == ["/a", "/b.wav", "/c"]


def test_the_folder_is_bounded(server: tuple[str, dict[str, Any], list[str]], tmp_path: Path) -> None:
    url, pages, asked = server
    downloads = local(tmp_path, all_bytes=250)
    for name in "abc":
        pages[f"/{name}"] = lambda page: page.give(page.path.encode() * 50)
        downloads.file(f"{url}/{name}")
    assert sum(path.stat().st_size for path in tmp_path.glob("files/*")) <= 250
    downloads.file(f"{url}/a")
    assert asked == ["/a", "/b", "/c", "/a"]


def test_a_cell_is_downloaded_only_where_its_folder_says_so(
    server: tuple[str, dict[str, Any], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages, _ = server
    pages["/a.png"] = lambda page: page.give(b"content")
    made = local(tmp_path / "cache")
    monkeypatch.setattr("polysense.data.media.paths.downloads", lambda: made)
    with pytest.raises(DecodeError, match=r"nothing is downloaded unless data\.allow_urls"):
        find_file(tmp_path, f"{url}/a.png")
    (tmp_path / "b.png").write_bytes(b"b")
    for root in (OnlineFolder(tmp_path), ConfinedOnlineFolder(tmp_path)):
        assert locate(f"{url}/a.png", root, "image").read() == b"content"
        assert locate("b.png", root, "image").read() == b"b"
        with pytest.raises(DecodeError, match="a URL of 'ftp', which is not read"):
            find_file(root, "ftp://bucket/a.png")
    with pytest.raises(DecodeError, match="outside of the table's folder"):
        find_file(ConfinedOnlineFolder(tmp_path), "/etc/hostname")


def test_no_row_is_lost_by_a_download_that_fails(
    server: tuple[str, dict[str, Any], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages, _ = server
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    pages["/a.png"] = lambda page: page.give(file.getvalue())
    pages["/b.png"] = lambda page: page.give(b"", 404)
    made = local(tmp_path / "cache")
    monkeypatch.setattr("polysense.data.media.paths.downloads", lambda: made)
    cells = [f"{url}/{'ab'[i % 2]}.png" for i in range(6)]
    table = read_table({"photo": cells, "label": ["x", "y", "x"] * 2}, root=tmp_path, allow_urls=True)
    config = from_dict(
        DataConfig, {"columns": {"photo": {"type": "image"}}, "targets": {"label": {"type": "classification"}}}
    )
    processor = Processor.fit(table, config)
    samples = [processor.transform(table, i, with_targets=True) for i in range(6)]
    assert ["photo" in sample.values for sample in samples] == [True, False] * 3
    (unreadable,) = samples[3].unreadable
    assert (unreadable.source.row, unreadable.source.file) == (3, cells[3])
    assert unreadable.reason == "can't be downloaded: the server answers 404"


def test_what_a_folder_allows_is_kept_and_travels() -> None:
    import pickle

    for confined in (False, True):
        for online in (False, True):
            made = media_folder(Path("x"), allow_outside=not confined, allow_urls=online)
            for each in (made, media_folder(made), pickle.loads(pickle.dumps(made)), made.absolute()):
                assert type(each) is type(made)


def test_a_table_of_the_web_has_its_media_beside_it(
    server: tuple[str, dict[str, Any], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages, asked = server
    made = local(tmp_path / "cache")
    monkeypatch.setattr("polysense.data.media.paths.downloads", lambda: made)
    pages["/t/rows.csv"] = lambda page: page.give(b"photo,n\nimg/a.png,1\n../b.png,2\n/etc/hostname,3\n")
    pages["/t/img/a.png"] = lambda page: page.give(b"content")
    table = read_table(f"{url}/t/rows.csv")
    assert locate(table.cell(0, "photo"), table.root, "image").read() == b"content"
    for i in (1, 2):
        with pytest.raises(DecodeError, match="is not below the table's folder"):
            locate(table.cell(i, "photo"), table.root, "image")
    assert asked == ["/t/rows.csv", "/t/img/a.png"]
    pages["/gone.csv"] = lambda page: page.give(b"", status=404)
    with pytest.raises(TableError, match=r"gone\.csv: can.t be downloaded: the server answers 404"):
        read_table(f"{url}/gone.csv")
