"""Files that cells name by URL: downloaded once, within bounds, and never from an address that is not public.

A table from elsewhere may name any address, also those that only this machine can reach: a cloud's metadata service, a
router, a database without a password (server-side request forgery). So a host's name is resolved here, every address
that it has must be a public one, and the connection goes to an address that was checked, so that a second answer of
the name server changes nothing (DNS rebinding). Each redirect is a new URL that is checked likewise. No proxy is asked,
no cookie and no password is sent, and nothing of an answer but its bytes is kept.

What was downloaded lies in a folder by the hash of its content, so it is downloaded once for all runs, and a table that
names a file twice has it once. What can't be downloaded is not tried again by the same process.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from polysense.core.files import write_bytes, write_text
from polysense.core.logs import get_logger
from polysense.core.machine import max_cache_bytes, seconds_variable
from polysense.data.media.kept_files import downloads_folder, make_room, most_bytes_of_file
from polysense.errors import DecodeError

__all__ = ["Downloads", "downloads", "is_public", "is_url"]

_log = get_logger("polysense.data.media")

_SECONDS, _DEFAULT_SECONDS = "POLYSENSE_DOWNLOAD_SECONDS", 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_LONGEST_URL = 4096
_BLOCK = 2**16
_PORTS = {"http": 80, "https": 443}
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_URL = re.compile(r"\s*https?://", re.IGNORECASE)
_NUMERIC = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.ip_network("::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_url(text: str) -> bool:
    """Whether a cell names a file on the web."""
    return _URL.match(text) is not None


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, and not of this machine, its network or a reserved range.

    An IPv6 address that stands for an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64) must be public by that.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None or address in _LOCAL_NAT64:
            return False
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64 or address in _COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        embedded = [each for each in inner if each is not None]
        if embedded:
            return all(map(is_public, embedded))
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _resolved(host: str, port: int) -> list[str]:
    """A host's addresses, as the system's resolver has them."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Downloads:
    """Files of the web, in a folder.

    Args:
        folder: By default `downloads` in $POLYSENSE_CACHE, else in the user's cache folder.
        most_bytes: Of one file; by default $POLYSENSE_DOWNLOAD_BYTES, else 256 MiB.
        seconds: For one file, redirects included; by default $POLYSENSE_DOWNLOAD_SECONDS, else 60.
        all_bytes: Of the folder; by default $POLYSENSE_CACHE_BYTES, else 20 GiB. Files that were not used for the
            longest time are removed for a new one.
        resolve: What gives a host's addresses.
        allows: Whether an address may be connected to.

    Raises:
        ConfigError: A variable holds no number.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        most_bytes: int | None = None,
        seconds: float | None = None,
        all_bytes: int | None = None,
        resolve: Callable[[str, int], Sequence[str]] = _resolved,
        allows: Callable[[Address], bool] = is_public,
    ) -> None:
        self.folder = downloads_folder() if folder is None else folder
        self._most = most_bytes_of_file() if most_bytes is None else most_bytes
        self._seconds = seconds_variable(_SECONDS, _DEFAULT_SECONDS) if seconds is None else seconds
        self._all = max_cache_bytes() if all_bytes is None else all_bytes
        self._resolve, self._allows = resolve, allows
        self._failed: dict[str, str] = {}

    def file(self, url: str) -> Path:
        """The file that a URL names, downloaded unless it was before.

        Raises:
            DecodeError: It may not be, or can't be; says why.
        """
        url = url.strip()
        if url in self._failed:
            raise DecodeError(self._failed[url])
        try:
            return self._known(url) or self._downloaded(url)
        except DecodeError as error:
            self._failed[url] = str(error)
            raise

    def _entry(self, url: str) -> Path:
        return self.folder / "urls" / hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()

    def _known(self, url: str) -> Path | None:
        try:
            name = self._entry(url).read_text(encoding="ascii")
            path = self.folder / "files" / name
            os.utime(path)
        except (OSError, UnicodeDecodeError):
            return None
        return path if Path(name).name == name and path.is_file() else None

    def _downloaded(self, url: str) -> Path:
        content, suffix = self._fetched(url)
        name = hashlib.sha256(content).hexdigest() + suffix
        path = self.folder / "files" / name
        try:
            (self.folder / "files").mkdir(parents=True, exist_ok=True)
            (self.folder / "urls").mkdir(exist_ok=True)
            make_room(self.folder / "files", len(content), self._all)
            write_bytes(path, content, durable=False)  # it can be downloaded again
            write_text(self._entry(url), name)
        except OSError as error:
            raise DecodeError(f"the download can't be kept in {self.folder}: {error.strerror or error}") from None
        return path

    def _fetched(self, url: str) -> tuple[bytes, str]:
        """What a URL gives, and the file name's ending."""
        end = time.monotonic() + self._seconds
        start = url
        for _ in range(_MOST_REDIRECTS + 1):
            parts = _checked(url)
            answer = self._answer(parts, end)
            if isinstance(answer, bytes):
                endings = (
                    _SUFFIX.fullmatch(Path(unquote(_checked(each).path)).suffix.lower()) for each in (start, url)
                )
                return answer, next((ending.group() for ending in endings if ending), "")
            following = urljoin(url, answer)
            if parts.scheme == "https" and urlsplit(following).scheme != "https":
                raise DecodeError("the download is redirected from https to another protocol, which is not followed")
            url = following
        raise DecodeError(f"the download is redirected more than {_MOST_REDIRECTS} times")

    def _answer(self, parts: SplitResult, end: float) -> bytes | str:
        """The content that a server gives, or where it says that it is."""
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        addresses = self._addresses(host, port, end)
        connection = _Connection(host, port, addresses, tls=parts.scheme == "https", end=end)
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
            f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?[]{}')}" if parts.query else ""
        )
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "polysense", "Connection": "close"}
        try:
            with connection.ended_in_time():
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                if response.status in _REDIRECTS:
                    where = response.getheader("Location")
                    if not where:
                        raise DecodeError(f"the server answers {response.status} and does not say where the file is")
                    return where
                return self._body(response, end)
        except DecodeError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= end or isinstance(error, TimeoutError):
                raise DecodeError(f"the download takes longer than {self._seconds:g} seconds") from None
            raise DecodeError(f"can't be downloaded: {_why(error)}") from None
        finally:
            connection.close()

    def _body(self, response: http.client.HTTPResponse, end: float) -> bytes:
        if response.status != 200:
            raise DecodeError(f"can't be downloaded: the server answers {response.status}")
        if (response.getheader("Content-Encoding") or "identity").strip().lower() != "identity":
            raise DecodeError("can't be downloaded: the server compresses the file, which was not asked for")
        stated = response.length
        if stated is not None and stated > self._most:
            raise DecodeError(f"is a download of {stated:,} bytes, expected at most {self._most:,}")
        content = bytearray()
        while block := response.read1(_BLOCK):
            content += block
            if len(content) > self._most:
                raise DecodeError(f"is a download of more than {self._most:,} bytes")
            if time.monotonic() >= end:
                raise TimeoutError
        if time.monotonic() >= end:
            raise TimeoutError
        if stated is not None and len(content) < stated:
            raise DecodeError(f"the download ends after {len(content):,} of {stated:,} bytes")
        if not content:
            raise DecodeError("the download is empty (0 bytes)")
        return bytes(content)

    def _addresses(self, host: str, port: int, end: float) -> list[str]:
        """A host's addresses, all of them allowed."""
        answer: list[Sequence[str] | BaseException] = []

        def ask() -> None:
            try:
                answer.append(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                answer.append(error)

        # The system's resolver knows no limit of time, so it is not waited for longer than for all else.
        asking = threading.Thread(target=ask, daemon=True, name="polysense-resolve")
        asking.start()
        asking.join(max(0.0, end - time.monotonic()))
        if not answer:
            raise DecodeError(
                f"the download takes longer than {self._seconds:g} seconds: the host's name has no answer"
            )
        if isinstance(answer[0], BaseException) or not answer[0]:
            raise DecodeError(f"can't be downloaded: the host {host[:100]!r} is not known")
        for text in answer[0]:
            try:
                is_allowed = self._allows(ipaddress.ip_address(text))
            except ValueError:
                is_allowed = False
            if not is_allowed:
                raise DecodeError(
                    f"is not downloaded: {host[:100]!r} is an address of this machine, of a private network or of a "
                    f"reserved range, and cells may name public addresses only"
                )
        return list(dict.fromkeys(answer[0]))


class _Connection(http.client.HTTPConnection):
    """A connection to one of a host's addresses that were checked; certificates are checked by the host's name.

    Args:
        host: The host's name.
        port: Its port.
        addresses: Tried one after the other.
        tls: Whether it is encrypted.
        end: When it is over, by the monotonic clock.
    """

    def __init__(self, host: str, port: int, addresses: Sequence[str], *, tls: bool, end: float) -> None:
        super().__init__(host, port)
        self.default_port = _PORTS["https" if tls else "http"]
        self._addresses, self._tls, self._end = addresses, tls, end
        self._open: socket.socket | None = None

    def connect(self) -> None:
        """See the base."""
        last: OSError = OSError("no address")
        for address in self._addresses:
            try:
                self._open = socket.create_connection((address, self.port), max(0.01, self._end - time.monotonic()))
                break
            except OSError as error:
                last = error
        else:
            raise last
        if self._tls:
            self._open = ssl.create_default_context().wrap_socket(self._open, server_hostname=self.host)
        self.sock = self._open

    @contextlib.contextmanager
    def ended_in_time(self) -> Iterator[None]:
        """Within it the connection is cut when its time is over, however slowly the server sends its answer."""

        def cut() -> None:
            if self._open is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._open, socket.SHUT_RDWR)  # of TLS too, whose own is no thread's

        timer = threading.Timer(max(0.0, self._end - time.monotonic()), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _checked(url: str) -> SplitResult:
    """A URL's parts.

    Raises:
        DecodeError: It is not one of http or https to a host by name or by an address as it is usually written, or it
            holds a user's name.
    """
    if len(url) > _LONGEST_URL:
        raise DecodeError(f"is a URL of {len(url):,} characters, expected at most {_LONGEST_URL:,}")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url) or "\\" in url:
        raise DecodeError("is a URL with spaces, control characters or backslashes, which none has")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host if ":" in host else host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        raise DecodeError("is a URL whose host or port can't be read") from None
    if parts.scheme not in _PORTS:
        raise DecodeError(f"is a URL of {parts.scheme[:20] or 'no protocol'}, expected http or https")
    if "@" in parts.netloc:
        raise DecodeError("is a URL with a user's name or password, which is not sent")
    if not host or port == 0:
        raise DecodeError("is a URL without a host")
    if ":" not in host and _NUMERIC.fullmatch(host.rpartition(".")[2]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise DecodeError(
                f"names the host {host[:100]!r}, a number; expected a name, or an address as 203.0.113.7"
            ) from None
    bracketed = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=bracketed if port is None else f"{bracketed}:{port}", fragment="")


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the server's certificate is not valid for it"
    if isinstance(error, ssl.SSLError):
        return "no encrypted connection comes about"
    if isinstance(error, ConnectionRefusedError):
        return "the server refuses the connection"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__)[:100]
    return "the server's answer is not one of HTTP"


_downloads: dict[int, Downloads] = {}


def downloads() -> Downloads:
    """Those of this process."""
    return _downloads.setdefault(os.getpid(), Downloads())
