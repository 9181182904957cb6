"""One request to a camera, answered within a deadline, with the login of its address."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

from edge_ad.errors import DeviceError
from edge_ad.opencv_log import silence_opencv
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.http_connection import HttpConnection

__all__ = ["connect"]


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
        # The cause may hold the address with its password, so it is not shown.
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
    """Follows a few redirects without reading what else they say, which may have no end."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener(url: str, deadline: Deadline) -> urllib.request.OpenerDirector:
    """Speaks HTTP alone and directly: a camera is in the line's own network."""
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
