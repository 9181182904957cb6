"""An HTTP client for cameras: bounded headers and bodies, time-outs, and multipart answers."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from edge_ad.errors import DeviceError
from edge_ad.image_formats.completeness import damage
from edge_ad.opencv_log import silence_opencv
from edge_ad.streaming.deadline import Deadline

__all__ = ["LARGEST_PART", "HttpConnection", "MultipartReader", "Part", "connect"]

_CHUNK = 65536
_LONGEST_HEAD = 16384
LARGEST_PART = 64 << 20  # no camera sends more, so this is something else
_JPEG_END = b"\xff\xd9"
# A line that begins with two dashes, before a head or the empty line that ends one.
_ANY_DELIMITER = re.compile(rb"(?:^|\n)(--[^\r\n]{1,256})\r?\n(?=[A-Za-z][A-Za-z0-9-]*[ \t]*:|\r?\n\xff\xd8)")


class HttpConnection(http.client.HTTPConnection):
    """An HTTP connection of the standard library with one deadline for all waits.

    Args:
        host: Name or address, with its port where that is not the usual one.
        port: TCP port; None for what ``host`` says, or the usual one.
        deadline: Of the exchange.
        is_tls: Whether it is encrypted, with the certificates that this machine trusts.
    """

    def __init__(self, host: str, port: int | None = None, *, deadline: Deadline, is_tls: bool) -> None:
        self.default_port = http.client.HTTPS_PORT if is_tls else http.client.HTTP_PORT
        super().__init__(host, port)
        self._deadline, self._is_tls = deadline, is_tls

    def connect(self) -> None:
        """Connect within the deadline."""
        tls = ssl.create_default_context() if self._is_tls else None
        self.sock = self._deadline.connect(self.host, self.port, tls)


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        headers: Name in lower case → value.
        body: Its content; of a part that is not whole, what came before the next one.
        is_whole: Whether it is a complete file of a known format and as long as its header says.
    """

    headers: Mapping[str, str]
    body: bytes
    is_whole: bool


class MultipartReader:
    """Splits a stream into parts, and finds the next one after any damage.

    A complete part is returned as soon as its last byte has arrived, without waiting for more.

    Args:
        stream: The open answer; its reads must end by themselves when nothing comes.
        boundary: As in the header of the answer, with or without the dashes before it; cameras of several makers send
            another one, or name none: then it is the one that the first part comes with.
        timeout_s: Longest time for one part, in seconds.
        deadline: Of the connection that the answer comes from, so that its reads keep it too.
    """

    def __init__(self, stream: _Stream, boundary: str, *, timeout_s: float, deadline: Deadline | None = None) -> None:
        self._stream, self._timeout_s = stream, timeout_s
        self._delimiter = b"--" + boundary.lstrip("-").encode("latin-1", "replace")
        self._is_known = False  # whether a part came with it
        self._buffer = bytearray()
        self._deadline = deadline or Deadline()

    def next_part(self) -> Part | None:
        """The next part, whole or not; None when the stream has ended, is silent, or is garbled."""
        self._deadline.start(self._timeout_s)
        try:
            headers = self._head()
            return None if headers is None else self._part(headers)
        except (OSError, HTTPException, ValueError):  # lost in the middle; ValueError: closed, or a wrong chunk size
            return None

    def _head(self) -> dict[str, str] | None:
        """Skip to the next delimiter and read what follows it, to the empty line."""
        start = self._find(self._delimiter, LARGEST_PART) if self._is_known else self._first_delimiter()
        if start is None:
            return None
        self._is_known = True
        del self._buffer[: start + len(self._delimiter)]
        while (found := _end_of_head(self._buffer)) is None:
            if len(self._buffer) > _LONGEST_HEAD or not self._more():
                return None
        length, separator = found
        lines = bytes(self._buffer[:length]).decode("latin-1").splitlines()
        del self._buffer[: length + separator]
        pairs = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}

    def _first_delimiter(self) -> int | None:
        """Where the first part begins; learns the delimiter where it is not the one that was named."""
        named = self._delimiter if len(self._delimiter) > len(b"--") else None
        while True:
            if named is not None and (start := self._buffer.find(named)) >= 0:
                return start
            if (found := _ANY_DELIMITER.search(self._buffer)) is not None:
                self._delimiter = found[1]
                return found.start(1)
            if len(self._buffer) > _LONGEST_HEAD:  # no head is so long: only the one that was named may yet come
                return None if named is None else self._find(named, LARGEST_PART)
            if not self._more():
                return None

    def _part(self, headers: dict[str, str]) -> Part | None:
        announced = headers.get("content-length", "")
        body = self._announced(int(announced)) if announced.isascii() and announced.isdigit() else self._until_end()
        if body is not None:
            del self._buffer[: len(body)]
            return Part(headers, body, is_whole=True)
        # Its length is wrong or it is damaged: it ends where the next part begins.
        end = self._find(self._delimiter, LARGEST_PART)
        if end is None:
            return None
        broken = bytes(self._buffer[:end])
        del self._buffer[:end]
        return Part(headers, broken, is_whole=False)

    def _announced(self, length: int) -> bytes | None:
        if length > LARGEST_PART:
            return None
        while len(self._buffer) < length:
            if not self._more():
                raise HTTPException("cut off")
        body = bytes(self._buffer[:length])
        return body if damage(body) is None else None

    def _until_end(self) -> bytes | None:
        """The part of a camera that announces no length: to its own end, or to the next delimiter."""
        searched = 0
        while (end := self._buffer.find(self._delimiter, searched)) < 0:
            body = self._buffer.rstrip(b"\r\n")
            if body.endswith(_JPEG_END) and damage(bytes(body)) is None:
                return bytes(body)
            searched = max(0, len(self._buffer) - len(self._delimiter))
            if len(self._buffer) > LARGEST_PART or not self._more():
                raise HTTPException("cut off")
        body = self._buffer[:end].rstrip(b"\r\n")
        return bytes(body) if damage(bytes(body)) is None else None

    def _find(self, wanted: bytes, limit: int) -> int | None:
        searched = 0
        while (start := self._buffer.find(wanted, searched)) < 0:
            searched = max(0, len(self._buffer) - len(wanted))
            if len(self._buffer) > limit or not self._more():
                return None
        return start

    def _more(self) -> bool:
        """Wait for more bytes; False at the end. Raises when the time for this part is over."""
        self._deadline.left_s()
        chunk = self._stream.read1(_CHUNK)
        self._buffer += chunk
        return bool(chunk)


def _end_of_head(buffer: bytearray) -> tuple[int, int] | None:
    """Length of the head and of the empty line that ends it; the first of both styles of line ends."""
    found = [(at, len(end)) for end in (b"\r\n\r\n", b"\n\n") if (at := buffer.find(end)) >= 0]
    return min(found) if found else None


def connect(url: str, name: str, deadline: Deadline) -> http.client.HTTPResponse:
    """Ask for an address.

    Args:
        url: ``http://`` or ``https://``, with user and password in it where they are needed (basic or digest).
        name: What the camera is called, for messages.
        deadline: Ends the request, and each read of the answer.

    Raises:
        DeviceError: It does not answer in time, or refuses.
    """
    silence_opencv()
    try:
        answer = _opener(url, deadline).open(_without_user(url))
    except urllib.error.HTTPError as error:
        error.close()
        hint = "Put user and password in the address: http://user:password@host/" if error.code == 401 else ""
        raise DeviceError(f"The stream {name} is refused: {error.code} {error.reason}.", hint) from None
    except Exception:  # urllib raises whatever a malformed challenge makes of it
        # The cause is not shown: it may hold the address with its password.
        raise DeviceError(
            f"The stream {name} does not answer.", "Check the address, the network, and user and password."
        ) from None
    return cast(http.client.HTTPResponse, answer)


class _Handler(urllib.request.AbstractHTTPHandler):
    """Connects within the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self._open(request, is_tls=False)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self._open(request, is_tls=True)

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def _open(self, request: urllib.request.Request, *, is_tls: bool) -> http.client.HTTPResponse:
        def connection(host: str, timeout: object) -> HttpConnection:
            return HttpConnection(host, deadline=self._deadline, is_tls=is_tls)

        return self.do_open(cast(Any, connection), request)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects without reading their bodies, which may be endless."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener(url: str, deadline: Deadline) -> urllib.request.OpenerDirector:
    """Opens HTTP addresses only, without a proxy: a camera is in the line's own network."""
    parts = urlsplit(url)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, _without_user(url), unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Handler(deadline),
        _Redirects(),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
